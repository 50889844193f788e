"""A fleet as `docs/fleet.md` sets it up, from its own commands and settings: two proxies, PostgreSQL, HAProxy. 60 s."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from e2e.processes import Answer, Proxy, command, curl, needs, wait_for
from e2e.shown import Page, replaced
from e2e.traffic import Traffic
from ledgerkit.postgres import PostgresServer, find_binaries
from serverkit.ports import free_port

FLEET = Page("fleet.md")
PAGE, shown = FLEET.text, FLEET.shown
ADDRESSES = ("10.0.0.11:8080", "10.0.0.12:8080")
BALANCER, ANNA, BEN = "127.0.0.9", "127.0.0.2", "127.0.0.3"
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # libnginx-mod-stream
LISTED = "http://{}.malware.secondlook.test/"


def is_open(port: int) -> bool:
    """Return whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


class Balancer:
    """HAProxy with the settings that the page shows for a way."""

    def __init__(self, way: str, proxies: "list[Proxy]", folder: Path) -> None:
        self.port, self.socket = free_port(), folder / f"{way}.sock"
        settings = folder / f"{way}.cfg"
        settings.write_text(
            f"global\n  stats socket {self.socket} mode 600 level admin\n"
            + replaced(
                shown("", f"listen proxies\n  mode {way}"),
                ("bind :8080", f"bind 127.0.0.1:{self.port}"),
                ("inter 2s", "inter 300ms"),
                ("timeout check 5s", "timeout check 30s"),
                (
                    "default-server ",
                    "default-server pool-purge-delay 200ms ",
                ),  # else a drain waits for its pool
                *(
                    (shown_at, f"{proxy.address} source {BALANCER}")
                    for shown_at, proxy in zip(ADDRESSES, proxies, strict=True)
                ),
            )
        )
        self.process = subprocess.Popen([needs("haproxy"), "-db", "-f", str(settings)])
        self.wait_up("one", "two")

    def tell(self, line: str) -> str:
        """Send a command of the page to its socket."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.connect(str(self.socket))
            sock.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()

    def told(self, state: str, name: str) -> None:
        """Do what the page says to put a proxy into a state."""
        (line,) = re.findall(rf'^echo "(set server proxies/one state {state})" \|', PAGE, re.MULTILINE)
        self.tell(line.replace("proxies/one", f"proxies/{name}"))

    def rows(self) -> dict[str, list[str]]:
        """What the second command of the page shows of each proxy, all columns."""
        (line,) = re.findall(r'^echo "(show stat proxies 4 -1)" \|', PAGE, re.MULTILINE)
        rows = [row.split(",") for row in self.tell(line).splitlines() if row and not row.startswith("#")]
        return {row[1]: row for row in rows}

    def connected(self, name: str) -> int:
        """How many are with a proxy."""
        return int(self.rows()[name][4])

    def wait_up(self, *names: str) -> None:
        """Wait until proxies have answered their checks."""

        def up() -> bool:
            try:
                rows = self.rows()
            except OSError:
                return False
            return all(rows[name][17] in {"UP", "DRAIN"} and "L7OK" in rows[name] for name in names)

        wait_for(up, f"{names} to be up")

    def curl(self, url: str, client: str, *arguments: str) -> Answer:
        """Fetch something through it as a client."""
        return curl(url, "-x", f"http://127.0.0.1:{self.port}", "--interface", client, *arguments)


class Fleet:
    """What the page sets up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        binaries = find_binaries()
        if binaries is None:
            needs("postgres")
        assert binaries is not None
        self.postgres = PostgresServer(binaries)
        self.postgres.start()
        with psycopg.connect(self.postgres.url("postgres"), autocommit=True) as connection:
            for statement in shown("sql", "CREATE ROLE").split(";"):
                if statement.strip():
                    connection.execute(statement.encode())
        self.ledger = f"postgresql://secondlook:change-me@/secondlook?host={self.postgres.folder}"
        subprocess.run(shown("sh", "openssl req"), shell=True, cwd=folder, check=True, capture_output=True)
        self.ports = {name: free_port() for name in ("one", "two")}
        for name in self.ports:
            (folder / f"{name}.yaml").write_text(
                replaced(
                    shown("yaml", "balancers"),
                    (re.findall(r"ledger: (\S+)", PAGE)[0], f"'{self.ledger}'"),
                    ("10.1.0.0/16", f"{ANNA}, {BEN}, 127.0.0.1"),
                    ("10.0.0.5", BALANCER),
                    ("workers: 4", "workers: 1"),
                )
            )
            words = shlex.split(shown("sh", "--import"))
            assert words[0] == "secondlook"
            command(*words[1:], "-c", folder / f"{name}.yaml", "--state", folder / name, cwd=folder)
        self.proxies = {name: self.start(name) for name in self.ports}
        self.balancers = {way: Balancer(way, list(self.proxies.values()), folder) for way in ("tcp", "http")}

    def start(self, name: str) -> Proxy:
        """Start a proxy at its place."""
        listen = f"127.0.0.1:{self.ports[name]}"
        return Proxy(self.folder / name, self.folder / f"{name}.yaml", "--set", f"name={name}", listen=listen)

    def close(self) -> None:
        """End everything."""
        for balancer in self.balancers.values():
            balancer.process.terminate()
            balancer.process.wait(10)
        for proxy in self.proxies.values():
            proxy.stop()
        self.postgres.remove()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    yield fleet
    fleet.close()


