"""One process's query process over fakes, put together as the program does it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentkit.hash_lists import build
from agentkit.ledger import FakeLedger
from agentkit.servers import FakeLookup, FakeServer
from agentkit.virtual import FakeClock, VirtualLoop
from secondlook.agent.actions.enforcement import Enforcement, FileAction
from secondlook.agent.actions.notice import AppriseSender, Notice
from secondlook.agent.actions.notifier import Notifier
from secondlook.agent.check.checker import Checker
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.groups import Policies
from secondlook.agent.check.view import LocalView
from secondlook.agent.recheck.batch_check import BatchCheck
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.renewal import Renewal
from secondlook.config.query import RecheckSettings
from secondlook.core.answer import Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import Role
from secondlook.core.lists.pattern import ListInfo, Mirror, Pattern
from secondlook.core.rules.policy import Policy
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat
from secondlook.suffix import load_suffixes


def make_pattern(
    hashes: Sequence[bytes] = (),
    *,
    now: float,
    name: str = "mw-8b",
    role: Role = Role.BLOCK,
    width: int = 8,
    risk: Risk = Risk.DANGEROUS,
    tier: Tier = Tier.LOCAL,
    source: str = "embedded",
    mirrored: bool = True,
    trusted: bool = True,
    kind: SubjectKind = SubjectKind.URL,
) -> Pattern:
    info = ListInfo(
        name=name,
        width=width,
        role=role,
        kind=kind,
        threat=Threat.MALWARE if role is not Role.KNOWN_GOOD else None,
        risk=risk,
        tier=tier,
        server=source,
        source=source,
        complete=True,
        trusted_allow=trusted,
        confirmed_at=now,
    )
    table = HashList.open(build(hashes, width))
    mirrors = (
        [Mirror(server=source, tier=tier, whole=True, confirmed_at=now, announced=True)] if mirrored else []
    )
    return Pattern([(info, table)], mirrors)


def view_with(policies: Policies | None = None, **parts: Any) -> LocalView:
    """Make a view that holds `parts` (`LocalView.replace`)."""
    view = LocalView(policies or Policies(Policy()))
    view.replace(**parts)
    return view


class _Notices(Notifier):
    """Keeps what it is to send."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(AppriseSender(()), clock)
        self.taken: list[Notice] = []

    def notify(self, notice: Notice) -> None:
        self.taken.append(notice)


class House:
    """Loop, clock, servers, ledger, and the query process of one worker."""

    def __init__(
        self, *servers: FakeServer, policy: Policy | None = None, loop: VirtualLoop | None = None
    ) -> None:
        self.loop = loop or VirtualLoop()
        self.clock = FakeClock(self.loop)
        self.servers = list(servers)
        self.lookup = FakeLookup(self.clock, servers)
        self.ledger = FakeLedger(self.clock)
        self.files: FileAction | None = None
        self.policies = Policies(policy or Policy())
        self.pattern = Pattern(())
        self.start()

    def start(self) -> None:
        """Start a fresh process on what the ledger holds."""
        self.view = view_with(self.policies, pattern=self.pattern)
        self.cache = AnswerCache(10_000)
        self.checker = Checker(self.view, self.lookup, self.cache, load_suffixes(), self.clock)
        self.gatekeeper = Gatekeeper(self.checker, self.ledger, self.clock)
        self.notifier = _Notices(self.clock)
        self.told = self.notifier.taken
        self.batch_check = BatchCheck(self.view, self.lookup, self.cache, self.clock)
        self.renewal = Renewal(self.batch_check, self.ledger.confirmed, self.clock)
        self.enforcement = Enforcement(
            self.view,
            self.ledger.confirmed,
            self.ledger.history,
            self.ledger.recorder,
            self.clock,
            notifier=self.notifier,
            files=self.files,
            url_subject=self.subject,
        )
        self.rechecker = Rechecker(
            self.batch_check,
            self.ledger.queue,
            self.enforcement,
            self.renewal,
            self.clock,
            RecheckSettings(),
            random=lambda: 0.5,
        )
        self.reload()

    def reload(self) -> None:
        """Do what the watcher does."""
        mark = self.view.reading()
        self.view.replace(
            rulebook=RuleBook(self.ledger.snapshots.rules()),
            confirmed=self.ledger.snapshots.confirmed(),
            pauses=self.ledger.snapshots.pauses(),
            read_mark=mark,
        )

    def publish(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.view.replace(pattern=pattern)
        sum(self.cache.drop_contradicted(pattern, self.clock.now()))

    def run(self, main):
        return self.loop.run_until_complete(main)

    def sleep(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    def subject(self, url: str):
        return self.checker.subject(url)

    def close(self) -> None:
        self.run(self.gatekeeper.aclose())
        self.loop.close()


def confirmed_about(house: House, url: str, **more) -> ConfirmedEntry:
    """Make a confirmed entry about a URL."""
    subject = house.subject(url)
    entry = ConfirmedEntry(
        identity=subject.hashes[0],
        hit=subject.hashes[0],
        kind=SubjectKind.URL,
        verdict="malicious",
        risk="dangerous",
        threat="malware",
        list="mw-8b",
        server="fake",
        source="fake",
        confirmed_at=house.clock.now(),
        expires_at=None,
    )
    return replace(entry, **more)
