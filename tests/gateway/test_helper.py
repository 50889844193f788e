"""`secondlook helper` between a Squid and an agent: both ends are played here, over real pipes and sockets. 3 s."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from secondlook.gateway import helper
from secondlook.gateway.helper import Helper, main, parse

PATIENCE_S = 60.0
LARGEST_BYTES = 20 << 20
LONG_S = 600.0  # a budget that no test comes to the end of


class Ends:
    """A helper in a thread, what Squid says and hears, and the socket where an agent listens."""

    def __init__(self, folder, budget_s=LONG_S):
        self.path = str(folder / "gateway.sock")
        inner, self._say = os.pipe()
        heard, outer = os.pipe()
        self._heard = os.fdopen(heard, "rb")
        self.listening = None
        self._ends = (inner, outer)
        self.helper = Helper(self.path, budget_s, (inner, outer))
        self._thread = threading.Thread(target=self.helper.run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        if self._say is not None:
            os.close(self._say)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.listening is not None:
            self.listening.close()
        self._heard.close()
        for end in self._ends:
            os.close(end)

    def say(self, text):
        os.write(self._say, text.encode())

    def hang_up(self):
        os.close(self._say)
        self._say = None

    def hear(self, count=1):
        return [self._heard.readline().decode() for _ in range(count)]

    def listen(self):
        Path(self.path).unlink(missing_ok=True)
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        self.listening.listen()
        self.listening.settimeout(PATIENCE_S)

    def accept(self):
        agent, _ = self.listening.accept()
        agent.settimeout(PATIENCE_S)
        return agent, agent.makefile("rb")

    def stop_listening(self):
        self.listening.close()
        self.listening = None
        Path(self.path).unlink()


def asked(lines, count):
    """Read questions of a helper: number and fields of each."""
    return [lines.readline().decode().rstrip("\n").split(" ", 1) for _ in range(count)]


def test_answers_come_back_on_the_channel_that_asked(tmp_path):
    with Ends(tmp_path) as ends:
        ends.listen()
        agent, lines = ends.accept()
        with agent, lines:
            ends.say("5 a b\n0 c ")
            ends.say("d\n")
            (first, fields), (second, more) = asked(lines, 2)
            assert (fields, more) == ("a b", "c d")
            agent.sendall(f"{second} OK\n{first} ERR mess".encode())
            assert ends.hear() == ["0 OK\n"]
            agent.sendall(b'age="x"\n')
            assert ends.hear() == ['5 ERR message="x"\n']
            agent.sendall(f"{first} OK\nnonsense\n999 OK\n".encode())  # nobody waits for these
            ends.say("5 e\n")
            ((third, _),) = asked(lines, 1)
            agent.sendall(f"{third} OK\n".encode())
            assert ends.hear() == ["5 OK\n"]
            ends.hang_up()


def test_open_questions_are_asked_of_whoever_listens_next(tmp_path):
    with Ends(tmp_path) as ends:
        ends.listen()
        agent, lines = ends.accept()
        ends.say("1 a\n2 b\n")
        (first, _), _ = asked(lines, 2)
        agent.sendall(f"{first} OK\n".encode())
        assert ends.hear() == ["1 OK\n"]
        ends.stop_listening()
        agent.close()
        lines.close()
        ends.say("3 c\n")
        ends.listen()
        agent, lines = ends.accept()
        with agent, lines:
            again = asked(lines, 2)
            assert [fields for _, fields in again] == ["b", "c"]
            agent.sendall("".join(f"{number} OK\n" for number, _ in again).encode())
            assert ends.hear(2) == ["2 OK\n", "3 OK\n"]


def test_nobody_there_is_bh_after_the_budget_and_says_why(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(helper, "AWAY_S", LONG_S)
    with Ends(tmp_path, budget_s=0.2) as ends:
        ends.say("7 a\n")
        (told,) = ends.hear()
        assert told.startswith(f'7 BH message="cannot reach Second Look at {ends.path}: No such file')
        ends.helper._budget_s = LONG_S  # from now on somebody answers, however busy the machine
        ends.listen()
        agent, lines = ends.accept()
        with agent, lines:
            ends.say("8 a\n")
            ((number, _),) = asked(lines, 1)
            agent.sendall(f"{number} OK\n".encode())
            assert ends.hear() == ["8 OK\n"]
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("secondlook helper: cannot reach")
    assert told[1] == "secondlook helper: Second Look answers again"


def test_who_says_nothing_is_left_and_an_answer_that_is_late_is_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(helper, "AWAY_S", LONG_S)
    with Ends(tmp_path, budget_s=0.3) as ends:
        ends.listen()
        hung, lines = ends.accept()
        with hung, lines:
            ends.say("1 a\n")
            ((first, _),) = asked(lines, 1)
            assert ends.hear() == ['1 BH message="Second Look gave no answer within 0.3 s"\n']
            ends.helper._budget_s = LONG_S  # from now on somebody answers, however busy the machine
            agent, lines_again = ends.accept()  # it has come again of itself
            with agent, lines_again:
                ends.say("1 b\n")
                ((second, fields),) = asked(lines_again, 1)
                assert fields == "b"
                agent.sendall(f"{first} OK\n{second} ERR\n".encode())
                assert ends.hear() == ["1 ERR\n"]


def test_while_the_agent_is_away_questions_wait_for_a_moment_only(tmp_path, monkeypatch):
    monkeypatch.setattr(helper, "AWAY_S", 0.01)
    with Ends(tmp_path, budget_s=0.5) as ends:
        ends.helper._now_away(time.monotonic())
        ends.helper._budget_s = LONG_S  # what is asked now would wait for ever
        ends.say("1 a\n2 b\n")
        assert [told[:4] for told in ends.hear(2)] == ["1 BH", "2 BH"]
        ends.listen()
        agent, lines = ends.accept()
        with agent, lines:
            agent.sendall(b"0 OK\n")  # it is back
            wait_for_it = threading.Event()
            while ends.helper._away:
                wait_for_it.wait(0.001)
            ends.say("3 c\n")
            ((number, _),) = asked(lines, 1)
            agent.sendall(f"{number} OK\n".encode())
            assert ends.hear() == ["3 OK\n"]


def test_lines_without_a_channel_are_told_what_is_missing(tmp_path):
    with Ends(tmp_path) as ends:
        ends.listen()
        ends.say("192.0.2.7 - GET http://a.example/\n")
        assert ends.hear() == ['BH message="expected a channel number: set concurrency= in squid.conf"\n']
        agent, lines = ends.accept()
        agent.close()
        lines.close()


def test_more_questions_than_the_bound_are_bh_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(helper, "MOST_OPEN", 2)
    with Ends(tmp_path) as ends:
        ends.listen()
        agent, lines = ends.accept()
        with agent, lines:
            ends.say("1 a\n2 b\n3 c\n")
            assert ends.hear() == ['3 BH message="too many questions at once"\n']
            numbers = [number for number, _ in asked(lines, 2)]
            agent.sendall("".join(f"{number} OK\n" for number in numbers).encode())
            assert ends.hear(2) == ["1 OK\n", "2 OK\n"]


def test_thousands_under_way(tmp_path):
    count = 20_000
    with Ends(tmp_path) as ends:
        ends.listen()
        agent, lines = ends.accept()

        def echo():
            for _ in range(count):
                number, fields = lines.readline().split(b" ", 1)
                agent.sendall(b"%s OK log=%s" % (number, fields))

        def say():
            for start in range(0, count, 1000):
                ends.say("".join(f"{n} q{n}\n" for n in range(start, start + 1000)))

        threads = [threading.Thread(target=work) for work in (echo, say)]
        with agent, lines:
            for thread in threads:
                thread.start()
            assert ends.hear(count) == [f"{n} OK log=q{n}\n" for n in range(count)]
            for thread in threads:
                thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected --socket PATH"),
        (["--socket"], "expected a value after --socket"),
        (["--sokket", "x"], "unknown option --sokket"),
        (["--socket", "x", "--budget", "soon"], "expected a number of seconds after --budget, got soon"),
        (["--socket", "x", "--budget=0"], "expected a number of seconds after --budget, got 0"),
        (["--socket", "x", "--budget=nan"], "expected a number of seconds after --budget, got nan"),
    ],
)
def test_a_wrong_command_line(words, told, capfd):
    assert main(words) == 2
    assert capfd.readouterr().err.startswith(f"secondlook helper: {told}\n\nUsage: ")


def test_a_command_line():
    assert parse(["--socket", "x"]) == ("x", helper.BUDGET_S)
    assert parse(["--socket=x", "--budget", "2.5"]) == ("x", 2.5)


def test_the_process_is_small_and_imports_little(tmp_path):
    ends = socket.socketpair()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    listening.settimeout(PATIENCE_S)
    told = "import sys; from secondlook.cli.main import main; main()"
    command = [
        sys.executable,
        "-P",
        "-X",
        "importtime",
        "-c",
        told,
        "helper",
        "--socket",
        str(tmp_path / "s"),
    ]
    with subprocess.Popen(
        command, stdin=ends[1], stdout=ends[1], stderr=subprocess.PIPE, text=True
    ) as process:
        ends[1].close()
        agent, _ = listening.accept()
        with agent, listening, ends[0]:
            ends[0].sendall(b"4 a b\n")
            number = agent.recv(100).split()[0]
            agent.sendall(number + b" OK\n")
            assert ends[0].recv(100) == b"4 OK\n"
            status = Path(f"/proc/{process.pid}/status").read_text()
            ends[0].shutdown(socket.SHUT_WR)
            _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    (peak,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    assert int(peak) * 1024 < LARGEST_BYTES
    imported = {
        line.rpartition("|")[2].strip() for line in errors.splitlines() if line.startswith("import time:")
    }
    assert "select" in imported
    ours = {name for name in imported if name.startswith("secondlook")}
    assert ours == {
        "secondlook",
        "secondlook.cli",
        "secondlook.cli.main",
        "secondlook.gateway",
        "secondlook.gateway.helper",
    }
    assert not imported & {"asyncio", "re", "json", "pathlib", "typer", "subprocess"}


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_lines_are_read_without_fresh_pages_of_the_system(tmp_path):
    count = 300
    ends = socket.socketpair()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    listening.settimeout(PATIENCE_S)
    command = [sys.executable, "-P", helper.__file__, "--socket", str(tmp_path / "s")]
    with subprocess.Popen(command, stdin=ends[1], stdout=ends[1]) as process:
        ends[1].close()
        agent, _ = listening.accept()

        def faults():
            return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[7])

        with agent, listening, ends[0]:
            for turn in range(count + 1):
                if turn == 1:
                    before = faults()
                ends[0].sendall(b"4 a b\n")
                agent.sendall(agent.recv(100).split()[0] + b" OK\n")
                assert ends[0].recv(100) == b"4 OK\n"
            taken = faults() - before
    assert taken < count / 2  # each line is two reads
