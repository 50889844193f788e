"""The updater against servers that lie, break off and come back: protection never gets worse."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import serverkit
from agentkit.updating import HOSTS, house, run
from secondlook.agent.pattern.change import forget_rollback, rollback, status, verify
from secondlook.agent.pattern.files import PatternFolder, load_pattern, read_stamp
from secondlook.core.answer import Tier
from secondlook.core.lists.hashlist import build
from secondlook.known_good import shipped_lines
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.server.publish.publishing import canary
from secondlook.wire import rice
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.version import ListVersion
from serverkit import full_hash, out, put


def changed_list(body, name, change):
    """Change one list of a batch answer."""
    answer = pb.BatchGetHashListsResponse.FromString(body)
    for at, entry in enumerate(answer.hash_lists):
        if entry.name == name:
            replaced = change(entry) or entry
            answer.hash_lists[at].CopyFrom(replaced)
    return 200, b"application/x-protobuf", answer.SerializeToString()


def full_list(entries, name="mw-8b", generation=9):
    """A consistent full list, as a lying server could make it."""
    raw = b"".join(sorted(entries))
    from hashlib import sha256

    checksum = sha256(raw).digest()
    message = pb.HashList(name=name, sha256_checksum=checksum)
    message.version = ListVersion(name, generation, checksum[:8]).encode()
    if entries:
        message.additions_eight_bytes.CopyFrom(rice.encode(raw, 8))
    return message


def own_canary():
    from secondlook.server.store.names import import_list

    return canary(import_list("mw-8b"))[:8]


def flip(entry):
    data = bytearray(
        entry.additions_eight_bytes.encoded_data or entry.compressed_removals.encoded_data or b"\0"
    )
    data[len(data) // 2] ^= 4
    target = (
        entry.additions_eight_bytes if entry.additions_eight_bytes.encoded_data else entry.compressed_removals
    )
    target.encoded_data = bytes(data)


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
    "no checksum": lambda path, body: changed_list(
        body, "mw-8b", lambda e: setattr(e, "sha256_checksum", b"")
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_every_lie_is_refused_with_an_alert_and_recovery_clears_it(tmp_path, lie):
    async def scene():
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

    run(scene)


def test_a_refused_list_and_a_rollback_leave_a_generation_to_tell(tmp_path):
    from typer.testing import CliRunner

    from secondlook.cli.operation import pattern as pattern_command
    from secondlook.cli.operation import status as status_command

    def told(app, *arguments):
        shown = CliRunner().invoke(app, [*arguments, "--state", str(tmp_path / "state")])
        return shown.output

    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            await world.publish([*HOSTS, "new.example"])
            world.app.change = lambda path, body: (
                changed_list(body, "mw-8b", flip) if "batchGet" in path else None
            )
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

    run(scene)


@pytest.mark.parametrize("forgery", ["unsigned", "another key", "of another version"])
def test_where_a_key_is_pinned_only_its_lists_come_in(tmp_path, forgery):
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

    async def scene():
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

    run(scene)


POPULAR = ("google.com", "wikipedia.org")


def blocking(*hosts):
    """Let the server say that it blocks hosts, beside what it really blocks."""
    entries = {full_hash(f"{host}/")[:8] for host in (*HOSTS, *hosts)} | {own_canary()}
    return lambda path, body: (
        changed_list(body, "mw-8b", lambda _: full_list(entries)) if "batchGet" in path else None
    )


def test_not_one_popular_site_is_blocked_by_who_might_be_anybody(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
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

    run(scene)


@pytest.mark.parametrize("whose", ["pinned", "own"])
def test_a_publisher_who_is_known_may_mean_it(tmp_path, whose):
    async def scene():
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

    run(scene)


def test_an_unchanged_generation_costs_one_small_request(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            world.app.seen.clear()
            [outcome] = await world.updater.update_now()
            assert (outcome.changed, world.app.seen) == (False, ["/healthz"])

    run(scene)


def test_a_partial_update_that_does_not_fit_is_followed_by_a_full_one(tmp_path):
    asked = []

    def break_partial(path, body):
        if "batchGet" not in path:
            return None
        answer = pb.BatchGetHashListsResponse.FromString(body)
        asked.append([entry.partial_update for entry in answer.hash_lists if entry.name == "mw-8b"])
        return changed_list(
            body, "mw-8b", lambda e: setattr(e, "sha256_checksum", bytes(32)) if e.partial_update else None
        )

    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            await world.publish([*HOSTS, "new.example"])
            world.app.change = break_partial
            [outcome] = await world.updater.update_now()
            assert outcome.refused == {}
            assert world.blocks("new.example/")
            assert asked == [[True], [False]]

    run(scene)


def test_a_damaged_file_is_found_and_fetched_again(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            [listed] = [each for each in read_stamp(world.updater.folder).lists if each.name == "mw-8b"]
            path = world.updater.folder / listed.file
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data)
            assert list(verify(world.state)) == ["mw-8b"]
            assert await world.updater.verify() == ["mw-8b"]
            assert status(world.state, now=0).alerts
            await world.updater.update_now()
            assert verify(world.state) == {}
            assert world.blocks("evil1.example/")
            assert not status(world.state, now=0).alerts  # what is mended is no problem any more

    run(scene)


def test_a_damaged_stamp_is_set_aside_and_everything_fetched_again(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            stamp = world.updater.folder / "current.json"
            stamp.write_text("{")
            (outcome,) = await world.updater.update_now()
            assert "cannot be read" in (outcome.error or "")
            assert await world.updater.verify() == []
            assert "set aside" in status(world.state, now=0).alerts[0]
            assert (world.updater.folder / "current.json.damaged").read_text() == "{"
            (outcome,) = await world.updater.update_now()
            assert outcome.taken["mw-8b"]
            assert world.blocks("evil1.example/")
            assert not status(world.state, now=0).alerts

    run(scene)


def test_rollback_holds_until_another_version_comes(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            await world.publish([*HOSTS, "new.example"])
            await world.updater.update_now()
            assert world.blocks("new.example/")
            rollback(world.state)
            assert not world.blocks("new.example/")
            await world.updater.update_now()
            assert not world.blocks("new.example/")
            assert load_pattern(world.state).generation == "1 and 2"  # the other lists are the same in both
            (alert,) = status(world.state, now=0.0).alerts
            assert "was rolled back: older lists stay in force (mw-8b of" in alert
            assert "secondlook pattern update --force`" in alert
            await world.publish([*HOSTS, "new.example", "newer.example"])
            await world.updater.update_now()
            assert world.blocks("new.example/")
            assert world.blocks("newer.example/")
            assert load_pattern(world.state).generation == "3"
            assert status(world.state, now=0.0).alerts == ()

    run(scene)


def test_what_a_rollback_gave_up_is_taken_after_all_on_request(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            assert not forget_rollback(world.state, now=1.0, keep=14)
            await world.publish([*HOSTS, "new.example"])
            await world.updater.update_now()
            rollback(world.state)
            await world.updater.update_now()
            assert not world.blocks("new.example/")
            assert forget_rollback(world.state, now=2.0, keep=14)
            await world.updater.update_now()
            assert world.blocks("new.example/")
            assert status(world.state, now=0.0).alerts == ()

    run(scene)


def test_a_reader_notices_a_change_and_keeps_what_did_not_change(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            folder = PatternFolder(world.state)
            assert folder.poll().entries > 3000
            assert folder.poll() is None
            before = dict(folder._open)
            await world.publish([*HOSTS, "new.example"])
            await world.updater.update_now()
            assert folder.poll() is not None
            same = [name for name in folder._open if folder._open[name] is before.get(name)]
            assert len(same) == len(folder._open) - 1
            assert folder.faults == ()

    run(scene)


def test_a_stamp_names_no_file_outside_its_folder(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            folder = PatternFolder(world.state)
            stamp = read_stamp(folder.folder)
            [listed] = [each for each in stamp.lists if each.name == "mw-8b"]
            (folder.folder / listed.file).rename(world.state / listed.file)  # whole, and not where lists are
            moved = replace(listed, file=f"../{listed.file}")
            lists = tuple(moved if each is listed else each for each in stamp.lists)
            (folder.folder / "current.json").write_bytes(replace(stamp, lists=lists).to_json())
            loaded = folder.load()
            assert "outside its folder" in folder.faults[0]
            assert "mw-8b" not in {info.name for info, _ in loaded.lists}

    run(scene)


def test_another_whole_list_in_the_place_of_one_is_left_out(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            folder = PatternFolder(world.state)
            [listed] = [each for each in read_stamp(folder.folder).lists if each.name == "mw-8b"]
            (folder.folder / listed.file).write_bytes(build([full_hash("other.example/")], 8))
            loaded = folder.load()
            assert "is not the list that was verified" in folder.faults[0]
            assert "mw-8b" not in {info.name for info, _ in loaded.lists}
            assert not loaded.mirrors[0].whole, "its server is asked again"

    run(scene)


def test_mirrored_only_while_every_list_is_here(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            [mirror] = load_pattern(world.state).mirrors
            assert mirror.whole
            await world.publish([*HOSTS, "new.example"])
            world.app.change = lambda path, body: (
                changed_list(body, "mw-8b", flip) if "batchGet" in path else None
            )
            await world.updater.update_now()
            [mirror] = load_pattern(world.state).mirrors
            assert not mirror.whole

    run(scene)


def test_old_data_raises_an_alert_that_clears_itself(tmp_path):
    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            old = world.make_updater(stale_after=0.0)
            world.app.change = lambda path, body: (503, b"text/plain", b"away")
            await old.update_now()
            assert any("older than" in text for text in status(world.state, now=0).alerts)
            world.app.change = None
            fresh = world.make_updater()
            await fresh.update_now()
            assert status(world.state, now=0).alerts == ()

    run(scene)


KILLED = """
import asyncio, sys
from pathlib import Path
from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.updater import Updater
from secondlook.ground.clock import SystemClock
from secondlook.config import PatternSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.lookup.client import ServerClient
class Events:
    def record(self, event): pass
    def amend(self, *a, **k): pass
