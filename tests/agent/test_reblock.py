"""A file that turned out bad is refused under the URL that it came from, for a while and everywhere."""

import pytest

from agentkit.house import confirmed_about
from agentkit.looks import URL, look
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.watch import ELSEWHERE_S
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, SubjectClass


def test_the_end_of_a_files_reblock_is_not_told_as_a_listing_that_ended(house, server):
    entry = confirmed_about(house, URL, source="reblock", expires_at=house.clock.now() + 5)
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    house.sleep(6)
    look(house, everything=False)
    (event,) = [event for event in house.ledger.recorded if event.kind is EventKind.WITHDRAWN]
    assert "the file stays listed" in event.detail


@pytest.mark.parametrize(("workers", "waits_s"), [(1, 0.0), (2, 0.3)])
def test_who_asks_again_for_a_bad_file_meets_its_refusal_in_every_worker(house, server, workers, waits_s):
    file = FileSubject((b"f" * 32,), size=5, filename="a.exe")
    server.listed[b"f" * 32] = Risk.DANGEROUS
    context = RequestContext(SubjectClass.DOWNLOAD, client="10.0.0.1", url=URL, method="GET")
    gatekeeper = Gatekeeper(
        house.checker, house.ledger, house.clock, elsewhere_s=ELSEWHERE_S if workers > 1 else 0.0
    )

    async def scene():
        assert (await gatekeeper.check(file, context)).action is Action.BLOCK
        began = house.clock.monotonic()
        await gatekeeper.in_force()
        assert house.clock.monotonic() - began == pytest.approx(waits_s)
        assert (
            workers == 1 or len(house.ledger.snapshots.confirmed()) == 2
        )  # the file and, for a while, its URL
        await gatekeeper.aclose()

    house.run(scene())
