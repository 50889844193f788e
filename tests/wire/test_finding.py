"""Reports of findings: read as written, refused with the place, within bounds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.verdict import Risk
from secondlook.wire.fault import BadRequest
from secondlook.wire.finding import (
    MAX_AGENT_CHARS,
    MAX_NAME_CHARS,
    MAX_SUBJECT_CHARS,
    MOST_FINDINGS,
    Finding,
    Outcome,
    Report,
    dump_outcomes,
    dump_report,
    read_outcomes,
    read_report,
)

FINDING = {"subject": "evil.example", "name": "Eicar", "engine": "clamav", "risk": "dangerous"}
printable = st.text(
    st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="\u00a0"), min_size=1
).filter(str.isprintable)
findings = st.builds(
    Finding,
    subject=printable.filter(lambda text: len(text) <= MAX_SUBJECT_CHARS),
    name=printable.filter(lambda text: len(text) <= MAX_NAME_CHARS),
    engine=printable.filter(lambda text: len(text) <= MAX_NAME_CHARS),
    risk=st.sampled_from([Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS]),
)


@given(st.builds(Report, st.just("desk"), st.lists(findings, min_size=1, max_size=5).map(tuple)))
def test_what_is_written_is_read(report):
    assert read_report(dump_report(report)) == report


def body(agent="desk", findings=None):
    return json.dumps({"agent": agent, "findings": [FINDING] if findings is None else findings}).encode()


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "JSON"),
        (b"\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"[]", "report: expected an object"),
        (b'{"agent": "desk"}', "agent, findings"),
        (body(findings=[]), f"1 to {MOST_FINDINGS}"),
        (body(findings={}), f"1 to {MOST_FINDINGS}"),
        (body(findings=[FINDING] * (MOST_FINDINGS + 1)), f"1 to {MOST_FINDINGS}"),
        (body(agent=""), "agent: expected 1 to"),
        (body(agent="x" * (MAX_AGENT_CHARS + 1)), "agent: expected 1 to"),
        (body(agent="two\nlines"), "agent: expected 1 to"),
        (body(agent=7), "agent: expected 1 to"),
        (body(findings=[FINDING, {**FINDING, "more": 1}]), "findings[1]: expected an object"),
        (body(findings=[{**FINDING, "risk": "safe"}]), "findings[0].risk: expected one of dangerous"),
        (body(findings=[{**FINDING, "risk": []}]), "findings[0].risk: expected one of dangerous"),
        (body(findings=[{**FINDING, "subject": "x" * (MAX_SUBJECT_CHARS + 1)}]), "findings[0].subject"),
        (body(findings=[{**FINDING, "name": "\x1b[31m"}]), "findings[0].name"),
        (body(findings=[{**FINDING, "engine": None}]), "findings[0].engine"),
    ],
)
def test_what_is_no_report_is_refused_with_the_place(raw, place):
    with pytest.raises(BadRequest) as refused:
        read_report(raw)
    assert place in str(refused.value)


def test_the_limits_themselves_are_allowed():
    most = {**FINDING, "subject": "x" * MAX_SUBJECT_CHARS, "name": "n" * MAX_NAME_CHARS}
    report = read_report(body(agent="a" * MAX_AGENT_CHARS, findings=[most] * MOST_FINDINGS))
    assert len(report.findings) == MOST_FINDINGS


def test_an_answer_is_read_as_written_and_fits_the_report():
    outcomes = [(Outcome.LISTED, None), (Outcome.REFUSED, "it is known to be good")]
    assert read_outcomes(dump_outcomes(outcomes), 2) == outcomes


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"outcomes": [{"outcome": "eaten", "reason": null}]}', dump_outcomes([])]
)
def test_what_is_no_answer_is_an_error(raw):
    with pytest.raises(ValueError):
        read_outcomes(raw, 1)
