"""What the check says of Squids that do something else; `e2e/test_gateway.py` has one that is right."""

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from secondlook.setup import squid_check
from secondlook.setup.squid_check import Checked, Target, check

OPTIONS = b'ICAP/1.0 200 OK\r\nISTag: "x"\r\n\r\n'
OUTSIDE = "127.0.0.2"  # in the place of an address that other machines see
OURS = {"X-Second-Look": "blocked; event=1; stage=pattern; threat=malware"}


class Squid(BaseHTTPRequestHandler):
    """Answers by what the test says about a URL: status, headers, body."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = self.path
        name = (
            "pages"
            if "secondlook.internal" in url
            else ("network" if self.client_address[0] == OUTSIDE else "refused")
            if "malware" in url
            else url.rsplit("/")[-1]
        )
        if self.server.answers[name] is None:  # until the client has gone
            self.rfile.read(1)
            return
        status, headers, body = self.server.answers[name]
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def answering(listening, answer):
    """Answer each connection's first bytes, until the socket is closed; b"": never."""

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                with client:
                    given = answer(client.recv(4096))
                    client.sendall(given)
                    if not given:
                        client.recv(1)  # until it has gone

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def steps(tmp_path):
    """Run the check against a Squid, an agent and an ICAP that answer as the test says."""
    stack = contextlib.ExitStack()

    def run(squid=None, agent=b"1 OK\n", icap=OPTIONS, *, listed=True):
        path = tmp_path / f"s{len(list(tmp_path.iterdir()))}"
        if agent is not None:
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
            answering(listening, lambda asked: b"1 ERR\n" if listed and b"malware" in asked else agent)
        spoken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        answering(spoken, lambda _: icap)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Squid)
        server.answers = {
            "pages": (200, {}, b"ok\n"),
            "refused": (403, OURS, b""),
            "network": (403, OURS, b""),
            "harmless.txt": (200, {}, b""),
            "large.bin": (200, {}, b""),
            "eicar.com": (403, OURS, b""),
        } | (squid or {})  # fmt: skip
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        target = Target(server.server_address, path, spoken.getsockname(), opens=False, outside=OUTSIDE)
        return {found.step: found for found in check(target)}

    with stack:
        yield run


def problem(found: Checked) -> str:
    assert found.result == "problem", found
    assert found.remedy
    return found.text


def test_no_agent_ends_the_check(steps):
    found = steps(agent=None)
    assert "no gate worker answers at" in problem(found["socket"])
    assert list(found) == ["socket"]


def test_an_agent_that_cannot_tell(steps):
    assert 'the gate worker answers 1 BH message="x"' in problem(steps(agent=b'1 BH message="x"\n')["socket"])


