"""The documentation tells everything there is: settings, commands, event kinds, and what README shows works."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from typer.main import get_command

from conftest import REPOSITORY
from prosekit import places_of
from prosekit.settings_shown import places_shown
from secondlook.cli.operation import status
from secondlook.cli.program import COMMANDS
from secondlook.config.agent import Settings
from secondlook.config.fault_words import model_in
from secondlook.config.service import ServerSettings
from secondlook.config.source import load_server_settings, load_settings
from secondlook.core.event import EventKind
from secondlook.core.lists.feed_format import Format
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass, Verdict
from secondlook.ledger.log.shape import ALL_EVENT_KEYS
from secondlook.setup import service


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_every_setting_is_told(repository: Path):
    proxy, server = blocks((repository / "docs" / "configuration.md").read_text(), "yaml")
    assert places_of(Settings) - places_shown(proxy) == set()
    assert places_of(ServerSettings) - places_shown(server) == set()


@pytest.mark.parametrize(
    ("said", "by_it"),
    [
        ("  key: # of a thing", {"top", "top.key", "top.key.of", "top.key.a", "top.key.thing"}),
        ("  # name: x\n  url:", {"top", "top.name", "top.url"}),
        ("  # it has {url: x, more: [{name: y}]}\n  key:", {"top.key.url", "top.key.more.name"}),
        ("  #   - url: x\n  #     more: {name: y}\n  key: []", {"top.key.url", "top.key.more.name"}),
        ("  - name: x\n    url: y", {"top", "top.name", "top.url"}),
        ("  key: # a\n    # and name, url", {"top.key.name", "top.key.url"}),
    ],
)
def test_a_setting_is_shown_at_its_place(said, by_it):
    found = places_shown(f"other:\n  own:\ntop:\n{said}\n")
    assert by_it <= found
    assert not {"url", "name", "other.url", "other.name", "other.own.name", "top.key.name.url"} & found


def test_configuration_page_holds_the_shipped_file(repository: Path, tmp_path: Path):
    proxy, server = blocks((repository / "docs" / "configuration.md").read_text(), "yaml")
    assert proxy == (repository / "proxy.yaml").read_text()
    path = tmp_path / "server.yaml"
    path.write_text(server)
    told = load_server_settings(path)
    assert told == load_server_settings(None, state=tmp_path / "server-state")
    path.write_text(proxy)
    load_settings(path)


PAGES = [
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]
SETTINGS_SHOWN = [
    pytest.param(page.name, block, id=f"{page.stem}-{number}")
    for page in PAGES
    if page.name not in ("configuration.md", "metrics.md")  # tested above; the other's are of Prometheus
    for number, block in enumerate(blocks(page.read_text(), "yaml"))
]


@pytest.mark.parametrize(("page", "block"), SETTINGS_SHOWN)
def test_settings_of_every_page_are_read(page, block, tmp_path, monkeypatch):
    """As they stand: only a key that is cut short is made whole, and variables have a value."""
    for name in re.findall(r"\$\{(\w+)\}", block):
        monkeypatch.setenv(name, "x" * 48)
    path = tmp_path / "settings.yaml"
    path.write_text(re.sub(r"\b[0-9a-f]{4}…", "8f3c" * 16, block))
    is_of_a_server = page == "servers.md" and "servers:" not in block
    (load_server_settings if is_of_a_server else load_settings)(path)


def test_a_proxy_of_the_fleet_keeps_its_state_where_a_service_may_write(repository: Path, tmp_path: Path):
    (block,) = [
        each for each in blocks((repository / "docs/fleet.md").read_text(), "yaml") if "ledger" in each
    ]
    path = tmp_path / "proxy.yaml"
    path.write_text(block)
    settings = load_settings(path)
    assert settings.state == service.STATE
    given = conninfo_to_dict(settings.ledger.url)
    assert given["sslmode"] == "verify-full"
    assert Path(str(given["sslrootcert"])).parent == service.CONFIG.parent  # without it libpq looks in a home


def test_the_socket_of_a_gateway_lies_where_the_service_has_a_folder(repository: Path, tmp_path: Path):
    path = tmp_path / "proxy.yaml"
    path.write_text(next(iter(blocks((repository / "docs/gateway.md").read_text(), "yaml"))))
    folder = load_settings(path).gateway_socket.parent
    unit = service.files(["secondlook"])[Path("/etc/systemd/system") / service.UNIT]
    assert f"\nRuntimeDirectory={folder.relative_to('/run')}\n" in unit


def command_of(name: str) -> Any:
    return get_command(importlib.import_module(f"secondlook.cli.{COMMANDS[name][0]}").app)


def all_commands() -> list[str]:
    names = []
    for name in COMMANDS:
        inner = getattr(command_of(name), "commands", None)
        names += [f"{name} {each}" for each in inner] if inner else [name]
    return names


def test_every_command_is_told(repository: Path):
    text = (repository / "docs" / "commands.md").read_text()
    missing = [name for name in all_commands() if f"`{name}" not in text]
    assert not missing


@pytest.mark.parametrize("words", [EventKind, Stage, SubjectClass, Verdict, Risk, Action])
def test_every_word_of_the_log_is_told(repository: Path, words):
    text = (repository / "docs" / "events.md").read_text()
    assert not [word.value for word in words if f"`{word.value}`" not in text]


def test_every_key_of_an_event_is_told(repository: Path):
    page = (repository / "docs" / "events.md").read_text()
    told = page.partition("with these keys")[2].partition(".\nOf a file")[
        0
    ]  # a field may be named like a word below
    assert not [key for key in ALL_EVENT_KEYS if f"`{key}`" not in told]


def test_every_format_of_a_feed_is_told(repository: Path):
    text = (repository / "docs" / "feed-formats.md").read_text()
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    assert set(Format) <= {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


NO_COMMANDS = (
    "help",
    "--install-completion",
    "--version",
    "list",
    "reduction",
)  # the program's own; a word of the protocol


def shown_commands(text: str) -> Iterator[str]:
    """What stands behind `secondlook` in blocks of a shell and within lines of prose."""
    for language in ("sh", "console"):
        for block in blocks(text, language):
            for line in block.splitlines():
                shown = re.fullmatch(r"(?:\$ )?(?:sudo )?(?:\S*/)?secondlook (.*)", line.strip())
                if shown:
                    yield shown[1]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(?:sudo )?(?:\.venv/bin/)?secondlook ([^`\n]+)`", prose)


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.name)
def test_commands_of_every_page_are_understood(page: Path):
    """Names, options and the number of arguments are those of the program; `$(…)` and the like are words."""
    for shown in shown_commands(page.read_text()):
        ours = re.split(r" [>|] ", shown)[0]  # the rest is the shell's
        words = shlex.split(re.sub(r"\$\([^)]*\)", "x", ours), comments=True)
        if words[0] not in NO_COMMANDS:
            understand(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.name)
def test_targets_of_make_on_every_page_are_there(page: Path):
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    shown = re.findall(r"`make ([a-z]+)", text)
    shown += re.findall(r"^make ([a-z]+)", "".join(blocks(text, "sh")), re.MULTILINE)
    assert set(shown) <= targets


def understand(words: list[str]) -> None:
    name, *rest = words
    assert name in COMMANDS, words
    command = command_of(name)
    while rest:
        _, left, _ = command.make_parser(command.context_class(command)).parse_args(rest)
        inner = getattr(command, "commands", {})
        assert not left or left[0] in inner, (words, left)
        command, rest = (inner[left[0]], left[1:]) if left else (command, [])


def test_every_metric_is_told_and_no_other(repository: Path):
    told = set(
        re.findall(r"^\| `(secondlook_\w+)`", (repository / "docs/metrics.md").read_text(), re.MULTILINE)
    )
    assert {name.removesuffix("_total") for name in told} == metrics_made(repository)


def test_every_gauge_of_a_server_is_told_and_no_other(repository: Path):
    page = (
        (repository / "docs/metrics.md")
        .read_text()
        .partition("`secondlook_server_NAME`")[2]
        .partition("\n## ")[0]
    )
    sources = (repository / "addon/secondlook/server").rglob("*.py")
    made = {name for path in sources for name in re.findall(r'\.gauges\["(\w+)"\]', path.read_text())}
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == made


def metrics_made(repository: Path) -> set[str]:
    kinds = r'(?:Counter|Gauge|Histogram)(?:MetricFamily)?\(\s*"(secondlook_\w+)"'
    paths = (repository / "addon/secondlook").rglob("*.py")
    made = {name for path in paths for name in re.findall(kinds, path.read_text())}
    made.update(
        re.findall(r'"(secondlook_\w+)"', (repository / "addon/secondlook/server/meter.py").read_text())
    )
    gauges = (repository / "addon/secondlook/run/assembly/monitoring/metrics.py").read_text()
    return made | {f"secondlook_{name}" for name in re.findall(r'_gauge\(\s*"(\w+)"', gauges)}


def test_links_of_the_readme_lead_somewhere(repository: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", (repository / "README.md").read_text()):
        assert (repository / target).exists(), target


def test_every_mitmproxy_option_is_one(repository: Path):
    import asyncio

    from mitmproxy.options import Options
    from mitmproxy.tools.dump import DumpMaster

    async def names() -> set[str]:
        return set(DumpMaster(Options()).options.keys())

    known = asyncio.run(names())
    assert not [
        name
        for name in places_of(model_in(Settings.model_fields["mitmproxy"].annotation))
        if name not in known
    ]


def test_the_dashboard_draws_metrics_that_there_are(repository: Path):
    drawn = set(re.findall(r"secondlook_\w+", (repository / "docs/grafana-dashboard.json").read_text()))
    made = metrics_made(repository)
    kinds = ("", "_bucket", "_sum", "_count", "_total")
    missing = {
        name
        for name in drawn
        if not any(name.removesuffix(kind) in made for kind in kinds) and name not in made
    }
    assert len(drawn) > 5
    assert missing == set()


def test_the_status_of_the_readme_has_the_lines_that_are_printed(repository: Path, capsys):
    facts: dict[str, Any] = dict.fromkeys(("mode", "review", "server"), "x")
    at = "2026-11-23T23:55:36.716Z"
    facts |= dict.fromkeys(("paused_until", "oldest_waiting", "since"), at)
    counts = dict.fromkeys(
        ("waiting", "checked", "blocked", "flagged", "rules", "pattern_entries", "pattern_lists"), 0
    )
    facts |= counts | {
        "running": True,
        "paused_for": ["x"],
        "proxy": "x",
        "listen": [],
        "pattern": 1,
        "pattern_age_s": 1,
        "state": "x",
        "alerts": [],
        "passed_through": [],
    }
    status._print(facts, utc=True)
    printed = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    (shown,) = re.findall(r"secondlook status\n(.*?)```", (repository / "README.md").read_text(), re.DOTALL)
    assert [line.split("  ")[0] for line in shown.splitlines()] == printed
