"""Processes of ours that begin with everything imported: forked from one that did it once.

Most of what a start costs is importing, a second for a command and four for a proxy, and the stories start
hundreds. A keeper, one for each worker of pytest, imports (and reads the shipped lists) and then only forks:

```
test: Prepared(["python", "-m", "secondlook", …]) ──socket──► keeper ─fork─► runs the module as __main__
        ▲ whose child it is, as the keeper is one
```

The forked process has the arguments, environment, folder, descriptors and namespaces it was asked for, and what it
starts itself begins in the same way. What is not `python -m secondlook…` is started as always, and so is
everything where coverage is measured, where SECONDLOOK_REAL_STARTS is set, and outside Linux.
"""

import atexit
import contextlib
import ctypes
import fcntl
import gc
import json
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

CLONE_PARENT = 0x8000  # clone(2)
CLONE = {"x86_64": 56, "aarch64": 220}  # its number, by machine
ANSWER_BYTES = 64
ASKED_BYTES = 1 << 20
MOST_DESCRIPTORS = 200
HIGH = 500  # descriptors are first moved above this, then to their places
REAL_STARTS = "SECONDLOOK_REAL_STARTS"
MODULES = (
    "secondlook",
    "secondlook.server.feeds.child",
    "secondlook.scan.compiling",
    "e2e.coded",
)  # the children that unpack have a limit of memory, and begin small
FAMILY = "secondlook.run."
CHILDLESS = frozenset(  # commands, modules and roles of children that start no module of ours
    (
        *(
            "allow",
            "block",
            "check",
            "log",
            "pause",
            "queue",
            "resume",
            "rules",
            "status",
            "--help",
            "--version",
        ),
        *(
            "e2e.coded",
            "secondlook.run.authority",
            "secondlook.run.reload",
            "secondlook.run.supervisor_event",
        ),
        *("worker", "gate"),
    )
)
TESTS = str(Path(__file__).resolve().parents[1])
NAMESPACES = [Path("/proc/thread-self/ns") / kind for kind in ("net", "mnt")]  # that stories put threads into
LANGUAGE = ("PYTHON", "LC_", "LANG")  # what Python reads when it starts
Really = subprocess.Popen
PYTHON = sys.executable  # a test may put another in its place


_asking = threading.Lock()
_channel: socket.socket | None = None  # to this process's keeper
_keeper: int = 0  # its process id, in a prepared process
_allowed = False


def allow() -> None:
    """Fork from now on: stories do, benchmarks and attacks measure what users start."""
    global _allowed  # noqa: PLW0603 - one a process
    _allowed = True


def usable() -> bool:
    """Whether processes may be forked here."""
    others = (REAL_STARTS, "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    return (
        _allowed
        and sys.platform == "linux"
        and platform.machine() in CLONE
        and not any(os.environ.get(name) for name in others)
    )


class Prepared(Really):
    """A `Popen` that forks a prepared process where it can; all else is that of the original."""

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest,
    ) -> None:  # fmt: skip
        # rest: restore_signals, gid, gids, uid, umask, start_new_session, process_group
        place = dict(os.environ if env is None else env)
        special = (
            preexec_fn or shell or executable or any(rest[1:4]) or rest[4] != -1 or rest[5] or rest[6] != -1
        )
        words = _words_of(args)
        if words is None or special or not usable() or not _alike(place):
            super()._execute_child(  # type: ignore[misc]  # private: no stub has it
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *rest,
            )  # fmt: skip
            return
        given = {0: p2cread, 1: c2pwrite, 2: errwrite}
        numbers = {number: number if at == -1 else at for number, at in given.items()}
        numbers |= {number: number for number in pass_fds}
        folder = str(Path(cwd or ".").absolute())
        order = {"words": words, "numbers": list(numbers), "env": place, "cwd": folder}
        with contextlib.ExitStack() as stack:
            here = [stack.enter_context(path.open("rb")).fileno() for path in NAMESPACES]
            self.pid = _ask(order, [*here, *numbers.values()])
        self._child_created = True
        self._close_pipe_fds(  # type: ignore[attr-defined]  # private too
            p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
        )


def _alike(env: dict[str, str]) -> bool:
    """Whether Python would begin there as it did here."""

    def read(variables: Any) -> dict[str, str]:
        names = {name for name in variables if name.startswith(LANGUAGE)} - {
            "PYTHONPATH"
        }  # `_become` heeds it
        return {name: variables[name] for name in names}

    return read(env) == read(os.environ)


def _words_of(args: Any) -> list[str] | None:
    """Give module and arguments of a process that can be forked, None for any other command."""
    if isinstance(args, str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(each) for each in args]
    if words[0] != PYTHON:
        return None
    words = words[2:] if words[1:2] == ["-P"] else words[1:]
    if words[:1] != ["-m"] or not (words[1] in MODULES or words[1].startswith(FAMILY)):
        return None
    return words[1:]


