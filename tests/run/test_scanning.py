"""Rules that the configuration names come into force, and the log says so."""

import asyncio
from types import SimpleNamespace

import pytest

from ledgerkit.fake import FakeLedger
from secondlook.config.agent import Settings
from secondlook.core.event import EventKind
from secondlook.run.assembly.check.scanning import make_rule_keeper, rule_sources
from secondlook.scan.rule_set import RulesInForce

NOW = 1_900_000_000.0


@pytest.fixture
def parts(tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "a.yar").write_text("rule a { condition: false }")
    settings = Settings.model_validate({"state": tmp_path / "state", "scan": {"yara": {"rules": [rules]}}})
    clock = SimpleNamespace(now=lambda: NOW, monotonic=lambda: 0.0)
    return SimpleNamespace(settings=settings, clock=clock, ledger=FakeLedger(clock))


def test_rules_are_put_in_force_and_told(parts, tmp_path):
    assert [source.name for source in rule_sources(parts.settings)] == [str(tmp_path / "rules")]
    keeper = make_rule_keeper(parts)
    asyncio.run(keeper.look())
    assert RulesInForce(parts.settings.state).current.count == 2
    (tmp_path / "rules" / "b.yar").write_text("rule b { condition: nonsense }")
    asyncio.run(keeper.look())
    good, refused = parts.ledger.log + parts.ledger.pending
    assert (good.kind, good.list, good.detail) == (EventKind.UPDATE, "yara", "2 YARA rules in force")
    assert refused.kind is EventKind.ERROR
    assert f"{tmp_path / 'rules'}/b.yar:1:21: unknown identifier `nonsense`" in refused.detail
