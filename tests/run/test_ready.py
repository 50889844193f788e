"""When `/healthz` says that a process cannot protect, and why."""

from types import SimpleNamespace

import pytest

from agentkit.house import make_pattern
from secondlook.core.lists.pattern import Pattern
from secondlook.run.assembly.monitoring.ready import why_not_ready

LISTS = make_pattern([bytes(32)], now=0.0)


def told(
    *, takes_flags: bool = True, has_read: bool = True, pattern: Pattern = LISTS, states: tuple[str, ...] = ()
) -> str | None:
    parts = SimpleNamespace(
        ledger=SimpleNamespace(flags=SimpleNamespace(takes_flags=takes_flags)),
        lookup=SimpleNamespace(status=lambda: [SimpleNamespace(state=state) for state in states]),
        view=SimpleNamespace(current=SimpleNamespace(pattern=pattern)),
    )
    return why_not_ready(parts, SimpleNamespace(has_read=has_read))


def test_a_proxy_that_can_keep_flags_and_has_read_rules_is_ready():
    assert told() is None
    assert told(states=("open", "half_open", "away")) is None  # it judges by its lists, and flags are kept


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"takes_flags": False}, "cannot be written down"),
        ({"has_read": False}, "rules could not be read"),
        (
            {"pattern": Pattern(()), "states": ("open", "half_open", "away")},
            "no lists, and no server answers",
        ),
    ],
)
def test_what_keeps_it_from_protecting_is_told(facts, why):
    assert why in told(**facts)


@pytest.mark.parametrize("states", [(), ("closed",), ("open", "closed"), ("slowed",)])
def test_without_lists_a_server_that_may_answer_is_enough_and_rules_alone_may_be_meant(states):
    assert told(pattern=Pattern(()), states=states) is None
