"""`secondlook helper`: what Squid starts as `external_acl_type`; copies lines between it and a gate worker.

```
Squid ── "CHANNEL fields" ──► helper ── "NUMBER fields" ──► STATE/gateway.sock
      ◄─ "CHANNEL answer" ──         ◄─ "NUMBER answer" ──
                                └─ nothing within the budget ─► "CHANNEL BH message=…"
```

Numbers are the helper's own: Squid uses a channel again once it had its answer, and what comes too late must
not be taken for the answer to another question. Where the agent hangs up, its open questions are asked again
of whoever listens then; one that has answered nothing since a question that is overdue is left, and until
something is heard again each question waits for a moment only.

Only the standard library, and little of it: Squid waits for its helpers when it starts.
"""

import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

BUDGET_S = 4.5  # what `setup squid` prints where nothing else is set: every answer of the agent fits in
AWAY_S = 0.2  # a question's budget once the agent let a whole budget pass: Squid asks three times, one by one
MOST_OPEN = 100_000  # questions; Squid's own bound (`concurrency`) is far below
MOST_UNSENT_BYTES = 4 << 20  # above it Squid is not read
_CHUNK_BYTES = 64 << 10  # from 128 KiB on glibc takes each from the system, which takes ten times as long
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
_IN, _OUT, _ERR = 0, 1, 2
USAGE = """Usage: secondlook helper --socket PATH [--budget SECONDS]

What Squid starts as external_acl_type, with concurrency=; `secondlook setup squid` prints the lines for it.
  --socket PATH     where the running Second Look listens (`gateway.socket` in proxy.yaml)
  --budget SECONDS  how long a question may take before its answer is BH (default 4.5)
"""


class Open(NamedTuple):
    """A question that has no answer yet."""

    channel: bytes
    fields: bytes
    due: float  # monotonic


