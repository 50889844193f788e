"""Visits that are let through, the second look at them, and the check of what was allowed before."""

from agentkit.house import House
from secondlook.agent.actions.enforcement import FileOutcome
from secondlook.agent.recheck.retro_check import RetroCheck
from secondlook.config.query import RecheckSettings
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass

URL = "http://let-through.test/x"


PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")


def visit(house, url=URL, client="127.0.0.1"):
    context = RequestContext(SubjectClass.PAGE, client=client, url=url, method="GET")
    return house.run(house.gatekeeper.check(house.subject(url), context))


def look(house, **how):
    report = house.run(house.rechecker.look(**how))
    house.reload()
    return report


def kinds(house):
    house.ledger.settle()
    return [event.kind for event in house.ledger.log]


class Folder:
    """Stands for the download folders; `during` happens at each action."""

    def __init__(self):
        self.asked = []
        self.during = None

    async def act(self, entry):
        self.asked.append(entry.identity)
        if self.during is not None:
            await self.during()
        return [FileOutcome("quarantine", True, "put away")]


class Looking(House):
    late: RetroCheck
    files: Folder

    def start(self):
        super().start()
        self.late = retro_check(self)


def retro_check(house):
    return RetroCheck(house.view, house.ledger.history, house.enforcement, house.clock, RecheckSettings())
