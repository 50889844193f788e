"""What tests of the review need: a program around it that answers as the real one does, and records."""

import functools
import os
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

from secondlook.config.agent import Settings
from secondlook.core.event import Event, EventKind, FlagEntry
from secondlook.core.subject import SubjectKind
from secondlook.core.tls_exception import Lasting
from secondlook.core.url.canonical import url_subject
from secondlook.core.verdict import SubjectClass
from secondlook.ground.clock import SystemClock
from secondlook.ground.first_steps import FirstSteps
from secondlook.ground.ulid import make_id
from secondlook.run.reload import plan_of, settings_of
from secondlook.run.settings_editor import SettingsEditor
from secondlook.run.supervisor.plan import Invocation
from secondlook.suffix import load_suffixes

SETTINGS = """\
# of this household
listen: 127.0.0.1:8080
feeds:
  - name: urlhaus
    url: https://urlhaus.abuse.ch/downloads/text_online/ # malware
    every: 30m
  - name: warnings
    url: https://lists.example.org/warninglist.json
    guard: true
    enabled: false

# what is done
policy:
  level: medium # for everybody
clients:
  networks: [10.0.0.0/8]
  groups:
    - name: children
      networks: [10.0.0.7/32] # the tablet
      policy: {level: high}
"""
ORIGIN = "http://127.0.0.1:9000"


@functools.cache
def _read() -> Settings:
    """Read the settings once: it takes as long as a page."""
    with NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(SETTINGS)
        file.flush()
        return settings_of(Invocation(file.name))


class FakeProgram:
    """Stands for the running program: remembers what it was asked, answers in the contract's words."""

    started_at = 1_790_000_000.0
    proxy = "127.0.0.1:8080"
    assessing = False
    shared_as: str | None = None
    gateways = False
    passages = Lasting(learned_s=3600.0)

    def __init__(self, authority: Path) -> None:
        self.authority = authority
        self.names_given = {}
        self.first_steps = FirstSteps(authority.parent)
        self.asked = []
        self.server_rows = [{"name": "embedded", "tier": "local", "up": True, "detail": None}]
        self.alert_rows = []
        self.rollback = None
        self.recorded = []
        config = authority.parent / "proxy.yaml"
        config.write_text(SETTINGS)
        invocation = Invocation(str(config), state=str(authority.parent / "state"))
        settings = _read().model_copy(update={"state": authority.parent / "state"})
        plan = replace(plan_of(invocation, settings), supervisor=os.getpid())
        self.editor = SettingsEditor(plan, settings, self, SystemClock())

    def record(self, event):
        self.recorded.append(event)

    def metrics(self):
        return b"# HELP secondlook_events_total Events.\n"

    def url_subject(self, text):
        return url_subject(text, load_suffixes())

    async def check(self, text, client=None):
        if " " in text:
            raise ValueError(f"expected a URL or a digest, got {text!r}")
        return {
            "subject": text, "decision": "block", "verdict": "malicious", "risk": "dangerous", "stage": "pattern", "list": "mw-8b",
            "rule": None, "threat": "malware", "canonical": text, "expressions": ["malware.secondlook.test/"],
            "stages": [{"stage": "rules", "outcome": "miss"}, {"stage": "pattern", "outcome": "hit", "detail": "mw-8b", "elapsed_ms": 0.02}],
        }  # fmt: skip

    async def verify(self):
        self.asked.append("verify")

    async def update(self, *, force=False):
        self.asked.append("update by force" if force else "update")

    def rolled_back(self):
        return self.rollback

    def client(self, name):
        return {"group": "children" if name == "10.0.0.7" else None, "policy": {"Level": "high"}}

    def names(self):
        return self.names_given

    def lists(self):
        return [
            {
                "name": "mw-8b", "title": "URLhaus (malware)", "meaning": "malware, dangerous", "count": 512_345, "size_bytes": 4_361_000, "server": "embedded",
                "generation": "7", "confirmed_at": "2026-11-23T12:00:00.000Z",
            }
        ]  # fmt: skip

    def servers(self):
        return self.server_rows

    def location(self):
        return "On the intranet: the intranet servers are asked."

    def feeds(self):
        return [
            {
                "name": "urlhaus",
                "licence": "CC0",
                "count": 12_000,
                "fetched_at": "2026-11-23T12:00:00.000Z",
                "held_back": 3,
                "state": "fresh",
                "off": False,
            },
            {
                "name": "phishing-database",
                "licence": "MIT",
                "count": 390_000,
                "fetched_at": "2026-11-23T12:00:00.000Z",
                "held_back": 0,
                "state": "switched off since 2026-11-24; what it brought is kept, and not in force",
                "off": True,
            },
        ]

    def alerts(self):
        return self.alert_rows

    address_of_others = None

    def backtest(self, rule, days, action="block"):
        if rule == "nonsense rule":
            raise ValueError("back-test: expected a rule, a list or a level")
        return {
            "examined": 100,
            "matched": 3,
            "hosts": [{"host": "example.org", "count": 2}, {"host": "example.net", "count": 1}],
            "newly_allowed": 2 if action == "allow" else 0,
            "allowed_hosts": [{"host": "freed.example", "count": 2}] if action == "allow" else [],
        }

    async def restore(self, record_id):
        self.asked.append(("restore", record_id))

    async def delete_quarantined(self, record_id):
        self.asked.append(("delete", record_id))


def make_event(kind=EventKind.BLOCKED, **values):
    time = values.pop("time", SystemClock.now())
    defaults = {
        "decision": {"blocked": "block", "flagged": "flag"}.get(kind.value), "cls": SubjectClass.PAGE, "subject": SubjectKind.URL,
        "url": "http://malware.example/a", "host": "malware.example", "method": "GET", "client": "127.0.0.1", "verdict": "malicious",
        "risk": "dangerous", "threat": "malware", "stage": "pattern", "list": "mw-8b", "elapsed_ms": 0.04, "attempts": 0,
    }  # fmt: skip
    return Event(id=values.pop("id", make_id(time)), kind=kind, time=time, **{**defaults, **values})


def make_flag(event, reason="no server answered"):
    return FlagEntry(
        identity=bytes([7]) * 32, kind=SubjectKind.URL, cls=SubjectClass.PAGE, hashes=(bytes([7]) * 32,), url=event.url, host=event.host,
        client=event.client, time=event.time, reason=reason,
    )  # fmt: skip


def keep(ledger, *events):
    for event in events:
        ledger.recorder.record(event)
    while ledger.store.writer.waiting:
        ledger.store.commit_now(lambda _connection: None)


def csrf(client):
    page = client.get("/rules").text
    return page.partition('name="csrf" value="')[2].partition('"')[0]


def post(browser, path, **form):
    return browser.post(path, data={"csrf": csrf(browser), **form})