async def main():
    client = ServerClient(RemoteServer(url=sys.argv[1], name="office"))
    source = UpdateSource(name="office", tier=Tier.INTRANET, client=client)
    print("ready", flush=True)
    await Updater([source], Path(sys.argv[2]), Events(), SystemClock(), PatternSettings()).update_now()
asyncio.run(main())
"""


def test_killed_at_any_moment_it_leaves_a_whole_pattern(tmp_path):
    random = Random(3)

    async def scene():
        async with house(tmp_path) as world:
            await world.updater.update_now()
            for turn in range(6):
                await world.publish(
                    [*HOSTS, *(f"turn{turn}-{at}.example" for at in range(200))], name=f"{turn}.txt"
                )
                child = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    KILLED,
                    f"http://127.0.0.1:{world.serving.port}",
                    str(world.state),
                    stdout=subprocess.PIPE,
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                )
                await child.stdout.readline()
                await asyncio.sleep(random.random() * 0.25)
                if child.returncode is None:
                    child.send_signal(signal.SIGKILL)
                await child.wait()
                assert verify(world.state) == {}
                assert world.blocks("evil1.example/")
                assert world.blocks("canary.mw-8b.secondlook.test/")
            await world.updater.update_now()
            assert world.blocks("turn5-1.example/")

    run(scene)


def test_a_stamp_that_is_no_stamp_is_told_as_damage(tmp_path):
    from secondlook.ground.errors import PatternError

    folder = tmp_path / "state" / "pattern"
    folder.mkdir(parents=True)
    for text in ("", "{", "[]", json.dumps({"format": 1}), json.dumps({"format": 99})):
        (folder / "current.json").write_text(text)
        with pytest.raises(PatternError):
            load_pattern(tmp_path / "state")
    assert serverkit.NOW > 0
