"""Starting at log-in: a systemd user unit, and words for launchd and a task of Windows."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from secondlook.setup import tool
from secondlook.setup.journal import Change, Journal, Outcome

KIND = "startup"
UNIT = "secondlook.service"

_UNIT = """\
[Unit]
Description=Second Look: checks every URL and every download
After=network.target

[Service]
Type=notify
NotifyAccess=all
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
Restart=on-failure
RestartSec=2
NoNewPrivileges=yes
ProtectSystem=full
PrivateTmp=no

[Install]
WantedBy=default.target
"""

LAUNCHD = """\
Save this as ~/Library/LaunchAgents/org.secondlook.agent.plist, then in a terminal:

  launchctl load -w ~/Library/LaunchAgents/org.secondlook.agent.plist

To take it back: the same with `unload -w`, and delete the file.

<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
  <key>Label</key><string>org.secondlook.agent</string>
  <key>ProgramArguments</key><array>{words}</array>
  <key>RunAtLoad</key><true/><key>KeepAlive</key><true/>
</dict></plist>
"""

WINDOWS = """\
Windows starts WSL only when something asks for it; a task at log-in does. In a command prompt of Windows that
was opened as administrator:

  schtasks /Create /TN "Second Look" /SC ONLOGON /TR "{command}"

and to take it back: schtasks /Delete /TN "Second Look" /F
"""


def unit_text(words: list[str]) -> str:
    """Write the systemd user unit that runs this command."""
    return _UNIT.format(command=command_line(words))


def command_line(words: Sequence[str]) -> str:
    """Write a command as `ExecStart` takes it (systemd.service(5), "Command lines")."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    safe = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{safe}"' if re.search(r"[\s;'\"\\]", word) else safe


def instructions(words: list[str]) -> str | None:
    """Return how to start at log-in on macOS and on Windows (from WSL); None where a systemd unit does."""
    if sys.platform == "darwin":
        from html import escape  # noqa: PLC0415 - no help needs it

        return LAUNCHD.format(
            words="".join(f"<string>{escape(word, quote=False)}</string>" for word in words)
        )
    if distribution := tool.windows():
        command = tool.shown(["wsl.exe", "-d", distribution, "-e", *words])
        return WINDOWS.format(command=command.replace('"', '\\"'))
    return None


def _command_of(unit: str) -> str | None:
    return next((line for line in unit.splitlines() if line.startswith("ExecStart=")), None)


def switch_on(words: list[str], journal: Journal, home: Path | None = None) -> Outcome:
    """Install and start the user unit."""
    path = (home or Path.home()) / ".config/systemd/user" / UNIT
    before = {"text": path.read_text(encoding="utf-8")} if path.exists() else {}
    text = unit_text(words)
    journal.add(Change(KIND, str(path), before=before, after={"command": _command_of(text)}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    try:
        tool.run("systemctl", "--user", "daemon-reload")
        tool.run("systemctl", "--user", "enable", "--now", UNIT)
    except tool.ToolError as error:
        hint = f"{path} is written; in a session of yours run: systemctl --user enable --now {UNIT}"
        return Outcome(done=False, text=str(error), hint=hint)
    return Outcome(done=True, text=f"{UNIT} starts at log-in and runs now")


def switch_off(change: Change) -> Outcome:
    """Stop the unit and put back what stood there before, unless it starts something else by now."""
    path = Path(change.target)
    ours = change.after.get("command")  # not of a record of an older version
    if ours and path.exists() and _command_of(path.read_text(encoding="utf-8")) != ours:
        return Outcome(done=True, text=f"{UNIT}: starts something else by now, left alone")
    try:
        if tool.has("systemctl") and path.exists():
            tool.run("systemctl", "--user", "disable", "--now", UNIT)
    except tool.ToolError:
        # No session of systemd: nothing runs, the file alone is left to take away.
        pass
    if "text" in change.before:
        path.write_text(change.before["text"], encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
    return Outcome(done=True, text=f"{UNIT} no longer starts at log-in")
