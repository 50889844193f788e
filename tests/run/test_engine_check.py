"""How `doctor` finds the engines."""

import asyncio
import json
import sys

import pytest

from scankit.clamd import Lies, LyingClamd
from secondlook.config.agent import Settings
from secondlook.run.diagnosis.engine_check import OLD_SIGNATURES_S, engines
from secondlook.scan.rule_set import engine_version

MADE_AT = 1767607200.0  # of the database that the daemon names


def look(settings, now=MADE_AT):
    async def all_of_them():
        return [
            (found.check.removeprefix("engine "), found.text, (found.result, found.remedy) == ("ok", None))
            async for found in engines(settings, now)
        ]

    return asyncio.run(all_of_them())


def settings(tmp_path, **scan):
    return Settings.model_validate({"state": tmp_path, "scan": scan})


@pytest.fixture
def liar():
    with LyingClamd() as daemon:
        yield daemon


def test_nothing_is_told_of_engines_that_nobody_set(tmp_path):
    assert look(settings(tmp_path)) == []


def test_the_engine_that_is_an_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yara_x", None)
    told = "not installed (the extra `yara`): its rules look into no file"
    assert look(settings(tmp_path)) == [("yara", told, True)]


def test_a_daemon_that_answers_and_one_that_is_away(tmp_path, liar):
    told = "ClamAV 1.4.3/27500/Mon Jan  5 10:00:00 2026"
    assert look(settings(tmp_path, clamd=liar.address)) == [("clamd", told, True)]
    away = str(tmp_path / "none")
    assert look(settings(tmp_path, clamd=away)) == [
        ("clamd", f"{away}: no connection (No such file or directory)", False)
    ]


@pytest.mark.parametrize(("age_s", "good"), [(OLD_SIGNATURES_S, True), (OLD_SIGNATURES_S + 1, False)])
def test_a_database_that_nobody_renews(tmp_path, liar, age_s, good):
    ((_, told, found),) = look(settings(tmp_path, clamd=liar.address), MADE_AT + age_s)
    assert found is good
    assert ("its database is 7 days old" in told) is not good


def test_a_daemon_without_a_date_is_none_the_worse(tmp_path, liar):
    liar.lies = Lies(version=b"ClamAV 1.4.3\0")
    assert look(settings(tmp_path, clamd=liar.address)) == [("clamd", "ClamAV 1.4.3", True)]


def test_rules(tmp_path):
    given = settings(tmp_path, yara={"rules": [tmp_path / "a.yar"]})
    assert look(given) == [("yara", "its rules are not compiled", False)]
    folder = tmp_path / "scan"
    folder.mkdir()
    told = {"engine": engine_version(), "file": "x", "version": "v", "count": 12, "compiled_at": 1.0}
    (folder / "rules.json").write_text(json.dumps(told))
    assert look(given) == [("yara", f"its compiled rules cannot be read: {folder / 'x'}", False)]
    (folder / "x").touch()
    assert look(given) == [("yara", "12 rules in force", True)]
    (folder / "refused.json").write_text(json.dumps({"error": "a.yar:1:2: wrong", "at": 1.0}))
    assert look(given) == [
        ("yara", "rules refused (the last good 12 stay in force): a.yar:1:2: wrong", False)
    ]
