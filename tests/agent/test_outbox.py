"""The outbox: every finding is kept until it was reported, within bounds."""

import pytest

from secondlook.agent.actions import outbox
from secondlook.agent.actions.outbox import Outbox, finding_of
from secondlook.core.verdict import Risk
from secondlook.wire.finding import (
    MAX_NAME_CHARS,
    MAX_SUBJECT_CHARS,
    MOST_FINDINGS,
    Report,
    dump_report,
    read_report,
)


@pytest.fixture
def box(tmp_path):
    return Outbox(tmp_path)


def finding(subject="evil.example", **named):
    return finding_of(subject, **{"name": "Eicar", "engine": "clamav", **named})


def test_what_is_put_waits_until_it_is_dropped(box, tmp_path):
    assert box.waiting() == {}
    assert box.put(finding(risk=Risk.SUSPICIOUS))
    waiting = Outbox(tmp_path).waiting()
    assert list(waiting.values()) == [finding(risk=Risk.SUSPICIOUS)]
    (path,) = waiting
    assert path.stat().st_mode & 0o777 == 0o600
    box.drop(waiting)
    box.drop(waiting)
    assert box.waiting() == {}


def test_the_same_subject_waits_once(box):
    box.put(finding())
    box.put(finding(name="Worse"))
    assert [each.name for each in box.waiting().values()] == ["Worse"]


def test_what_waits_is_bounded_and_a_report_holds_it(box, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_WAITING", MOST_FINDINGS + 5)
    taken = [box.put(finding(f"evil{at}.example")) for at in range(MOST_FINDINGS + 7)]
    assert taken == [True] * (MOST_FINDINGS + 5) + [False] * 2
    assert box.put(finding("evil1.example", name="again"))
    report = Report("desk", tuple(box.waiting().values()))
    assert len(report.findings) == MOST_FINDINGS
    assert read_report(dump_report(report)) == report


def test_a_subject_that_no_report_holds_is_not_kept(box):
    assert box.put(finding("x" * MAX_SUBJECT_CHARS))
    assert not box.put(finding("x" * (MAX_SUBJECT_CHARS + 1)))


def test_a_damaged_file_goes_and_the_others_stay(box, tmp_path):
    box.put(finding())
    for name, content in (
        ("a", b"{"),
        ("b", b"[]"),
        ("c", b'{"risk": "none"}'),
        ("d", b'{"risk": "dangerous"}'),
    ):
        (tmp_path / outbox.FOLDER / f"{name}.json").write_bytes(content)
    assert list(box.waiting().values()) == [finding()]
    assert len(list((tmp_path / outbox.FOLDER).iterdir())) == 1


@pytest.mark.parametrize("name", ["\x1b[31mred", "", "n" * (MAX_NAME_CHARS + 1)])
def test_any_name_becomes_one_that_a_report_holds(name):
    report = Report("desk", (finding(name=name),))
    assert read_report(dump_report(report)) == report
