"""The containers of compose.yaml, built from the shipped Containerfile and tried: seconds and sizes.

Run: `python bench/containers.py` after `make dist`, as root, with podman, podman-compose, runc, netavark,
aardvark-dns and mmdebstrap; prints one JSON object. The base image is a Debian made by mmdebstrap; whatever
is made lies in a folder that is deleted at the end. Seen on the way: all four are healthy; a listed page is
refused, through the lists in Valkey; the review page takes its password; a rule made at one proxy holds at a
second with the same database; a server without its Valkey says so and comes back; a proxy that is stopped
lets a download end; new containers go on with certificate authority, rules and log. CI runs it too. Where no
container can be started it says so, and that is no failure.
"""

import http.client
import json
import os
import secrets
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlencode

from install import NoRootError, ask, bare, newest_wheel, prepare, trusted

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
PROJECT = "secondlook-try"
BASE = "localhost/debian:trixie"
ADDRESS = "127.0.0.77"  # of loopback, where nobody else listens
PROXY, PAGE = f"{ADDRESS}:8080", f"{ADDRESS}:8081"
SERVICES = ("database", "store", "server", "agent")
TOOLS = ("podman", "podman-compose", "runc", "mmdebstrap", "openssl")
SETTINGS = "/etc/secondlook/proxy.yaml"
PATIENCE_S = 240
HALF = b"x" * (1 << 20)
# Limits that a root without CAP_SYS_RESOURCE may set; nothing is kept outside the folder.
ENGINE = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{folder}/tmp"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'


def wait_for(look: Callable[[], bool], what: str) -> None:
    """Look again until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not look():
        if time.monotonic() > end:
            raise SystemExit(f"waited {PATIENCE_S} s in vain: {what}")
        time.sleep(0.3)


def must(so: bool, what: str) -> None:
    """End where something is not as it has to be."""
    if not so:
        raise SystemExit(f"not so: {what}")


class Origin(BaseHTTPRequestHandler):
    """An origin whose answer ends only when `go_on` is set."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()

    def do_GET(self) -> None:
        """Answer with two halves."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(2 * len(HALF)))
        self.end_headers()
        self.wfile.write(HALF)
        self.go_on.wait(PATIENCE_S)
        self.wfile.write(HALF)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Stack:
    """The containers of a copy of compose.yaml."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.environ = {**os.environ, **environ}
        self.errors = ""  # of the last command

    def podman(self, *words: str | Path, status: int | None = 0) -> str:
        """Run podman; return what it prints."""
        return self._run("podman", *words, status=status)

    def compose(self, *words: str, status: int | None = 0) -> str:
        """Run podman-compose, as a user would in that folder."""
        return self._run("podman-compose", "-p", PROJECT, *words, status=status)

    def _run(self, *command: str | Path, status: int | None) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self.errors = f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        if status is not None and done.returncode != status:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{self.errors}")
        return done.stdout

    def proxy_command(self, *words: str) -> str:
        """Run a command of the program in the proxy's container."""
        return self.podman("exec", container("agent"), "secondlook", *words, "-c", SETTINGS)

    def healthy(self, service: str) -> bool:
        """Do the health check of an image."""
        command = ["podman", "healthcheck", "run", container(service)]
        done = subprocess.run(command, env=self.environ, stdout=subprocess.DEVNULL, check=False)
        return done.returncode == 0

    def up(self) -> None:
        """Start all, and wait until all are healthy and a listed page is refused."""
        self.compose("up", "-d")
        for service in SERVICES:
            wait_for(partial(self.healthy, service), f"{service} is healthy")
        wait_for(lambda: asked(PROXY) == http.client.FORBIDDEN, "a listed page is refused")

    def inspected(self, name: str, what: str) -> str:
        """Read one thing about a container or an image."""
        return self.podman("inspect", "--format", what, name).strip()


def container(service: str) -> str:
    return f"{PROJECT}_{service}_1"


def asked(proxy: str, url: str = "http://malware.secondlook.test/") -> int:
    """Ask a proxy for a page; return the status, 0 where it gives no answer."""
    try:
        return ask(proxy, url)
    except (OSError, http.client.HTTPException):
        return 0


def authority(proxy: str) -> bytes:
    """Fetch the certificate of a proxy's authority."""
    connection = http.client.HTTPConnection(proxy, timeout=10)
    connection.request("GET", "/ca.pem")
    return connection.getresponse().read()


