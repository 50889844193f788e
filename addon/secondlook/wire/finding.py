"""Findings: what one agent found out about a file or a URL, reported to its own server.

A report is a JSON object, with the name that the agent gives itself:

    {"agent": "desk-7", "findings": [
        {"subject": "…64 hex digits…", "name": "Eicar-Test", "engine": "clamav", "risk": "dangerous"}]}

A subject is a host, a URL prefix, a URL, or the digest of a file: never content, and never where a file was.
The answer has an `outcomes` list, in the order of the findings.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from secondlook.core.lists.name import RISKS
from secondlook.core.verdict import Risk
from secondlook.ground.json_text import read_json
from secondlook.wire.fault import BadRequest

MOST_FINDINGS: Final = 100  # in one report
MAX_REPORT_BYTES: Final = 256 << 10
MAX_SUBJECT_CHARS: Final = 2048
MAX_NAME_CHARS: Final = 200
MAX_AGENT_CHARS: Final = 100


class Outcome(StrEnum):
    """What a server did with a finding."""

    LISTED = "listed"  # in force with the next generation
    WAITING = "waiting"  # until somebody approves it
    KNOWN = "known"  # listed already, or waiting already
    REFUSED = "refused"  # it is known to be good, excepted, or withdrawn once


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding; `name` is the engine's for it, or the operator's reason."""

    subject: str
    name: str
    engine: str
    risk: Risk = Risk.DANGEROUS


@dataclass(frozen=True, slots=True)
class Report:
    """The findings of one agent."""

    agent: str
    findings: tuple[Finding, ...]


def dump_report(report: Report) -> bytes:
    """Return the body of a request."""
    findings = [
        {"subject": each.subject, "name": each.name, "engine": each.engine, "risk": each.risk.value}
        for each in report.findings
    ]
    return json.dumps({"agent": report.agent, "findings": findings}).encode()


def read_report(body: bytes) -> Report:
    """Read the body of a request; raises BadRequest, which names the place."""
    try:
        raw: Any = read_json(body)
    except ValueError as error:
        raise BadRequest("a report is a JSON object in UTF-8") from error
    fields = _fields(raw, "report", {"agent", "findings"})
    findings = fields["findings"]
    if not isinstance(findings, list) or not 0 < len(findings) <= MOST_FINDINGS:
        raise BadRequest(f"findings: expected a list of 1 to {MOST_FINDINGS}")
    return Report(
        _text(fields, "agent", "agent", MAX_AGENT_CHARS),
        tuple(_finding(each, f"findings[{at}]") for at, each in enumerate(findings)),
    )


def _finding(raw: Any, place: str) -> Finding:
    fields = _fields(raw, place, {"subject", "name", "engine", "risk"})
    risk = fields["risk"]
    if risk not in _RISKS:
        raise BadRequest(f"{place}.risk: expected one of {', '.join(_RISKS)}")
    return Finding(
        subject=_text(fields, "subject", f"{place}.subject", MAX_SUBJECT_CHARS),
        name=_text(fields, "name", f"{place}.name", MAX_NAME_CHARS),
        engine=_text(fields, "engine", f"{place}.engine", MAX_NAME_CHARS),
        risk=Risk(risk),
    )


_RISKS: Final = tuple(risk.value for risk in RISKS.values())


def _fields(raw: Any, place: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(raw, dict) or raw.keys() != names:
        raise BadRequest(f"{place}: expected an object with {', '.join(sorted(names))}")
    return raw


def _text(fields: dict[str, Any], name: str, place: str, most: int) -> str:
    text = fields[name]
    if not isinstance(text, str) or not 0 < len(text) <= most or not text.isprintable():
        raise BadRequest(f"{place}: expected 1 to {most} printable characters")
    return text


def dump_outcomes(outcomes: Sequence[tuple[Outcome, str | None]]) -> bytes:
    """Return the body of an answer: what was done with each finding, and why."""
    return json.dumps(
        {"outcomes": [{"outcome": outcome.value, "reason": reason} for outcome, reason in outcomes]}
    ).encode()


def read_outcomes(body: bytes, count: int) -> list[tuple[Outcome, str | None]]:
    """Read the answer to a report of `count` findings; raises ValueError for one that does not fit."""
    raw: Any = read_json(body)
    try:
        outcomes = [(Outcome(each["outcome"]), each["reason"]) for each in raw["outcomes"]]
    except (KeyError, TypeError) as error:
        raise ValueError("not an answer to a report") from error
    if len(outcomes) != count:
        raise ValueError(f"{len(outcomes)} outcomes for {count} findings")
    return outcomes
