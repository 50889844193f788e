"""Kinds of files that are no feeds we read, recognized by what only they hold: each is refused by its name.

Read as something else, such a file would give entries that it does not say: what a Privoxy file allows would
be blocked, and a Git LFS pointer would list the digest of a list.
"""

import re
from collections.abc import Iterable
from typing import Final

from secondlook.feeds.entries.entry import FeedRefused

MIN_SHARE: Final = 0.3  # of the lines, for what one line alone does not prove

type Kind = tuple[re.Pattern[str], str]


def _kinds(*pairs: tuple[str, str]) -> tuple[Kind, ...]:
    return tuple((re.compile(pattern, re.ASCII), name) for pattern, name in pairs)


# one such line is enough
_LINES: Final = _kinds(
    (r"\{\s*[+-][a-z][a-z-]*[\s{}].*\}\Z|\{\s*[+-][a-z-]+\s*\}\Z|\{\{[a-z]+\}\}\Z", "a Privoxy action file"),
    (r"function\s+FindProxyForURL\b", "a PAC file (proxy settings)"),
    (
        r"(?:#\s*)?(?:alert|drop|reject|rejectsrc|rejectboth|sdrop|pass|log)\s+[a-z][a-z0-9-]*\s+\S+\s+\S+\s+(?:->|<>)\s",
        "a file of Snort or Suricata rules",
    ),
    (r"acl\s+\S+\s+-?[a-z_]+(?:\s|\Z)|http_access\s+(?:allow|deny)\s", "a file of Squid settings"),
    (
        (
            r"(?:-\s*)?['\"]?(?:DOMAIN|HOST)-(?:SUFFIX|KEYWORD|SET|REGEX|WILDCARD)\s*,\s*\S"
            r"|(?:-\s*)?['\"]?(?:IP-CIDR6?|IP6-CIDR|RULE-SET|URL-REGEX|PROCESS-NAME)\s*,\s*\S"
            r"|payload:\s*\Z|\[(?:Rule|General|URL Rewrite|Script|MITM|rewrite_local|filter_local)\]\Z"
        ),
        "a rule list of Clash, Surge or Quantumult",
    ),
    (r"\[AutoProxy\b", "an AutoProxy list"),
    (r"\$(?:SOA|NS|DATASET)\s|:127\.[0-9]", "a zone of rbldnsd"),
    (r"-[AI]\s+\w+\s+-[sdpj]\s|(?:create|add)\s+\S+\s+(?:hash:|[0-9]+\.)", "a set of firewall rules"),
    (
        r"(?:private\s+|global\s+)*rule\s+\w+(?:\s*:[\w\s]+)?\s*\{",
        "a file of YARA rules (`format: yara` reads them)",
    ),
    (r"diff --git\s|@@ -[0-9]+(?:,[0-9]+)? \+[0-9]+(?:,[0-9]+)? @@", "a patch to a file, not the file"),
    (
        r"version https://git-lfs\.github\.com/",
        "the pointer to a file in Git LFS, not the file",
    ),
)
_ANY_LINE: Final = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _LINES), re.ASCII)
# many such lines
_SHARES: Final = _kinds(
    (r"(?:-\s*)?['\"]?(?:DOMAIN|HOST)\s*,\s*\S+\.", "a rule list of Clash, Surge or Quantumult"),
    (r"\S+\s+\S+\s+(?:\*|[a-z0-9-]+)\s+(?:block|allow|noop)\Z", "a set of uBlock Origin's dynamic rules"),
)
_JSON: Final = _kinds(
    (
        r'"(?:denied|allowed)-remote-[a-z]+"|"remote-(?:domains|hosts|addresses)"',
        "a rule group of Little Snitch",
    ),
    (r'"domain_(?:suffix|keyword|regex)"\s*:|"ip_cidr"\s*:', "a rule set of sing-box"),
    (r'"(?:url-filter|urlFilter|regexFilter)"\s*:', "a set of a browser's own blocking rules"),
    (r'"log"\s*:\s*\{\s*"version"', "a HAR file (a browser's record of requests)"),
)
_XML: Final = _kinds(
    (r"stix\.mitre\.org|<stix:", "STIX 1, which is XML (ask for STIX 2)"),
    (r"<(?:\w+:)?(?:ioc|OpenIOC)[\s>]", "OpenIOC, which is XML"),
    (r"<(?:rss|feed|rdf:RDF)[\s>]", "a news feed in XML"),
    (r"<plist[\s>]", "a property list in XML"),
)


def refuse_foreign_json(sample: str) -> None:
    """Refuse JSON that is clearly something else. Raises FeedRefused."""
    _refuse_any(sample, _JSON)


def refuse_foreign_xml(sample: str) -> None:
    """Refuse XML that is clearly something else. Raises FeedRefused."""
    _refuse_any(sample, _XML)


def refuse_foreign_line(text: str) -> None:
    """Refuse a file for a line that only another kind of file holds. Raises FeedRefused."""
    if _ANY_LINE.match(text):
        name = next(name for pattern, name in _LINES if pattern.match(text))
        raise FeedRefused(f"not a list: this is {name}, which is not read")


def refuse_foreign_lines(lines: Iterable[str]) -> None:
    """Refuse text that is clearly something else, by its stripped lines. Raises FeedRefused."""
    lines = list(lines)
    for text in lines:
        refuse_foreign_line(text)
    for pattern, name in _SHARES:
        if sum(1 for text in lines if pattern.match(text)) > MIN_SHARE * len(lines):
            raise FeedRefused(f"not a list: this is {name}, which is not read")


def _refuse_any(sample: str, kinds: tuple[Kind, ...]) -> None:
    for pattern, name in kinds:
        if pattern.search(sample):
            raise FeedRefused(f"not a list: this is {name}, which is not read")
