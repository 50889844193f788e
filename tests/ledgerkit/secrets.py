"""Events full of secrets, and which of them are found in the bytes of a ledger's files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ledgerkit.contract import confirm
from ledgerkit.samples import identity_of, make_confirmed, make_event, make_flag, make_visit
from secondlook.core.event import EventKind
from secondlook.ledger.ledger import Ledger

SECRETS = ("tell-nobody", "hidden.example", "private.exe", "10.66.66.66", "/path-of-it", "referrer-page")


async def live(ledger: Ledger) -> None:
    """A flag, a block, an allowed page and a confirmed subject, all full of secrets."""
    fields: dict[str, Any] = {
        "url": "https://hidden.example/path-of-it?q=tell-nobody#x",
        "host": "hidden.example",
        "client": "10.66.66.66",
        "filename": "private.exe",
        "referrer": "https://hidden.example/referrer-page?tell-nobody",
        "detail": "https://hidden.example/path-of-it?q=tell-nobody",
        "identity": identity_of("hidden"),
        "sha256": "cd" * 32,
    }
    event, entry = make_flag("hidden", client="10.66.66.66", url=fields["url"], host="hidden.example")
    await ledger.flags.flag(replace(event, **fields), replace(entry, filename="private.exe"))
    ledger.recorder.record(make_event(EventKind.BLOCKED, **fields))
    ledger.recorder.record(make_event(EventKind.CHECK, **fields))
    ledger.history.remember(make_visit((fields["identity"],), make_event(EventKind.CHECK, **fields)))
    confirmed = make_confirmed(
        "other-hidden",
        url=fields["url"],
        host="hidden.example",
        filename="private.exe",
        expression="hidden.example/path-of-it?q=tell-nobody",
    )
    await confirm(ledger, confirmed, make_event(EventKind.CONFIRMED, **fields))
    assert [part async for part in ledger.history.remembered(since=0)]
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _: None)
    ledger.store.commit_now(lambda _: None)


def found_in_files(folder: Path) -> set[str]:
    data = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    return {secret for secret in SECRETS if secret.encode() in data}
