"""A process's view keeps in step: with the lists on disk, the ledger, and the rules of the settings."""

import asyncio
import contextlib
import threading
from dataclasses import replace

import pytest

from agentkit.hash_lists import build
from secondlook.agent.pattern.files import CONFIRMED, FOLDER, STAMP, PatternFolder
from secondlook.config.agent import Settings
from secondlook.core.answer import Tier
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.core.lists.pattern import ListInfo, Pattern
from secondlook.core.subject import SubjectKind
from secondlook.run.assembly.check import viewing
from secondlook.run.assembly.check.ledger_opening import open_ledger
from secondlook.run.assembly.check.parts import Parts
from secondlook.run.assembly.check.viewing import make_watcher

BAD = ConfirmedEntry(
    identity=bytes(32), hit=bytes(32), kind=SubjectKind.URL, verdict="malicious", risk="dangerous", threat="malware",
    list=None, server=None, source=None, confirmed_at=1.0, expires_at=None,
)  # fmt: skip


GROUP = {"name": "office", "networks": ["10.0.0.0/8"], "rules": {"block": ["bad.example"]}}


@pytest.fixture
def parts(tmp_path):
    settings = Settings.model_validate(
        {"state": tmp_path, "servers": {"embedded": False}, "clients": {"groups": [GROUP]}}
    )
    with contextlib.closing(open_ledger(settings, keeper=True)) as ledger:
        yield Parts.build(settings, ledger)


@pytest.fixture
def loads(monkeypatch):
    """How often the lists were read; each reading finds a list that is left out."""
    loaded = []

    def load(folder):
        folder.faults = ["mw-8b: it is cut"]
        loaded.append(folder.folder)
        return Pattern(())

    monkeypatch.setattr(PatternFolder, "load", load)
    return loaded


def test_lists_are_read_when_one_of_their_marks_changes_and_what_is_left_out_is_told(
    parts, loads, tmp_path, caplog
):
    seen = []
    folder = tmp_path / FOLDER
    folder.mkdir(exist_ok=True)

    async def scene():
        watcher = make_watcher(parts, on_pattern=seen.append)
        for write in (
            lambda: None,
            lambda: None,
            (folder / STAMP).touch,
            (folder / CONFIRMED).touch,
            lambda: None,
        ):
            write()
            await watcher.refresh()

    asyncio.run(scene())
    assert loads == [folder] * 3
    assert len(seen) == 1, "a pattern that answers as the one before is no news"
    assert caplog.text.count("a list is left out: mw-8b: it is cut") == 3


def test_what_lists_are_called_is_found_out_beside_the_loop(parts, monkeypatch):
    name = parse_list_name("mw-8b")
    info = ListInfo(
        name="mw-8b", width=8, role=name.role, kind=name.kind, threat=name.threat, risk=name.risk, tier=Tier.LOCAL,
        server="embedded", source=None,
    )  # fmt: skip
    pattern = Pattern([(info, HashList.open(build([], 8)))])
    threads = []

    def entries(_settings):
        threads.append(threading.current_thread())
        return {"mw-8b": ["urlhaus"]}

    monkeypatch.setattr(PatternFolder, "load", lambda _folder: pattern)
    monkeypatch.setattr(viewing, "entries_by_list", entries)
    asyncio.run(make_watcher(parts).refresh())
    assert parts.list_title("mw-8b") == "URLhaus (malware)"
    assert parts.list_title("gone-8b") == "gone-8b"
    assert threads
    assert threading.main_thread() not in threads, "a look for own entries may read a long file"


def test_the_rules_of_the_settings_stand_beside_those_of_the_ledger(parts, loads):
    asyncio.run(make_watcher(parts).refresh())
    assert [rule.subject for rule in parts.rulebook().rules] == ["bad.example"]


def test_what_is_confirmed_elsewhere_is_told_once(parts, loads):
    told = []

    async def scene():
        watcher = make_watcher(parts, on_confirmed=lambda: told.append(len(parts.view.current.confirmed)))
        await watcher.refresh()
        for _ in range(2):
            await parts.ledger.confirmed.add_many([(BAD, None, None)])
            await watcher.refresh()
        await parts.ledger.confirmed.add_many([(replace(BAD, identity=b"o" * 32, hit=b"o" * 32), None, None)])
        await watcher.refresh()

    asyncio.run(scene())
    assert told == [1, 2]
