"""The page shown in place of something blocked, and the other pages' common ground.

The page stands on the blocked site's own origin, so it may know nothing worth stealing: it holds the event id
and what the user asked for, runs no script (CSP `sandbox`), cannot be framed, and every action lives on
`https://secondlook.internal/blocked/ID`. All text from outside goes through `inert` and the template
engine's escaping.
"""

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources

import jinja2

from secondlook.core.display import shown_host
from secondlook.core.neutralize import inert
from secondlook.core.verdict import Decision, Stage
from secondlook.ledger.log.privacy import Discretion
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.wording import explanation, title

_URL_CHARS = 2048
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


class Pages:
    """Templates, and one style sheet whose hash stands in the CSP."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("secondlook.refusal"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.style = resources.files("secondlook.refusal").joinpath("templates/style.css").read_text("utf-8")
        self._csp = (
            f"default-src 'none'; style-src '{_source_hash(self.style)}'; img-src data:; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        self.back_script = "history.go(-2)"

    def render(self, name: str, **values: object) -> bytes:
        """Render a template to UTF-8."""
        return (
            self._environment.get_template(name).render(style=self.style, **values).encode("utf-8", "replace")
        )

    def headers(
        self, *, sandbox: bool, forms: bool = False, script: str | None = None
    ) -> list[tuple[bytes, bytes]]:
        """List the security headers of a page; `script` is the one that it may run."""
        policy = self._csp + ("; form-action 'self'" if forms else "; form-action 'none'")
        if script is not None:
            policy += f"; script-src '{_source_hash(script)}'"
        if sandbox:
            policy += "; sandbox allow-top-navigation-by-user-activation"
        return [
            (b"Content-Security-Policy", policy.encode()),
            (b"X-Frame-Options", b"DENY"),
            # with no-referrer browsers send forms with `Origin: null`, even to the page's own site
            (b"Referrer-Policy", b"same-origin" if forms else b"no-referrer"),
            (b"Cross-Origin-Opener-Policy", b"same-origin"),
        ]


def _source_hash(text: str) -> str:
    """Name an inline style or script in a CSP."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


OPEN_STAGES = frozenset({Stage.CONFIRMED, Stage.PATTERN, Stage.CACHE, Stage.QUERY, Stage.UNVERIFIABLE})


class BlockPage:
    """The page for a blocked navigation."""

    def __init__(
        self,
        pages: Pages,
        internal_host: str,
        keeping: Keeping | None = None,
    ) -> None:
        self._pages = pages
        self.keeping = keeping or Keeping(Discretion())
        self._host = internal_host
        self.headers = pages.headers(sandbox=True)

    def render(
        self, decision: Decision, url: str, referrer: str | None, *, override_s: float | None = None
    ) -> bytes:
        """Render the page; `url` and `referrer` are untrusted; `override_s`: how long an exception lasts."""
        evidence = decision.evidence
        kept = decision.event_id is not None and self.keeping.event(url)
        if not (kept and self.keeping.whole_url(url)):
            override_s = None
        lasting = exception_time(evidence.stage, override_s)
        shown = inert(url, _URL_CHARS)
        listed = f"list {evidence.list}" if evidence.list else evidence.stage.value
        return self._pages.render(
            "blocked.html",
            title=title(decision),
            why=explanation(decision),
            subject=shown_host(url),
            url=shown,
            listed=evidence.list,
            age=shown_age(evidence.list_age_s),
            stage=evidence.stage.value,
            threat=evidence.threat.value if evidence.threat else None,
            risk=evidence.risk.value,
            rule=evidence.rule,
            said=inert(evidence.detail, 300) if evidence.rule and evidence.detail else None,
            server=evidence.server,
            detail=inert(evidence.detail, 300) if evidence.detail else None,
            event_id=decision.event_id if kept else None,
            # without TLS it needs no certificate that is trusted, whatever the blocked page needed
            back=_whole_page(referrer) or f"http://{self._host}/back",
            lasting=lasting,
            more=f"https://{self._host}/blocked/{decision.event_id}" if kept else None,
            report=None if kept else report_text(shown, [("decided by", listed)]),
            retry=evidence.stage is Stage.UNVERIFIABLE,
        )


def exception_time(stage: Stage, override_s: float | None) -> str | None:
    """Return how long an exception for a block of this stage lasts; None where none is made."""
    return None if override_s is None or stage not in OPEN_STAGES else shown_minutes(override_s)


def shown_minutes(duration_s: float) -> str:
    """Return how long something lasts, in whole minutes."""
    minutes = max(1, round(duration_s / _MINUTE_S))
    return f"{minutes} minute{'s' if minutes != 1 else ''}"


def report_text(address: str, facts: Iterable[tuple[str, str]]) -> str:
    """Write a text to send to whoever keeps the list, or runs the proxy, about a mistake; texts are inert."""
    told = [f"  {name}: {value}" for name, value in facts]
    return "\n".join(["I believe that this block is a mistake:", f"  {address}", *told, "Why I believe so:"])


def shown_age(age_s: float | None) -> str | None:
    """Return how old a list is."""
    if age_s is None:
        return None
    for unit_s, name in ((_DAY_S, "day"), (_HOUR_S, "hour"), (_MINUTE_S, "minute")):
        if age_s >= unit_s:
            count = int(age_s // unit_s)
            return f"{count} {name}{'s' if count != 1 else ''} old"
    return "less than a minute old"


def _whole_page(referrer: str | None) -> str | None:
    """Return the page that a referrer names; None where browsers cut it down to its site, as most do."""
    if referrer is None or not referrer.startswith(("http://", "https://")) or len(referrer) > _URL_CHARS:
        return None
    return referrer if referrer.partition("://")[2].partition("/")[2] else None
