"""The updater against servers that lie: protection never gets worse."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentkit.updating import HOSTS, changed_list, flip, house
from secondlook.agent.pattern.change import status, verify
from secondlook.agent.pattern.files import load_pattern, read_stamp
from secondlook.agent.pattern.list_update import MAX_VERSION_BYTES
from secondlook.core.answer import Tier
from secondlook.known_good import shipped_lines
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.server.publish.publishing import canary
from secondlook.server.store.feeds_off import Off, write_off
from secondlook.wire import rice
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.version import ListVersion
from serverkit import NOW, full_hash, out, put

pytestmark = pytest.mark.anyio


def full_list(entries, name="mw-8b", generation=9):
    """A consistent full list, as a lying server could make it."""
    raw = b"".join(sorted(entries))
    from hashlib import sha256

    checksum = sha256(raw).digest()
    message = pb.HashList(name=name, sha256_checksum=checksum)
    message.version = ListVersion(name, generation, checksum[:8]).encode()
    if entries:
        message.additions_eight_bytes.CopyFrom(rice.encode(raw, 8))  # type: ignore[arg-type]
    return message


def own_canary():
    from secondlook.server.store.names import import_list

    return canary(import_list("mw-8b"))[:8]


def of_another_list(entry):
    other = full_list({full_hash(f"other{at}")[:8] for at in range(3000)}, "se-8b")
    other.name = entry.name
    return other


def guarded_hashes():
    return {full_hash(f"{host}/")[:8] for host in shipped_lines()[:4000]} | {own_canary()}


LIES = {
    "cut off": lambda path, body: (200, b"application/x-protobuf", body[: len(body) // 2]),
    "emptied": lambda path, body: (200, b"application/x-protobuf", b""),
    "HTML": lambda path, body: (200, b"text/html", b"<html><body>Sign in to the hotel</body></html>"),
    "HTML named protobuf": lambda path, body: (200, b"application/x-protobuf", b"<html>hotel</html>"),
    "status 500": lambda path, body: (500, b"text/plain", b"oops"),
    "truncated list": lambda path, body: changed_list(
        body,
        "mw-8b",
        lambda e: (
            e.ClearField("compressed_additions") if e.WhichOneof("compressed_additions") is None else flip(e)
        ),
    ),
    "bit flipped": lambda path, body: changed_list(body, "mw-8b", flip),
    "empty list": lambda path, body: changed_list(body, "mw-8b", lambda e: full_list(set())),
    "shrunk to a tenth": lambda path, body: changed_list(
        body,
        "mw-8b",
        lambda e: full_list({full_hash(f"{host}/")[:8] for host in HOSTS[:300]} | {own_canary()}),
    ),
    "without its canary": lambda path, body: changed_list(
        body, "mw-8b", lambda e: full_list({full_hash(f"x{at}")[:8] for at in range(3000)})
    ),
    "blocks known-good sites": lambda path, body: changed_list(
        body, "mw-8b", lambda e: full_list(guarded_hashes())
    ),
    "of another list": lambda path, body: changed_list(body, "mw-8b", of_another_list),
    "under another name": lambda path, body: changed_list(
        body, "mw-8b", lambda e: setattr(e, "name", "se-8b")
    ),
    "wrong checksum": lambda path, body: changed_list(
        body, "mw-8b", lambda e: setattr(e, "sha256_checksum", bytes(32))
    ),
    "a version without end": lambda path, body: changed_list(
        body, "mw-8b", lambda e: setattr(e, "version", b"v" * (MAX_VERSION_BYTES + 1))
    ),
    "no checksum": lambda path, body: changed_list(
        body, "mw-8b", lambda e: setattr(e, "sha256_checksum", b"")
    ),
}


def twice(path, body):
    """Break what is partial, and answer with the list two times where it is asked for whole."""
    answer = pb.BatchGetHashListsResponse.FromString(body)
    if len(answer.hash_lists) == 1:
        answer.hash_lists.append(pb.HashList(name=answer.hash_lists[0].name))
        answer.hash_lists[0].sha256_checksum = bytes(32)
        return 200, b"application/x-protobuf", answer.SerializeToString()
    return changed_list(body, "mw-8b", lambda e: setattr(e, "sha256_checksum", bytes(32)))


LIES["twice"] = twice


@pytest.mark.parametrize("lie", LIES)
async def test_every_lie_is_refused_with_an_alert_and_recovery_clears_it(tmp_path, lie):
    async with house(tmp_path) as world:
        [first] = await world.updater.update_now()
        assert first.changed
        before = read_stamp(world.updater.folder)
        await world.publish([*HOSTS, "new.example"])
        world.app.change = lambda path, body: LIES[lie](path, body) if "batchGet" in path else None
        [outcome] = await world.updater.update_now()
        assert outcome.error or outcome.refused
        stamp = read_stamp(world.updater.folder)
        assert {e.name: e.sha256 for e in stamp.lists if e.name == "mw-8b"} == {
            e.name: e.sha256 for e in before.lists if e.name == "mw-8b"
        }
        assert world.blocks("canary.mw-8b.secondlook.test/")
        assert world.blocks("evil1.example/")
        assert not world.blocks("new.example/")
        assert not world.blocks("google.com/")
        assert verify(world.state) == {}
        assert status(world.state, now=0).alerts
        assert any(event.kind == "error" for event in world.events.kept)
        world.app.change = None
        [again] = await world.updater.update_now()
        assert not again.refused
        assert again.changed
        assert world.blocks("new.example/")
        assert status(world.state, now=0).alerts == ()
        assert any("no longer" in (event.detail or "") for event in world.events.kept)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("other", [b"canary", bytes(32)])
async def test_a_canary_that_a_list_does_not_hold_refuses_it_changed_or_not(tmp_path, other, held):
    def described(path, body):
        if not path.endswith("hashLists"):
            return None
        answer = pb.ListHashListsResponse.FromString(body)
        for each in answer.hash_lists:
            if each.name == "mw-8b":
                each.metadata.canary = other
        return 200, b"application/x-protobuf", answer.SerializeToString()

    async with house(tmp_path) as world:
        if held:
            await world.updater.update_now()
            put(world.store, ["phish.example"], list_name="se-8b", name="phish.txt")
            out(world.store)
            await world.app.reader.refresh()
        world.app.change = described
        [outcome] = await world.updater.update_now()
        assert outcome.refused == {"mw-8b": "it does not hold its canary"}
        assert verify(world.state) == {}
        assert world.blocks("evil1.example/") is held


async def test_a_refused_list_and_a_rollback_leave_a_generation_to_tell(tmp_path, world):
    from typer.testing import CliRunner

    from secondlook.cli.operation import pattern as pattern_command
    from secondlook.cli.operation import status as status_command

    def told(app, *arguments):
        shown = CliRunner().invoke(app, [*arguments, "--state", str(tmp_path / "state")])
        return shown.output

    await world.publish([*HOSTS, "new.example"])
    world.app.change = lambda path, body: changed_list(body, "mw-8b", flip) if "batchGet" in path else None
    await world.updater.update_now()
    assert load_pattern(world.state).generation == "1 and 2"
    for app in (status_command.app, pattern_command.app):
        assert "generation 1 and 2" in await asyncio.to_thread(told, app)
    world.app.change = None
    await world.updater.update_now()
    assert load_pattern(world.state).generation == "2"
    shown = await asyncio.to_thread(told, pattern_command.app, "rollback")
    assert "generation 1 and 2 is in force again" in shown
    assert "secondlook pattern update --force" in shown
    shown = await asyncio.to_thread(told, status_command.app)
    assert "generation 1 and 2" in shown
    assert "the pattern was rolled back" in shown
    with contextlib.closing(
        Ledger.open(world.state / "ledger.sqlite3", LedgerOptions(background=False))
    ) as ledger:
        (event,) = ledger.events.page(EventFilter(kind="update")).events
    assert event.detail.startswith("rolled back to generation 1 and 2: ")


@pytest.mark.parametrize("forgery", ["unsigned", "another key", "of another version"])
async def test_where_a_key_is_pinned_only_its_lists_come_in(tmp_path, forgery):
    from secondlook.wire.signature import sign_list

    def forge(entry):
        if forgery == "unsigned":
            entry.ClearField("signature")
        elif forgery == "another key":
            entry.signature = sign_list(
                Ed25519PrivateKey.generate(), entry.name, entry.version, entry.sha256_checksum
            )
        else:
            entry.version = ListVersion("mw-8b", 77, entry.sha256_checksum[:8]).encode()

    async with house(tmp_path, pinned=True) as world:
        assert (await world.updater.update_now())[0].refused == {}
        await world.publish([*HOSTS, "new.example"])
        world.app.change = lambda path, body: (
            changed_list(body, "mw-8b", forge) if "batchGet" in path else None
        )
        [outcome] = await world.updater.update_now()
        assert "not signed" in outcome.refused["mw-8b"]
        assert world.blocks("evil1.example/")
        assert not world.blocks("new.example/")
        world.app.change = None
        assert (await world.updater.update_now())[0].refused == {}
        assert world.blocks("new.example/")


POPULAR = ("google.com", "wikipedia.org")


def blocking(*hosts):
    """Let the server say that it blocks hosts, beside what it really blocks."""
    entries = {full_hash(f"{host}/")[:8] for host in (*HOSTS, *hosts)} | {own_canary()}
    return lambda path, body: (
        changed_list(body, "mw-8b", lambda _: full_list(entries)) if "batchGet" in path else None
    )


async def test_not_one_popular_site_is_blocked_by_who_might_be_anybody(world):
    await world.publish([*HOSTS, "new.example"])
    world.app.change = blocking(*POPULAR)
    [outcome] = await world.updater.update_now()
    assert outcome.refused["mw-8b"].startswith("it would block google.com, wikipedia.org, known")
    assert "wikipedia.org" in status(world.state, now=0).alerts[0]
    assert not world.blocks("google.com/")
    assert world.blocks("evil1.example/")
    meant = world.make_updater(may_block=POPULAR[:1])
    assert "block wikipedia.org," in (await meant.update_now())[0].refused["mw-8b"]
    meant = world.make_updater(may_block=POPULAR)
    assert (await meant.update_now())[0].refused == {}
    assert world.blocks("google.com/")
    # what is blocked already is not new
    world.app.change = blocking(*POPULAR, "newer.example")
    assert (await world.updater.update_now(accept_shrink=True))[0].refused == {}


@pytest.mark.parametrize("whose", ["pinned", "own"])
async def test_a_publisher_who_is_known_may_mean_it(tmp_path, whose):
    async with house(tmp_path, pinned=whose == "pinned") as world:
        if whose == "own":
            world.source = replace(world.source, tier=Tier.LOCAL)
            world.updater = world.make_updater()
        await world.updater.update_now()
        put(world.store, POPULAR, name="meant.txt", insist=True)
        out(world.store)
        await world.app.reader.refresh()
        assert (await world.updater.update_now())[0].refused == {}
        assert world.blocks("google.com/")


async def test_lists_do_not_shrink_away_step_by_step(world):
    """Each step alone is not too far; what a list had within a week is what the next is held against."""
    first = read_stamp(world.updater.folder)
    [most] = [each.count for each in first.lists if each.name == "mw-8b"]

    async def offered(count):
        entries = {full_hash(f"evil{at}.example/")[:8] for at in range(count - 1)} | {own_canary()}
        await world.publish([f"new{count}.example"])
        world.app.change = lambda path, body: (
            changed_list(body, "mw-8b", lambda _: full_list(entries)) if "batchGet" in path else None
        )
        [outcome] = await world.updater.update_now()
        return outcome.refused.get("mw-8b", "").partition(";")[0]

    assert [await offered(count) for count in (2400, 1800, 1550)] == ["", "", ""]
    refused = f"it shrinks to 1499 entries, within the last 7 days it had {most}"
    assert [await offered(1499), await offered(1499)] == [refused, refused]
    assert world.blocks("evil1500.example/")
    [outcome] = await world.updater.update_now(accept_shrink=True)
    assert outcome.refused == {}
    assert await offered(1000) == "", "what was accepted is no longer held against it"
    assert (await offered(499)).startswith("it shrinks from 1000 entries to 499")


@pytest.mark.parametrize("whose", ["pinned", "own", "anybody's"])
async def test_a_feed_that_was_switched_off_leaves_the_lists_of_a_known_publisher(tmp_path, whose):
    async with house(tmp_path, pinned=whose == "pinned", lines=["kept.example"]) as world:
        if whose == "own":
            world.source = replace(world.source, tier=Tier.LOCAL)
            world.updater = world.make_updater()
        put(world.store, HOSTS, name="feed")
        source = world.store.sources()[-1]
        world.store.change_source(replace(source, kind="feed"))
        out(world.store)
        await world.app.reader.refresh()
        await world.updater.update_now()
        assert world.blocks("evil1.example/")
        write_off(world.store.root, {"feed": Off(NOW)})
        out(world.store)
        put(world.store, ["later.example"], name="later.txt")
        out(world.store)  # who was away meanwhile misses the generation that became smaller
        await world.app.reader.refresh()
        [outcome] = await world.updater.update_now()
        refused = {"mw-8b"} if whose == "anybody's" else set()
        assert set(outcome.refused) == refused
        assert world.blocks("evil1.example/") is bool(refused)
        assert world.blocks("later.example/") is not bool(refused)


def index_without(*names):
    """Let the server's index leave out lists that it has; without names, all of them."""

    def change(path, body):
        if path != "/v5/hashLists":
            return None
        answer = pb.ListHashListsResponse.FromString(body)
        kept = [each for each in answer.hash_lists if names and each.name not in names]
        answer = pb.ListHashListsResponse(hash_lists=kept)
        return 200, b"application/x-protobuf", answer.SerializeToString()

    return change


