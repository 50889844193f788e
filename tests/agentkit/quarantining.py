"""A download folder with a bad file, and a quarantine for it."""

import asyncio
import hashlib
from pathlib import Path

from agentkit.ledger import FakeLedger
from secondlook.agent.actions.quarantine import Quarantine
from secondlook.core.event import ConfirmedEntry
from secondlook.core.subject import SubjectKind
from secondlook.ground.clock import SystemClock

BAD = b"X5O!P%@AP this one is bad" * 1000


SIZE = len(BAD)


DIGEST = hashlib.sha256(BAD).digest()


def entry(size=SIZE, digest=DIGEST) -> ConfirmedEntry:
    return ConfirmedEntry(
        identity=digest, hit=digest, kind=SubjectKind.FILE, verdict="malicious", risk="dangerous", threat="malware",
        list="x-file-mw-8b", server="s", source="s", confirmed_at=0, expires_at=None, sha256=digest.hex(), size=size,
        url="http://files.test/a.exe",
    )  # fmt: skip


class Place:
    def __init__(self, base: Path) -> None:
        self.base = base
        self.downloads = base / "downloads"
        self.downloads.mkdir()
        self.store = base / "quarantine"
        self.ledger = FakeLedger(SystemClock())

    def quarantine(self, **how) -> Quarantine:
        return Quarantine(
            self.store,
            self.ledger.quarantine,
            self.ledger.rules,
            SystemClock(),
            folders=[self.downloads],
            **how,
        )

    def put(self, name="bad.exe", data=BAD, mode=0o755) -> Path:
        path = self.downloads / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def act(self, **how):
        return asyncio.run(self.quarantine(**how).act(entry()))

    def stored(self) -> list[str]:
        return sorted(path.name for path in self.store.iterdir()) if self.store.exists() else []
