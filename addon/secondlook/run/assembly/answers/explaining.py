"""The explanation of one decision, in the contract's words: for `check`, the review page and its API."""

from hashlib import file_digest
from pathlib import Path
from typing import Any

from secondlook.agent.check.checker import Checker
from secondlook.agent.check.request_context import classify
from secondlook.core.digest import HEX_LENGTH, digest_kind, file_hash, file_subject, is_meant_as_digest
from secondlook.core.subject import FileSubject, RequestContext, Subject, UrlSubject
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes
from secondlook.core.verdict import Decision, Step, SubjectClass

type Json = dict[str, Any]


class NoSubjectError(ValueError):
    """What a person wrote is neither a URL nor a digest, whatever a parser of URLs would make of it."""


def subject_from(text: str, suffixes: Suffixes) -> UrlSubject | FileSubject:
    """Make a subject of what a person wrote: a digest in hexadecimal, else a URL. Raises NoSubjectError."""
    text = text.strip()
    if "://" not in text and len(text.partition("/")[0].split()) != 1:  # words, or the name of a file
        raise NoSubjectError(f"expected a URL or a digest, got {text!r}")
    kind = digest_kind(text)
    if kind is None:
        if is_meant_as_digest(text):
            lengths = ", ".join(f"{length} ({name})" for name, length in HEX_LENGTH.items())
            raise NoSubjectError(
                f"a digest has {lengths} hexadecimal digits, and {text[:80]} has {len(text)}"
            )
        if not any(letter.isalnum() for letter in text):
            raise NoSubjectError(f"expected a URL or a digest, got {text!r}")
        return url_subject(text, suffixes)
    return FileSubject((file_hash(kind, text),), labels=(kind,))


def subject_of_file(path: Path) -> FileSubject:
    """Make a subject of a file on this machine, with every digest that a list may name. Raises OSError."""
    digests: dict[str, str] = {}
    with path.open("rb") as file:
        for kind in ("sha256", "md5", "sha1"):
            file.seek(0)
            digests[kind] = file_digest(file, kind).hexdigest()
        size = file.tell()
    return file_subject(
        bytes.fromhex(digests["sha256"]),
        md5=digests["md5"],
        sha1=digests["sha1"],
        size=size,
        filename=path.name,
    )


def context_of(subject: Subject, text: str, client: str | None) -> RequestContext:
    """Return the circumstances in which a person's question is checked: as that client would ask for it.

    A client is named by its address or by the user that it is signed in as: it may be either.
    """
    if isinstance(subject, FileSubject):
        return RequestContext(SubjectClass.DOWNLOAD, client=client, user=client)
    return RequestContext(
        classify(None, None, "GET", subject.canonical), client=client, user=client, method="GET", url=text
    )


async def explained(checker: Checker, text: str, subject: Subject, client: str | None) -> Json:
    """Check what a person wrote, as a client sees it, and explain; nothing is recorded."""
    context = context_of(subject, text, client)
    return explanation(text, subject, context, await checker.check(subject, context))


def explanation(text: str, subject: Subject, context: RequestContext, decision: Decision) -> Json:
    """Return a decision with everything behind it, as `check --json` gives it."""
    evidence = decision.evidence
    return {
        "subject": text,
        "decision": decision.action.value,
        "verdict": evidence.verdict.value,
        "risk": evidence.risk.value,
        "stage": evidence.stage.value,
        "list": evidence.list,
        "rule": evidence.rule,
        "threat": evidence.threat.value if evidence.threat is not None else None,
        "canonical": subject.canonical if isinstance(subject, UrlSubject) else None,
        "expressions": list(subject.expressions) if isinstance(subject, UrlSubject) else [],
        "stages": [_step(step) for step in evidence.steps],
        "kind": subject.kind.value,
        "class": context.cls.value,
        "host": subject.host if isinstance(subject, UrlSubject) else None,
        "sha256": _sha256(subject),
        "problem": subject.problem if isinstance(subject, UrlSubject) else None,
        "expression": evidence.expression,
        "server": evidence.server,
        "list_age_s": evidence.list_age_s,
        "stale": evidence.stale,
        "attempts": evidence.attempts,
        "unverifiable": evidence.unverifiable,
        "would_block": decision.would_block,
        "reason": decision.reason,
        "detail": evidence.detail,
        "elapsed_ms": round(decision.elapsed_ms, 3),
    }


def _sha256(subject: Subject) -> str | None:
    if isinstance(subject, FileSubject) and subject.labels[:1] == ("sha256",):
        return subject.hashes[0].hex()
    return None


def _step(step: Step) -> Json:
    return {
        "stage": step.stage.value,
        "outcome": step.outcome,
        "detail": step.detail,
        "elapsed_ms": None if step.elapsed_ms is None else round(step.elapsed_ms, 3),
    }
