"""Every client ends with the same bytes as a fresh one, whatever it held and however its updates were cut."""

import shutil
from hashlib import sha256
from random import Random

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.publish.generation import Generation
from secondlook.server.updates import Updater, empty_update, keep
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.update import apply_update
from secondlook.wire.version import ListVersion
from serverkit import NOW, make_store, out, put


class Client:
    """A foreign client: applies updates by the rules of the protocol, keeps bytes and version."""

    def __init__(self, name: str, width: int, most: int = 0) -> None:
        self.name, self.width, self.most = name, width, most
        self.raw: bytes | None = None
        self.version = b""
        self.answers: list[pb.HashList] = []

    def take(self, updater: Updater, max_update: int = 0, max_database: int = 0) -> bool:
        update = updater.update(self.version, max_update, max_database)
        message = pb.HashList.FromString(update.packed)
        applied = apply_update(message, self.name, self.width, self.raw)
        if applied.entries is not None:
            self.raw = applied.entries
        assert sha256(self.raw or b"").digest() == message.sha256_checksum
        if max_update:
            whole = len(applied.entries or b"") // self.width
            assert (applied.added + applied.removed if message.partial_update else whole) <= max_update
        if max_database:
            assert len(self.raw or b"") <= max_database * self.width
        self.version = message.version
        self.answers.append(message)
        return update.more

    def catch_up(self, updater: Updater, max_update: int = 0, max_database: int = 0) -> None:
        for _ in range(1000):
            if not self.take(updater, max_update, max_database):
                return
        raise AssertionError("an update without end")


class Publisher:
    """Generations of one list as they lie in memory: fast enough for many histories."""

    def __init__(self, width: int, kept: int = 14) -> None:
        self.name = {4: "mw-4b", 8: "mw-8b", 32: "gc-32b"}[width]
        self.width, self.kept = width, kept
        self.generations: list[FakeGeneration] = []

    def publish(self, entries: set[bytes]) -> None:
        raw = b"".join(sorted(entries))
        number = len(self.generations) + 1
        last = self.generations[-1] if self.generations else None
        since = last.since if last and last.content == raw else number
        self.generations.append(FakeGeneration(self.name, raw, self.width, number, since))

    def updater(self) -> Updater:
        kept = self.generations[-self.kept :]
        return Updater(keep(kept), kept[-1].lists[self.name])

    @property
    def current(self) -> bytes:
        return self.generations[-1].content


class FakeGeneration(Generation):
    def __init__(self, name, raw, width, number, since):
        from secondlook.server.publish.generation import PublishedList

        self.content, self.since, self.number = raw, since, number
        self.lists = {
            name: PublishedList(
                name=name,
                count=len(raw) // width,
                checksum=sha256(raw).digest(),
                since=since,
                signature=b"s" * 64,
            )
        }

    def raw(self, name):
        return memoryview(self.content)


@pytest.mark.parametrize("seed", range(100))
def test_random_histories_lead_every_client_to_the_same_bytes(seed):
    random = Random(seed)
    width = random.choice([4, 8, 32])
    publisher = Publisher(width, kept=random.choice([2, 5, 14]))
    pool = [random.randbytes(width) for _ in range(random.choice([3, 200, 4000]))]
    pool.append(bytes(width))
    entries = {entry for entry in pool if random.random() < 0.5}
    publisher.publish(entries)
    clients: list[Client] = []
    for _ in range(12):
        clients.append(Client(publisher.name, width, random.choice([0, 0, 1950, 2000])))
        for client in clients:
            if random.random() < 0.5:
                continue  # asleep in this generation
            cut = random.choice([0, 0, 1024, 1500])
            for _ in range(random.randrange(1, 4)):
                client.take(publisher.updater(), cut, client.most)  # maybe left in the middle
        for _ in range(random.choice([0, 1, 30, 1500])):
            entry = random.choice(pool)
            (entries.discard if entry in entries else entries.add)(entry)
        publisher.publish(entries)
    for client in clients:
        client.catch_up(publisher.updater(), random.choice([0, 1024]), client.most)
        whole = not client.most or len(publisher.current) <= client.most * width
        goal = publisher.current if whole else publisher.current[: client.most * width]
        assert (client.raw or b"") == goal
        assert (client.version == publisher.generations[-1].lists[publisher.name].version) is whole


def published(width: int, count: int, seed: int = 1) -> Publisher:
    publisher = Publisher(width)
    random = Random(seed)
    publisher.publish({random.randbytes(width) for _ in range(count)})
    return publisher


def test_no_change_says_so_with_checksum_and_signature():
    publisher = published(8, 100)
    client = Client("mw-8b", 8)
    client.catch_up(publisher.updater())
    client.take(publisher.updater())
    answer = client.answers[-1]
    assert answer.partial_update
    assert not answer.HasField("compressed_removals")
    assert answer.WhichOneof("compressed_additions") is None
    assert (answer.sha256_checksum, answer.signature) == (sha256(client.raw).digest(), b"s" * 64)


