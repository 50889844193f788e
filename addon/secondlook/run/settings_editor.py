"""Changes of `proxy.yaml` from the review page: shown first, tried, written whole, put in force.

```
form ─► change of the text ─► read as at a start ─► difference, with the digest of what it was made of
                                   │ fault: to its field
digest still right? ─► written beside, renamed ─► event ─► SIGHUP ─► read by the supervisor, in every worker
```
"""

import difflib
import hashlib
import os
import pwd
import signal
import stat
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from secondlook.config.agent import Settings
from secondlook.config.document import Fault, InvalidConfigError
from secondlook.config.edit import CannotEditError
from secondlook.config.service import FeedSettings
from secondlook.core.event import Event, EventKind
from secondlook.core.lists.feed_format import Format
from secondlook.core.verdict import Risk, Threat
from secondlook.ground.clock import Clock
from secondlook.ground.errors import ConfigError, SecondLookError
from secondlook.ground.files import rewrite
from secondlook.ground.lanes import COMMANDS
from secondlook.ground.program_name import typed
from secondlook.ledger.log.recorder import Recorder
from secondlook.review.operations.refused import Refused
from secondlook.review.program import Json
from secondlook.run.reload import plan_of, settings_of
from secondlook.run.settings_change import UNVERIFIABLE, Change, Values, change_of
from secondlook.run.supervisor.plan import Plan
from secondlook.run.supervisor.runfile import read_run_file
from secondlook.run.supervisor.settings_file import reading_ended
from secondlook.server.feeds.child import try_feed_in_child
from secondlook.server.feeds.feed_state import FeedState
from secondlook.server.feeds.fetch import FeedClient, FetchFailed, fetch
from secondlook.server.store.importing import Origin, choose_list

TRIED_WITHIN_S: Final = 30.0


