"""What a command imports is most of the processor time that it takes: what it has no use for stays away (4 s)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from secondlook.cli.examples import EXAMPLES
from secondlook.cli.program import COMMANDS as COMMANDS_BY_NAME
from secondlook.config.agent import Settings
from secondlook.config.extra import EXTRAS
from secondlook.run.assembly.check.ledger_opening import ledger_of

HELPS = {  # of all commands and groups of them
    f"{name} --help": [*name.split(), "--help"]
    for name in (*COMMANDS_BY_NAME, *(name for name in EXAMPLES if " " in name))
    if name != "helper"
}
MISTAKES = {
    "no such command": ["stauts"],
    "no such option": ["status", "--nope"],
    "no such value": ["log", "--kind", "nope"],
    "no such time": ["log", "--since", "nope"],
    "nothing given": ["block"],
    "too much given": ["queue", "list", "more"],
}
# each in the order given, in one process: what one imports, those before it do without
COMMANDS = {
    "--help": ["--help"],
    **HELPS,
    **MISTAKES,
    "status": ["status"],
    "log": ["log"],
    "queue": ["queue", "list"],
    "block": ["block", "bad.example"],
    "allow": ["allow", "good.example"],
    "rules": ["rules", "list"],
    "pause": ["pause", "1"],
    "check": ["check", "--offline", "http://a.example/"],
}
NEVER = {
    "alembic",
    "apprise",
    "argon2",
    "cryptography",
    "fastapi",
    "mitmproxy",
    "numpy",
    "psycopg",
    "pygments",
    "rich",
    "uvicorn",
}
BUT_FOR_CHECK = {"google", "httpx", "prometheus_client", "starlette"}
BUT_FOR_RULES = {
    "publicsuffixlist",
    "re2",
}  # a rule's host may be a registry's suffix, its subject an expression
BUT_FOR_HELP = {
    "asyncio", "email", "hashlib", "html", "http", "pydantic", "ruamel", "sqlalchemy", "sqlite3", "ssl", "tempfile",
}  # fmt: skip
NO_WORK = ("--help", *HELPS, *MISTAKES)  # these are over before anything is opened
UNWANTED = {
    **dict.fromkeys(NO_WORK, NEVER | BUT_FOR_CHECK | BUT_FOR_RULES | BUT_FOR_HELP),
    **dict.fromkeys(("status", "log", "queue"), NEVER | BUT_FOR_CHECK | BUT_FOR_RULES),
    **dict.fromkeys(("block", "allow", "rules", "pause"), NEVER | BUT_FOR_CHECK),
    "check": NEVER,
}
MOST = {**dict.fromkeys(NO_WORK, 265), "--help": 182, "check": 870}  # modules; the others:
MOST_OF_OTHERS = 640  # with those of all helps before them
MOST_BESIDE = 90

RUN = """
import contextlib, io, json, sys
from secondlook.cli.main import main
told = {}
for name, words in json.loads(sys.argv[1]).items():
    sys.argv = ["secondlook", *words]
    quiet = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        main()
    told[name] = list(sys.modules)
print(json.dumps(told))
"""


RUN_ONE = """
import contextlib, sys
from secondlook.cli.main import main
with contextlib.suppress(SystemExit):
    main()
