"""The log as a file to keep."""

import json

import pytest

from review.stage import keep, make_event
from secondlook.core.event import EventKind


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_exports_hold_every_event_of_the_view_and_no_formula(client, ledger, form):
    keep(
        ledger,
        *[make_event(url=f"http://h.example/{number}", detail="=1+1") for number in range(2500)],
        make_event(EventKind.CHECK, decision="allow"),
    )
    answer = client.get(f"/log.{form}?decision=block")
    lines = answer.text.splitlines()
    assert len(lines) == 2500 + (form == "csv")
    assert "attachment" in answer.headers["content-disposition"]
    if form == "csv":
        assert ",=1+1" not in answer.text
    else:
        assert json.loads(lines[0])["url"] == "http://h.example/0"
