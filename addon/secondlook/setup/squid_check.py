"""`secondlook setup squid --check`: what a running Squid makes of test requests, from the agent on.

| step | what is asked | what it shows |
|---|---|---|
| socket | the agent, as a helper | a gate worker answers |
| icap | OPTIONS of both services | the ICAP listener answers |
| pages | `secondlook.internal` through Squid | requests reach REQMOD, and are answered there |
| refused | `malware.secondlook.test` | the helper is asked, and its refusal becomes our page |
| network | the same from an address that is not loopback | no rule before ours lets other machines in |
| opened | the same over TLS | TLS is opened, and the page stands inside |
| response | a file of this process, that no list knows | what is harmless goes through unchanged |
| large | 4 MiB of this process, at once | Squid reads on while ICAP looks (its bug 5352) |
| download | the EICAR test file of this process | bodies reach RESPMOD |

The test names are reserved (RFC 2606). A refusal leaves an event.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, NamedTuple

from secondlook.ground.program_name import typed
from secondlook.refusal.refusal import INTERNAL_HOST, MARK

LISTED = "malware.secondlook.test"
PATIENCE_S = 15.0
LARGE_BYTES = 4 << 20
HARMLESS = b"Second Look looks whether this text comes through.\n"
_EICAR = (  # in two halves: this file is not one
    rb"X5O!P%@AP[4\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
)
_PROGRAM = "application/octet-stream"
_NOT_IN_FORCE = (
    "include the printed lines before the http_access rules of squid.conf, and `squid -k reconfigure`"
)
_SEE_LOG = "Squid's cache.log shows what its helper and ICAP client met"
_HANGS = "what hangs is killed and started again after `hung_after`: see"
_LET_IN = (
    "put the lines before every `http_access allow` (Debian: the name of their file before debian.conf),"
    " and `squid -k reconfigure`"
)
_ICAP_FAILURE, _ACCESS_DENIED = "ERR_ICAP_FAILURE", "ERR_ACCESS_DENIED"


class Checked(NamedTuple):
    """One step: whether it is as it should be, in words, and what to do."""

    step: str
    result: Literal["ok", "problem", "unknown"]
    text: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is checked: a Squid, and the agent that it should ask."""

    squid: tuple[str, int]
    gateway: Path
    icap: tuple[str, int] | None
    opens: bool  # whether TLS is to be opened
    outside: str | None = None  # an address of this machine, other than loopback, that reaches that Squid
    own_address: str = "127.0.0.1"  # of this process, as Squid reaches it


class _Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def ours(self) -> bool:
        return self.headers.get(MARK, "").startswith("blocked;")

    @property
    def squids(self) -> str:
        """Return Squid's own reason where it wrote the page."""
        return self.headers.get("X-Squid-Error", "").partition(" ")[0]

    @property
    def text(self) -> str:
        """Return the answer in words."""
        return f"{self.status}" + (f" and Squid's own page {self.squids}" if self.squids else "")


def check(target: Target) -> Iterator[Checked]:
    """Go through the steps; those that need an earlier one end with it."""
    steps: list[Callable[[Target], Checked]] = [_agent]
    if target.icap is not None:
        steps += [_icap]
    steps += [_pages, _refused]
    if target.outside is not None:
        steps.append(_network)
    if target.opens:
        steps.append(_opened)
    for step in steps:
        found = step(target)
        yield found
        if found.result == "problem" and step in (_agent, _icap, _pages, _refused):
            return
    with _serving(target.own_address) as port:
        yield _response(target, port)
        yield _large(target, port)
        yield _download(target, port)


def _agent(target: Target) -> Checked:
    try:
        answer = _ask_agent(target, INTERNAL_HOST)
    except TimeoutError:
        text = f"all gate workers hang: none answers at {target.gateway} within {PATIENCE_S:g} s"
        return Checked("socket", "problem", text, f"{_HANGS} `{typed('status')}`")
    except OSError as error:
        text = f"no gate worker answers at {target.gateway}: {error.strerror or error}"
        return Checked("socket", "problem", text, f"start `{typed('run')}` with gateway.enabled: true")
    if answer != "1 OK":
        return Checked(
            "socket", "problem", f"the gate worker answers {answer or 'nothing'}", f"see `{typed('log')}`"
        )
    return Checked("socket", "ok", f"a gate worker answers at {target.gateway}")