@pytest.mark.parametrize("missing", [(), ("mw-s-8b",), ("mw-8b", "mw-s-8b")])
async def test_a_list_that_the_index_names_no_more_stays_until_that_is_accepted(tmp_path, missing):
    async with house(tmp_path) as world:
        put(world.store, ["doubtful.example"], list_name="mw-s-8b", name="doubtful.txt")
        out(world.store)
        await world.app.reader.refresh()
        await world.updater.update_now()
        await world.publish([*HOSTS, "new.example"])
        world.app.change = index_without(*missing)
        for _ in range(4):
            [outcome] = await world.updater.update_now()
            assert set(outcome.refused) == set(missing or ("mw-8b", "mw-s-8b"))
            assert "the server has it no more" in outcome.refused["mw-s-8b"]
            assert world.blocks("doubtful.example/")
            assert world.blocks("evil1.example/")
            [mirror] = load_pattern(world.state).mirrors
            assert not mirror.whole
        assert world.blocks("new.example/") is (missing == ("mw-s-8b",))
        assert any("an update of mw-s-8b from office" in text for text in status(world.state, now=0).alerts)
        assert {event.list for event in world.events.kept if event.kind == "error"} == set(outcome.refused)
        if missing == ("mw-s-8b",):  # it is meant
            [outcome] = await world.updater.update_now(accept_shrink=True)
            assert not world.blocks("doubtful.example/")
            assert world.blocks("evil1.example/")
            assert [event.detail for event in world.events.kept if event.list == "mw-s-8b"][-1] == (
                "given up, as the server has it no more (-2)"
            )
        else:
            world.app.change = None
            [outcome] = await world.updater.update_now()
            assert world.blocks("new.example/")
            assert world.blocks("doubtful.example/")
        assert outcome.refused == {}
        assert status(world.state, now=0).alerts == ()


async def test_a_list_of_its_canary_alone_may_leave_the_index(world):
    await world.publish([*HOSTS, "new.example"])
    world.app.change = index_without("uws-8b")
    [outcome] = await world.updater.update_now()
    assert outcome.refused == {}
    assert "uws-8b" not in {each.name for each in read_stamp(world.updater.folder).lists}
