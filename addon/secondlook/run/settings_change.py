"""What somebody typed into the forms of the settings page, as a change of the text of `proxy.yaml`."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from secondlook.config.agent import Settings
from secondlook.config.document import Key
from secondlook.config.edit import append_item, set_value, values_of
from secondlook.config.service import RULES
from secondlook.config.traffic import Group
from secondlook.config.value import parse_span
from secondlook.review.operations.refused import Refused

UNVERIFIABLE: Final = ("page", "subresource", "download", "malformed")
POLICY: Final = ("level", "block_untested", "mode")
FEED: Final = ("name", "url", "threat", "risk", "format", "every", "licence")
USUAL: Final = {"threat": "malware", "risk": "dangerous", "format": "auto", "every": "1h", "licence": ""}
_SEPARATED: Final = re.compile(r"[\s,]+")
_SWITCH: Final = {"true": True, "false": False}

type Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """A changed text, the place in it where faults are those of the form, and what it does in a sentence.

    `warning`: what follows of it that is not seen in the difference. `faults`: what is wrong in the form, by
    field; what else is wrong is found where the text is read.
    """

    text: str
    place: Key
    effect: str
    warning: str | None = None
    faults: Mapping[str, str] = field(default_factory=dict)


def change_of(kind: str, text: str, settings: Settings, values: Values) -> Change:
    """Make a change; `settings` are those of the text. Raises Refused and CannotEditError."""
    if kind not in CHANGES:
        raise Refused(f"change: expected one of {', '.join(CHANGES)}, got {kind[:80]!r}")
    change = CHANGES[kind](text, settings, {name: value.strip() for name, value in values.items()})
    if change.text == text:
        raise Refused("nothing to change: the file has these values already")
    return change


def _feed_faults(values: Values, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield which fields of a feed are wrong, and why."""
    if not values.get("name"):
        yield "name", "expected a name of the feed"
    if any(each.name == values.get("name") for each in settings.feeds):
        yield "name", "a feed of this name is there already"
    if not values.get("url", "").lower().startswith(("http://", "https://")):
        yield "url", "expected an address that begins with http:// or https://"
    try:
        parse_span(values.get("every") or USUAL["every"])
    except ValueError as error:
        yield "every", f"{error}, got {values['every'][:80]!r}"


def feed_of(values: Values) -> dict[str, object]:
    """Return a feed as it is written into the file: what is usual is left out."""
    given = ((name, values.get(name, "")) for name in FEED if values.get(name, "") != USUAL.get(name))
    return {name: literal(value) for name, value in given if value or name == "name"}


def literal(text: str) -> str:
    """Return a text that is read from the file as it was typed: nothing of the environment comes into it."""
    return text.replace("$", "$$")


def _add_feed(text: str, settings: Settings, values: Values) -> Change:
    changed = append_item(text, ("feeds",), feed_of(values))
    effect = f"adds the feed {values.get('name', '')}"
    faults = dict(_feed_faults(values, settings))
    return Change(changed, ("feeds", len(settings.feeds)), effect, faults=faults)


def _switch_feed(text: str, settings: Settings, values: Values) -> Change:
    name = values.get("name", "")
    at = next((at for at, feed in enumerate(settings.feeds) if feed.name == name), None)
    if at is None:
        raise Refused(f"there is no feed {name[:80]!r}")
    on = _one_of("enabled", values, _SWITCH)
    if on == settings.feeds[at].enabled:
        return Change(text, ("feeds", at), "")
    changed = set_value(text, ("feeds", at, "enabled"), on)
    effect = f"switches the feed {name} {'on' if on else 'off'}"
    return Change(changed, ("feeds", at), effect, None if on else _end_of(settings, at))


def _end_of(settings: Settings, at: int) -> str:
    """Return what becomes of what a feed brought, once it is switched off."""
    feed = settings.feeds[at]
    if feed.guard:
        return "No list is kept from naming its hosts any more."
    if feed.format == RULES:
        return "Its rules are no longer looked for in downloads."
    what = (
        "It is fetched no more. What it brought is out of force within moments, and kept: switched on again, "
        "the feed is in force again at once."
    )
    others = (each for each in settings.feeds if each.enabled and each is not feed)
    if any(each.builtin is None and not each.guard and each.format != RULES for each in others):
        return what
    return f"{what} {_none_left(settings)}"