def run(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output as text: what `subprocess.run` does."""
    given, timeout = options.pop("input", None), options.pop("timeout", None)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Prepared(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            out, err = process.communicate(given, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _ask(order: dict[str, Any], descriptors: list[int]) -> int:
    """Have the keeper fork a child of this process; its process id."""
    with _asking:
        channel = _channel or _start_keeper()
        socket.send_fds(channel, [json.dumps(order).encode()], descriptors)
        return int(channel.recv(ANSWER_BYTES))


def _start_keeper() -> socket.socket:
    """Start this process's keeper, which ends when this process does."""
    global _channel
    _channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        words = [
            PYTHON,
            "-P",
            __file__,
            str(theirs.fileno()),
            "secondlook",
        ]  # by this name it is known
        keeper = Really(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def end() -> None:
        _channel.close()
        keeper.wait()

    atexit.register(end)
    return _channel


# -- the keeper ---------------------------------------------------------------------------------------------------


def keep(channel: socket.socket) -> None:
    """Fork whatever is asked for until nobody can ask any more; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, ASKED_BYTES, MOST_DESCRIPTORS)
        if not message:
            os._exit(0)
        child = _fork_beside()
        if child == 0:
            channel.close()
            _become(json.loads(message), descriptors)
        for each in descriptors:
            os.close(each)
        channel.send(str(child).encode())


def _fork_beside() -> int:
    """Fork as `os.fork` does, but a child of this process's parent: who asked is that, and waits for it."""
    python = (
        ctypes.pythonapi
    )  # its functions keep the lock of the interpreter, as those around a fork need it
    python.PyOS_BeforeFork()
    number, flags = CLONE[platform.machine()], CLONE_PARENT | signal.SIGCHLD
    child: int = ctypes.PyDLL(None, use_errno=True).syscall(number, flags, None, None, None, None)
    if child == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    assert child > 0, os.strerror(ctypes.get_errno())
    return child


def _become(order: dict[str, Any], descriptors: list[int]) -> None:
    """Be the process that was asked for; never returns."""
    for path in NAMESPACES:
        there = descriptors.pop(0)
        if not os.path.samestat(os.fstat(there), path.stat()):  # root's stories alone are elsewhere
            os.setns(there)
        os.close(there)
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, HIGH) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for number, each in zip(order["numbers"], high, strict=True):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    os.chdir(order["cwd"])
    places = order["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [place for place in places if place and place not in sys.path]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, buffering, stream.encoding, stream.errors, closefd=False)
        for number, mode, stream, buffering in (
            (0, "r", sys.stdin, -1),
            (1, "w", sys.stdout, -1),
            (2, "w", sys.stderr, 1),
        )
    )
    words = order["words"]  # of a child of the family: `secondlook.run.entry PLAN PIPE INDEX ROLE`
    role = words[4:5] if words[0] == "secondlook.run.entry" else [words[0], *words[1:2]]
    if not CHILDLESS.intersection(role):
        _have_keeper(order["numbers"])
    _run(words)


def _have_keeper(numbers: list[int]) -> None:
    """Fork this process's own keeper, while there is one thread, for what it will start."""
    global _channel, _keeper  # noqa: PLW0603 - one a process
    _channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _keeper = os.fork()
    if _keeper == 0:
        _channel.close()
        _channel = None
        for number in numbers:
            if number > 2:  # a socket that the process closes is to be closed
                os.close(number)
        keep(theirs)
    theirs.close()
    allow()
    subprocess.Popen = Prepared  # type: ignore[misc]  # everybody is to get it
    os.execv = _execute  # type: ignore[assignment]  # it returns nowhere either


def _execute(_path: str, arguments: list[str]) -> None:
    """Go on as another module of ours, as `os.execv` does in place of the process."""
    words = _words_of(arguments)
    assert words is not None, arguments
    _run(words)


def _run(words: list[str]) -> None:
    """Run a module as `python -m` does, and end the process as Python does."""
    sys.argv = ["secondlook", *words[1:]]
    if words[0] != "secondlook":
        sys.modules.pop(words[0], None)  # it is run anew, under another name
    status: Any = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
        if status is not None and not isinstance(status, int):
            sys.stderr.write(f"{status}\n")
            status = 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - the end of the process
        sys.excepthook(*sys.exc_info())
        status = 1
    signal.set_wakeup_fd(-1)  # whoever set it is gone, and the keeper's end is a signal too
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls at its end
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if _channel is not None:
        _channel.close()
        os.waitpid(_keeper, 0)
    os._exit(status or 0)


if __name__ == "__main__":
    sys.path.append(TESTS)
    from e2e.imported import import_all

    import_all()
    sys.path.remove(TESTS)
    gc.collect()
    gc.freeze()
    keep(socket.socket(fileno=int(sys.argv[1])))
