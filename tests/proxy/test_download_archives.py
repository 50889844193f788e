"""Archives too large to be held: they stream, and are looked into before their tail goes (some seconds)."""

import hashlib
import os
import time
import zlib
from collections.abc import Callable

import pytest

from proxykit.origin import Asked, Origin, send, send_chunked
from proxykit.proxy import RunningProxy
from proxykit.samples import EICAR, EICAR_SHA256, KIB, MIB, SIXTEENTH, program, seven, tarred, zipped
from secondlook.proxy.addon import SecondLookAddon

BUDGET = 4 * MIB
LARGE_BYTES = 17 * MIB // 16  # more than is held
FILES = {"readme": os.urandom(LARGE_BYTES), "folder/eicar.com": EICAR}
ARCHIVES = {
    "zip": lambda: zipped(FILES),
    "tgz": lambda: tarred(FILES, "w:gz"),
    "tar": lambda: tarred(FILES),
    "7z": lambda: seven(FILES, plain=True),
}


class Store:
    """An origin of one file, sent with its length or in chunks."""

    def __init__(self) -> None:
        self.body = b""
        self.headers = ["Content-Type: application/octet-stream"]

    async def reply(self, asked: Asked, writer) -> None:
        if asked.target.endswith("chunked"):
            pieces = [self.body[start : start + 90_001] for start in range(0, len(self.body), 90_001)]
            await send_chunked(writer, pieces, *self.headers)
        else:
            await send(writer, self.body, *self.headers)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def origin(store: Store, make_origin: Callable[..., Origin]) -> Origin:
    return make_origin(store.reply, tls=True)


@pytest.fixture
def make(make_proxy: Callable[..., RunningProxy]) -> Callable[..., RunningProxy]:
    def make(**downloads: object) -> RunningProxy:
        return make_proxy(workers=1, downloads={**SIXTEENTH, "spool_max": BUDGET, **downloads})

    return make


def _url(origin: Origin, name: str) -> str:
    return f"https://127.0.0.1:{origin.port}/{name}"


def _emptied(proxy: RunningProxy, budget: int = BUDGET) -> bool:
    chain = proxy.worker.master.addons.chain
    room = next(part for part in chain if isinstance(part, SecondLookAddon)).bodies.room
    deadline = time.monotonic() + 60
    while room.left_bytes != budget and time.monotonic() < deadline:
        time.sleep(0.02)
    return room.left_bytes == budget and (not room.folder.exists() or not list(room.folder.iterdir()))


