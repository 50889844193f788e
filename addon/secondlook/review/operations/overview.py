"""The overview: counts of the last hours, and what needs attention, in words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from secondlook.core.display import as_sentence
from secondlook.ground.instant import rfc3339
from secondlook.ledger.log.statistics import HourCount
from secondlook.review.program import Json, RunningProgram


def counts(hour: HourCount) -> Json:
    """Return what was checked in one hour, and what became of it."""
    return {
        "time": rfc3339(hour.at),
        "checked": hour.checked,
        "blocked": hour.blocked,
        "flagged": hour.flagged,
    }


def attention(
    program: RunningProgram,
    alerts: Sequence[Json],
    *,
    waiting: int,
    trouble: str | None,
    dropped: int,
    paused: Mapping[str, float],
) -> list[Json]:
    """Return what a person should know now; `paused`: clients without protection, and until when."""
    notes: list[Json] = []
    if trouble:
        notes.append(_note("bad", "The ledger cannot be written.", trouble))
    if dropped:
        notes.append(
            _note(
                "warn",
                f"{dropped:,} event{'s were' if dropped != 1 else ' was'} lost.",
                "More came at once than could be written.",
            )
        )
    away = [server for server in program.servers() if not server["up"]]
    if away:
        text = f"{_reasons(away)}What is known there alone is let through, flagged and looked at again."
        names = ", ".join(server["name"] for server in away)
        notes.append(_note("warn", f"No answer from {names}.", text, "/lists", "Servers"))
    for client, until in sorted(paused.items()):
        note = _note("warn", f"Protection is paused for {client}.", "It comes back by itself:")
        notes.append({**note, "until": rfc3339(until), "client": client})
    notes.extend(alerts)
    if waiting and not away:
        text = f"{waiting:,} subject{'s wait' if waiting != 1 else ' waits'} for a second look."
        notes.append(_note("warn", "Flagged.", text, "/flagged", "See them"))
    return notes


def _reasons(away: Sequence[Json]) -> str:
    """Return why servers do not answer, as a sentence; empty where nobody knows."""
    known = [server for server in away if server["detail"]]
    parts = [
        server["detail"] if len(away) == 1 else f"{server['name']}: {server['detail']}" for server in known
    ]
    return f"{as_sentence('; '.join(parts))} " if parts else ""


def _note(kind: str, title: str, text: str, href: str | None = None, link: str | None = None) -> Json:
    return {"kind": kind, "title": title, "text": text, "href": href, "link": link}


def compose(
    *,
    program: RunningProgram,
    alerts: Sequence[Json],
    lists: Sequence[Json],
    hours: Sequence[HourCount],
    waiting: int,
    oldest: float | None,
    latest: list[Json],
    paused: Mapping[str | None, float],
    trouble: str | None,
    dropped: int,
) -> Json:
    """Put the overview together; `paused`: until when, by client (None: everybody)."""
    clients = {client: until for client, until in paused.items() if client is not None}
    return {
        "running_since": rfc3339(program.started_at),
        "proxy": program.proxy,
        "assessing": program.assessing,
        "paused_until": rfc3339(paused.get(None)),
        "attention": attention(
            program, alerts, waiting=waiting, trouble=trouble, dropped=dropped, paused=clients
        ),
        "day": {
            "checked": sum(hour.checked for hour in hours),
            "blocked": sum(hour.blocked for hour in hours),
            "flagged": sum(hour.flagged for hour in hours),
        },
        "hours": [counts(hour) for hour in hours],
        "servers": list(program.servers()),
        "pattern": {
            "lists": len(lists),
            "entries": sum(item["count"] for item in lists),
            "size_bytes": sum(item.get("size_bytes") or 0 for item in lists) or None,
            "updated_at": max((item["confirmed_at"] for item in lists if item["confirmed_at"]), default=None),
        },
        "queue": {"waiting": waiting, "oldest": rfc3339(oldest)},
        "latest": latest,
    }


def authority(certificate: Path) -> tuple[Json | None, str | None]:
    """Describe the certificate of the authority, or why there is none; blocks."""
    try:
        found = load_pem_x509_certificate(certificate.read_bytes())
    except OSError as error:
        return None, f"{certificate} cannot be read: {error.strerror}"
    except ValueError:
        return None, f"{certificate} is damaged. Start the proxy again: it writes it anew."
    digest = found.fingerprint(SHA256()).hex(":").upper()
    return {"fingerprint": digest, "until": found.not_valid_after_utc.date().isoformat()}, None
