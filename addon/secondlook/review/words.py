"""Words for people: the template filters, and the sentences that explain an event.

Every filter takes what the contract's JSON holds (`log --json`, `queue list --json`); hostile text is made
harmless where it is put into a template (render.py), and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secondlook.core.display import as_sentence, readable, server_change, size_text
from secondlook.core.event import EventKind
from secondlook.core.rules.subject import subject_of
from secondlook.core.verdict import Action, Stage

type Json = Mapping[str, Any]

NO_TITLES: Mapping[str, str] = {}
NO_NAMES: Mapping[str, str] = {}

PLAIN = {
    "block": "blocked",
    "flag": "flagged",
    "allow": "allowed",
    "late_verdict": "late verdict",
    "would_block": "would block",
    "known_good": "known good",
    "not_listed": "not listed",
    "social_engineering": "phishing or deception",
    "unwanted_software": "unwanted software",
    "potentially_harmful_application": "a potentially harmful application",
    "highly_suspicious": "highly suspicious",
    "rules": "your rules",
    "cache": "cached answer",
    "query": "server query",
    "unverifiable": "could not be checked",
    "malformed": "malformed address",
    "access": "closed address",
    "subresource": "part of a page",
}

SCOPES = {
    "sha256": "this file",
    "url": "this address",
    "prefix": "everything below it",
    "host": "this host alone",
    "domain": "host and its subdomains",
    "regex": "what it matches",
}

OF_OURS = frozenset({EventKind.UPDATE, EventKind.SERVER})
"""Events about our own lists and servers, not about what somebody asked for."""

SENTENCES = {
    "rules": "One of your own rules decided{rule}.",
    "confirmed": "A second look found it to be {threat}; it has been blocked since.",
    "pattern": "It stands on the list {list}, which names suspected {threat}.",
    "known_good": "It stands on the known-good list {list}.",
    "cache": "A server answered about it a short while ago: {outcome}.",
    "scan": "A look into the file ({list}) found {signature}.",
    "query": "{server} was asked: {outcome}.",
    "unverifiable": "No server answered in time, so it {done} and queued for a second look.",
    "malformed": "The address is malformed ({detail}); no honest page needs that.",
    "access": "This address is closed to clients of the proxy.",
    "paused": "Protection was paused.",
    "ledger": "It could not be verified, and nothing could store a note to look again: it was refused.",
}
NOT_LISTED = "It stands on no list: the local ones hold all that the server has."
"""Of the pattern too, where that has answered in place of a query."""
UNTESTED = frozenset({Stage.PATTERN, Stage.CACHE, Stage.QUERY})
"""The stages that refuse what no list knows, where the policy wants that."""


LOST = {
    "refused": "no connection can be made: it does not run, or cannot be reached",
    "timeout": "no answer in time",
    "name not found": "its name is not found in DNS",
    "TLS failed": "no secure connection can be made",
}
"""Why a request to a server failed, in plain words; what is not here is plain enough."""


def lost_text(outcome: str | None) -> str | None:
    """Return why a server does not answer."""
    return None if outcome is None else LOST.get(outcome, outcome)


def plain(value: object) -> str:
    """Return a stored value in plain words."""
    text = str(value or "")
    return PLAIN.get(text, text.replace("_", " "))


def utc(value: object) -> str:
    """Return an RFC 3339 time for readers without JavaScript."""
    text = str(value or "")
    return f"{text[:10]} {text[11:19]} UTC" if len(text) >= len("2026-01-01T00:00:00") else text


def shorten(text: object, limit: int) -> str:
    """Cut a text in the middle, so that both host and file name stay readable."""
    shown = str(text or "")
    if len(shown) <= limit:
        return shown
    head = limit * 2 // 3
    return f"{shown[:head]}…{shown[head + 1 - limit :]}"


def size(value: float | None) -> str:
    """Return a number of bytes in words."""
    return "" if value is None else size_text(value)


def subject(record: Json) -> str:
    """Name what a record is about."""
    keys = ("list", "server") if record.get("kind") in OF_OURS else ("filename", "url", "host", "sha256")
    for key in keys:
        if record.get(key):
            return str(record[key])
    return str(record.get("detail") or "(not kept: privacy level)")


@dataclass(frozen=True, slots=True)
class Address:
    """What a record is about, for a row: the host stands first, what is beside https and a path in `note`."""

    host: str
    path: str = ""
    note: str = ""
    letters: str = ""  # an international host as its people write it


def address(record: Json) -> Address:
    """Take the address of a record apart; what has none is named as elsewhere."""
    url, host, name = (str(record.get(key) or "") for key in ("url", "host", "filename"))
    if record.get("kind") in OF_OURS or not (url or host):
        return Address(subject(record))
    scheme, _, rest = url.partition("://")
    found, slash, path = rest.partition("/") if rest else (host, "", "")
    found = found.rpartition("@")[2]
    notes = [
        scheme if url and scheme != "https" else "",
        name if name and name not in path else "file" if record.get("subject") == "file" else "",
    ]
    return Address(found or subject(record), slash + path, ", ".join(filter(None, notes)), readable(found))


def rule_text(record: Json) -> str:
    """Name the rule that decided, as `block example.org`; empty where none did."""
    steps = record.get("stages") or (record.get("extra") or {}).get("steps") or ()
    for step in steps:
        if (step.get("stage"), step.get("outcome")) == ("rules", "hit"):
            action, _, rest = str(step.get("detail") or "").partition(" ")
            return f"{action} {rest.partition(' ')[2]}"
    return ""


def list_title(event: Json, titles: Mapping[str, str]) -> str:
    """Return what people call the list of an event; empty where there is none."""
    name = str(event.get("list") or "")
    return titles.get(list_of(name, event.get("server"))) or titles.get(name, name)


def list_of(name: str, server: object) -> str:
    """Name a list of one server: others may have one of that name."""
    return f"{name} of {server}"


def why(event: Json, titles: Mapping[str, str] = NO_TITLES) -> str:
    """Return in a few words why an event came to be; `titles` are people's words for lists."""
    stage, threat = event.get("stage"), event.get("threat")
    sources = [list_title(event, titles), rule_text(event), event.get("server")]
    sources = [source for source in sources if source]
    if event.get("kind") in OF_OURS:
        sources = sources[1:]  # the first is the subject
    where = shorten(sources[0], 60) if sources else ""
    detail = detail_of(event)
    parts = [
        plain(threat) if threat else "",
        plain(stage) if stage else shorten(detail if detail != subject(event) else "", 120),
    ]
    text = " · ".join(part for part in parts if part)
    if not text or not where:
        return text or where
    return f"{text}: {where}" if where.endswith(")") else f"{text} ({where})"