def test_icap_that_answers_something_else_ends_the_check(steps):
    found = steps(icap=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "ICAP answers 'HTTP/1.1 400 Bad Request' about reqmod" in problem(found["icap"])
    assert list(found) == ["socket", "icap"]


def test_gate_workers_that_hang_end_the_check_and_are_named(steps, monkeypatch):
    monkeypatch.setattr(squid_check, "PATIENCE_S", 1.0)
    found = steps(agent=b"")
    assert "all gate workers hang: none answers at" in problem(found["socket"])
    assert "hung_after" in found["socket"].remedy
    found = steps(icap=b"")
    assert "takes the question and gives no answer within 1 s" in problem(found["icap"])
    assert list(found) == ["socket", "icap"]


def test_a_squid_that_asks_another_icap(steps):
    found = steps({"pages": (500, {"X-Squid-Error": "ERR_ICAP_FAILURE 0"}, b"")})
    assert "Squid cannot ask by ICAP" in problem(found["pages"])
    assert "its icap_service lines have to name icap://127.0.0.1:" in found["pages"].remedy
    assert list(found)[-1] == "pages"


def test_a_squid_whose_helpers_hang(steps, monkeypatch):
    monkeypatch.setattr(squid_check, "PATIENCE_S", 1.0)
    found = steps({"refused": None})
    assert "gave no answer to http://malware.secondlook.test/ within 1 s" in problem(found["refused"])
    assert "its helpers may hang: `squid -k reconfigure`" in found["refused"].remedy


def test_lines_that_are_not_in_force(steps):
    found = steps({"pages": (503, {"X-Squid-Error": "ERR_DNS_FAIL 0"}, b"")})
    assert "503 and Squid's own page ERR_DNS_FAIL, not with Second Look's page" in problem(found["pages"])
    assert "include the printed lines" in found["pages"].remedy
    assert list(found)[-1] == "pages"


def test_a_squid_that_denies_by_itself_gets_no_answer_from_its_helper(steps):
    found = steps({"refused": (403, {"X-Squid-Error": "ERR_ACCESS_DENIED 0"}, b"")})
    assert "not with Second Look's refusal" in problem(found["refused"])
    assert "the helper gives no answer to Squid" in found["refused"].remedy


def test_a_squid_that_lets_everything_through(steps):
    found = steps({"refused": (200, {}, b"malware")})
    assert "not with Second Look's refusal" in problem(found["refused"])
    assert "before every `http_access allow`, that of localhost too" in found["refused"].remedy
    assert "the helper may give no answer" in found["refused"].remedy
    assert list(found)[-1] == "refused"  # what follows would only say the same in other words


@pytest.mark.parametrize(
    ("answer", "result", "told"),
    [
        ((403, OURS, b""), "ok", "it is refused to 127.0.0.2"),
        ((403, {"X-Squid-Error": "ERR_ACCESS_DENIED 0"}, b""), "ok", "serves this machine alone"),
        ((407, {}, b""), "unknown", "has to log in"),
        ((403, {}, b"of somebody else"), "problem", "with 403 where 127.0.0.2 asks: a rule before"),
        ((502, {"X-Squid-Error": "ERR_READ_ERROR 0"}, b""), "problem", "ERR_READ_ERROR where 127.0.0.2 asks"),
        (None, "problem", "gave no answer"),
    ],
)
def test_other_machines_that_a_rule_before_ours_lets_in(steps, answer, result, told, monkeypatch):
    monkeypatch.setattr(squid_check, "PATIENCE_S", 1.0)
    found = steps({"network": answer})
    assert found["network"].result == result
    assert told in found["network"].text
    assert result != "problem" or "before debian.conf" in found["network"].remedy
    assert found["response"]  # what loopback meets is looked at all the same


@pytest.mark.parametrize("answer", [None, (503, {"X-Squid-Error": "ERR_DNS_FAIL 0"}, b""), (200, {}, b"")])
def test_a_test_page_that_no_list_names_is_no_fault_of_squid(steps, answer, monkeypatch):
    monkeypatch.setattr(squid_check, "PATIENCE_S", 1.0)
    found = steps({"refused": answer}, listed=False)
    assert "is on no list in force here" in problem(found["refused"])
    assert "block malware.secondlook.test --for 10m`" in found["refused"].remedy


def test_bodies_that_are_not_asked_about(steps):
    eicar = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" + b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    found = steps({"eicar.com": (200, {}, eicar)})
    assert "bodies are not asked about" in problem(found["download"])


def test_files_that_do_not_come_through(steps):
    found = steps({"harmless.txt": (500, {"X-Squid-Error": "ERR_ICAP_FAILURE 0"}, b"")})
    assert "500 and Squid's own page ERR_ICAP_FAILURE" in problem(found["response"])
    assert "a large file comes through Squid as 200" in problem(found["large"])
    assert "5352" in found["large"].remedy
    assert found["download"].result == "ok"


def test_a_squid_that_leads_nowhere_here_is_not_blamed(steps):
    denied = (403, {"X-Squid-Error": "ERR_ACCESS_DENIED 0"}, b"")
    found = steps({"harmless.txt": denied, "eicar.com": denied})
    assert (found["response"].result, found["download"].result) == ("unknown", "unknown")
