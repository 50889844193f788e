"""The updater against servers that lie, break off and come back: protection never gets worse."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest

import serverkit
from agentkit.hash_lists import build
from agentkit.updating import HOSTS, changed_list, flip, house
from secondlook.agent.pattern.change import forget_rollback, has_broken, rollback, status, verify
from secondlook.agent.pattern.files import FOLDER, STAMP, PatternFolder, load_pattern, read_stamp
from secondlook.agent.pattern.source import UpdateSource
from secondlook.core.answer import Tier
from secondlook.core.rules.rule import SET_BACK_S
from secondlook.ground.clock import SystemClock
from serverkit import full_hash

pytestmark = pytest.mark.anyio


async def test_an_unchanged_generation_costs_one_small_request(world):
    world.app.seen.clear()
    [outcome] = await world.updater.update_now()
    assert (outcome.changed, world.app.seen) == (False, ["/healthz"])


async def test_a_damaged_file_is_found_and_fetched_again(world):
    [listed] = [each for each in read_stamp(world.updater.folder).lists if each.name == "mw-8b"]
    path = world.updater.folder / listed.file
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    assert list(verify(world.state)) == [listed]
    assert await world.updater.verify() == ["mw-8b"]
    assert status(world.state, now=0).alerts
    await world.updater.update_now()
    assert verify(world.state) == {}
    assert world.blocks("evil1.example/")
    assert not status(world.state, now=0).alerts  # what is mended is no problem any more


@pytest.mark.parametrize("how", ["cut", "gone"])
async def test_a_list_that_is_cut_while_the_program_runs_is_fetched_again(world, how):
    world.app.seen.clear()
    world.updater._schedule.paces.clear()  # its next look is due
    running = asyncio.create_task(world.updater.run())
    try:
        while not world.app.seen:  # once it has verified what was there at its start
            await asyncio.sleep(0.01)
        [listed] = [each for each in read_stamp(world.updater.folder).lists if each.name == "mw-8b"]
        path = world.updater.folder / listed.file
        os.truncate(path, 4096) if how == "cut" else path.unlink()
        async with asyncio.timeout(60):
            while has_broken(world.updater.folder) or not world.blocks("evil1.example/"):
                world.updater._schedule.paces.clear()
                world.updater._wake.set()
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert verify(world.state) == {}
    assert any("is damaged and is fetched again" in (each.detail or "") for each in world.events.kept)


async def test_a_damaged_list_takes_none_of_another_tier_with_it(tmp_path):
    async with (
        house(tmp_path / "first") as world,
        house(tmp_path / "other", lines=["own.example"]) as other,
    ):
        own = UpdateSource(name="embedded", tier=Tier.LOCAL, client=other.client)
        world.updater.use([own, world.source])
        await world.updater.update_now()
        [damaged] = [
            each
            for each in read_stamp(world.updater.folder).lists
            if (each.name, each.tier) == ("mw-8b", "local")
        ]
        (world.updater.folder / damaged.file).write_bytes(b"damaged")
        assert await world.updater.verify() == ["mw-8b"]
        assert world.blocks("evil1.example/")
        assert not world.blocks("own.example/")
        other.app.change = lambda path, body: (503, b"text/plain", b"away")
        await world.updater.update_now()
        assert status(world.state, now=0).alerts, "the other server's list is back no sooner for that"
        other.app.change = None
        await world.updater.update_now()
        assert world.blocks("own.example/")
        assert not status(world.state, now=0).alerts


async def test_what_the_disk_does_not_take_is_no_update(tmp_path):
    async with house(tmp_path) as world:
        (in_the_way := world.updater.folder / "past").write_text("")
        [outcome] = await world.updater.update_now()
        assert "File exists" in (outcome.error or "")
        assert [event.kind for event in world.events.kept] == ["error"]
        in_the_way.unlink()
        await world.updater.update_now()
        assert "update" in [event.kind for event in world.events.kept]


async def test_what_a_command_sweeps_away_meanwhile_is_not_put_in_force(tmp_path, monkeypatch):
    async with house(tmp_path) as world:
        for hosts in (HOSTS, [*HOSTS, "new.example"]):
            await world.publish(hosts)
            await world.updater.update_now()
        await world.publish([*HOSTS, "new.example", "newest.example"])
        take = world.updater._fetcher._take

        async def meanwhile(*arguments, **options):
            taken = await take(*arguments, **options)
            if taken.changed:
                rollback(world.state, now=1.0, keep=14)
                assert not (world.updater.folder / taken.file).exists()
            return taken

        monkeypatch.setattr(world.updater._fetcher, "_take", meanwhile)
        await world.updater.update_now()
        assert verify(world.state) == {}
        assert world.blocks("evil1.example/")
        monkeypatch.undo()
        await world.updater.update_now()
        assert world.blocks("newest.example/")
        assert not status(world.state, now=0).alerts


async def test_a_server_that_breaks_an_update_holds_up_no_other(tmp_path, monkeypatch):
    async with (
        house(tmp_path / "first", lines=["own.example"]) as other,
        house(tmp_path / "second") as world,
    ):
        own = UpdateSource(name="embedded", tier=Tier.LOCAL, client=other.client)
        world.updater.use([own, world.source])

        async def breaks(*_):
            raise KeyError("of this server's answer")

        monkeypatch.setattr(other.client, "hash_lists", breaks)
        broken, _ = await world.updater.update_now()
        assert "KeyError" in (broken.error or "")
        assert world.blocks("evil1.example/")
        assert "embedded failed inside" in status(world.state, now=0).alerts[0]
        monkeypatch.undo()
        await world.updater.update_now()
        assert world.blocks("own.example/")
        assert status(world.state, now=0).alerts == ()


@pytest.mark.parametrize("how", ["a look at all of it", "an update"])
async def test_a_damaged_stamp_is_set_aside_and_everything_fetched_again(world, how):
    stamp = world.updater.folder / "current.json"
    stamp.write_text("{")
    if how == "a look at all of it":
        assert await world.updater.verify() == []
        assert "set aside" in status(world.state, now=0).alerts[0]
    (outcome,) = await world.updater.update_now()
    assert any("set aside" in event.detail for event in world.events.kept)
    assert (world.updater.folder / "current.json.damaged").read_text() == "{"
    assert outcome.taken["mw-8b"]
    assert world.blocks("evil1.example/")
    assert not status(world.state, now=0).alerts


async def test_rollback_holds_until_another_version_comes(world):
    await world.publish([*HOSTS, "new.example"])
    await world.updater.update_now()
    assert world.blocks("new.example/")
    rollback(world.state, now=1.0, keep=14)
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


async def test_refusals_that_last_use_up_none_of_the_past(world):
    await world.publish([*HOSTS, "new.example"])
    await world.updater.update_now()
    await world.publish([*HOSTS, "newer.example"])
    world.app.change = lambda path, body: (
        changed_list(body, "mw-8b", lambda e: setattr(e, "sha256_checksum", bytes(32)))
        if "batchGet" in path
        else None
    )
    updater = world.make_updater(keep=2)
    for _ in range(4):
        assert (await updater.update_now())[0].refused
    assert world.blocks("new.example/")
    rollback(world.state, now=1.0, keep=14)
    assert world.blocks("evil1.example/")
    assert not world.blocks("new.example/")


async def test_what_a_rollback_gave_up_is_taken_after_all_on_request(world):
    assert not forget_rollback(world.state, now=1.0, keep=14)
    await world.publish([*HOSTS, "new.example"])
    await world.updater.update_now()
    rollback(world.state, now=1.0, keep=14)
    await world.updater.update_now()
    assert not world.blocks("new.example/")
    assert forget_rollback(world.state, now=2.0, keep=14)
    await world.updater.update_now()
    assert world.blocks("new.example/")
    assert status(world.state, now=0.0).alerts == ()


async def test_a_reader_notices_a_change_and_keeps_what_did_not_change(world):
    folder = PatternFolder(world.state)
    assert sum(table.count for _, table in folder.load().lists) > 3000
    before = dict(folder._open)
    await world.publish([*HOSTS, "new.example"])
    await world.updater.update_now()
    folder.load()
    same = [name for name in folder._open if folder._open[name] is before.get(name)]
    assert len(same) == len(folder._open) - 1
    assert folder.faults == ()


async def test_a_stamp_names_no_file_outside_its_folder(world):
    folder = PatternFolder(world.state)
    stamp = read_stamp(folder.folder)
    assert stamp is not None
    [listed] = [each for each in stamp.lists if each.name == "mw-8b"]
    (folder.folder / listed.file).rename(world.state / listed.file)  # whole, and not where lists are
    moved = replace(listed, file=f"../{listed.file}")
    lists = tuple(moved if each is listed else each for each in stamp.lists)
    (folder.folder / "current.json").write_bytes(replace(stamp, lists=lists).to_json())
    loaded = folder.load()
    assert "outside its folder" in folder.faults[0]
    assert "mw-8b" not in {info.name for info, _ in loaded.lists}


async def test_another_whole_list_in_the_place_of_one_is_left_out(world):
    folder = PatternFolder(world.state)
    [listed] = [each for each in read_stamp(folder.folder).lists if each.name == "mw-8b"]
    (folder.folder / listed.file).write_bytes(build([full_hash("other.example/")], 8))
    loaded = folder.load()
    assert "is not the list that was verified" in folder.faults[0]
    assert "mw-8b" not in {info.name for info, _ in loaded.lists}
    assert not loaded.mirrors[0].whole, "its server is asked again"


async def test_mirrored_only_while_every_list_is_here(world):
    [mirror] = load_pattern(world.state).mirrors
    assert mirror.whole
    await world.publish([*HOSTS, "new.example"])
    world.app.change = lambda path, body: changed_list(body, "mw-8b", flip) if "batchGet" in path else None
    await world.updater.update_now()
    [mirror] = load_pattern(world.state).mirrors
    assert not mirror.whole


async def test_a_stamp_of_before_the_clock_was_set_back_is_written_anew(world):
    path = world.state / FOLDER / STAMP
    stamp, now = read_stamp(path.parent), SystemClock().now()
    assert stamp is not None
    (server,) = stamp.servers
    path.write_bytes(replace(stamp, servers=(replace(server, confirmed_at=now + 1e6),)).to_json())
    await world.updater.update_now()
    assert status(world.state, now=0).alerts == ()
    renewed = read_stamp(path.parent)
    assert renewed is not None
    assert renewed.servers[0].confirmed_at < now + SET_BACK_S


async def test_old_data_raises_an_alert_that_clears_itself(world):
    old = world.make_updater(stale_after=0.0)
    world.app.change = lambda path, body: (503, b"text/plain", b"away")
    await old.update_now()
    assert any("older than" in text for text in status(world.state, now=0).alerts)
    world.app.change = None
    fresh = world.make_updater()
    await fresh.update_now()
    assert status(world.state, now=0).alerts == ()


KILLED = """
import asyncio, sys
from pathlib import Path
from secondlook.agent.pattern.source import UpdateSource
from secondlook.config.query import PatternSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.core.rules.rule import SET_BACK_S
from secondlook.ground.clock import SystemClock
from secondlook.lookup.client import ServerClient
class Events:
    def record(self, event): pass
    def amend(self, *a, **k): pass
