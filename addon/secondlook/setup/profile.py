"""A browser's throw-away profile: made, tended while the browser runs, and taken away however that ends.

A profile is a folder in the temporary folder, locked (flock) for as long as anybody uses it. The lock is
handed on with its descriptor: from the command that makes the profile to the tender, a process of this module
that starts the browser and waits for it, and to the browser itself. So a profile that nobody holds is stale,
even where the tender was killed, and `sweep` takes it away.

The signals that end a process are held back from before the profile is made until the tender waits for them:
at no moment does one of them leave a folder that nobody remembers.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PREFIX = "second-look-browser-"
_ENDINGS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_TRIES, _PAUSE_S = 50, 0.1  # a browser's last processes write for a moment after it has ended


def start(prepare: Callable[[Path], Sequence[str]]) -> Path:
    """Make a profile, have it prepared, and start the browser there by the command that `prepare` returns.

    Returns the profile's folder; whatever `prepare` raises is passed on, and leaves none.
    """
    with _held_back():
        profile, lock = _make()
        try:
            words = prepare(profile)
            tender = [sys.executable, "-m", __name__, str(profile), str(lock), *words]
            subprocess.Popen(  # noqa: S603 (this module, separate arguments)
                tender,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),
                start_new_session=True,
            )
        except BaseException:
            _remove(profile)
            raise
        finally:
            os.close(lock)
    return profile


def lasts(profile: Path, seconds: float = 1.0) -> bool:
    """Return whether a profile is still there after so long: it goes with its browser."""
    end = time.monotonic() + seconds
    while profile.exists():
        if time.monotonic() >= end:
            return True
        time.sleep(_PAUSE_S)
    return False


def sweep() -> tuple[list[Path], list[Path]]:
    """Remove this user's stale profiles; return those that went and those that a browser still uses."""
    from tempfile import gettempdir  # noqa: PLC0415 - no help needs it

    gone, used = [], []
    for profile in sorted(Path(gettempdir()).glob(f"{PREFIX}*")):
        with contextlib.suppress(OSError):
            found = profile.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = _opened(profile)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(profile)
            except BlockingIOError:
                used.append(profile)
            else:
                gone.append(profile)
            finally:
                os.close(lock)
    return gone, used


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _opened(profile: Path) -> int:
    return os.open(profile, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _make() -> tuple[Path, int]:
    from tempfile import mkdtemp  # noqa: PLC0415 - no help needs it

    while True:
        profile = Path(mkdtemp(prefix=PREFIX))
        with contextlib.suppress(FileNotFoundError):  # swept away before it was locked
            lock = _opened(profile)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if profile.exists():
                return profile, lock
            os.close(lock)


def _remove(profile: Path) -> None:
    for _ in range(_TRIES):
        shutil.rmtree(profile, ignore_errors=True)
        if not profile.exists():
            return
        time.sleep(_PAUSE_S)


def tend(profile: Path, lock: int, words: Sequence[str]) -> None:
    """Run a browser until it ends, and take its profile away; called with the ending signals held back.

    The first of these signals asks the browser to end, another one makes it.
    """
    signal.signal(signal.SIGCHLD, lambda *_: None)  # one that is ignored would not be reported
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        browser = subprocess.Popen(words, pass_fds=(lock,), preexec_fn=_hold_nothing)  # noqa: S603, PLW1509 (found on PATH; no threads here)
        end = browser.terminate
        while browser.poll() is None:
            if signal.sigwait(_ENDINGS | {signal.SIGCHLD}) is not signal.SIGCHLD:
                end()
                end = browser.kill
    finally:
        _remove(profile)


def _hold_nothing() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


if __name__ == "__main__":
    tend(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