def except_from_block_page(balancer: Balancer, url: str, client: str) -> None:
    """Do what somebody does who opens a blocked page for a while."""
    event = re.findall(r"event=(\w+)", balancer.curl(url, client).headers["x-second-look"])[0]
    page = f"http://secondlook.internal/blocked/{event}"

    def form() -> list[str]:  # the other proxy may be asked for it, which reads of the event a moment later
        html = balancer.curl(page, client, "-H", "Accept: text/html").body.decode()
        return re.findall(r'name="token" value="([^"]+)"', html)

    (token,) = wait_for(lambda: form() or None, "the form of the block page")
    assert balancer.curl(page, client, "--data-urlencode", f"token={token}").status == 200


@pytest.mark.parametrize("way", ["tcp", "http"])
def test_an_exception_opens_for_its_client_alone_and_through_every_proxy(fleet, way):
    balancer = fleet.balancers[way]
    url = LISTED.format(way)
    except_from_block_page(balancer, url, ANNA)
    for name, other in (("one", "two"), ("two", "one")):
        balancer.told("drain", other)
        try:
            wait_for(lambda: balancer.curl(url, ANNA).status != 403, f"the exception at proxy {name}")
            forged = ["-H", f"X-Forwarded-For: {ANNA}", "-H", f"Forwarded: for={ANNA}"]
            assert [balancer.curl(url, BEN, *more).status for more in ([], forged)] == [403, 403]
        finally:
            balancer.told("ready", other)

    def found() -> list[dict]:
        events = fleet.proxies["two"].json("log", "--kind", "blocked")
        return [event for event in events if event["url"] == url]

    both = {ANNA, BEN}  # whichever proxy wrote it down
    wait_for(
        lambda: {event["client"] for event in found()} >= both and len({e["proxy"] for e in found()}) == 2,
        "the events of both clients at both proxies",
    )
    mine = found()
    assert {event["client"] for event in mine} == both
    assert {event["proxy"] for event in mine} == {"one", "two"}


@pytest.fixture
def nginx(fleet, tmp_path) -> Iterator[int]:
    """Run nginx with the lines of the page, one of its two proxies away; its port."""
    port = free_port()
    lines = replaced(
        shown("", "stream {"),
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        (f"server {ADDRESSES[0]}", f"server 127.0.0.1:{free_port()}"),
        (f"server {ADDRESSES[1]}", f"server {fleet.proxies['two'].address}"),
        ("proxy_protocol on;", f"proxy_protocol on; proxy_bind {BALANCER};"),
    )
    module = "" if not STREAM.exists() else f"load_module {STREAM};\n"
    settings = tmp_path / "nginx.conf"
    settings.write_text(
        f"{module}daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log;\n"
        f"worker_processes 1; events {{ worker_connections 256; }}\n{lines}"
    )
    process = subprocess.Popen([needs("nginx"), "-p", tmp_path, "-c", settings])
    try:
        wait_for(lambda: process.poll() is None and is_open(port), "nginx")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_nginx_says_whose_connections_are_and_goes_round_a_proxy_that_is_away(fleet, nginx):
    url = LISTED.format("nginx")

    def fetch(client: str) -> Answer:
        return curl(url, "-x", f"http://127.0.0.1:{nginx}", "--interface", client)

    clients = [ANNA, BEN, "127.0.0.1"]
    assert [fetch(client).status for client in clients] == [403] * 3
    fleet.proxies["two"].command("allow", url, "--client", ANNA)
    wait_for(lambda: fetch(ANNA).status != 403, "her exception")
    assert [fetch(client).status for client in clients[1:]] == [403] * 2
    fleet.proxies["two"].json_when(
        lambda events: {event["client"] for event in events if event["url"] == url} == {*clients},
        *("log", "--kind", "blocked"),
    )


