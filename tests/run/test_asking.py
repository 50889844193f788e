"""The parts of a check for a command: the answer is the proxy's, whether it runs or not."""

import asyncio
import contextlib
import time

import pytest

from agentkit.house import make_pattern
from secondlook.config.agent import Settings
from secondlook.core.answer import Tier
from secondlook.core.subject import RequestContext, SubjectKind
from secondlook.core.verdict import Action, Stage, SubjectClass
from secondlook.run.assembly.check.asking import NobodyAsked, asking
from secondlook.run.assembly.check.ledger_opening import open_ledger
from serverkit import make_store

PAGE = RequestContext(SubjectClass.PAGE, method="GET")


def settings_of(tmp_path, **servers) -> Settings:
    return Settings.model_validate({"state": tmp_path, "servers": servers})


def check(settings, url="http://evil.example/", *, offline=False):
    """Decide about a URL as a command does."""

    async def scene(ledger):
        async with asking(settings, ledger, offline=offline) as parts:
            return await parts.checker.check(parts.checker.subject(url), PAGE)

    with contextlib.closing(open_ledger(settings, keeper=True)) as ledger:
        return asyncio.run(scene(ledger))


def test_without_a_proxy_what_is_published_is_served_for_a_moment(tmp_path):
    make_store(tmp_path, ["evil.example"])
    decision = check(settings_of(tmp_path))
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.QUERY)
    assert check(settings_of(tmp_path), "http://good.example/").action is Action.ALLOW


def test_lists_in_force_do_not_speak_for_what_was_published_since(tmp_path, monkeypatch):
    make_store(tmp_path, ["evil.example"])
    older = make_pattern([b"o" * 32], now=time.time())  # as the embedded server had it
    monkeypatch.setattr("secondlook.run.assembly.check.asking.load_pattern", lambda _: older)
    assert check(settings_of(tmp_path)).action is Action.BLOCK


def test_offline_nobody_is_asked_and_nobody_answered(tmp_path):
    make_store(tmp_path, ["evil.example"])
    decision = check(settings_of(tmp_path), offline=True)
    assert decision.action is Action.FLAG
    assert "offline: no server was asked" in decision.evidence.unverifiable


def test_where_nothing_was_ever_published_there_is_nobody_to_ask(tmp_path):
    for _ in range(2):
        decision = check(settings_of(tmp_path))
        assert (decision.action, decision.evidence.unverifiable) == (Action.ALLOW, None)
        (tmp_path / "server").mkdir(exist_ok=True)  # a proxy has begun here, and went no further


@pytest.mark.parametrize(
    ("servers", "tiers"),
    [
        ({}, (Tier.LOCAL,)),
        ({"embedded": False}, ()),
        ({"intranet": [{"url": "https://a.example"}]}, (Tier.LOCAL, Tier.INTRANET)),
        ({"embedded": False, "network": {"url": "https://a.example"}}, (Tier.NETWORK,)),
        (
            {"intranet": [{"url": "https://a.example"}], "network": {"url": "https://b.example"}},
            (Tier.LOCAL, Tier.INTRANET),
        ),
    ],
)
def test_the_tiers_that_would_be_asked(tmp_path, servers, tiers):
    lookup = NobodyAsked(settings_of(tmp_path, **servers))
    assert lookup.tiers(SubjectKind.URL, SubjectClass.PAGE) == tiers
    assert not lookup.awaited(SubjectKind.URL, SubjectClass.PAGE)
    for tier in tiers:
        assert lookup.fallback(tier, SubjectKind.URL, SubjectClass.PAGE) is None
