"""Clients of proxy.yaml: what people call them."""

import pytest

from secondlook.config.document import InvalidConfigError
from secondlook.config.source import load_settings
from secondlook.config.traffic import GroupPolicy


def settings(*overrides):
    return load_settings(None, overrides=["state=/s", *overrides])


def test_a_client_is_named_by_its_address_in_any_form_or_as_a_user():
    clients = settings('clients={names: {10.0.0.7: tablet, "FD00:0::7": phone, ada: Ada}}').clients
    assert clients.called == {"10.0.0.7": "tablet", "fd00::7": "phone", "ada": "Ada"}
    assert settings("clients={}").clients.called == {}


@pytest.mark.parametrize(
    ("names", "told"), [("{10.0.0.0/8: x}", "one client or a user"), ('{ada: ""}', "names")]
)
def test_a_name_is_of_one_client_and_not_empty(names, told):
    with pytest.raises(InvalidConfigError, match=told):
        settings(f"clients={{names: {names}}}")


def test_what_a_group_gives_up_of_its_own_is_as_for_everybody():
    policy = GroupPolicy.model_validate({"unverifiable": {"download": None, "page": "block"}})
    assert policy.unverifiable == {"page": "block"}