def _by_hand() -> str:
    return f"Apply the difference by hand, then run `{typed('reload')}`."


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that was tried: its new content, and the digest of the content that it was made of."""

    content: bytes
    digest: str
    effect: str
    warning: str | None
    difference: str


class SettingsEditor:
    """The settings file as the review page changes it; every method that is not async blocks."""

    def __init__(self, plan: Plan, settings: Settings, recorder: Recorder, clock: Clock) -> None:
        self._invocation = plan.invocation
        self._supervisor = plan.supervisor
        self._settings = settings  # in force
        self._recorder = recorder
        self._clock = clock
        self._writing = threading.Lock()
        self._trying = False

    def facts(self) -> Json:
        """Return what can be changed and what it is now in the file, and why nothing can be written."""
        path = self._path()
        content = self._read(path)
        try:
            settings = settings_of(self._invocation, content)
        except ConfigError as error:
            raise Refused(f"the settings file has a fault of its own: {error}") from None
        groups = settings.clients.groups if settings.clients is not None else ()
        return {
            "file": str(path),
            "digest": _digest(content),
            "off": not self._settings.review.settings,
            "not_written": self.why_not(),
            "overrides": list(self._invocation.overrides),
            "feeds": [_feed(feed) for feed in settings.feeds if feed.builtin is None],
            "policy": {
                **settings.policy.model_dump(include={"level", "block_untested", "mode"}),
                **settings.policy.unverifiable.model_dump(),
            },
            "groups": [
                {
                    "name": group.name,
                    "networks": [str(network) for network in group.networks],
                    "users": list(group.users),
                    "level": group.policy.level,
                    **{name: group.policy.unverifiable.get(name) for name in UNVERIFIABLE},
                }
                for group in groups
            ],
            "formats": ["auto", *(form.value for form in Format)],
        }

    def why_not(self) -> str | None:
        """Return why the file cannot be written from here; None: it can."""
        return why_not_written(self._path(), os.geteuid())

    def preview(self, kind: str, values: Values) -> Json:
        """Return what a change does, the difference and the digest that `apply` wants. Raises Refused.

        `kind` is a name of `settings_change.CHANGES`.
        """
        made = self._propose(kind, values)
        return {
            "effect": made.effect,
            "warning": made.warning,
            "difference": made.difference,
            "digest": made.digest,
            "file": str(self._path()),
            "not_written": self.why_not(),
        }

    def apply(self, kind: str, values: Values, digest: str, who: str | None) -> Json:
        """Write a previewed change and have it read; return what `outcome` wants. Raises Refused."""
        with self._writing:
            made = self._propose(kind, values)
            if made.digest != digest:
                raise Refused(
                    "the file was changed meanwhile; nothing was written. This is the difference now",
                    "digest",
                )
            if (why := self.why_not()) is not None:
                raise Refused(f"{why} {_by_hand()}", "digest")
            try:
                rewrite(self._path(), made.content)
            except OSError as error:
                reason = (
                    f"{self._path()} could not be written ({error.strerror or error}): nothing was changed."
                )
                raise Refused(f"{reason} {_by_hand()}", "digest") from error
        running = read_run_file(self._settings.state)
        readings = running["settings"]["readings"] if running is not None else 0
        self._note(f"the settings were changed on the review page: {made.effect}", who)
        os.kill(self._supervisor, signal.SIGHUP)
        return {"readings": readings, "file": _digest(made.content)}

    def outcome(self, readings: int, file: str) -> Json:
        """Return the `state` of a change (reading, in_force, refused), `why`, how many `workers`."""
        running = read_run_file(self._settings.state)
        if running is None or not reading_ended(running, readings, file):
            return {"state": "reading", "why": None, "workers": 0}
        why = running["settings"]["refused"]
        workers = len(running["workers"]) + len(running.get("gates", ()))
        return {"state": "refused" if why else "in_force", "why": why, "workers": workers}

    async def try_feed(self, values: Values) -> Json:
        """Fetch a feed and read it, without keeping anything. Raises Refused."""
        values = {name: value.strip() for name, value in values.items()}
        feed = await COMMANDS.run(self._feed_alone, values)
        if self._trying:
            raise Refused("another feed is being tried; wait until that has ended", "url")
        self._trying = True
        client = FeedClient(self._settings.upstream_proxy)
        try:
            return await self._tried(client, feed)
        except FetchFailed as error:
            raise Refused(f"it could not be fetched: {error}", "url") from None
        except SecondLookError as error:
            raise Refused(str(error), "url") from None
        finally:
            self._trying = False
            await client.aclose()

    def _feed_alone(self, values: Values) -> FeedSettings:
        """Read a feed as the file would have it. Raises Refused."""
        path = self._path()
        content = self._read(path)
        try:
            known = {feed.name for feed in settings_of(self._invocation, content).feeds}
        except ConfigError as error:
            raise Refused(str(error)) from None
        free = values.get("name", "")
        while free in known:  # one that is there may be tried too
            free += "-"
        change = self._change("add-feed", content, {**values, "name": free})
        return self._settled(change, values).feeds[-1].model_copy(update={"name": values["name"]})

    async def _tried(self, client: FeedClient, feed: FeedSettings) -> Json:
        feed = feed.model_copy(update={"timeout": min(feed.timeout, TRIED_WITHIN_S)})
        with tempfile.TemporaryDirectory(prefix="secondlook-try-") as folder:
            path = Path(folder) / "feed"
            await fetch(client, feed, FeedState(), path)
            origin = Origin(
                name=feed.name,
                kind="feed",
                target=choose_list(feed.list, Threat(feed.threat), Risk(feed.risk)),
                who="review page",
                now=self._clock.now(),
                format=feed.format,
                url=feed.url,
            )
            report = await try_feed_in_child(Path(folder) / "store", path, origin)
            size = path.stat().st_size
        return {**{name: report[name] for name in _OF_A_TRY}, "size_bytes": size}

    def _path(self) -> Path:
        if self._invocation.config is None:
            raise Refused(
                f"the proxy was started without a settings file: start it with `{typed('run -c proxy.yaml')}`"
            )
        return Path(self._invocation.config)

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise Refused(f"{path} cannot be read: {error.strerror or error}") from None

    def _propose(self, kind: str, values: Values) -> Proposal:
        if not self._settings.review.settings:
            raise Refused("changing settings from here is switched off (review.settings)")
        path = self._path()
        content = self._read(path)
        change = self._change(kind, content, values)
        self._settled(change, values)
        before = content.decode("utf-8").splitlines(keepends=True)
        lines = difflib.unified_diff(before, change.text.splitlines(keepends=True), path.name, path.name)
        difference = "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)
        return Proposal(change.text.encode(), _digest(content), change.effect, change.warning, difference)

    def _change(self, kind: str, content: bytes, values: Values) -> Change:
        try:
            settings = settings_of(self._invocation, content)
            return change_of(kind, content.decode("utf-8"), settings, values)
        except InvalidConfigError as error:
            raise Refused(f"the settings file has a fault of its own: {error}") from None
        except CannotEditError as error:
            raise Refused(f"{error}: change it by hand") from None

    def _settled(self, change: Change, values: Values) -> Settings:
        """Read a changed text as a start does. Raises Refused with all faults of the form at their places."""
        try:
            settings = settings_of(self._invocation, change.text.encode())
            plan_of(self._invocation, settings)
        except InvalidConfigError as error:
            place = ".".join(map(str, change.place))
            found = {
                field: fault.message
                for fault in reversed(error.faults)  # the first of a field counts
                if f"{fault.key}.".startswith(f"{place}.") and (field := _field(fault, values))
            }
            if faults := {**found, **change.faults}:
                raise Refused.of_fields(
                    {name: faults[name] for name in (*values, *faults) if name in faults}
                ) from None
            raise Refused(str(error)) from None
        except ConfigError as error:
            raise Refused(str(error)) from None
        if change.faults:
            raise Refused.of_fields(change.faults)
        return settings

    def _note(self, detail: str, who: str | None) -> None:
        now = self._clock.now()
        self._recorder.record(Event(id="", kind=EventKind.ACTION, time=now, detail=detail, client=who))


_OF_A_TRY: Final = ("format", "accepted", "distinct", "rejected", "lists", "rejects", "skipped", "refused")


def why_not_written(path: Path, user: int) -> str | None:
    """Return why a file cannot be replaced by a user, with its mode and owner kept; None: it can."""
    target = path.resolve()
    try:
        status = target.stat()
    except OSError as error:
        return f"{path} cannot be found: {error.strerror}."
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} is read-only."
    if user not in (0, status.st_uid):
        return f"{path} belongs to {_name_of(status.st_uid)}, and this proxy runs as {_name_of(user)}."
    if not os.access(target, os.W_OK):
        return f"{path} is read-only for this proxy."
    if not os.access(target.parent, os.W_OK | os.X_OK):
        return f"the folder {target.parent}, where it is written beside and renamed, is read-only."
    return None


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _field(fault: Fault, values: Mapping[str, Any]) -> str | None:
    """Return the field of the form that a fault is about."""
    return next((part for part in reversed(fault.key.split(".")) if part in values), None)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _feed(feed: FeedSettings) -> Json:
    source = feed.url or str(feed.path)
    return {"name": feed.name, "source": source, "enabled": feed.enabled, "guard": feed.guard}
