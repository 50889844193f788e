"""What could not be looked through, in the real query process: never simply allowed."""

import pytest

from ledgerkit.samples import make_rule
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass

FILE = FileSubject((b"z" * 32,), size=1000, filename="locked.zip")
USE = RequestContext(
    SubjectClass.DOWNLOAD, client="127.0.0.1", url="http://files.test/locked.zip", method="GET"
)
WHY = "archive is encrypted"


def unsure(house, **how):
    return house.run(house.gatekeeper.unsure(FILE, USE, WHY, **how))


@pytest.mark.parametrize(
    ("block", "action"), [(None, Action.FLAG), (False, Action.FLAG), (True, Action.BLOCK)]
)
def test_what_could_not_be_looked_through_follows_the_policy(house, block, action):
    decision = unsure(house, block=block)
    assert (decision.action, decision.evidence.stage) == (action, Stage.UNVERIFIABLE)
    assert decision.evidence.unverifiable == WHY
    assert len(house.ledger.waiting) == (action is Action.FLAG)


def test_what_is_listed_is_refused_for_that(house):
    house.servers[0].listed[FILE.hashes[0]] = Risk.DANGEROUS
    decision = unsure(house)
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.QUERY)


def test_what_the_operator_allows_needs_no_look(house):
    house.ledger.rules.add(
        make_rule(id="r", scope=Scope.SHA256, subject=FILE.hashes[0].hex(), created=house.clock.now())
    )  # fmt: skip
    house.reload()
    decision = unsure(house)
    assert (decision.action, decision.evidence.stage) == (Action.ALLOW, Stage.RULES)
