"""What follows a second look, with two workers: the block within a second, quarantine, withdrawal; rules."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from e2e.processes import Proxy, Server, command, server_import, server_publish, wait_for
from serverkit.ports import free_port

IN_FORCE_S = 1.0  # the promise
PAUSE_S = 0.05  # between two requests
# A poll that began just before the second was over still waits for its answer, and two workers, the service,
# this test and the one beside it share the machine's cores; how late the poller itself was comes on top. Who
# is not told of a change learns of it only after minutes: this is far less.
BESIDE_S = 9.0


@dataclass
class Poller:
    """Asks for one URL again and again over fresh connections, so that it meets both workers."""

    proxy: Proxy
    url: str
    seen: list[tuple[float, int]] = field(default_factory=list)  # wall clock at the start, status
    latest_s: float = 0.0

    def run(self, stop: threading.Event) -> None:
        """Poll until told to stop."""
        while not stop.is_set():
            started, before = time.time(), time.monotonic()
            self.seen.append((started, self.proxy.curl(self.url).status))
            self.latest_s = max(self.latest_s, time.monotonic() - before)
            stop.wait(PAUSE_S)

    def _answers(self) -> set[int]:
        return self.proxy.each_worker(lambda: self.proxy.curl(self.url).status)

    def assert_changed(self, at: float, *, before: int, after: int) -> None:
        """Nothing that began a second after `at` got the old answer, and every worker comes to give the new one."""
        wait_for(
            lambda: bool(self.seen) and self.seen[-1][1] == after and self.seen[-1][0] > at + IN_FORCE_S,
            f"status {after}",
        )
        wait_for(lambda: self._answers() == {after}, f"status {after} of every worker")
        # on a busy machine the change may come before the first request
        late = max((started - at for started, found in self.seen if found == before), default=0.0)
        assert late <= IN_FORCE_S + BESIDE_S + self.latest_s, f"{before} was given {late:.2f} s later"


@contextmanager
def polling(proxy: Proxy, url: str) -> Iterator[Poller]:
    """Poll beside what the test does."""
    poller, stop = Poller(proxy, url), threading.Event()
    thread = threading.Thread(target=poller.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield poller
    finally:
        stop.set()
        thread.join()


def instant(event: dict[str, object]) -> float:
    """Unix seconds of an event."""
    return datetime.fromisoformat(str(event["time"])).timestamp()


def test_confirmed_blocked_quarantined_withdrawn(start_proxy, start_server, plain_origin, memory_path):
    port = free_port()
    downloads = memory_path / "downloads"
    downloads.mkdir()
    proxy: Proxy = start_proxy(
        "workers: 2\n"
        "servers:\n"
        "  embedded: false\n"
        f"  intranet: [{{url: 'http://127.0.0.1:{port}', name: own}}]\n"
        "  circuit: {backoff_min: 100ms, backoff_max: 500ms}\n"
        "  poll: 1s\n"
        "cache: {expiry_min: 1s, expiry_max: 2s}\n"
        f"downloads: {{folders: ['{downloads}'], reblock: 1s}}\n"
        "recheck: {first: 2s, longest: 5s}\n"
        "notify: {desktop: false}\n",
        folder=memory_path,
    )
    page, setup = plain_origin.url("/bad/page"), plain_origin.url("/setup.exe")
    program = b"MZ" + random.Random(7).randbytes(150_000)
    neighbour = program[:-1] + bytes([program[-1] ^ 1])  # same size, other bytes
    plain_origin.pages["/setup.exe"] = ("application/octet-stream", program)
    assert proxy.curl(page).status == 200
    got = proxy.curl(setup, "-o", str(downloads / "setup.exe"))
    assert got.status == 200
    assert (downloads / "setup.exe").read_bytes() == program
    (downloads / "neighbour.exe").write_bytes(neighbour)
    digest = hashlib.sha256(program).hexdigest()
    wait_for(
        lambda: {entry["sha256"] for entry in proxy.json("queue", "list")} >= {digest} or None, "the flags"
    )

    state, urls, files = memory_path / "server", memory_path / "urls.txt", memory_path / "files.txt"
    urls.write_text(f"{page}\n")
    files.write_text(f"{digest}\n")
    server_import(state, "mw-8b", urls)
    server_import(state, "x-file-mw-8b", files)
    server_publish(state)
    with polling(proxy, page) as poller:
        server: Server = start_server(state, port=port)

        def confirmed() -> dict[str, dict[str, object]] | None:
            found = {
                str(event["sha256"] or event["url"]): event
                for event in proxy.json("log", "--kind", "confirmed")
            }
            return found if found.keys() >= {page, digest} else None

        found = wait_for(confirmed, "the second look")
        poller.assert_changed(instant(found[page]), before=200, after=403)
    assert found[page]["threat"] == "malware"

    # the right file and only it
    wait_for(lambda: not (downloads / "setup.exe").exists(), "the quarantine")

    def held(records: list[dict[str, object]]) -> list[dict[str, object]]:
        return [each for each in records if each["state"] == "held"]

    (record,) = held(proxy.json_when(held, "quarantine", "list"))
    assert record["sha256"] == digest
    assert (downloads / "neighbour.exe").read_bytes() == neighbour
    kept = [path for path in (proxy.state / "quarantine").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [program]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    wait_for(
        lambda: any("setup.exe" in str(event["detail"]) for event in proxy.json("log", "--kind", "action")),
        "the event of the action, which is written behind",
    )
    wait_for(lambda: proxy.curl(setup).status == 403, "the file's block")

    # no longer listed: the block ends, in every worker
    urls.write_text("something-else.example\n")
    with polling(proxy, page) as poller:
        command("server", "import", urls, "--state", state, "--list", "mw-8b", "--replace")
        command("server", "publish", "--state", state, "--accept-shrink")
        (withdrawn,) = wait_for(
            lambda: (
                [event for event in proxy.json("log", "--kind", "withdrawn") if event["url"] == page] or None
            ),
            "the withdrawal",
        )
        poller.assert_changed(instant(withdrawn), before=403, after=200)

    # restored: the same bytes, and a rule that lets the file through from now on
    proxy.command("quarantine", "restore", record["id"])
    assert (downloads / "setup.exe").read_bytes() == program
    assert any(
        rule["action"] == "allow" and digest in rule["subject"] for rule in proxy.json("rules", "list")
    )
    wait_for(lambda: proxy.curl(setup).status == 200 or None, "the restored file's download")
    assert server.process.poll() is None


def test_rules_and_pauses_in_both_workers_within_a_second(start_proxy, plain_origin, memory_path):
    proxy: Proxy = start_proxy("workers: 2\nservers: {embedded: false}\n", folder=memory_path)
    url = plain_origin.url("/now/and/then")
    with polling(proxy, url) as poller:
        wait_for(lambda: len(poller.seen) > 2 or None, "traffic")
        proxy.command("block", url)
        poller.assert_changed(time.time(), before=200, after=403)
        (rule,) = proxy.json("rules", "list")
        # paused for another client changes nothing here; paused for this one does
        proxy.command("pause", "60", "--client", "127.0.0.2")

        def other() -> set[int]:
            return proxy.each_worker(lambda: proxy.curl(url, "--interface", "127.0.0.2").status)

        wait_for(lambda: other() == {200}, "the other's pause in both workers")
        assert proxy.each_worker(lambda: proxy.curl(url).status) == {403}
        proxy.command("resume", "--client", "127.0.0.2")
        wait_for(lambda: other() == {403}, "its end in both workers")
        proxy.command("rules", "remove", rule["id"])
        poller.assert_changed(time.time(), before=403, after=200)
