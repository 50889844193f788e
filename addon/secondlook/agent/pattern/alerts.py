"""Alerts about the pattern: raised once, recorded as events, kept for `status`, ended with their cause."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from secondlook.agent.pattern.files import Stamp, read_confirmed, read_stamp
from secondlook.agent.ports import EventSink
from secondlook.core.event import Event, EventKind
from secondlook.core.rules.rule import SET_BACK_S
from secondlook.ground.clock import Clock
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.ulid import make_id

log = logging.getLogger(__name__)
ALERTS = "alerts.json"
BETWEEN = "; "  # the troubles of one server
GOOD_ANSWERS = 20  # in a row without a trouble, before it is over: ten minutes, as polls come


def read_alerts(folder: Path) -> dict[str, str]:
    """Read the alerts in force: key to text; empty when none was ever written."""
    try:
        written = read_json((folder / ALERTS).read_bytes()).items()
    except (OSError, ValueError, AttributeError):
        return {}
    # 1.0 named a damaged list without its server: nothing would end such an alert
    return {key: str(text) for key, text in written if not key.startswith("list ") or "/" in key}


def misfit_key(server: str) -> str:
    """Return the key of the alert that the running processes and a server do not fit together."""
    return f"misfit {server}"


class PatternAlerts:
    """The alerts of one pattern folder; those left by an earlier process go on until they are cleared."""

    def __init__(self, folder: Path, events: EventSink, clock: Clock) -> None:
        self._folder = folder
        self._events = events
        self._clock = clock
        self.in_force = read_alerts(folder)
        self._highest: dict[str, int] = {}  # generation of each server since this process began
        self._troubles: dict[str, dict[str, int]] = {}  # of a server: its answers since each was told last

    def alert(self, key: str, text: str, *, name: str | None = None, server: str | None = None) -> None:
        """Raise an alert; the same one again is not recorded again."""
        if self.in_force.get(key) == text:
            return
        self.in_force[key] = text
        self._write()
        log.warning("%s", text)
        self.record(EventKind.ERROR, text, name=name, server=server)

    def clear(self, key: str) -> None:
        """End an alert, if it is in force."""
        text = self.in_force.pop(key, None)
        if text is not None:
            self._write()
            self.record(EventKind.UPDATE, f"no longer: {text}")

    def settle(self, server: str, refused: Mapping[str, str]) -> None:
        """Raise an alert for each refused list of a server, and end those of lists that are good again."""
        for name, reason in refused.items():
            text = f"an update of {name} from {server} was refused: {reason}"
            self.alert(f"list {server}/{name}", text, name=name, server=server)
        for key in [key for key in self.in_force if key.startswith(f"list {server}/")]:
            if key.partition("/")[2] not in refused:
                self.clear(key)
        self.clear("pattern")

    def note_generation(self, server: str, before: str, served: str) -> None:
        """Raise an alert where a server goes back; it ends when there is more than there ever was.

        Not before: replicas behind one balancer of which one lags are met in turn.
        """
        if not served.isdecimal():
            return
        number = int(served)
        highest = self._highest.setdefault(server, int(before) if before.isdecimal() else number)
        if number < highest:
            self.alert(
                f"back {server}",
                f"{server} went back from generation {highest} to {number}: "
                "it was rolled back, or one of the servers behind its address lags",
                server=server,
            )
        elif number > highest:
            self._highest[server] = number
            self.clear(f"back {server}")

    def note_trouble(self, server: str, trouble: str | None) -> None:
        """Raise an alert where a server reports what is wrong with its lists.

        It ends when a row of answers had nothing of it: replicas behind one balancer are met in turn, and
        the next one may be well, or have a trouble of its own.
        """
        key, start = f"trouble {server}", f"the lists of {server}: "
        known = self._troubles.get(server)
        if known is None:  # an earlier process may have raised it
            known = dict.fromkeys(_each(self.in_force.get(key, "").removeprefix(start)), 0)
        known = {each: answers + 1 for each, answers in known.items() if answers + 1 < GOOD_ANSWERS}
        known |= dict.fromkeys(_each(trouble or ""), 0)
        self._troubles[server] = known
        if known:
            self.alert(key, start + BETWEEN.join(known), server=server)
        else:
            self.clear(key)

    def note_misfits(self, misfits: Mapping[str, str]) -> None:
        """Raise an alert for each server that our settings do not fit now, and end those of all others."""
        for server, text in misfits.items():
            self.alert(misfit_key(server), text, server=server)
        for key in [key for key in self.in_force if key.startswith(misfit_key(""))]:
            if key.removeprefix(misfit_key("")) not in misfits:
                self.clear(key)

    def keep_refusals(self, servers: set[str]) -> None:
        """End the alerts about lists of every server not among these: refused, gone back, in trouble."""
        for key in list(self.in_force):
            kind, _, place = key.partition(" ")
            server, slash, _ = place.rpartition("/")
            if (kind == "list" and slash and server not in servers) or (
                kind in {"back", "trouble"} and place not in servers
            ):
                self.clear(key)
        self._troubles = {each: known for each, known in self._troubles.items() if each in servers}

    def check_age(self, stale_after_s: float) -> None:
        """Raise an alert while lists are older than they may be; it ends by itself."""
        confirmed = read_confirmed(self._folder)
        old: set[str] = set()
        for each in self._stamp().servers:
            age_s = self._clock.now() - max(each.confirmed_at, confirmed.get(each.server, 0.0))
            why = None
            if age_s > stale_after_s:
                why = f"the lists of {each.server} are older than {stale_after_s:.0f} s"
            elif age_s < -SET_BACK_S:
                why = f"how old the lists of {each.server} are is not known: the clock was set back"
            if why is not None:
                old.add(f"age {each.server}")
                self.alert(f"age {each.server}", why)
        for key in list(self.in_force):
            if key.startswith("age ") and key not in old:  # also of a server whose lists are used no more
                self.clear(key)

    def _stamp(self) -> Stamp:
        """Read what is in force; one that cannot be read raises an alert, and stands for an empty one."""
        try:
            return read_stamp(self._folder) or Stamp()
        except PatternError as error:
            self.alert("pattern", str(error))
            return Stamp()

    def record(
        self, kind: EventKind, detail: str, *, name: str | None = None, server: str | None = None
    ) -> None:
        """Record an event about a list or a server."""
        now = self._clock.now()
        self._events.record(
            Event(kind=kind, time=now, id=make_id(now), list=name, server=server, detail=detail)
        )

    def _write(self) -> None:
        with suppress(OSError):
            write_whole(self._folder / ALERTS, json.dumps(self.in_force).encode())


def _each(troubles: str) -> list[str]:
    return troubles.split(BETWEEN) if troubles else []
