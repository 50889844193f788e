"""Looks at servers: who answers, who is away, and who is left out."""

import pytest

from secondlook.core.answer import Tier
from secondlook.lookup.tiered import MemberStatus
from secondlook.run.assembly.background.server_watch import count_looks


class FakeCounts:
    def __init__(self):
        self.looks = []

    def look(self, server, *, answered):
        self.looks.append((server, answered))


@pytest.mark.parametrize(
    ("state", "answered", "problem", "looks"),
    [
        ("closed", True, None, [("near", True)]),
        ("slowed", True, "asked to wait", [("near", True)]),
        ("open", True, "refused", [("near", False)]),
        ("open", False, "refused", [("near", False)]),
        ("half_open", True, "refused", [("near", False)]),
        ("open", False, None, [("near", False)]),  # it never answered, and is what somebody looks for
        ("half_open", False, None, [("near", False)]),
        ("closed", False, None, []),  # nobody asked it yet
        ("away", True, None, []),  # not asked from here
    ],
)
def test_a_look(state, answered, problem, looks):
    counts = FakeCounts()
    count_looks([MemberStatus("near", Tier.INTRANET, state, None, answered, problem)], counts)
    assert counts.looks == looks
