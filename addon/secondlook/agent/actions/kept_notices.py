"""Notices that wait, in a file of the state folder: for the next start, and for whoever erases a client.

```
notices.json       what waits, by kind
notices.lock       held by the service whose notices these are
.notices.erase.*   the name of a client to be erased, for the moment until that service has done it
```

Where no service runs, the file is changed by who erases. Nothing here logs: what waits is worth less than
what it is about.
"""

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from secondlook.agent.actions.notice import Notice, without_client
from secondlook.ground.errors import LedgerError
from secondlook.ground.files import rewrite, write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import take_lock

_PATIENCE_S: Final = 10.0  # how long who erases waits for the service
_LOOK_AGAIN_S: Final = 0.05

type Kept = Mapping[str, tuple[Sequence[Notice], int]]  # by kind: the notices, and how many more


class KeptNotices:
    """The file; every method blocks and raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path.with_suffix(".lock")
        self._held: int | None = None
        self._written: bytes | None = None  # what the file holds, as far as is known

    def take(self) -> None:
        """Make the file this process's own, once; raises BlockingIOError while it is another's."""
        if self._held is None:
            self._held = take_lock(self.lock, wait=False)

    def let_go(self) -> None:
        """Let the next service have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def read(self) -> Kept:
        """Read what waits; raises ValueError too, for what is not ours."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            self._written = b""
            return {}
        self._written = content or None  # an empty one is none of ours, and goes
        return _parsed(content)

    def write(self, kept: Kept) -> None:
        """Let nothing but this wait."""
        content = _text(kept) if kept else b""
        if content == self._written:
            return
        self._written = None
        if content:
            write_whole(self.path, content, private=True)
        else:
            self.path.unlink(missing_ok=True)
        self._written = content

    def clear(self) -> None:
        """Let nothing wait, nor anybody who asked for it to be changed."""
        self.path.unlink(missing_ok=True)
        for asked in self.to_erase():
            asked.unlink(missing_ok=True)

    def to_erase(self) -> dict[Path, str]:
        """Read who is to be erased, each with the file that says so: it goes when that is done."""
        asked = {}
        for path in self.path.parent.glob(f".{self.path.stem}.erase.*"):
            with suppress(FileNotFoundError, PermissionError):  # made by root, and not given to us yet
                asked[path] = path.read_text(encoding="utf-8")
        return asked


def erase_client(path: Path, client: str) -> None:
    """Take a client out of what waits; raises LedgerError."""
    try:
        if path.exists() and not _erased_here(path, client):
            _ask_service(path, client)
    except (OSError, ValueError) as error:
        raise LedgerError(f"notices that wait still name {client}: {error}") from error


def _erased_here(path: Path, client: str) -> bool:
    """Change the file, where no service has it."""
    kept = KeptNotices(path)
    try:
        kept.take()
    except BlockingIOError:
        return False
    try:
        waiting = kept.read()
        left = {
            kind: ([without_client(notice, client) for notice in notices], more)
            for kind, (notices, more) in waiting.items()
        }
        if left != waiting:
            rewrite(path, _text(left))  # it stays its owner's, if root is at it
    except FileNotFoundError:
        pass
    finally:
        kept.let_go()
    return True


def _ask_service(path: Path, client: str) -> None:
    asking = path.with_name(f".{path.stem}.erase.{secrets.token_hex(4)}")
    write_whole(asking, client.encode(), private=True)
    try:
        owner = path.parent.stat()
        if os.geteuid() == 0:
            os.chown(asking, owner.st_uid, owner.st_gid)
        give_up_at = time.monotonic() + _PATIENCE_S
        while asking.exists():
            if time.monotonic() > give_up_at:
                raise TimeoutError("a message with them is on its way; try again")
            time.sleep(_LOOK_AGAIN_S)
    finally:
        asking.unlink(missing_ok=True)


def _text(kept: Kept) -> bytes:
    return json.dumps(
        {kind: {"more": more, "waiting": list(map(astuple, each))} for kind, (each, more) in kept.items()}
    ).encode()


def _parsed(content: bytes) -> Kept:
    try:
        return {kind: _noted(about) for kind, about in read_json(content).items()}  # else ValueError
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no notices: {error!r}") from error


def _noted(about: Any) -> tuple[list[Notice], int]:
    """Read what was kept of a kind; raises TypeError, among others, for anything else."""
    notices, more = [_notice(*values) for values in about["waiting"]], about["more"]
    if not isinstance(more, int):
        raise TypeError(f"no number: {more!r}")
    return notices, more


def _notice(kind: Any, title: Any, host: Any, subject: Any, text: Any, *names: Any) -> Notice:
    clients, users = names or ((), ())  # earlier versions had none
    notice = Notice(kind, title, host, subject, text, tuple(clients), tuple(users))
    always = (kind, title, text, *notice.clients, *notice.users)
    if not all(isinstance(value, str) for value in always):
        raise TypeError(f"no notice: {notice!r}")
    if not all(isinstance(value, str | None) for value in (host, subject)):
        raise TypeError(f"no notice: {notice!r}")
    return notice