def test_a_list_that_did_not_change_keeps_its_version():
    publisher = published(8, 100)
    client = Client("mw-8b", 8)
    client.catch_up(publisher.updater())
    version = client.version
    publisher.publish({publisher.current[at : at + 8] for at in range(0, len(publisher.current), 8)})
    client.catch_up(publisher.updater())
    assert client.version == version


def test_a_cut_full_update_goes_on_and_ends_whole():
    publisher = published(4, 5000)
    client = Client("mw-4b", 4)
    assert client.take(publisher.updater(), 1024)
    assert len(client.raw) == 1024 * 4
    assert not client.answers[0].partial_update
    client.catch_up(publisher.updater(), 1024)
    assert client.raw == publisher.current
    assert [answer.partial_update for answer in client.answers] == [False, True, True, True, True]


def test_max_database_entries_bounds_the_client_for_good():
    publisher = published(8, 5000)
    client = Client("mw-8b", 8)
    client.catch_up(publisher.updater(), 0, 2000)
    assert client.raw == publisher.current[: 2000 * 8]
    assert not client.take(publisher.updater(), 0, 2000)
    assert client.answers[-1].partial_update
    publisher.publish({Random(9).randbytes(8) for _ in range(10)} | {bytes(8)})
    client.catch_up(publisher.updater(), 0, 2000)
    assert client.raw == publisher.current
    publisher.publish({bytes((0, at >> 8, at & 255)) + bytes(5) for at in range(4000)})
    client.catch_up(publisher.updater(), 1024, 2000)
    assert client.raw == publisher.current[: 2000 * 8]


@pytest.mark.parametrize(
    "version",
    [
        b"v1",
        b"\x01\x05mw-8b",
        ListVersion("mw-8b", 1, b"another!").encode(),
        ListVersion("mw-8b", 99, bytes(8)).encode(),
        ListVersion("se-8b", 1, bytes(8)).encode(),
        ListVersion("mw-8b", 1, bytes(8), 1, bytes(8), b"123").encode(),
        bytes(300),
    ],
)
def test_a_version_that_is_not_ours_gets_a_full_list(version):
    publisher = published(8, 100)
    update = publisher.updater().update(version)
    assert update.kind == "full"
    assert not pb.HashList.FromString(update.packed).partial_update


def test_two_publishers_at_one_generation_never_look_alike():
    one, two = published(8, 100, seed=1), published(8, 100, seed=2)
    client = Client("mw-8b", 8)
    client.catch_up(one.updater())
    client.catch_up(two.updater())
    assert client.raw == two.current


def test_an_unfilled_list_is_an_empty_full_list_with_a_version():
    message = pb.HashList.FromString(empty_update("bi-4b").packed)
    assert not message.partial_update
    assert message.version
    assert message.sha256_checksum == sha256().digest()
    assert message.WhichOneof("compressed_additions") is None


def test_a_generation_that_was_dropped_a_moment_ago_is_none_to_lead_from(tmp_path):
    store = make_store(tmp_path, ["one.example"])
    put(store, ["two.example"], name="two.txt")
    out(store)
    first, second = (Generation(store.generation_folder(number)) for number in (1, 2))
    updater = Updater(keep([first, second]), second.lists["mw-8b"])
    shutil.rmtree(first.folder)
    answer = updater.update(first.lists["mw-8b"].version)
    assert (answer.kind, answer.packed) == ("full", updater.update(b"").packed)
    shutil.rmtree(second.folder)
    with pytest.raises(PatternError, match="cannot read mw-8b"):
        updater.update(b"")


def test_real_generations_on_disk_are_led_through_too(tmp_path):
    store = make_store(tmp_path, [f"evil{number}.example" for number in range(3000)])
    client = Client("mw-8b", 8)
    client.catch_up(_updater(store))
    put(store, [f"evil{number}.example" for number in range(5, 3100)], replace=True, name="next.txt")
    out(store, now=NOW + 1)
    client.catch_up(_updater(store))
    assert client.answers[-1].partial_update
    assert client.raw == bytes(Generation(store.generation_folder(2)).raw("mw-8b"))


def _updater(store):
    generations = [Generation(store.generation_folder(number)) for number in store.generations()]
    return Updater(keep(generations), generations[-1].lists["mw-8b"])


@pytest.mark.parametrize(
    "version",
    [ListVersion("mw-8b", 7, b"12345678"), ListVersion("gc-32b", 7, b"12345678", 5, b"abcdefgh", bytes(32))],
)
def test_versions_read_back(version):
    assert ListVersion.decode(version.encode()) == version