@pytest.mark.parametrize("shape", ["length", "chunked"])
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_listed_member_cuts_it_and_a_clean_one_arrives(make, gatekeeper, store, origin, curl, kind, shape):
    proxy = make()
    store.body = body = ARCHIVES[kind]()
    http = "--http2" if kind in {"zip", "tar"} else "--http1.1"
    done = curl(proxy, http, _url(origin, f"file?{shape}"))
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(body).digest(), done.stderr
    (*_, (how, subject, _, decision)) = gatekeeper.files()
    assert (how, decision.action) == ("check", "allow")
    assert any(label.endswith("folder/eicar.com") for label in subject.labels)
    gatekeeper.bad.add(EICAR_SHA256)
    done = curl(proxy, http, _url(origin, f"file?{shape}"))
    assert done.returncode != 0
    assert body.startswith(done.stdout)
    assert 0 < len(done.stdout) <= len(body) - (len(body) // 100)
    assert gatekeeper.seen[-1][3].action == "block"
    assert _emptied(proxy)


@pytest.mark.parametrize(
    ("downloads", "why"),
    [
        ({"archives": {"max_bytes": MIB}}, "larger than downloads.archives.max_bytes"),
        ({"archives": {"members": 1}}, "more than 1 members"),
        ({"spool_max": 640 * KIB}, "no room left in the spool"),
        ({"archives": {"time": 0.0001}}, "longer than"),
    ],
)
@pytest.mark.parametrize("shape", ["length", "chunked"])
def test_what_cannot_be_looked_into_follows_the_policy(
    make, gatekeeper, store, origin, curl, downloads, why, shape
):
    proxy = make(**downloads)
    store.body = body = tarred(FILES)
    gatekeeper.bad.add(EICAR_SHA256)
    done = curl(proxy, _url(origin, f"file.tar?{shape}"))
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(body).digest(), done.stderr
    how, _, _, decision = gatekeeper.seen[-1]
    assert (how, decision.action) == ("unverifiable", "flag")
    assert why in decision.evidence.detail
    gatekeeper.unverifiable_blocks = True
    done = curl(proxy, _url(origin, f"file.tar?{shape}"))
    assert done.returncode != 0
    assert len(done.stdout) < len(body)
    assert _emptied(proxy, downloads.get("spool_max", BUDGET))


@pytest.mark.parametrize("shape", ["length", "chunked"])
def test_a_program_of_that_size_is_not_copied(make, gatekeeper, store, origin, curl, shape):
    proxy = make(spool_max=LARGE_BYTES)  # enough for what is held, not for a copy of it all
    store.body = body = program(40 * MIB // 16)
    assert hashlib.sha256(curl(proxy, _url(origin, f"f.exe?{shape}")).stdout).digest() == (
        hashlib.sha256(body).digest()
    )
    assert gatekeeper.seen[-1][0] == "now"
    assert _emptied(proxy, LARGE_BYTES)


def test_the_copy_goes_when_its_client_does(make, gatekeeper, store, origin, curl):
    proxy = make()
    store.body = tarred({"x": os.urandom(60 * MIB // 16)})
    done = curl(proxy, "--limit-rate", "1M", _url(origin, "file?length"), timeout_s=1)
    assert done.returncode == 28
    assert _emptied(proxy)


@pytest.mark.parametrize(
    "before", [b"MZ" + bytes(3000), b"%PDF-1.7\n", b"GIF89a" + bytes(90), zipped({"a": b"b"})]
)
def test_a_zip_behind_something_else_is_looked_into(make, gatekeeper, store, origin, curl, before):
    store.body, store.headers = before + zipped({"eicar.com": EICAR}), ["Content-Type: application/zip"]
    gatekeeper.bad.add(EICAR_SHA256)
    for name in ("a.zip", "a.zip?chunked"):
        assert b" 403" in curl(make(), "-i", "--suppress-connect-headers", _url(origin, name)).stdout[:20]


def test_a_large_program_with_a_zip_behind_it_is_flagged(make, gatekeeper, store, origin, curl):
    store.body = program(LARGE_BYTES) + zipped({"a": b"b"})
    assert curl(make(), _url(origin, "setup.exe")).stdout == store.body
    how, _, _, decision = gatekeeper.seen[-1]
    assert (how, decision.evidence.detail) == ("unverifiable", "archive: there is no copy of it")


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(600)
# a whole archive of rar 5 as far as its first head: who knows the format goes on from there
RAR = b"Rar!\x1a\x07\1\0" + zlib.crc32(b"\3\1\0\0").to_bytes(4, "little") + b"\3\1\0\0" + os.urandom(200)
STUB = b"MZ" + os.urandom(200_000)


def _answer(proxy, curl, url: str) -> bytes:
    return curl(proxy, "-i", "--suppress-connect-headers", url).stdout


@pytest.mark.parametrize("ending", ["", "?chunked"])
def test_a_zip_behind_a_picture_that_is_saved_is_looked_into(make, gatekeeper, store, origin, curl, ending):
    store.body, store.headers = PNG + zipped({"eicar.com": EICAR}), ["Content-Type: application/octet-stream"]
    gatekeeper.bad.add(EICAR_SHA256)
    url = _url(origin, f"thing{ending}")
    if ending:  # its headers are out
        done = curl(make(), url)
        assert done.returncode != 0
        assert not done.stdout
    else:
        assert b" 403" in _answer(make(), curl, url)[:20]


@pytest.mark.parametrize("behind", [zipped({"eicar.com": EICAR}), seven({"eicar.com": EICAR})])
@pytest.mark.parametrize("ending", ["", "?chunked"])
def test_a_large_picture_with_an_archive_behind_it_follows_the_policy(
    make, gatekeeper, store, origin, curl, behind, ending
):
    store.body = body = PNG + os.urandom(400_000) + behind
    store.headers = ["Content-Type: application/octet-stream"]
    assert curl(make(), _url(origin, f"thing{ending}")).stdout == body
    how, _, _, decision = gatekeeper.seen[-1]
    assert (how, decision.evidence.detail) == ("unverifiable", "archive: there is no copy of it")
    gatekeeper.unverifiable_blocks = True
    done = curl(make(), _url(origin, f"thing{ending}"))
    assert done.returncode != 0
    assert len(done.stdout) <= len(body) - 4 * KIB


def test_a_large_picture_arrives(make, gatekeeper, store, origin, curl):
    store.body, store.headers = PNG + os.urandom(400_000), ["Content-Type: application/octet-stream"]
    for ending in ("", "?chunked"):
        assert curl(make(), _url(origin, f"thing{ending}")).stdout == store.body
        assert gatekeeper.seen[-1][0] == "local"


@pytest.mark.parametrize("before", [STUB, PNG, b"%PDF-1.7\n"])
@pytest.mark.parametrize("ending", ["", "?chunked"])
def test_a_7z_behind_something_else_is_looked_into(make, gatekeeper, store, origin, curl, before, ending):
    store.body = before + seven({"eicar.com": EICAR})
    gatekeeper.bad.add(EICAR_SHA256)
    assert b" 403" in _answer(make(), curl, _url(origin, f"setup.exe{ending}"))[:20]


def test_a_7z_behind_a_program_in_a_zip_is_looked_into(make, gatekeeper, store, origin, curl):
    store.body = zipped({"setup.exe": STUB + seven({"eicar.com": EICAR})})
    gatekeeper.bad.add(EICAR_SHA256)
    assert b" 403" in _answer(make(), curl, _url(origin, "a.zip"))[:20]


def test_a_rar_behind_a_program_follows_the_policy(make, gatekeeper, store, origin, curl):
    store.body = STUB + RAR
    assert curl(make(), _url(origin, "setup.exe")).stdout == store.body
    how, _, _, decision = gatekeeper.seen[-1]
    assert how == "unverifiable"
    assert decision.evidence.detail == "archive cannot be read: rar is a kind that is not looked into"


def test_a_large_program_with_a_7z_behind_it_is_flagged(make, gatekeeper, store, origin, curl):
    store.body = STUB + seven({"a": b"b"}) + program(LARGE_BYTES)
    assert curl(make(), _url(origin, "setup.exe")).stdout == store.body
    how, _, _, decision = gatekeeper.seen[-1]
    assert (how, decision.evidence.detail) == ("unverifiable", "archive: there is no copy of it")


def test_a_program_that_knows_of_archives_is_none(make, gatekeeper, store, origin, curl):
    store.body = (
        STUB + b"7z\xbc\xaf\x27\x1c\0\4" + bytes(range(100)) + b"Rar!\x1a\x07\1\0" + bytes(100) + STUB
    )
    assert curl(make(), _url(origin, "setup.exe")).stdout == store.body
    assert gatekeeper.seen[-1][0] == "now"
