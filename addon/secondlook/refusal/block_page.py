"""The page shown in place of something blocked, and the other pages' common ground.

The page stands on the blocked site's own origin, so it may know nothing worth stealing: it holds the event id
and what the user asked for, runs no script (CSP `sandbox`), cannot be framed, and every action lives on
`https://secondlook.internal/blocked/ID`. All text from outside goes through `inert` and the template
engine's escaping.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from secondlook.config.record import BlockPageSettings
from secondlook.core.display import shown_host
from secondlook.core.neutralize import inert
from secondlook.core.verdict import Decision, Stage
from secondlook.ledger.log.privacy import Discretion
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.language import ENGLISH, Language, language, phrase, wanted
from secondlook.refusal.wording import explanation, title

_URL_CHARS = 2048
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", re.ASCII)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


class Pages:
    """Templates in each language, and one style sheet whose hash stands in the CSP."""

    def __init__(self, settings: BlockPageSettings | None = None) -> None:
        self._settings = settings or BlockPageSettings()
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

    def language(self, accepted: str | None) -> Language:
        """Choose the language of an answer: the one that is set, else by `Accept-Language`."""
        fixed = self._settings.language
        return language(wanted(accepted, self._settings.default) if fixed == "auto" else fixed)

    def language_headers(self, chosen: Language) -> list[tuple[bytes, bytes]]:
        """List the headers that say in which language an answer is, and what that depends on."""
        headers = [(b"Content-Language", chosen.code.encode())]
        if self._settings.language == "auto":
            headers.append((b"Vary", b"Accept-Language"))
        return headers

    def render(self, name: str, chosen: Language = ENGLISH, **values: object) -> bytes:
        """Render a template to UTF-8; `_` escapes what it translates, and what stands in it."""

        def say(text: str, **inside: object) -> Markup:
            translated = escape(chosen.say(text))
            return translated % inside if inside else translated

        page = self._environment.get_template(name).render(
            style=self.style, language=chosen, house=self._settings, link=_link, _=say, **values
        )
        return page.encode("utf-8", "replace")

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


DECIDED = phrase("Decided by")
OPEN_STAGES = frozenset({Stage.CONFIRMED, Stage.PATTERN, Stage.CACHE, Stage.QUERY, Stage.UNVERIFIABLE})


class BlockPage:
    """The page for a blocked navigation."""

    def __init__(
        self,
        pages: Pages,
        internal_host: str,
        keeping: Keeping | None = None,
        list_title: Callable[[str], str] = str,
    ) -> None:
        self.pages = pages
        self._list_title = list_title
        self.keeping = keeping or Keeping(Discretion())
        self._host = internal_host
        self.headers = pages.headers(sandbox=True)

    def render(
        self,
        decision: Decision,
        url: str,
        referrer: str | None,
        language: Language = ENGLISH,
        *,
        override_s: float | None = None,
    ) -> bytes:
        """Render the page; `url` and `referrer` are untrusted; `override_s`: how long an exception lasts."""
        evidence = decision.evidence
        kept = decision.event_id is not None and self.keeping.event(url)
        if not (kept and self.keeping.whole_url(url)):
            override_s = None
        lasting = exception_time(evidence.stage, override_s, language)
        shown = inert(url, _URL_CHARS)
        listed = evidence.list or evidence.stage.value
        return self.pages.render(
            "blocked.html",
            language,
            title=title(decision, language),
            why=explanation(decision, language),
            subject=shown_host(url),
            url=shown,
            listed=self._list_title(evidence.list) if evidence.list else None,
            list=evidence.list,
            age=shown_age(evidence.list_age_s, language),
            stage=evidence.stage.value,
            threat=evidence.threat.value if evidence.threat else None,
            risk=evidence.risk.value,
            rule=evidence.rule,
            reason=inert(evidence.detail, 300) if evidence.rule and evidence.detail else None,
            server=evidence.server,
            detail=inert(evidence.detail, 300) if evidence.detail else None,
            event_id=decision.event_id if kept else None,
            # without TLS it needs no certificate that is trusted, whatever the blocked page needed
            back=_whole_page(referrer) or f"http://{self._host}/back",
            lasting=lasting,
            more=f"https://{self._host}/blocked/{decision.event_id}" if kept else None,
            report=None if kept else report_text(shown, [(language.say(DECIDED), listed)], language),
            retry=evidence.stage is Stage.UNVERIFIABLE,
        )


def exception_time(stage: Stage, override_s: float | None, language: Language = ENGLISH) -> str | None:
    """Return how long an exception for a block of this stage lasts; None where none is made."""
    return None if override_s is None or stage not in OPEN_STAGES else shown_minutes(override_s, language)


def shown_minutes(duration_s: float, language: Language = ENGLISH) -> str:
    """Return how long something lasts, in whole minutes."""
    return language.count("%(count)s minute", "%(count)s minutes", max(1, round(duration_s / _MINUTE_S)))


def report_text(address: str, facts: Iterable[tuple[str, str]], language: Language = ENGLISH) -> str:
    """Write a text to send to whoever keeps the list, or runs the proxy, about a mistake; texts are inert."""
    rows = [f"  {name}: {value}" for name, value in facts]
    first, last = language.say("I believe that this block is a mistake:"), language.say("Why I believe so:")
    return "\n".join([first, f"  {address}", *rows, last])


def shown_age(age_s: float | None, language: Language = ENGLISH) -> str | None:
    """Return how old a list is."""
    if age_s is None:
        return None
    if age_s >= _DAY_S:
        return language.count("%(count)s day old", "%(count)s days old", int(age_s // _DAY_S))
    if age_s >= _HOUR_S:
        return language.count("%(count)s hour old", "%(count)s hours old", int(age_s // _HOUR_S))
    if age_s >= _MINUTE_S:
        return language.count("%(count)s minute old", "%(count)s minutes old", int(age_s // _MINUTE_S))
    return language.say("less than a minute old")


def _link(contact: str) -> str | None:
    """Return the address of a contact that can be followed."""
    if contact.startswith(("https://", "mailto:", "tel:")):
        return contact
    return f"mailto:{contact}" if _MAIL.fullmatch(contact) else None


def _whole_page(referrer: str | None) -> str | None:
    """Return the page that a referrer names; None where browsers cut it down to its site, as most do."""
    if referrer is None or not referrer.startswith(("http://", "https://")) or len(referrer) > _URL_CHARS:
        return None
    return referrer if referrer.partition("://")[2].partition("/")[2] else None
