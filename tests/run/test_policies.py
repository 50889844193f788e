"""From settings to policies and rules."""

import pytest

from secondlook.config.agent import Settings
from secondlook.core.rules.policy import Level, Mode
from secondlook.core.verdict import Action, SubjectClass
from secondlook.ground.errors import ConfigError
from secondlook.run.assembly.check.policies import config_rules, policies_of

GROUPS = {
    "policy": {"level": "low", "unverifiable": {"download": "block"}},
    "clients": {
        "networks": ["10.0.0.0/8"],
        "users": {"anna": "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"},
        "groups": [
            {
                "name": "children",
                "networks": ["10.7.0.0/16", "10.8.0.0/16"],
                "users": ["anna"],
                "policy": {"level": "high", "mode": "assess"},
                "rules": {"allow": ["school.example"], "block": ["http://games.example/"]},
            }
        ],
    },
}


def test_a_group_has_its_own_policy():
    policies = policies_of(Settings.model_validate(GROUPS))
    child = policies.of("10.7.1.1", None)
    assert (child.level, child.mode) == (Level.HIGH, Mode.ASSESS)
    assert child.unverifiable[SubjectClass.DOWNLOAD] is Action.BLOCK
    assert policies.of("10.9.1.1", None).level is Level.LOW
    assert policies.of("10.9.1.1", "anna").level is Level.HIGH


def test_rules_of_a_group_are_for_its_networks_and_users():
    rules = config_rules(Settings.model_validate(GROUPS), 5.0)
    assert {(rule.action, rule.subject, rule.client) for rule in rules} == {
        (action, subject, client)
        for action, subject in (("allow", "school.example"), ("block", "http://games.example/"))
        for client in ("10.7.0.0/16", "10.8.0.0/16", "anna")
    }
    assert len({rule.id for rule in rules}) == 6
    assert {rule.source for rule in rules} == {"config"}
    assert config_rules(Settings.model_validate(GROUPS), 9.0)[0].id == rules[0].id


def test_a_bad_rule_is_a_fault_of_the_configuration():
    settings = Settings.model_validate(
        {
            "clients": {
                "networks": ["10.0.0.0/8"],
                "groups": [{"name": "g", "rules": {"block": ["*.x.example"]}}],
            }
        }
    )
    with pytest.raises(ConfigError, match=r"clients\.groups\.0\.rules\.block\.0: "):
        config_rules(settings, 0.0)
