"""Visits that are let through, and the second look at them."""

from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass

URL = "http://let-through.test/x"


PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")


def visit(house, url=URL, client="127.0.0.1"):
    use = RequestContext(SubjectClass.PAGE, client=client, url=url, method="GET")
    return house.run(house.gatekeeper.check(house.subject(url), use))


def look(house, **how):
    report = house.run(house.rechecker.look(**how))
    house.reload()
    return report


def kinds(house):
    house.ledger.settle()
    return [event.kind for event in house.ledger.log]
