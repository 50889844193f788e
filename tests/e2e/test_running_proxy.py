"""Commands beside a running proxy: it answers them, with the very text that the command prints by itself."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.origin import origin
from e2e.processes import Proxy, wait_for
from serverkit.ports import free_port

# the quick way alone; 99 where it was not taken
QUICK = """
import sys
from secondlook.cli.running_proxy import answered
status = answered(sys.argv[1:])
heavy = {"asyncio", "click", "email", "http", "pydantic", "ruamel", "sqlalchemy", "ssl", "typer"} & set(sys.modules)
assert not heavy, heavy
sys.exit(99 if status is None else status)
"""
# the ordinary way alone, many commands in one process: importing is nearly all that they cost
ORDINARY = """
import contextlib, io, json, sys
from secondlook.cli.program import run
told = []
for words in json.loads(sys.argv[1]):
    out, err, status = io.StringIO(), io.StringIO(), 0
    sys.argv = ["secondlook", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run(words)
        except SystemExit as ended:
            status = ended.code
    told.append([out.getvalue(), err.getvalue(), status or 0])
print(json.dumps(told))
"""
# a terminal of 60 and of 200 columns: paragraphs and a table
TERMINAL = """
import os, pty, sys
os.environ.update(COLUMNS=sys.argv[1], TERM="xterm")
def read(descriptor):
    return os.read(descriptor, 65536)
status = pty.spawn([sys.executable, "-c", *sys.argv[2:]], read)
sys.exit(os.waitstatus_to_exitcode(status))
"""
ROUNDS = 5  # a worker counts after a second: a figure may rise between the two, yet not always
ALONE = "import sys; from secondlook.cli.program import run; run(sys.argv[1:])"
CHANGING = re.compile(
    r"""\d+\.\d\d\ ms|(?<="created":\ )"[^"]*"|(?<="elapsed_ms":\ )[\d.]+|(?<=_age_s":\ )[\d.]+|\d+\ (?:s|min)(?:\ \d+\ s)?\ (?:ago|old)"""
    r"""|(?<=list\ age\ \ )[^\n]*|(?<=in\ )\d+\ (?:s|min)[^\t\n]*""",
    re.VERBOSE,
)
COMMANDS = [
    ["status"],
    ["status", "--json"],
    ["log"],
    ["log", "--json"],
    ["log", "--csv"],
    ["log", "--limit", "2"],
    ["log", "--decision", "block", "--decision=flag"],
    ["log", "--host", "*.example", "--client", "127.0.0.1", "--since", "1h", "--search", "bad"],
    ["log", "--kind", "paused"],
    ["log", "--until", "2001-01-01"],
    ["log", "--csv", "--json"],
    ["log", "--host", " "],
    ["queue"],
    ["queue", "list", "--json"],
    ["queue", "show", "nope"],
    ["rules"],
    ["rules", "list"],
    ["rules", "list", "--json"],
    ["rules", "test", "http://www.bad.example/", "--client", "10.1.1.1"],
    ["rules", "test", "http://elsewhere.example/"],
    ["rules", "remove", "nope"],
    ["allow", "10.0.0.0/8"],
    ["allow", "x.example", "--for", "1ms"],
    ["check", "http://bad.example/"],
    ["check", "http://malware.secondlook.test/", "http://bad.example/\x1b[31m", "--json"],
    ["check", "http://x.bad.example/", "--client", "10.0.0.1"],
    ["check", " "],
    ["check", "no such file.zip"],
    ["resume", "--client", "10.0.0.9", "--json"],
]
# said again, each changes nothing and says the same
SAID = [
    ["block", "bad.example", "--reason", "again \x1b[31m\u202e"],
    ["block", "http://bad.example:8080/", "--client", "10.0.0.7", "--json"],
]
# what a proxy is not asked, or does not answer
NOT_ANSWERED = [
    ["status", "--help"],
    ["status", "--nope"],
    ["log", "--since", "tomorrow"],
    ["log", "--limit", "0"],
    ["log", "--follow"],
    ["log", "-f"],
    ["log", "--erase-client", "10.0.0.9", "--yes"],
    ["queue", "verify"],
    ["queue", "show"],
    ["rules", "backtest"],
    ["rules", "nope"],
    ["check", "--offline", "http://a.example/"],
    ["check", "--file", "a.example"],
    ["check", "./a.example"],
    ["check"],
    ["allow"],
    ["pause", "-1"],
    ["doctor"],
    ["pattern", "status"],
    [],
]


@dataclass
class Beside:
    """A proxy that blocked one page and flagged another, and the two ways of its commands."""

    proxy: Proxy

    @property
    def place(self) -> list[str]:
        return ["-c", str(self.proxy.config), "--state", str(self.proxy.state)]

    def quick(self, *words: str, place: list[str] | None = None, cwd: Path | None = None):
        words = (*words, *(self.place if place is None else place))
        done = subprocess.run(
            [sys.executable, "-c", QUICK, *words], capture_output=True, check=False, cwd=cwd
        )
        done.stdout, done.stderr = (
            done.stdout.decode(),
            done.stderr.decode(),
        )  # with the ends of lines as they are
        return done

    def ordinary(self, commands: list[list[str]]) -> list[tuple[str, str, int]]:
        asked = json.dumps([[*words, *self.place] for words in commands])
        told = subprocess.run(
            [sys.executable, "-c", ORDINARY, asked], capture_output=True, text=True, check=True
        )
        return [tuple(one) for one in json.loads(told.stdout)]


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    config = folder / "proxy.yaml"
    config.write_text(
        "workers: 1\n"
        "state: state  # beside it\n"
        "feeds: [{name: secondlook-test, builtin: test}]\n"
        f"servers: {{embedded: true, network: {{url: 'http://127.0.0.1:{free_port()}', name: world}}}}\n"
    )
    with origin() as page:
        proxy = Proxy(folder / "state", config)
        try:
            told = Beside(proxy)
            assert told.quick("block", "bad.example", "--reason", "<b>").returncode == 0
            assert told.quick("pause", "30", "--client", "10.0.0.8").returncode == 0
            wait_for(lambda: proxy.curl("http://bad.example/x").status == 403, "the rule in force")
            assert proxy.curl(page.url("/page")).status == 200
            # the first look at the rule may have come before it was in force, and is flagged as well
            wait_for(
                lambda: page.url("/page") in told.quick("queue", "--json").stdout, "a page that is flagged"
            )
            wait_for(lambda: told.quick("log").stdout.count("bad.example/x") >= 1, "the block in the log")
            yield told
        finally:
            proxy.stop()
    assert not (proxy.state / "command.sock").exists()


def test_the_proxy_answers_with_what_the_command_prints_by_itself(beside):
    for words in SAID:
        beside.quick(*words)
    left = [*SAID, *COMMANDS]
    for _ in range(ROUNDS):
        quick = [beside.quick(*words) for words in left]
        both = [
            (words, (plain(one.stdout), one.stderr, one.returncode), (plain(out), err, status))
            for words, one, (out, err, status) in zip(left, quick, beside.ordinary(left), strict=True)
        ]
        differ = [each for each in both if each[1] != each[2]]
        left = [words for words, *_ in differ]
        if not left:
            break
    assert differ == []


def plain(printed: str) -> str:
    """Leave out ages and times, which go on."""
    return CHANGING.sub("~", printed)


def test_what_nobody_can_say_is_unverifiable_either_way(beside):
    words = ["check", "a" * 64, "--json"]
    ((out, _, status),) = beside.ordinary([words])
    quick = beside.quick(*words)
    assert quick.returncode == status == 11
    # the proxy knows since when nobody answers, and does not ask again
    told = [json.loads(text) for text in (quick.stdout, out)]
    assert [(one["stage"], one["decision"]) for one in told] == [("unverifiable", "flag")] * 2
    assert all(one["unverifiable"] for one in told)


@pytest.mark.parametrize("words", NOT_ANSWERED, ids=" ".join)
def test_what_a_proxy_cannot_answer_goes_the_ordinary_way_in_silence(beside, words):
    quick = beside.quick(*words)
    assert (quick.returncode, quick.stdout, quick.stderr) == (99, "", "")


@pytest.mark.parametrize("columns", ["60", "200"])
def test_a_terminal_is_drawn_on_as_by_the_command_itself(beside, columns):
    words = ["log", "--kind", "blocked", "--limit", "3", *beside.place]

    def drawn(way: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-c", TERMINAL, columns, way, *words], check=True, stdout=subprocess.PIPE
        ).stdout

    quick = drawn(QUICK)
    assert quick == drawn(ALONE)
    assert b"bad.example" in quick
    assert (b"\x1b[1m" in quick) == (columns == "200")


def test_a_rule_is_made_and_removed_once_and_counts_at_once(beside):
    made = json.loads(beside.quick("allow", "x.test", "--for", "1h", "--json").stdout)
    assert beside.quick("check", "http://x.test/", "--json").stdout.count(made["id"])
    assert beside.quick("rules", "remove", made["id"]).stdout == f"removed {made['id']}\n"
    assert beside.quick("rules", "remove", made["id"]).returncode == 1
    assert made["id"] not in beside.quick("check", "http://x.test/", "--json").stdout


def test_only_the_proxy_of_that_configuration_answers(beside, tmp_path):
    config, state = beside.proxy.config, beside.proxy.state
    other = tmp_path / "proxy.yaml"
    other.write_text("level: high\n")
    linked = tmp_path / "linked.yaml"
    linked.symlink_to(config)
    answered = {
        "by the state alone": ["--state", str(state)],
        "by the configuration alone": ["-c", str(config)],
        "by a link": [f"--config={linked}", f"--state={state}"],
    }
    for told, place in answered.items():
        assert beside.quick("status", place=place).returncode == 0, told
    assert beside.quick("status", place=[], cwd=config.parent).returncode == 0
    for place in (["-c", str(other), "--state", str(state)], ["-c", str(other)], ["--state", str(tmp_path)]):
        assert beside.quick("status", place=place).returncode == 99


def test_a_file_of_that_name_is_looked_at_where_the_command_runs(beside, tmp_path):
    assert beside.quick("check", "bad.example").returncode == 10
    (tmp_path / "bad.example").write_text("a file")
    assert beside.quick("check", "bad.example", cwd=tmp_path).returncode == 99


def test_what_is_asked_in_odd_words_changes_nothing(beside):
    """What no command of ours sends is answered with a word, and files are never read for it."""
    import socket

    def asked(line: bytes) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(beside.proxy.state / "command.sock"))
            lines = sock.makefile("rb")
            assert set(json.loads(lines.readline())) == {"program", "config"}
            sock.sendall(line + b"\n")
            return json.loads(lines.readline() or b"{}")

    asks = {"columns": None, "environ": {}}
    for words in (
        ["run"],
        ["doctor"],
        ["log", "--erase-client", "127.0.0.1", "--yes"],
        ["check", "/etc/passwd"],
        [],
        "x",
    ):
        assert set(asked(json.dumps({"words": words, **asks}).encode())) == {"elsewhere"}
    for line in (
        b"[]",
        b"{}",
        b'{"words": ["status"]}',
        b'{"words": ["status"], "columns": -1, "environ": {}}',
    ):
        assert set(asked(line)) == {"elsewhere"}
    assert asked(b"no JSON") == {}
    assert asked(b"x" * 100_000) == {}
    assert beside.quick("status").returncode == 0


def test_the_socket_is_its_owners_alone_and_the_next_service_answers_on_its_own(beside):
    path = beside.proxy.state / "command.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    service = beside.proxy.fresh_facts()["service"]
    os.kill(service, 9)
    wait_for(lambda: beside.proxy.fresh_facts()["service"] not in {service, None}, "the next service")
    wait_for(lambda: beside.quick("status").returncode == 0, "its answer")
