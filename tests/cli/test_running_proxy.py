"""A command line that a running proxy answers: which one it is, and what of the answer is printed.

Whole processes: e2e/test_running_proxy.py.
"""

import json
import socket
import threading

import pytest
from typer.main import get_command

from secondlook.cli.operation import status
from secondlook.cli.running_proxy import ANSWERED, PLACES, answerable, answered, harmless, parse
from secondlook.run.supervisor.command_socket import SOCKET_FILE, program_mark


@pytest.mark.parametrize(
    ("words", "left", "config", "state"),
    [
        (["status"], ("status",), None, None),
        (["-c", "a.yaml", "status"], ("status",), "a.yaml", None),
        (["status", "--config=a.yaml", "--state", "kept"], ("status",), "a.yaml", "kept"),
        (["log", "--json", "--state=kept"], ("log", "--json"), None, "kept"),
        (["log", "--limit=3", "--state", "kept"], ("log", "--limit=3"), None, "kept"),
    ],
)
def test_the_place_is_taken_out_of_the_words(words, left, config, state):
    found = parse(words)
    assert found.words == left
    assert (found.config and str(found.config), found.state and str(found.state)) == (config, state)


@pytest.mark.parametrize(
    "words",
    [
        ["log", "--limit", "--state", "kept"],  # may be that option's value
        ["status", "--state"],
        ["status", "--state="],
        ["status", "--state", "--json"],
        ["status", "-c=a.yaml"],
        ["status", "--state", "a", "--state", "b"],
        ["status", "-c", "a", "--config", "b"],
    ],
)
def test_words_that_could_be_meant_in_another_way_are_not_taken(words):
    assert parse(words) is None


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_a_command_is_answered_but_for_what_goes_on_or_asks_back(name):
    assert answerable([name])
    assert answerable([name, "--json"])
    for option in ANSWERED[name]:
        assert not answerable([name, option])
        assert not answerable([name, "x", f"{option}=y"])
    for word in ("--", "--help", "-h", "-5"):
        assert not answerable([name, word])


@pytest.mark.parametrize("words", [[], ["run"], ["doctor"], ["server", "status"], ["statuses"]])
def test_other_commands_are_not_answered(words):
    assert not answerable(words)


@pytest.mark.parametrize("word", ["/etc/hosts", "./a", "../a", "~/a"])
def test_files_are_checked_by_the_command_itself(word):
    assert not answerable(["check", word])
    assert answerable(["check", "http://a.example/etc/hosts"])
    assert answerable(["block", word])


def test_an_answer_cannot_steer_the_terminal():
    plain = "a\tb\nc\r\n\x1b[1mbold\x1b[0m \x1b[38;5;1mred\x1b[m é 中\n"
    assert harmless(plain) == plain
    for hostile in ("\x1b]0;title\x07", "\x1b[2J", "\x1b[1;1H", "a\rb", "\x9b1A", "\x00", "\u202e", "\x1b"):
        shown = harmless(f"x{hostile}y\n")
        assert hostile not in shown
        assert shown[0] == "x"
        assert shown[-2:] == "y\n"
        assert not set(shown) & set("\x1b\x07\r\x9b\x00\u202e")


class Service:
    """A service on a state folder that greets and answers as it is made to."""

    def __init__(self, folder, answer, **greeting):
        self.asked = []
        self._greeting = {"program": program_mark(), "config": None} | greeting
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / SOCKET_FILE))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        try:
            sock, _ = self._socket.accept()
        except OSError:  # nobody came
            return
        with sock, sock.makefile("rwb") as file:
            file.write(json.dumps(self._greeting).encode() + b"\n")
            file.flush()
            line = file.readline()
            if line:
                self.asked.append(json.loads(line))
                file.write(self._answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


PRINTED = b'{"printed": [["out", "one\\n"], ["err", "two\\u001b[2J\\n"]], "status": 4}\n'


def test_an_answer_is_printed_and_its_status_returned(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("SECRET", "stays here")
    with Service(tmp_path, PRINTED) as service:
        assert answered(["log", "--json", "--state", str(tmp_path)]) == 4
    (asked,) = service.asked
    assert asked["words"] == ["log", "--json"]
    assert asked["columns"] is None
    assert asked["environ"]["TERM"] == "dumb"
    assert "SECRET" not in asked["environ"]
    printed = capsys.readouterr()
    assert printed.out == "one\n"
    assert printed.err.startswith("two")
    assert "\x1b" not in printed.err


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"[]\n",
        b'{"elsewhere": "unusable request"}\n',
        b'{"printed": []}\n',
        b'{"printed": [["out"]], "status": 0}\n',
        b'{"printed": 7, "status": 0}\n',
    ],
)
def test_whatever_is_no_answer_sends_the_command_the_ordinary_way(tmp_path, capsys, answer):
    with Service(tmp_path, answer):
        assert answered(["status", "--state", str(tmp_path)]) is None
    assert capsys.readouterr() == ("", "")


def test_a_proxy_of_other_sources_is_not_asked(tmp_path):
    with Service(tmp_path, PRINTED, program="another") as service:
        assert answered(["status", "--state", str(tmp_path)]) is None
    assert service.asked == []


def test_a_proxy_of_another_configuration_is_not_asked(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text(f"state: {tmp_path}\n")
    with Service(tmp_path, PRINTED, config=str(tmp_path / "other.yaml")) as service:
        assert answered(["status", "-c", str(config)]) is None
    assert service.asked == []
    (tmp_path / SOCKET_FILE).unlink()
    link = tmp_path / "link.yaml"
    link.symlink_to(config)
    with Service(tmp_path, PRINTED, config=str(link)) as service:  # the same by another name
        assert answered(["status", "-c", str(config)]) == 4
    assert len(service.asked) == 1


def test_no_proxy_no_answer(tmp_path, monkeypatch):
    assert answered(["status", "--state", str(tmp_path)]) is None
    assert answered(["status", "--state", str(tmp_path / "missing")]) is None
    monkeypatch.setenv("_SECONDLOOK_COMPLETE", "complete_bash")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / SOCKET_FILE))
        sock.listen()
        sock.setblocking(False)
        assert answered(["status", "--state", str(tmp_path)]) is None  # the shell completes words
        with pytest.raises(BlockingIOError):
            sock.accept()


def test_a_word_that_is_a_file_here_is_checked_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.example").touch()
    with Service(tmp_path, PRINTED) as service:
        assert answered(["check", "a.example", "--state", str(tmp_path)]) is None
    assert service.asked == []


def test_the_options_of_a_place_are_those_of_the_commands():
    parameters = {each.name: each.opts for each in get_command(status.app).params}
    assert {*parameters["config"], *parameters["state"]} == set(PLACES)
