"""A bad file and the URL that it came from: refused for a while, in every process, and no longer than it is bad."""

from agentkit.looks import look, visit
from ledgerkit.samples import make_rule
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass

FILE_URL = "http://files.test/a.exe"


def check_file(house):
    """Check a file that came from FILE_URL, as its download ends."""
    context = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url=FILE_URL, method="GET")
    return house.run(house.gatekeeper.check(FileSubject((b"f" * 32,), size=5, filename="a.exe"), context))


def test_a_bad_file_blocks_its_url_for_a_while_only(house, server):
    server.listed[b"f" * 32] = Risk.DANGEROUS
    assert check_file(house).action is Action.BLOCK
    decision = visit(house, FILE_URL)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.CONFIRMED)
    house.sleep(601)
    assert visit(house, FILE_URL).action is Action.ALLOW
    look(house, everything=False)
    assert len(house.ledger.confirmed_set) == 1
    assert b"f" * 32 in house.ledger.confirmed_set


def test_a_bad_file_that_is_allowed_by_now_ends_the_refusal_of_its_url(house, server):
    server.listed[b"f" * 32] = Risk.DANGEROUS
    assert check_file(house).action is Action.BLOCK
    assert visit(house, FILE_URL).action is Action.BLOCK
    house.ledger.rules.add(
        make_rule(
            id="restored",
            scope=Scope.SHA256,
            subject=(b"f" * 32).hex(),
            client="127.0.0.1",
            created=house.clock.now(),
            expires=house.clock.now() + 60,
        )
    )
    house.reload()
    assert visit(house, FILE_URL).action is Action.ALLOW
    assert check_file(house).evidence.stage is Stage.RULES
    assert visit(house, FILE_URL, client="10.0.0.9").action is Action.BLOCK
    house.sleep(61)
    assert visit(house, FILE_URL).evidence.stage is Stage.CONFIRMED
