"""Whose TLS stays closed: named hosts, and what is learned of a client, with an end."""

import pytest

from secondlook.proxy.access.passthrough import HostSet, Learner


@pytest.mark.parametrize("host", ["bank.test", "BANK.test.", "a.pinned.test", "a.b.pinned.test"])
def test_named_hosts_are_in_the_set(host):
    assert host in HostSet(["bank.test", "*.pinned.test"])


@pytest.mark.parametrize(
    "host", ["www.bank.test", "pinned.test", "notpinned.test", "bank.test.evil.test", "test", "", None, 7]
)
def test_no_other_host_is_in_the_set(host):
    assert host not in HostSet(["bank.test", "*.pinned.test"])


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_host_is_passed_through_after_enough_failures_of_one_client():
    learner = Learner(3, 60.0, 3600.0, Clock())
    assert learner.failed("a", "pinned.test") is None
    assert learner.failed("b", "pinned.test") is None
    assert learner.failed("a", "other.test") is None
    assert learner.failed("a", "pinned.test") is None
    assert learner.failed("a", "pinned.test") == 1000.0
    assert learner.failed("a", "pinned.test") is None, "when it ends, it has to be learned anew"


def test_failures_that_lie_apart_teach_nothing():
    clock = Clock()
    learner = Learner(3, 60.0, 3600.0, clock)
    for _ in range(10):
        assert learner.failed("a", "pinned.test") is None
        clock.now_s += 31.0
    clock.now_s -= 31.0
    assert learner.failed("a", "pinned.test") == clock.now_s


def test_one_failure_may_be_enough():
    assert Learner(1, 60.0, 3600.0, Clock()).failed("a", "pinned.test") == 1000.0
