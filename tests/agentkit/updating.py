"""A server that can be made to lie, a state folder, and an updater between them."""

from collections.abc import Callable
from contextlib import asynccontextmanager

from secondlook.agent.pattern.files import load_pattern
from secondlook.agent.pattern.source import UpdateSource
from secondlook.agent.pattern.updater import PatternUpdater
from secondlook.config.query import PatternSettings, RemoteServer
from secondlook.core.answer import Tier
from secondlook.core.subject import SubjectKind
from secondlook.ground.clock import SystemClock
from secondlook.ground.tcp import listen_on
from secondlook.lookup.client import ServerClient
from secondlook.server.http.app import ServerApp
from secondlook.server.http.serving import Serving
from secondlook.server.publish.signing import publisher_key
from secondlook.server.reader import FileReader, Reader
from secondlook.server.store.store import ServerStore
from secondlook.wire import safebrowsing_pb2 as pb
from serverkit import full_hash, make_store, out, put

HOSTS = [f"evil{number}.example" for number in range(3000)]


class Events:
    """Keeps what is recorded."""

    def __init__(self):
        self.kept = []

    def record(self, event):
        self.kept.append(event)

    def amend(self, event_id, **fields):
        raise AssertionError("nothing to amend")


class Tampering(ServerApp):
    """A real server whose list answers pass through a function before they are sent."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader)
        # (path, body) -> (status, content type, body), or None to leave it as it is
        self.change: Callable[[str, bytes], tuple[int, bytes, bytes] | None] | None = None
        # by path, the server that answers in the place of this one: both stand behind one balancer
        self.instead: dict[str, ServerApp] = {}
        self.seen: list[str] = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        self.seen.append(scope["path"])
        sent = []

        async def catch(message):
            sent.append(message)

        other = self.instead.get(scope["path"])
        await (super().__call__ if other is None else other)(scope, receive, catch)
        body = b"".join(message.get("body", b"") for message in sent)
        start = sent[0]
        if self.change is not None and (changed := self.change(scope["path"], body)) is not None:
            start["status"], kind, body = changed
            start["headers"] = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send(start)
        await send({"type": "http.response.body", "body": body})


class House:
    """A server, a state folder and an updater between them."""

    def __init__(self, tmp_path, serving, app, store, key=None):
        self.state, self.app, self.store, self.serving = tmp_path / "state", app, store, serving
        self.events = Events()
        self.client = ServerClient(RemoteServer(url=f"http://127.0.0.1:{serving.port}", name="office"))
        self.source = UpdateSource(
            name="office", tier=Tier.INTRANET, client=self.client, key=key, trusted_allow=True
        )
        self.updater = self.make_updater()

    def make_updater(self, **settings):
        return PatternUpdater(
            [self.source], self.state, self.events, SystemClock(), PatternSettings(**settings)
        )

    async def publish(self, lines, name="next.txt", replace=True, accept_shrink=True):
        put(self.store, lines, name=name, replace=replace)
        out(self.store, accept_shrink=accept_shrink)
        await self.app.reader.refresh()

    def blocks(self, expression):
        return load_pattern(self.state).block_hit(SubjectKind.URL, [full_hash(expression)]) is not None


@asynccontextmanager
async def house(tmp_path, *, pinned=False, lines=HOSTS):
    """With `lines` None the server has published nothing yet."""
    store = make_store(tmp_path, lines) if lines is not None else ServerStore(tmp_path / "server")
    app = Tampering(FileReader(store))
    serving = Serving(app, [listen_on("127.0.0.1", 0)])
    await serving.start()
    key = publisher_key(store.root).public_key() if pinned else None
    built = House(tmp_path, serving, app, store, key)
    try:
        yield built
    finally:
        await built.client.aclose()
        await serving.stop()


def changed_list(body, name, change):
    """Change one list of a batch answer."""
    answer = pb.BatchGetHashListsResponse.FromString(body)
    for at, entry in enumerate(answer.hash_lists):
        if entry.name == name:
            replaced = change(entry) or entry
            answer.hash_lists[at].CopyFrom(replaced)
    return 200, b"application/x-protobuf", answer.SerializeToString()


def flip(entry):
    data = bytearray(
        entry.additions_eight_bytes.encoded_data or entry.compressed_removals.encoded_data or b"\0"
    )
    data[len(data) // 2] ^= 4
    target = (
        entry.additions_eight_bytes if entry.additions_eight_bytes.encoded_data else entry.compressed_removals
    )
    target.encoded_data = bytes(data)