class Helper:
    """Copies between two descriptors (of Squid) and the socket at `path`."""

    def __init__(self, path: str, budget_s: float = BUDGET_S, squid: tuple[int, int] = (_IN, _OUT)) -> None:
        self._path = path
        self._budget_s = budget_s
        self._in, self._out = squid
        self._open: dict[int, Open] = {}  # by number, which is the order of their dues too
        self._last = 0
        self._begun = b""  # of a line of Squid
        self._squid_ended = False
        self._agent: socket.socket | None = None
        self._unsent = b""
        self._heard = b""  # of a line of the agent
        self._heard_at = float("-inf")
        self._away = False
        self._connect_at = 0.0
        self._pause_s = 0.0
        self._why = ""  # there is no connection
        self._reported = ""  # to the operator

    def run(self) -> None:
        """Copy until Squid has hung up and everything is answered. Raises OSError where Squid is gone."""
        try:
            while not self._squid_ended or self._open:
                self._turn(time.monotonic())
        finally:
            if self._agent is not None:
                self._agent.close()

    def _turn(self, now: float) -> None:
        if self._agent is None and now >= self._connect_at:
            self._connect(now)
        for descriptor, _ in self._wait(now):
            if descriptor == self._in:
                self._hear_squid()
            elif self._agent is not None and descriptor == self._agent.fileno():
                self._hear_agent()
        self._give_up(time.monotonic())
        self._send()

    def _wait(self, now: float) -> list[tuple[int, int]]:
        poll = select.poll()
        first = next(iter(self._open.values()), None)
        until = [] if first is None else [first.due]
        if not self._squid_ended and len(self._unsent) < MOST_UNSENT_BYTES:
            poll.register(self._in, select.POLLIN)
        if self._agent is None:
            until.append(self._connect_at)
        else:
            poll.register(self._agent, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        return poll.poll(max(0.0, min(until) - now) * 1000 + 1 if until else None)

    # ---- Squid

    def _hear_squid(self) -> None:
        chunk = os.read(self._in, _CHUNK_BYTES)
        if not chunk:
            self._squid_ended = True
            return
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        due = time.monotonic() + (min(AWAY_S, self._budget_s) if self._away else self._budget_s)
        asked, refused = [], []
        for line in lines:
            channel, _, fields = line.partition(b" ")
            if not channel.isdigit():
                refused.append(b'BH message="expected a channel number: set concurrency= in squid.conf"\n')
            elif len(self._open) >= MOST_OPEN:
                refused.append(_broken(channel, "too many questions at once"))
            else:
                self._last += 1
                self._open[self._last] = Open(channel, fields, due)
                asked.append(b"%d %b\n" % (self._last, fields))
        if self._agent is not None:  # else they are sent with all others once there is one
            self._unsent += b"".join(asked)
        self._answer(refused)

    def _answer(self, lines: Sequence[bytes]) -> None:
        left = b"".join(lines)
        while left:
            left = left[os.write(self._out, left) :]

    def _give_up(self, now: float) -> None:
        """Answer what is overdue, and leave an agent that has answered nothing since it was asked."""
        overdue = []
        for number, question in self._open.items():
            if question.due > now:
                break
            overdue.append((number, question))
        if not overdue:
            return
        for number, _ in overdue:
            del self._open[number]
        if self._heard_at < overdue[-1][1].due - self._budget_s:
            if self._agent is not None:
                self._hang_up(f"Second Look gave no answer within {self._budget_s:g} s", now)
            self._now_away(now)
        why = self._why or f"Second Look gave no answer within {self._budget_s:g} s"
        self._answer([_broken(question.channel, why) for _, question in overdue])

    def _now_away(self, now: float) -> None:
        """Let nobody wait for long any more, until something is heard."""
        if not self._away:
            self._away = True
            soon = now + min(AWAY_S, self._budget_s)
            for number, question in self._open.items():
                if question.due > soon:
                    self._open[number] = question._replace(due=soon)

    # ---- the agent

    def _connect(self, now: float) -> None:
        agent = socket.socket(socket.AF_UNIX)
        agent.setblocking(False)
        try:
            agent.connect(self._path)
        except OSError as error:
            agent.close()
            self._hang_up(f"cannot reach Second Look at {self._path}: {error.strerror or error}", now)
            return
        self._agent = agent
        self._heard = b""
        self._why = ""
        self._unsent = b"".join(b"%d %b\n" % (number, each.fields) for number, each in self._open.items())

    def _hear_agent(self) -> None:
        assert self._agent is not None
        now = time.monotonic()
        try:
            chunk = self._agent.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._hang_up(f"the connection to Second Look broke: {error.strerror or error}", now)
            return
        if not chunk:
            self._hang_up("Second Look has hung up", now)
            return
        self._heard_at = now
        self._away = False
        self._pause_s = 0.0
        if self._reported:
            self._report("")
        *lines, self._heard = (self._heard + chunk).split(b"\n")
        answers = []
        for line in lines:
            number, _, answer = line.partition(b" ")
            question = self._open.pop(int(number), None) if number.isdigit() else None
            if question is not None:
                answers.append(b"%b %b\n" % (question.channel, answer))
        self._answer(answers)

    def _send(self) -> None:
        if self._agent is None or not self._unsent:
            return
        try:
            self._unsent = self._unsent[self._agent.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError as error:
            why = f"the connection to Second Look broke: {error.strerror or error}"
            self._hang_up(why, time.monotonic())

    def _hang_up(self, why: str, now: float) -> None:
        """Leave the agent; the first try to find one again is made at once, the others with pauses."""
        if self._agent is not None:
            self._agent.close()
            self._agent = None
        self._why = why
        self._unsent = b""
        self._connect_at = now + self._pause_s
        if self._pause_s:
            self._report(why)
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)

    def _report(self, why: str) -> None:
        """Report a change to the operator: Squid writes it into its cache.log."""
        if why == self._reported:
            return
        self._reported = why
        os.write(_ERR, f"secondlook helper: {why or 'Second Look answers again'}\n".encode())


def _broken(channel: bytes, why: str) -> bytes:
    return b'%b BH message="%b"\n' % (channel, why.replace('"', "'").encode("ascii", "replace"))


def parse(words: Sequence[str]) -> tuple[str, float]:
    """Read the command line: path and budget. Raises ValueError that names what was expected."""
    path, budget_s = "", BUDGET_S
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in ("--socket", "--budget"):
            raise ValueError(f"unknown option {word}")
        value = value if equals else next(rest, "")
        if not value:
            raise ValueError(f"expected a value after {option}")
        if option == "--socket":
            path = value
            continue
        try:
            budget_s = float(value)
        except ValueError:
            budget_s = 0.0
        if not 0 < budget_s < 3600:  # noqa: PLR2004 - an hour is a mistake
            raise ValueError(f"expected a number of seconds after --budget, got {value}")
    if not path:
        raise ValueError("expected --socket PATH")
    return path, budget_s


def main(words: Sequence[str]) -> int:
    """Run the command; the exit status."""
    if "--help" in words or "-h" in words:
        os.write(_OUT, USAGE.encode())
        return 0
    try:
        path, budget_s = parse(words)
    except ValueError as error:
        os.write(_ERR, f"secondlook helper: {error}\n\n{USAGE}".encode())
        return 2
    try:
        Helper(path, budget_s).run()
    except (BrokenPipeError, ConnectionResetError):  # Squid is gone
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
