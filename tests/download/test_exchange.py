"""A request that was let through lets others go on who wait for what becomes of it."""

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass
from secondlook.download.exchange import Exchange, release_lead


class Lead:
    released = 0

    def release(self):
        self.released += 1


def test_a_lead_is_released_once():
    subject = FakeGatekeeper().subject("http", "site.test", "/file.exe")
    lead = Lead()
    exchange = Exchange(subject, RequestContext(SubjectClass.PAGE), None, lead=lead)
    release_lead(exchange)
    release_lead(exchange)
    assert (lead.released, exchange.lead) == (1, None)