def settled(folder: Path) -> dict[str, str]:
    """Copy what is shipped into a folder and write what docs/containers.md has people write."""
    for name in (
        "Containerfile",
        "compose.yaml",
        ".dockerignore",
        "requirements.txt",
        "requirements-extra.txt",
    ):
        shutil.copy(TOP / name, folder)
    shutil.copytree(TOP / "containers", folder / "containers", ignore=shutil.ignore_patterns("page"))
    for name in ("scripts", "dist"):
        (folder / name).mkdir()
    shutil.copy(TOP / "scripts/compile", folder / "scripts")
    shutil.copy(newest_wheel(), folder / "dist")
    server = folder / "containers/server.yaml"  # feeds of other hosts are out of reach here
    lines = server.read_text().splitlines(keepends=True)
    server.write_text("".join(line for line in lines if "https://" not in line))
    page = folder / "containers/page"
    page.mkdir()
    prepare(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-subj", "/CN=localhost", "-addext", f"subjectAltName=IP:{ADDRESS}",
        "-keyout", page / "page.key", "-out", page / "page.pem",
    )  # fmt: skip
    (page / "page.key").chmod(0o644)
    password = secrets.token_urlsafe(12)
    hashed = subprocess.run(
        [Path(sys.executable).parent / "secondlook", "password"],
        input=f"{password}\n", stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    given = {
        "ADDRESS": ADDRESS,
        "DATABASE_PASSWORD": secrets.token_hex(16),
        "STORE_PASSWORD": secrets.token_hex(16),
        "AGENT_TOKEN": secrets.token_hex(24),
        "PAGE_PASSWORD": hashed.replace("$$", "$"),
    }
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in given.items()))
    return {**given, "password": password}