def test_what_the_page_has_one_try(fleet):
    one, two = fleet.proxies.values()
    asked = shlex.split(shown("sh", "curl -x"))
    for balancer in fleet.balancers.values():
        words = [each.replace("10.0.0.5:8080", f"127.0.0.1:{balancer.port}") for each in asked]
        done = subprocess.run(
            [*words, "-sS", "--interface", ANNA], cwd=fleet.folder, capture_output=True, text=True, check=True
        )
        assert re.search(r"^HTTP/\S+ 403", done.stdout, re.MULTILINE)
        assert re.search(r"^x-second-look: blocked; ", done.stdout, re.MULTILINE | re.IGNORECASE)
    log, block, rules, status = (shlex.split(line)[1:] for line in shown("sh", "log --since").splitlines())
    wait_for(lambda: ANNA in one.command(*log).stdout, "her address in the log")
    one.command(*block)
    made = time.monotonic()
    (url,) = (each for each in block if each.startswith("https:"))
    wait_for(lambda: url in two.command(*rules).stdout, "the rule in the other proxy's list")
    trusted = ["--cacert", str(fleet.folder / "proxies.pem")]
    for balancer in fleet.balancers.values():
        for drained, other in (("one", "two"), ("two", "one")):
            balancer.told("drain", drained)
            wait_for(lambda b=balancer: b.curl(url, BEN, *trusted).status == 403, f"the rule at {other}")
            balancer.told("ready", drained)
    sys.stdout.write(f"the rule held in every way {time.monotonic() - made:.2f} s after it was made\n")
    assert "two" in two.command(*status).stdout


@pytest.mark.parametrize("way", ["tcp", "http"])
def test_a_rolling_restart_under_load_without_a_failed_request(fleet, way):
    balancer = fleet.balancers[way]
    clients = (ANNA, BEN, "127.0.0.1", "127.0.0.1")
    with Traffic(
        lambda: f"127.0.0.1:{balancer.port}", clients, pause_s=0.03, name=way, keep=way == "http"
    ) as traffic:

        def served(wanted: int = 30) -> None:
            mark = traffic.mark()
            wait_for(lambda: len(traffic.since(mark)) >= wanted, "traffic")

        served()
        for name in fleet.proxies:
            balancer.told("drain", name)
            wait_for(lambda name=name: balancer.connected(name) == 0, f"nobody to be with {name}")
            served()
            fleet.proxies[name].stop()
            fleet.proxies[name] = fleet.start(name)
            balancer.wait_up(name)
            balancer.told("ready", name)
            served()
    failed = [visit for visit in traffic.visits if not visit.let_through]
    assert not failed, f"{len(failed)} of {len(traffic.visits)} failed: {failed[:3]}"
    sys.stdout.write(f"{way}: {len(traffic.visits)} requests, none failed\n")


def test_while_the_database_is_away_proxies_are_killed_and_started_and_go_on(fleet):
    balancer = fleet.balancers["tcp"]
    with Traffic(
        lambda: f"127.0.0.1:{balancer.port}", (ANNA, BEN), pause_s=0.05, name="away", keep=False
    ) as traffic:

        def serves_and_blocks() -> None:
            mark = traffic.mark()
            wait_for(lambda: sum(visit.let_through for visit in traffic.since(mark)) >= 20, "traffic")
            assert balancer.curl(LISTED.format("away"), BEN).status == 403
            assert balancer.curl(LISTED.format("away"), ANNA).status != 403, "her exception was read before"

        except_from_block_page(balancer, LISTED.format("away"), ANNA)
        for proxy in fleet.proxies.values():
            known = proxy.state / "ledger-known.sqlite3"
            wait_for(lambda known=known: b"away.malware" in known.read_bytes(), "the copy of her exception")
        serves_and_blocks()
        fleet.postgres.stop(signal.SIGQUIT)
        try:
            serves_and_blocks()
            for name in fleet.proxies:
                fleet.proxies[name].kill_family()
                wait_for(
                    lambda name=name: balancer.rows()[name][17].startswith("DOWN"), f"{name} to be noticed"
                )
                serves_and_blocks()
                fleet.proxies[name] = fleet.start(name)
                balancer.wait_up(name)
                serves_and_blocks()
        finally:
            fleet.postgres.start()
    one, two = fleet.proxies.values()
    wait_for(
        lambda: "attention: ledger" not in one.command("status").stdout + two.command("status").stdout,
        "the ledger",
    )


def test_the_database_comes_back_from_its_backup(fleet):
    where = ["-h", str(fleet.postgres.folder), "-U", "tester"]
    environment = {**os.environ, "PGHOST": str(fleet.postgres.folder), "PGUSER": "tester"}
    dump = shlex.split(shown("sh", "pg_dump"))
    subprocess.run([needs(dump[0]), *dump[1:]], cwd=fleet.folder, env=environment, check=True)
    (restore,) = re.findall(r"`(pg_restore [^`]+)`", PAGE)
    words = replaced(restore, ("--dbname=secondlook", "--dbname=restored")).split()
    subprocess.run([needs("createdb"), *where, "-O", "secondlook", "restored"], check=True)
    subprocess.run([needs(words[0]), *words[1:]], cwd=fleet.folder, env=environment, check=True)
    counts = []
    for database in ("secondlook", "restored"):
        with psycopg.connect(fleet.postgres.url(database)) as connection:
            counts.append(
                [
                    connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                    for table in ("rules", "shared_keys")
                ]
            )
    assert counts[0] == counts[1] != [(0,), (0,)]
