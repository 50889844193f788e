"""From the settings to policies, groups and the rules that the configuration itself makes."""

import hashlib
from collections.abc import Iterator

from secondlook.agent.check.groups import ClientGroup, Policies
from secondlook.config.agent import Settings
from secondlook.config.query import PolicySettings
from secondlook.config.traffic import Group
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Rule
from secondlook.core.rules.subject import RuleSubjectError, parse_subject
from secondlook.core.verdict import Action, SubjectClass
from secondlook.ground.errors import ConfigError
from secondlook.suffix import load_suffixes


def policy_of(settings: PolicySettings) -> Policy:
    """Make the policy of one section."""
    override = settings.override
    return Policy(
        level=Level(settings.level),
        block_untested=settings.block_untested,
        unverifiable={cls: Action(settings.unverifiable.of(cls)) for cls in SubjectClass},
        mode=Mode(settings.mode),
        override_s=override.duration if override.enabled else None,
        unopened_s=override.duration if override.enabled and override.unopened else None,
    )


def policies_of(settings: Settings) -> Policies:
    """Make the common policy and those of the groups."""
    groups = settings.clients.groups if settings.clients is not None else ()
    return Policies(
        policy_of(settings.policy),
        [
            ClientGroup(
                group.name, group.networks, group.users, policy_of(group.policy.over(settings.policy))
            )
            for group in groups
        ],
    )


def config_rules(settings: Settings, now: float) -> tuple[Rule, ...]:
    """Make the rules written into `clients.groups`, one for each network and user. Raises ConfigError."""
    groups = settings.clients.groups if settings.clients is not None else ()
    return tuple(rule for index, group in enumerate(groups) for rule in _rules_of(group, index, now))


def _rules_of(group: Group, index: int, now: float) -> Iterator[Rule]:
    for action, subjects in (("allow", group.rules.allow), ("block", group.rules.block)):
        for position, text in enumerate(subjects):
            try:
                scope, subject = parse_subject(text, load_suffixes())
            except RuleSubjectError as error:
                raise ConfigError(f"clients.groups.{index}.rules.{action}.{position}: {error}") from None
            for client in (*group.networks, *group.users):
                meant = f"{action} {scope.value} {subject} {client}".encode()
                yield Rule(
                    id="config-" + hashlib.sha256(meant).hexdigest()[:20],
                    action="allow" if action == "allow" else "block",
                    scope=scope,
                    subject=subject,
                    client=client,
                    reason=f"group {group.name}",
                    created=now,
                    expires=None,
                    source="config",
                )