def _none_left(settings: Settings) -> str:
    servers = settings.servers
    if servers.intranet or servers.network:
        return "It is the last feed: only the other servers, and your own rules and entries, protect then."
    return "It is the last feed: nothing but your own rules and entries protects then."


def _policy(text: str, settings: Settings, values: Values) -> Change:
    policy, changes = settings.policy, []
    wanted: dict[Key, tuple[object, object]] = {}
    for name in POLICY:
        if name in values:
            chosen = _SWITCH.get(values[name], values[name]) if name == "block_untested" else values[name]
            wanted["policy", name] = getattr(policy, name), chosen
    for name in UNVERIFIABLE:
        if name in values:
            wanted["policy", "unverifiable", name] = getattr(policy.unverifiable, name), values[name]
    for key, (now, then) in wanted.items():
        if now != then:
            text = set_value(text, key, then)
            changes.append(f"{'.'.join(map(str, key))} from {_written(now)} to {_written(then)}")
    return Change(text, ("policy",), f"changes {', '.join(changes)}")


def _written(value: object) -> str:
    return str(value).lower()[:80]


def _add_group(text: str, settings: Settings, values: Values) -> Change:
    groups = settings.clients.groups if settings.clients is not None else ()
    name = values.get("name", "")
    faults: dict[str, str] = {}
    if not name:
        faults["name"] = "expected a name of the group"
    if any(group.name == name for group in groups):
        faults["name"] = "a group of this name is there already"
    group: dict[str, object] = {"name": literal(name)}
    for member in ("networks", "users"):
        if names := _names(values.get(member, "")):
            group[member] = [literal(each) for each in names]
    if len(group) == 1:
        faults["networks"] = "expected addresses, networks or users: an empty group does nothing"
    if policy := _group_policy(values):
        group["policy"] = policy
    changed = append_item(text, ("clients", "groups"), group)
    return Change(changed, ("clients", "groups", len(groups)), f"adds the group {name}", faults=faults)


def _group_policy(values: Values) -> dict[str, object]:
    policy: dict[str, object] = {"level": values["level"]} if values.get("level") else {}
    if unverifiable := {name: values[name] for name in UNVERIFIABLE if values.get(name)}:
        policy["unverifiable"] = unverifiable
    return policy


def _group(text: str, settings: Settings, values: Values) -> Change:
    groups = settings.clients.groups if settings.clients is not None else ()
    name = values.get("name", "")
    at = next((at for at, group in enumerate(groups) if group.name == name), None)
    if at is None:
        raise Refused(f"there is no group {name[:80]!r}")
    place: Key = ("clients", "groups", at)
    for key, value in _of_group(groups[at], values):
        if value is not None or _is_set(text, (*place, *key)):
            text = set_value(text, (*place, *key), value)
    return Change(text, place, f"changes the group {name}")


def _of_group(group: Group, values: Values) -> Iterator[tuple[Key, object]]:
    """Yield what differs; None: nothing of its own, as for everybody."""
    for member in ("networks", "users"):
        if member in values:
            names = _names(values[member])
            if names != [str(each) for each in getattr(group, member)]:
                yield (member,), [literal(each) for each in names]
    if "level" in values and (values["level"] or None) != group.policy.level:
        yield ("policy", "level"), values["level"] or None
    for name in UNVERIFIABLE:
        own: Mapping[str, str] = group.policy.unverifiable  # type: ignore[assignment]
        if name in values and (values[name] or None) != own.get(name):
            yield ("policy", "unverifiable", name), values[name] or None


def _is_set(text: str, key: Key) -> bool:
    node: Any = values_of(text)
    try:
        for part in key:
            node = node[part]
    except (LookupError, TypeError):
        return False
    return True


def _names(text: str) -> list[str]:
    return [name for name in _SEPARATED.split(text) if name]


def _one_of(field: str, values: Values, choices: Mapping[str, bool]) -> bool:
    if (value := values.get(field, "")) not in choices:
        raise Refused(f"{field}: expected {' or '.join(choices)}, got {value[:80]!r}")
    return choices[value]


CHANGES: Final[Mapping[str, Callable[[str, Settings, Values], Change]]] = {
    "add-feed": _add_feed,
    "switch-feed": _switch_feed,
    "policy": _policy,
    "add-group": _add_group,
    "group": _group,
}