async def main():
    client = ServerClient(RemoteServer(url=sys.argv[1], name="office"))
    source = UpdateSource(name="office", tier=Tier.INTRANET, client=client)
    print("ready", flush=True)
    await PatternUpdater([source], Path(sys.argv[2]), Events(), SystemClock(), PatternSettings()).update_now()
asyncio.run(main())
"""


async def test_killed_at_any_moment_it_leaves_a_whole_pattern(world):
    random = Random(3)

    for turn in range(6):
        await world.publish([*HOSTS, *(f"turn{turn}-{at}.example" for at in range(200))], name=f"{turn}.txt")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            KILLED,
            f"http://127.0.0.1:{world.serving.port}",
            str(world.state),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert await child.stdout.readline() == b"ready\n"
        await asyncio.sleep(random.random() * 0.25)
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
        await child.wait()
        assert verify(world.state) == {}
        assert world.blocks("evil1.example/")
        assert world.blocks("canary.mw-8b.secondlook.test/")
    await world.updater.update_now()
    assert world.blocks("turn5-1.example/")


def test_a_stamp_that_is_no_stamp_is_told_as_damage(tmp_path):
    from secondlook.ground.errors import PatternError

    folder = tmp_path / "state" / "pattern"
    folder.mkdir(parents=True)
    for text in ("", "{", "[]", json.dumps({"format": 1}), json.dumps({"format": 99})):
        (folder / "current.json").write_text(text)
        with pytest.raises(PatternError):
            load_pattern(tmp_path / "state")
    assert serverkit.NOW > 0


async def test_updates_go_on_where_lists_could_not_be_verified_at_the_start(tmp_path, monkeypatch, caplog):
    async with house(tmp_path) as world:

        async def breaks():
            raise OSError("the disk gave no answer")

        monkeypatch.setattr(world.updater, "verify", breaks)
        running = asyncio.create_task(world.updater.run())
        async with asyncio.timeout(60):
            while "/healthz" not in world.app.seen and not running.done():
                await asyncio.sleep(0.02)
        assert not running.done()
        running.cancel()
    assert "could not be verified" in caplog.text
