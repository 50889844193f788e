"""Whose policy holds for a client, and who is paused."""

import pytest

from secondlook.agent.check import groups
from secondlook.agent.check.groups import ClientGroup, Policies, pause_for
from secondlook.core.rules.policy import Level, Policy
from secondlook.core.rules.rule import Pause
from secondlook.core.verdict import Risk

COMMON, LAB, ANNA, OFFICE = (
    Policy(level=level) for level in (Level.MEDIUM, Level.LOW, Level.HIGH, Level.LOW)
)
POLICIES = Policies(
    COMMON,
    [
        ClientGroup("lab", ("10.1.0.0/16",), (), LAB),
        ClientGroup("anna", ("192.0.2.9",), ("anna",), ANNA),
        ClientGroup("office", ("10.0.0.0/8",), (), OFFICE),
    ],
)


@pytest.mark.parametrize(
    ("client", "user", "policy"),
    [
        ("10.1.2.3", None, LAB),
        ("10.1.2.3", "anna", ANNA),
        ("10.1.2.3", "bob", LAB),
        ("10.2.2.3", None, OFFICE),
        ("192.0.2.9", None, ANNA),
        ("192.0.2.10", None, COMMON),
        (None, "anna", ANNA),
        (None, None, COMMON),
    ],
)
def test_a_users_group_first_then_the_first_that_holds_the_address(client, user, policy):
    for _ in range(2):  # found, then remembered
        assert POLICIES.of(client, user) is policy


def test_without_groups_everybody_has_the_common_policy():
    assert Policies(COMMON).of("10.1.2.3", "anna") is COMMON
    assert (Policies(COMMON).grouped, POLICIES.grouped) == (False, True)


def test_who_is_kept_from_less_than_others():
    found = [
        POLICIES.others_are_stricter(*who)
        for who in (("10.1.2.3", None), ("10.1.2.3", "anna"), ("192.0.2.1", None), (None, None))
    ]
    assert found == [True, False, True, True]
    assert not Policies(COMMON).others_are_stricter("10.1.2.3", None)


@pytest.mark.parametrize("client", ["10.1.2.3", None])
def test_a_user_who_is_not_known_may_be_one_that_a_group_names(client):
    assert POLICIES.may_block(Risk.SUSPICIOUS, client)


@pytest.mark.parametrize(("client", "may"), [("10.1.2.3", True), ("10.2.2.3", False), (None, True)])
def test_a_client_without_a_user_has_the_policy_of_its_address(client, may):
    policies = Policies(COMMON, [ClientGroup("children", ("10.1.0.0/16",), (), ANNA)])
    assert policies.may_block(Risk.SUSPICIOUS, client) == may


def test_what_is_remembered_of_clients_is_bounded(monkeypatch):
    monkeypatch.setattr(groups, "_MOST_KNOWN_CLIENTS", 10)
    policies = Policies(COMMON, [ClientGroup("lab", ("10.1.0.0/16",), (), LAB)])
    for number in range(100):
        assert policies.of(f"10.1.0.{number}", None) is LAB
        assert len(policies._known) <= 10


def pause(name="p", client=None, created=100.0, until=200.0):
    return Pause(id=name, client=client, created=created, until=until)


@pytest.mark.parametrize(("now", "paused"), [(99.9, False), (100.0, True), (199.9, True), (200.0, False)])
def test_a_pause_begins_and_ends_by_itself(now, paused):
    assert (pause_for([pause()], "10.1.2.3", None, now) is not None) == paused


def test_a_pause_for_one_client_is_for_that_one():
    for name, client, user in (
        ("10.1.2.3", "10.1.2.3", None),
        ("10.1.0.0/16", "10.1.2.3", None),
        ("anna", "10.9.9.9", "anna"),
    ):
        assert pause_for([pause(client=name)], client, user, 150.0) is not None
        assert pause_for([pause(client=name)], "192.0.2.1", "bob", 150.0) is None


def test_of_several_the_longest_is_shown():
    pauses = [pause("short", until=160.0), pause("long", until=300.0), pause("over", until=120.0)]
    for order in (pauses, pauses[::-1]):
        assert pause_for(order, None, None, 150.0).id == "long"
