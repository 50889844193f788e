"""In which order things happen to what turns out bad."""

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.actions.enforcement import Outcome
from secondlook.agent.check.view import REBLOCK
from secondlook.core.asking.answer import Tier
from secondlook.core.event import EventKind, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Evidence, Risk, Stage, SubjectClass, Threat, Verdict

URL = "http://files.test/late.exe"
FILE = b"f" * 32


class Folder:
    """Stands for the download folders: notes what every worker would refuse at the moment of the action."""

    def __init__(self) -> None:
        self.refused_then = None
        self.told_then = None

    async def act(self, entry):
        self.refused_then = {(each.hit, each.source) for each in self.ledger.confirmed()}
        self.told_then = [event.kind for event in (*self.ledger.log, *self.ledger.pending)]
        return [Outcome("quarantine", True, "put away")]


def test_a_file_that_was_late_is_refused_everywhere_before_it_is_put_away():
    house = House(FakeServer(Tier.INTRANET))
    house.files = folder = Folder()
    house.start()
    folder.ledger = house.ledger
    entry = FlagEntry(
        identity=FILE, kind=SubjectKind.FILE, cls=SubjectClass.DOWNLOAD, hashes=(FILE,), url=URL,
        host="files.test", client="127.0.0.1", time=house.clock.now(), reason="", sha256=FILE.hex(),
    )  # fmt: skip
    evidence = Evidence(
        verdict=Verdict.MALICIOUS, risk=Risk.DANGEROUS, stage=Stage.QUERY, threat=Threat.MALWARE, hit=FILE,
        source="fake",
    )  # fmt: skip
    house.run(house.consequences.confirm([(entry, evidence)], late=True))
    url = house.subject(URL).hashes[0]
    assert folder.refused_then == {(FILE, "fake"), (url, REBLOCK)}
    assert folder.told_then == [EventKind.LATE_VERDICT]
    house.close()
