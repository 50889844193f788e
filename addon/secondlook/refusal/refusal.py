"""How a refusal looks to whoever asked: a page, a problem document, or nothing of the right type.

Contract: status 403, `X-Second-Look: blocked; event=ID; stage=STAGE; threat=THREAT`, and
`Cache-Control: no-store`.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from secondlook.agent import metrics
from secondlook.core.neutralize import inert
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Decision, Evidence, Risk, Stage, SubjectClass, Verdict
from secondlook.download.body.response_facts import NOT_MODIFIED_STATUS
from secondlook.download.request_facts import RequestFacts
from secondlook.refusal.block_page import BlockPage
from secondlook.refusal.language import ENGLISH, Language
from secondlook.refusal.wording import explanation, title

logger = logging.getLogger(__name__)

type Fields = tuple[tuple[bytes, bytes], ...]

MARK = "X-Second-Look"
NOT_FROM_ORIGINS = frozenset({b"x-second-look", b"alt-svc", b"use-as-dictionary"})
"""Headers that no origin may send: ours, what leads around us, what lets browsers unpack what we cannot."""
_OF_THE_CONTENT = frozenset({b"content-type", b"content-disposition", b"content-encoding", b"content-range"})
_NOT_WITH_A_304 = NOT_FROM_ORIGINS | _OF_THE_CONTENT
INTERNAL_HOST = "secondlook.internal"
STATUS = 403
PROBLEM_TYPE = f"https://{INTERNAL_HOST}/problem/blocked"
LONGEST_SHOWN_URL = 2048

_PAGE_DESTS = frozenset({"document", "iframe", "frame", "fencedframe", "embed", "object"})
_SCRIPT_DESTS = frozenset(
    {"script", "worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet", "xslt"}
)
_TYPES = {
    "image": "image/png",
    "style": "text/css",
    "font": "font/woff2",
    "audio": "audio/mpeg",
    "video": "video/mp4",
    "track": "text/vtt",
}

FAULT = Decision(
    Action.BLOCK,
    Evidence(
        verdict=Verdict.UNKNOWN, risk=Risk.UNTESTED, stage=Stage.UNVERIFIABLE, unverifiable="internal error"
    ),
    reason="internal error",
)
"""What becomes of a request whose check failed inside, and whose policy failed too."""


type Override = Callable[[str | None, str | None], float | None]
"""How long (s) an exception lasts that a client (address) and user make for themselves; None: none."""


def is_internal(host: str) -> bool:
    """Return whether a host, in whatever case, is the name of the internal site."""
    return host.lower().removesuffix(".") == INTERNAL_HOST


def passed_fields(fields: Fields, status: int) -> Fields:
    """Return what may go on of an answer's fields.

    A 304 says nothing of the content (RFC 9110, 15.4.5): browsers would take it for that of what they have
    kept, and save a page that was judged as one.
    """
    gone = _NOT_WITH_A_304 if status == NOT_MODIFIED_STATUS else NOT_FROM_ORIGINS
    return tuple(field for field in fields if field[0].lower() not in gone)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of status 403."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


class Form(StrEnum):
    """What kind of answer fits a request."""

    PAGE = "page"
    PROBLEM = "problem"
    EMPTY = "empty"


def fitting_form(asked: RequestFacts, path: str) -> tuple[Form, str]:
    """Choose the form of a refusal and its content type.

    `Sec-Fetch-Dest` decides where a browser sends it; else `Accept`, and for `*/*` inside a page the
    extension: browsers on plain http send neither.
    """
    dest = asked.dest
    if dest and dest != "empty":
        if dest in _PAGE_DESTS:
            return Form.PAGE, "text/html; charset=utf-8"
        if dest in _SCRIPT_DESTS:
            return Form.EMPTY, "text/javascript"
        if dest in _TYPES:
            return Form.EMPTY, _TYPES[dest]
        return Form.PROBLEM, "application/problem+json"
    accept = (asked.accept or "").lower()
    if dest != "empty":
        if "text/html" in accept:
            return Form.PAGE, "text/html; charset=utf-8"
        if accept.startswith("image/"):
            return Form.EMPTY, "image/png"
        if accept.startswith("text/css"):
            return Form.EMPTY, "text/css"
        name = path.partition("?")[0].lower()
        if "javascript" in accept or (asked.referrer and name.endswith((".js", ".mjs"))):
            return Form.EMPTY, "text/javascript"
    return Form.PROBLEM, "application/problem+json"


class Refusals:
    """Builds the 403 for a decision."""

    def __init__(self, page: BlockPage, override_s: Override) -> None:
        self._page = page
        self._override_s = override_s

    def make(self, path: str, asked: RequestFacts, decision: Decision, context: RequestContext) -> Refusal:
        """Build the refusal of one request; `context` has its class and its URL, which is untrusted text.

        Never raises: what is blocked stays blocked even when its page cannot be made.
        """
        try:
            return self._make(path, asked, decision, context)
        except Exception:
            logger.exception("a refusal could not be written; sending a bare one")
            metrics.INTERNAL_ERRORS.inc()
            return Refusal(mark_headers(decision, "text/plain"), b"")

    def _make(self, path: str, asked: RequestFacts, decision: Decision, context: RequestContext) -> Refusal:
        form, content_type = fitting_form(asked, path)
        body = b""
        url = context.url or ""
        language = self._page.pages.language(asked.language)
        match form:
            case Form.PAGE:
                open_ = context.cls is not SubjectClass.DOWNLOAD
                override_s = self._override_s(context.client, context.user) if open_ else None
                body = self._page.render(decision, url, asked.referrer, language, override_s=override_s)
            case Form.PROBLEM:
                kept = self._page.keeping.event(url)
                body = problem_document(decision, url, language, kept=kept)
            case Form.EMPTY:
                pass
            case other:
                assert_never(other)
        headers = mark_headers(decision, content_type)
        if form is not Form.EMPTY:
            headers += self._page.pages.language_headers(language)
        if form is Form.PAGE:
            headers += self._page.headers
        return Refusal(headers, body)


def mark_headers(decision: Decision, content_type: str) -> list[tuple[bytes, bytes]]:
    """List the headers that every refusal carries."""
    return [
        (MARK.encode(), mark(decision).encode("ascii", "replace")),
        (b"Content-Type", content_type.encode()),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]


def mark(decision: Decision) -> str:
    """Write the value of `X-Second-Look` for a block."""
    evidence = decision.evidence
    threat = evidence.threat.value if evidence.threat is not None else "none"
    return f"blocked; event={decision.event_id or 'none'}; stage={evidence.stage.value}; threat={threat}"


def problem_document(
    decision: Decision, url: str, language: Language = ENGLISH, *, kept: bool = True
) -> bytes:
    """Write the RFC 9457 document of a refusal; `kept`: the log has an event that a page can be about.

    `title` and `detail` are in the language, all else is for programs.
    """
    evidence = decision.evidence
    document = {
        "type": PROBLEM_TYPE,
        "title": title(decision, language),
        "status": STATUS,
        "detail": explanation(decision, language),
        "reason": decision.reason,
        "url": inert(url, LONGEST_SHOWN_URL),
        "event": decision.event_id,
        "stage": evidence.stage.value,
        "threat": evidence.threat.value if evidence.threat else None,
        "list": evidence.list,
        "rule": evidence.rule,
    }
    if decision.event_id is not None and kept:
        document["instance"] = f"https://{INTERNAL_HOST}/blocked/{decision.event_id}"
    return json.dumps(document, ensure_ascii=True).encode()