print("\\0", *sys.modules)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("imports")
    config, state = folder / "proxy.yaml", folder / "state"
    config.write_text("servers: {embedded: false}\n")
    with ledger_of(Settings(state=state)):
        pass  # what makes a ledger needs Alembic
    place = ["-c", str(config), "--state", str(state)]
    commands = {name: words if name in NO_WORK else [*words, *place] for name, words in COMMANDS.items()}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, json.dumps(commands)],
        check=True,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "addon")},
    )
    told: dict[str, list[str]] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_nothing_that_it_never_uses(imported, name):
    assert UNWANTED[name].isdisjoint(imported[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_only_the_engine_in_use_is_imported(imported, name):
    assert {"sqlalchemy.dialects.postgresql", "secondlook.ledger.last_known"}.isdisjoint(imported[name])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_number_of_modules_is_bounded(imported, name):
    assert len(imported[name]) <= MOST.get(name, MOST_OF_OTHERS)


def test_before_a_proxy_was_asked_hardly_anything_is_imported():
    """What it answers costs this and no more (`tests/e2e/test_running_proxy.py` sees to that)."""
    told = subprocess.run(
        [sys.executable, "-P", "-c", "import secondlook.cli.main, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "addon")},
    ).stdout.split()
    assert (
        NEVER | BUT_FOR_CHECK | BUT_FOR_RULES | BUT_FOR_HELP | {"typer", "http", "email", "ssl"}
    ).isdisjoint(told)
    assert len(told) <= MOST_BESIDE


def test_a_check_where_nothing_is_published_serves_nothing(tmp_path):
    (tmp_path / "proxy.yaml").write_text("servers: {embedded: true}\n")
    with ledger_of(Settings(state=tmp_path / "state")):
        pass
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-c", RUN_ONE),
            *("check", "http://good.example/", "-c", "proxy.yaml", "--state", "state"),
        ],
        cwd=tmp_path,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "addon"), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    shown, _, imported = done.stdout.rpartition("\0")
    assert "no server to ask" in shown, shown
    assert {*NEVER, "starlette"}.isdisjoint(imported.split())


def test_a_check_by_what_is_published_here_makes_no_list(tmp_path):
    """It serves for a moment: searches are answered without numpy."""
    (tmp_path / "list.txt").write_text("worse.example\n")
    (tmp_path / "proxy.yaml").write_text("servers: {embedded: true}\n")
    with ledger_of(Settings(state=tmp_path / "state")):
        pass
    server = ["--state", "state/server"]
    published = [
        ["server", "import", "list.txt", "--threat", "malware", *server],
        ["server", "publish", *server],
    ]
    checked = ["check", "http://worse.example/", "-c", "proxy.yaml", "--state", "state"]
    environ = {"PYTHONPATH": str(Path(__file__).parents[2] / "addon"), "HOME": str(tmp_path)}
    for words in published:
        subprocess.run(
            [sys.executable, "-P", "-m", "secondlook", *words],
            cwd=tmp_path,
            check=True,
            env=environ,
            stdout=subprocess.DEVNULL,
        )
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN_ONE, *checked],
        cwd=tmp_path,
        check=True,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    shown, _, imported = done.stdout.rpartition("\0")
    assert "mw-8b" in shown, shown
    assert NEVER.intersection(imported.split()) == {"uvicorn"}


OF_A_SERVER = [
    ["import", "list.txt", "--threat", "malware"],
    ["status"],  # before anything is published
    ["publish"],
    ["add", "bad.example"],
    ["except", "good.example"],
    ["publish"],
    ["list"],
    ["findings"],
    ["check", "bad.example"],
    ["status"],
    ["rollback"],
]
OF_A_PROXY = [
    ["pattern", "status"],
    ["quarantine", "list"],
    ["rules", "backtest", "bad.example"],
    ["backup", "backup"],
    ["restore", "--check", "backup"],
    ["notify", "test"],
    ["check", "--offline", "list.txt"],
    ["scan", "--offline", "list.txt"],
]
RUN_BARE = """
import contextlib, json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))  # as if they were not installed
from secondlook.cli.main import main
for words in json.loads(sys.argv[2]):
    sys.argv = ["secondlook", *words]
    with contextlib.suppress(SystemExit):
        main()
"""


def test_no_command_wants_an_extra_that_no_setting_does(tmp_path):
    """An import of an optional package that stands before the look at the setting ends in a traceback."""
    (tmp_path / "list.txt").write_text("worse.example\n")
    (tmp_path / "proxy.yaml").write_text("servers: {embedded: false}\nnotify: {desktop: false}\n")
    with ledger_of(Settings(state=tmp_path / "state")):
        pass
    commands = [
        *(["server", *words, "--state", "server"] for words in OF_A_SERVER),
        *([*words, "-c", "proxy.yaml", "--state", "state"] for words in OF_A_PROXY),
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN_BARE, json.dumps(list(EXTRAS.values())), json.dumps(commands)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "addon"), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    for shown in (
        "generation 000002 of",
        "bad.example: listed",
        "generation 000001 is served",
        "whole",
        "no engine looked into",
    ):
        assert shown in done.stdout, done.stdout + done.stderr
