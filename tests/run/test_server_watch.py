"""Looks at servers: who answers, who is away, and who is left out."""

import pytest

from secondlook.core.answer import Tier
from secondlook.lookup.tiered import MemberStatus
from secondlook.run.assembly.background.server_watch import count_looks, misfits


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


@pytest.mark.parametrize(
    ("state", "problem", "lost", "way_out"),
    [
        ("open", "certificate not trusted: self-signed certificate", None, "the file of its `ca`"),
        ("away", "certificate not trusted: self-signed certificate", None, "the file of its `ca`"),
        ("closed", "status 401", None, "its token or key"),
        ("open", "status 401", "timeout", None),  # what it failed with before is not why it fails now
        ("open", None, "timeout", None),  # nobody here can mend that
        ("closed", None, None, None),
    ],
)
def test_what_does_not_fit_is_told_with_the_way_out(state, problem, lost, way_out):
    told = misfits([MemberStatus("near", Tier.INTRANET, state, None, True, problem, lost or problem)])
    if way_out is None:
        assert told == {}
        return
    assert told["near"].startswith(f"the running processes cannot use near: {problem}; ")
    assert way_out in told["near"]
    assert "secondlook reload`" in told["near"]