@contextmanager
def engine(folder: Path) -> Iterator[Stack]:
    """Have podman keep everything in a folder, with a Debian in it; take it all away in the end."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise NoRootError(f"not installed: {', '.join(missing)}")
    for name, text in (("containers.conf", ENGINE), ("storage.conf", STORAGE)):
        (folder / name).write_text(text.format(folder=folder))
    environ = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_FORMAT": "docker",
        "BUILDAH_ISOLATION": "chroot",
    }
    (folder / "project").mkdir()
    stack = Stack(folder / "project", environ)
    bare("trixie", folder / "base.tar")
    try:
        try:
            stack.podman("import", "--quiet", folder / "base.tar", BASE)
            stack.podman("network", "create", "probe")
            stack.podman("run", "--rm", "--network", "probe", "--read-only", BASE, "true")
        except SystemExit as error:
            raise NoRootError(f"no container can be started: {error}") from None
        yield stack
    finally:
        stack.compose("down", "-v", "-t", "5", status=None)
        stack.podman("rm", "--all", "--force", "--time", "5", status=None)
        stack.podman("network", "prune", "--force", status=None)
        stack.podman("rmi", "--all", "--force", status=None)
        subprocess.run(["umount", folder / "graph/overlay"], stderr=subprocess.DEVNULL, check=False)


def build(stack: Stack, folder: Path) -> None:
    """Build as the compose file says; pip trusts whom it trusts here, and uses what it has fetched before."""
    shutil.copy(trusted(), folder / "ca.pem")
    kept = Path.home() / ".cache/pip"
    kept.mkdir(parents=True, exist_ok=True)
    lent = (
        f"--volume {folder}/ca.pem:/tmp/ca.pem:ro --env PIP_CERT=/tmp/ca.pem --volume {kept}:/root/.cache/pip"
    )
    images = {f"localhost/{PROJECT}_{service}" for service in SERVICES}
    for _ in range(2):  # podman-compose ends with 0 either way, and a mirror may fail once
        stack.compose("--podman-build-args", lent, "build", "--build-arg", f"BASE={BASE}", status=None)
        told = stack.errors
        if images <= set(stack.podman("images", "--format", "{{.Repository}}").split()):
            return
    raise SystemExit(f"the images are not built\n{told}")


def page_takes_password(given: dict[str, str], certificate: Path) -> None:
    """Sign in to the review page."""
    trust = ssl.create_default_context(cafile=certificate)
    connection = http.client.HTTPSConnection(PAGE, context=trust, timeout=20)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{PAGE}"}
    for password, signed_in in (("wrong", False), (given["password"], True)):
        connection.request("POST", "/sign-in", urlencode({"password": password}), headers)
        answer = connection.getresponse()
        answer.read()
        must((answer.getheader("set-cookie") is not None) is signed_in, f"signing in with {password}")


def rules_are_shared(stack: Stack, given: dict[str, str]) -> None:
    """Make a rule at one proxy and meet it at a second that shares the database alone."""
    ruled = "http://ruled.secondlook.test/"
    stack.proxy_command("block", ruled)
    own = stack.folder / "containers"
    mounts = {
        own / "proxy.yaml": "proxy.yaml",
        own / "page/page.pem": "page.pem",
        own / "page/page.key": "page.key",
    }
    stack.podman(
        "run", "-d", "--name", "second", "--network", f"{PROJECT}_default", "--read-only", "--tmpfs", "/tmp",
        "--cap-drop", "ALL",
        *(f"--volume={path}:/etc/secondlook/{name}:ro" for path, name in mounts.items()),
        *(f"--env={name}={given[name]}" for name in ("AGENT_TOKEN", "DATABASE_PASSWORD", "PAGE_PASSWORD")),
        f"localhost/{PROJECT}_agent",
    )  # fmt: skip
    second = f"{address_of(stack, 'second')}:8080"
    wait_for(lambda: asked(second, ruled) == http.client.FORBIDDEN, "a rule of the first proxy holds")
    stack.podman("rm", "--force", "--time", "30", "second")


def server_needs_its_store(stack: Stack) -> None:
    """Take Valkey away from the server and give it back."""
    stack.podman("stop", "--time", "10", container("store"))
    wait_for(lambda: not stack.healthy("server"), "a server without its store says so")
    must(asked(PROXY) == http.client.FORBIDDEN, "a proxy blocks by its own lists meanwhile")
    stack.podman("start", container("store"))
    wait_for(lambda: stack.healthy("server"), "the server has its store again")


def stops_drained(stack: Stack) -> None:
    """Stop the proxy while a download is under way: it ends whole, and nothing new begins."""
    gateway = stack.inspected(container("agent"), "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}")
    inside = f"{address_of(stack, container('agent'))}:8080"
    origin = ThreadingHTTPServer((gateway, 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    try:
        connection = http.client.HTTPConnection(PROXY, timeout=PATIENCE_S)
        connection.request("GET", f"http://{gateway}:{origin.server_port}/")
        answer = connection.getresponse()
        must(answer.status == http.client.OK, f"the origin's page is answered with {answer.status}")
        first = answer.read(len(HALF) // 2)
        stopping = threading.Thread(
            target=stack.podman, args=("stop", "--time", "30", container("agent")), daemon=True
        )
        stopping.start()
        wait_for(lambda: asked(inside) == 0, "a proxy that stops takes nothing new")
        Origin.go_on.set()
        must(len(first) + len(answer.read()) == 2 * len(HALF), "a download under way ends whole")
        stopping.join(PATIENCE_S)
        must(stack.inspected(container("agent"), "{{.State.ExitCode}}") == "0", "it ends with 0")
    finally:
        Origin.go_on.set()
        origin.shutdown()
        origin.server_close()


def address_of(stack: Stack, name: str) -> str:
    return stack.inspected(name, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")


def tried(stack: Stack, folder: Path) -> dict[str, object]:
    """Build, start, look at everything, and start anew."""
    given = settled(stack.folder)
    began = time.monotonic()
    build(stack, folder)
    built_s = time.monotonic() - began
    began = time.monotonic()
    try:
        stack.up()
        block_s = time.monotonic() - began
        page_takes_password(given, stack.folder / "containers/page/page.pem")
        rules_are_shared(stack, given)
        server_needs_its_store(stack)
        before = authority(PROXY)
        stops_drained(stack)
        stack.compose("down", "-t", "30")
        stack.up()
        must(b"BEGIN CERTIFICATE" in before and authority(PROXY) == before, "the authority is kept")
        must(asked(PROXY, "http://ruled.secondlook.test/") == http.client.FORBIDDEN, "the rule is kept")
        events = stack.proxy_command("log", "--decision", "block", "--json")
        must(events.count('"blocked"') > 1, "the log is kept")
    except SystemExit:
        print(stack.compose("logs", status=None)[-6000:], file=sys.stderr)
        raise
    sizes = {
        f"{name}_mb": int(stack.inspected(f"localhost/{PROJECT}_{name}", "{{.Size}}")) // 1_000_000
        for name in SERVICES
    }
    return {"built_s": round(built_s), "first_block_s": round(block_s, 1), **sizes}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="secondlook-containers-", ignore_cleanup_errors=True) as name:
        try:
            with engine(Path(name)) as stack:
                print(json.dumps({"bench": "containers", **tried(stack, Path(name))}), flush=True)
        except NoRootError as error:
            print(f"NOT TRIED in containers: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