def detail_of(event: Json) -> str:
    """Return the detail of an event; of one about a server, what became of it in plain words."""
    detail = str(event.get("detail") or "")
    return server_change(detail) if event.get("kind") == EventKind.SERVER else detail


def headline(event: Json) -> str:
    """Return what happened to what, as a title."""
    done = plain(event.get("decision") or event.get("kind"))
    return f"{done[:1].upper()}{done[1:]}: {shorten(subject(event), 200)}"


def scope(value: object) -> str:
    """Return how far a rule reaches, in words."""
    return SCOPES.get(str(value), str(value))


def sentence(event: Json, *, asked: bool = False, titles: Mapping[str, str] = NO_TITLES) -> str:
    """Explain a decision in one or two sentences; `asked`: somebody only wanted to know."""
    verdict, rule = event.get("verdict"), rule_text(event)
    refused = event.get("decision") == "block"
    if asked:
        done = "would be refused" if refused else "would be let through"
    else:
        done = "was refused" if refused else "was let through"
    listed = verdict in ("malicious", "suspicious")
    words = {
        "rule": f": {shorten(rule, 120)}" if rule else "",
        "signature": shorten(event.get("rule") or "something", 120),
        "threat": plain(event.get("threat") or "a threat"),
        "list": shorten(list_title(event, titles) or "?", 80),
        "server": shorten(event.get("server") or "A server", 80),
        "outcome": f"listed as {plain(event.get('threat') or 'a threat')}"
        if listed
        else "nothing is known against it",
        "done": done,
        "detail": shorten(detail_of(event) or "no reason given", 200),
    }
    made = event.get("kind") == EventKind.OVERRIDDEN  # and the rest is what was known of the block
    stage = str(event.get("stage"))
    template = "{detail}" if made else SENTENCES.get(stage, "{detail}")
    if verdict == "unknown" and stage in UNTESTED and not made:
        template = NOT_LISTED if stage == Stage.PATTERN else template
        template += " What no list knows is blocked here." if refused else ""
    return as_sentence(template.format(**words))


REPORTED = (("file", "filename"), ("SHA-256", "sha256"), ("size in bytes", "size"), ("signature", "rule"))
"""What is shown of a file that is taken for bad, beside its address."""


def report(event: Json) -> str:
    """Write a text to send to a list's owner about a wrong entry."""
    feeds = (event.get("extra") or {}).get("feeds") or ()
    lines = [
        "I believe that this entry is a mistake:",
        "",
        f"  {event.get('url') or subject(event)}",
        *(f"  {name}: {event[key]}" for name, key in REPORTED if event.get(key)),
        f"  list: {event.get('list') or 'unknown'}",
        *([f"  feeds: {', '.join(feeds)}"] if feeds else []),
        f"  threat: {plain(event.get('threat') or 'unknown')}",
        f"  seen: {event.get('time')}    event: {event.get('id')}",
        "",
        "Why I believe so: ",
    ]
    return "\n".join(lines)


UNLIFTED = frozenset({Stage.ACCESS, Stage.MALFORMED, Stage.LEDGER})


def choices(event: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the subjects of rules that can be made from an event, the narrowest first."""
    found = []
    if event.get("subject") == "file" and event.get("sha256"):
        found.append({"subject": str(event["sha256"]), "text": "This file, from any address"})
    if event.get("url"):
        below = str(event["url"]).endswith("/")  # that is how a rule for a whole folder is written
        text = "This address and everything below it" if below else "This exact address"
        found.append({"subject": subject_of(str(event["url"])), "text": text})
    if event.get("host"):
        found.append({"subject": str(event["host"]), "text": "This host and everything on it"})
    return found


def turn(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the action that would turn a decision round, and its subject; None where no rule can."""
    found = choices(event)
    if not found or event.get("decision") is None or event.get("stage") in UNLIFTED:
        return None
    return "allow" if event["decision"] == Action.BLOCK else "block", found[0]["subject"]
