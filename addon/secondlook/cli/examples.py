"""What `--help` adds to the words of each command: examples, and in a group one whole line for each."""

import re
from typing import Any, Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "run": (
        "run",
        "run -c proxy.yaml --set policy.level=high",
        "run --listen 127.0.0.1:3128",
    ),
    "reload": ("reload",),
    "status": ("status", "status --json"),
    "doctor": ("doctor",),
    "check": (
        "check http://malware.secondlook.test/",
        "check setup.exe",
        "check --client 10.0.0.7 a.example",
    ),
    "scan": ("scan ~/Downloads", "scan --quarantine ~/Downloads/setup.exe"),
    "log": (
        "log --decision block --since 1d",
        "log --host '*.example.org' --client 10.0.0.7",
        "log --follow",
        "log --since 7d --csv > week.csv",
    ),
    "queue": ("queue", "queue verify"),
    "queue list": ("queue list --json",),
    "queue show": ("queue show 01M85DCQGTFKV0GDPKC3SRB2CA",),
    "queue verify": ("queue verify",),
    "allow": ("allow example.org --for 1h", "allow https://example.org/files/ --client 10.0.0.7"),
    "block": ("block bad.example --reason 'asks for passwords'", "block '/^https?://[^/]*casino/'"),
    "rules": ("rules", "rules test http://example.org/", "rules backtest example.org"),
    "rules list": ("rules list --json",),
    "rules remove": ("rules remove 01M85DCQGTFKV0GDPKC3SRB2CA",),
    "rules test": ("rules test http://example.org/login", "rules test --client 10.0.0.7 http://example.org/"),
    "rules backtest": ("rules backtest high", "rules backtest example.org --action allow --since 30d"),
    "pause": ("pause 10", "pause 2h --client 10.0.0.7"),
    "resume": ("resume", "resume --client 10.0.0.7"),
    "pattern": ("pattern", "pattern update"),
    "pattern status": ("pattern status --json",),
    "pattern update": ("pattern update", "pattern update --force"),
    "pattern verify": ("pattern verify",),
    "pattern rollback": ("pattern rollback",),
    "quarantine": ("quarantine", "quarantine restore 01M85DCQGTFKV0GDPKC3SRB2CA"),
    "quarantine list": ("quarantine list --json",),
    "quarantine restore": ("quarantine restore 01M85DCQGTFKV0GDPKC3SRB2CA",),
    "quarantine delete": ("quarantine delete 01M85DCQGTFKV0GDPKC3SRB2CA",),
    "backup": ("backup second-look.backup", "backup --encrypt second-look.backup"),
    "restore": ("restore --check second-look.backup", "restore second-look.backup"),
    "setup": ("setup ca on", "setup browser", "setup off"),
    "setup ca": ("setup ca on", "setup ca --print"),
    "setup browser": ("setup browser", "setup browser firefox"),
    "setup system-proxy": ("setup system-proxy on", "setup system-proxy off"),
    "setup pac": ("setup pac", "setup pac --direct-fallback"),
    "setup startup": ("setup startup on",),
    "setup service": ("setup service on",),
    "setup squid": ("setup squid", "setup squid --check"),
    "setup off": ("setup off",),
    "password": ("password",),
    "notify": ("notify test",),
    "notify test": ("notify test",),
    "server": ("server import hosts.txt", "server publish", "server status"),
    "server run": ("server run -c server.yaml", "server run --listen 127.0.0.1:5274 --state ./server"),
    "server import": (
        "server import --list mw-8b hosts.txt",
        "server import --replace --list se-8b bad.txt",
    ),
    "server publish": ("server publish", "server publish --accept-shrink"),
    "server list": ("server list", "server list --own"),
    "server add": ("server add bad.example --for 7d",),
    "server except": ("server except example.org",),
    "server remove": ("server remove bad.example",),
    "server check": ("server check http://bad.example/",),
    "server rollback": ("server rollback",),
    "server status": ("server status --json",),
    "server findings": ("server findings", "server findings approve found-12"),
    "server findings list": ("server findings list --json",),
    "server findings approve": ("server findings approve found-12",),
    "server findings withdraw": ("server findings withdraw found-12",),
}


def with_examples(command: Any, path: str) -> Any:
    """Put examples at the end of the help of a command and of those below it; returns the command.

    In the list of a group each stands with its first sentence, broken where it is long; Typer would cut it.
    """
    lines = "\n".join(f"  secondlook {example}" for example in EXAMPLES.get(path, ()))
    if lines:
        command.epilog = f"\b\nExamples:\n{lines}"
    command.short_help = re.split(r"(?<=[.…])\s", command.help or "", maxsplit=1)[0]
    for name, below in getattr(command, "commands", {}).items():
        with_examples(below, f"{path} {name}")
    return command