def _ask_agent(target: Target, host: str) -> str:
    """Ask about a page as a helper does. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect(str(target.gateway))
        sock.sendall(f"1 127.0.0.1 - GET http://{host}/\n".encode())
        return sock.recv(4096).decode("latin-1").strip()


def _icap(target: Target) -> Checked:
    assert target.icap is not None
    host, port = target.icap
    place = f"{host}:{port}"
    for service in ("reqmod", "respmod"):
        try:
            with socket.create_connection(target.icap, PATIENCE_S) as sock:
                sock.sendall(f"OPTIONS icap://{place}/{service} ICAP/1.0\r\nHost: {place}\r\n\r\n".encode())
                answer = sock.recv(4096).partition(b"\r\n")[0].decode("latin-1")
        except TimeoutError:
            text = f"ICAP on {place} takes the question and gives no answer within {PATIENCE_S:g} s"
            return Checked("icap", "problem", text, f"{_HANGS} `{typed('status')}`")
        except OSError as error:
            text = f"ICAP does not answer on {place}: {error.strerror or error}"
            return Checked("icap", "problem", text, "see `gateway.icap` in proxy.yaml")
        if not answer.startswith("ICAP/1.0 200 "):
            return Checked(
                "icap", "problem", f"ICAP answers {answer!r} about {service} on {place}", "see `log`"
            )
    return Checked("icap", "ok", f"ICAP answers on {place}")


def _pages(target: Target) -> Checked:
    answer = _ask(target, f"http://{INTERNAL_HOST}/healthz")
    if isinstance(answer, str):
        return Checked("pages", "problem", answer, "is Squid running, and may this machine use it?")
    if answer.status == http.client.OK and answer.body.strip() == b"ok":
        return Checked("pages", "ok", f"Squid brings http://{INTERNAL_HOST}/ from here")
    if answer.squids == _ICAP_FAILURE and target.icap is not None:
        text = f"Squid cannot ask by ICAP: it answers http://{INTERNAL_HOST}/ with {answer.text}"
        place = f"icap://{target.icap[0]}:{target.icap[1]}/"
        return Checked("pages", "problem", text, f"its icap_service lines have to name {place}; {_SEE_LOG}")
    text = f"Squid answers http://{INTERNAL_HOST}/ with {answer.text}, not with Second Look's page"
    return Checked("pages", "problem", text, _NOT_IN_FORCE)


def _refused(target: Target) -> Checked:
    answer = _ask(target, f"http://{LISTED}/")
    if not isinstance(answer, str) and answer.status == http.client.FORBIDDEN and answer.ours:
        return Checked("refused", "ok", f"http://{LISTED}/ is refused with Second Look's answer")
    if not _is_listed(target):
        text = f"http://{LISTED}/, which should be refused now, is on no list in force here"
        remedy = f"is `servers.embedded` off? `{typed(f'block {LISTED} --for 10m')}`, then look again"
        return Checked("refused", "problem", text, remedy)
    if isinstance(answer, str):
        remedy = f"its helpers may hang: `squid -k reconfigure` starts others; {_SEE_LOG}"
        return Checked("refused", "problem", answer, remedy)
    text = f"Squid answers http://{LISTED}/ with {answer.text}, not with Second Look's refusal"
    if answer.status == http.client.FORBIDDEN:
        return Checked("refused", "problem", text, f"the helper gives no answer to Squid: {_SEE_LOG}")
    remedy = (
        "put the lines before every `http_access allow`, that of localhost too;"
        " in the open form the helper may give no answer"
    )
    return Checked("refused", "problem", text, f"{remedy}: {_SEE_LOG}")


def _network(target: Target) -> Checked:
    """Ask as a client of another machine: Squid goes by the first rule that fits, which may not be ours."""
    answer = _ask(target, f"http://{LISTED}/", target.outside)
    if not isinstance(answer, str):
        if answer.status == http.client.FORBIDDEN and answer.ours:
            text = f"other machines are asked about too: it is refused to {target.outside}"
            return Checked("network", "ok", text)
        if answer.status == http.client.FORBIDDEN and answer.squids == _ACCESS_DENIED:
            text = f"Squid serves this machine alone: {target.outside} may not use it"
            return Checked("network", "ok", text)
        if answer.status == http.client.PROXY_AUTHENTICATION_REQUIRED:
            text = f"{target.outside} has to log in: whether it is asked about then is not seen"
            return Checked("network", "unknown", text)
        answer = (
            f"Squid answers http://{LISTED}/ with {answer.text} where {target.outside} asks:"
            " a rule before the printed lines lets other machines in"
        )
    return Checked("network", "problem", answer, _LET_IN)


def _is_listed(target: Target) -> bool:
    """Whether the page by which refusals are tried is refused by the agent, as far as it answers."""
    with contextlib.suppress(OSError):
        return not _ask_agent(target, LISTED).startswith("1 OK")
    return True


def _opened(target: Target) -> Checked:
    tunnel = http.client.HTTPSConnection(*target.squid, timeout=PATIENCE_S, context=_any_certificate())
    tunnel.set_tunnel(LISTED, 443)
    try:
        answer = _fetch(tunnel, "/")
    except (OSError, http.client.HTTPException) as error:
        text = f"Squid opens no TLS to {LISTED}: {error}"
        return Checked("opened", "problem", text, f"see the ssl_bump lines, and {_SEE_LOG}")
    if answer.ours:
        return Checked("opened", "ok", f"https://{LISTED}/ is refused with Second Look's answer, inside TLS")
    text = f"Squid answers https://{LISTED}/ with {answer.text}"
    return Checked("opened", "problem", text, _NOT_IN_FORCE)


def _response(target: Target, port: int) -> Checked:
    answer = _ask(target, f"http://{target.own_address}:{port}/harmless.txt")
    if isinstance(answer, str):
        return Checked("response", "problem", answer, _SEE_LOG)
    if answer.body == HARMLESS:
        return Checked("response", "ok", "what is harmless goes through Squid as it is")
    if answer.status == http.client.FORBIDDEN and not answer.ours:
        text = f"Squid refuses {target.own_address}:{port} ({answer.text}): downloads are not checked"
        return Checked("response", "unknown", text)
    text = f"a harmless file comes through Squid as {answer.text}"
    return Checked("response", "problem", text, _SEE_LOG)


def _large(target: Target, port: int) -> Checked:
    answer = _ask(target, f"http://{target.own_address}:{port}/large.bin")
    if not isinstance(answer, str) and answer.body == _large_file():
        return Checked("large", "ok", f"{LARGE_BYTES >> 20} MiB at once come through Squid")
    text = answer if isinstance(answer, str) else f"a large file comes through Squid as {answer.text}"
    remedy = f"Squid may stop reading an origin that is faster than ICAP (its bug 5352); {_SEE_LOG}"
    return Checked("large", "problem", text, remedy)


def _download(target: Target, port: int) -> Checked:
    answer = _ask(target, f"http://{target.own_address}:{port}/eicar.com")
    if isinstance(answer, str):
        return Checked("download", "problem", answer, _SEE_LOG)
    if answer.ours:
        return Checked("download", "ok", "the EICAR test file does not come through Squid")
    if answer.body == _EICAR:
        text = "the EICAR test file comes through Squid: bodies are not asked about, or no list names it"
        return Checked("download", "problem", text, "see the lines of icap_service and adaptation_access")
    return Checked("download", "unknown", f"the EICAR test file comes through Squid as {answer.text}")


def _ask(target: Target, url: str, client: str | None = None) -> _Answer | str:
    """Fetch a URL through Squid, from an address where one is given; what went wrong, where nothing came."""
    place = f"{target.squid[0]}:{target.squid[1]}"
    source = None if client is None else (client, 0)
    asked = http.client.HTTPConnection(*target.squid, timeout=PATIENCE_S, source_address=source)
    try:
        return _fetch(asked, url)
    except TimeoutError:
        return f"Squid on {place} gave no answer to {url} within {PATIENCE_S:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"Squid on {place} does not answer {url}: {error}"


def _fetch(asked: http.client.HTTPConnection, url: str) -> _Answer:
    with contextlib.closing(asked):
        asked.request("GET", url, headers={"Accept": "*/*"})
        response = asked.getresponse()
        return _Answer(response.status, response.headers, response.read())


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = (
        ssl.CERT_NONE
    )  # the authority may be the organisation's: whose it is proves nothing here
    return context


def _large_file() -> bytes:
    return HARMLESS * (LARGE_BYTES // len(HARMLESS))


@contextlib.contextmanager
def _serving(address: str) -> Iterator[int]:
    """Serve the files while the block lasts; the port."""
    files = {
        "/harmless.txt": (HARMLESS, "text/plain"),
        "/large.bin": (_large_file(), _PROGRAM),
        "/eicar.com": (_EICAR, _PROGRAM),
    }

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = files[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, 0), Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
