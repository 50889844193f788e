"""The system proxy of GNOME, KDE, macOS and Windows, set and put back by their own tools.

Each desktop is an adapter that reads and writes one flat mapping; switching on saves what was read,
switching off writes it back. What somebody changed in between is left alone.
"""

import ast
import contextlib
import json
import sys
from collections.abc import Mapping
from typing import ClassVar, Protocol

from secondlook.core.url.address import with_port
from secondlook.ground.json_text import read_json
from secondlook.setup import tool
from secondlook.setup.journal import Change, Journal, Outcome

KIND = "system-proxy"
LOCAL = ("localhost", "127.0.0.0/8", "::1")
# INTERNET_OPTION_SETTINGS_CHANGED and INTERNET_OPTION_REFRESH of wininet.h
_TELL_WININET = """
$function = '[DllImport("wininet.dll")] public static extern bool InternetSetOption(
    IntPtr handle, int option, IntPtr buffer, int length);'
$wininet = Add-Type -MemberDefinition $function -Name WinInet -Namespace SecondLook -PassThru
foreach ($option in 39, 37) { [void]$wininet::InternetSetOption(0, $option, 0, 0) }
"""


class Desktop(Protocol):
    """One place where a system proxy is set."""

    name: str

    def available(self) -> bool:
        """Return whether this desktop is in use here."""

    def read(self) -> dict[str, str]:
        """Read the settings that `write` would change. Raises ToolError."""

    def write(self, values: Mapping[str, str]) -> None:
        """Set them. Raises ToolError."""

    def wanted(self, host: str, port: int) -> dict[str, str]:
        """Return the settings for our proxy; keys that are not named stay as they are."""


class Gnome:
    """GNOME and everything that reads its settings (also Chromium on Linux)."""

    name = "gnome"
    _root = "org.gnome.system.proxy"
    _keys = ("mode", "ignore-hosts", "http.host", "http.port", "https.host", "https.port")

    def available(self) -> bool:
        """Return whether the settings' schema is installed."""
        return tool.has("gsettings") and self._root in tool.run("gsettings", "list-schemas").splitlines()

    def _where(self, key: str) -> tuple[str, str]:
        part, _, name = key.rpartition(".")
        return (f"{self._root}.{part}" if part else self._root), name

    def read(self) -> dict[str, str]:
        """Read them in GVariant notation."""
        return {key: tool.run("gsettings", "get", *self._where(key)) for key in self._keys}

    def write(self, values: Mapping[str, str]) -> None:
        """Set them; the mode last, so that no half-set proxy is ever in use."""
        for key in sorted(values, key=lambda key: key == "mode"):
            tool.run("gsettings", "set", *self._where(key), values[key])

    def wanted(self, host: str, port: int) -> dict[str, str]:
        """Return a manual proxy for HTTP and HTTPS."""
        return {
            "mode": "'manual'",
            "ignore-hosts": str(list(LOCAL)),
            "http.host": f"'{host}'",
            "http.port": str(port),
            "https.host": f"'{host}'",
            "https.port": str(port),
        }


class Kde:
    """KDE Plasma 5 and 6."""

    name = "kde"
    _keys = ("ProxyType", "httpProxy", "httpsProxy", "NoProxyFor")

    def _tool(self, action: str) -> str:
        return next((f"k{action}config{v}" for v in ("6", "5") if tool.has(f"k{action}config{v}")), "")

    def available(self) -> bool:
        """Return whether Plasma's settings tools are installed."""
        return bool(self._tool("read") and self._tool("write"))

    def read(self) -> dict[str, str]:
        """Read them; an unset one is an empty text."""
        where = ("--file", "kioslaverc", "--group", "Proxy Settings")
        return {key: tool.run(self._tool("read"), *where, "--key", key) for key in self._keys}

    def write(self, values: Mapping[str, str]) -> None:
        """Set them and notify running programs."""
        for key, value in values.items():
            where = ("--file", "kioslaverc", "--group", "Proxy Settings", "--key", key)
            tool.run(self._tool("write"), *where, *([value] if value else ["--delete", ""]))
        if tool.has("dbus-send"):
            signal = "org.kde.KIO.Scheduler.reparseSlaveConfiguration"
            tool.run("dbus-send", "--type=signal", "/KIO/Scheduler", signal, "string:")

    def wanted(self, host: str, port: int) -> dict[str, str]:
        """Return a manual proxy (type 1) for HTTP and HTTPS."""
        address = f"http://{with_port(host, port).removesuffix(f':{port}')} {port}"
        return {"ProxyType": "1", "httpProxy": address, "httpsProxy": address, "NoProxyFor": ",".join(LOCAL)}


class Mac:
    """macOS, every network service."""

    name = "macos"
    _kinds = ("webproxy", "securewebproxy")
    _off = '["No", "", "0"]'  # of a service that was not there before

    def available(self) -> bool:
        """Return whether this is macOS."""
        return sys.platform == "darwin"

    @staticmethod
    def _services() -> list[str]:
        listed = tool.run("networksetup", "-listallnetworkservices").splitlines()[1:]
        return [name for name in listed if not name.startswith("*")]

    def read(self) -> dict[str, str]:
        """Read each service's two proxies as JSON."""
        found = {}
        for service in self._services():
            for kind in self._kinds:
                lines = tool.run("networksetup", f"-get{kind}", service).splitlines()
                fields = dict(line.split(": ", 1) for line in lines if ": " in line)
                found[f"{service}/{kind}"] = json.dumps(
                    [fields.get("Enabled", "No"), fields.get("Server", ""), fields.get("Port", "0")]
                )
        return found

    def write(self, values: Mapping[str, str]) -> None:
        """Set each service's two proxies."""
        for key, value in values.items():
            service, _, kind = key.rpartition("/")
            enabled, server, port = read_json(value or self._off)
            if server:
                tool.run("networksetup", f"-set{kind}", service, server, port)
            tool.run("networksetup", f"-set{kind}state", service, "on" if enabled == "Yes" else "off")

    def wanted(self, host: str, port: int) -> dict[str, str]:
        """Return our proxy for every service."""
        ours = json.dumps(["Yes", host, str(port)])
        return {f"{service}/{kind}": ours for service in self._services() for kind in self._kinds}


class Windows:
    """Windows around WSL 2, for the user who is logged in there; what listens here is on its loopback too."""

    name = "windows"
    _where = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings"
    _kinds: ClassVar = {
        "ProxyEnable": "REG_DWORD",
        "ProxyServer": "REG_SZ",
        "ProxyOverride": "REG_SZ",
        "AutoConfigURL": "REG_SZ",  # a PAC file, which would go before the proxy
    }

    def available(self) -> bool:
        """Return whether this is WSL and reaches its Windows."""
        return tool.windows() is not None

    def read(self) -> dict[str, str]:
        """Read the registry; an unset value is an empty text."""
        found = {}
        for key, kind in self._kinds.items():
            try:
                printed = tool.run("reg.exe", "query", self._where, "/v", key)
            except tool.ToolError:
                printed = ""
            found[key] = printed.rsplit(kind, 1)[-1].strip() if kind in printed else ""
        return found

    def write(self, values: Mapping[str, str]) -> None:
        """Set the registry and notify running programs."""
        before = self.read()
        for key, value in values.items():
            if value:
                tool.run("reg.exe", "add", self._where, "/v", key, "/t", self._kinds[key], "/d", value, "/f")
            elif before[key]:
                tool.run("reg.exe", "delete", self._where, "/v", key, "/f")
        with contextlib.suppress(tool.ToolError):  # programs that start from now on see the settings anyway
            tool.run("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _TELL_WININET)

    def wanted(self, host: str, port: int) -> dict[str, str]:
        """Return one proxy for all protocols, and no PAC file."""
        return {
            "ProxyEnable": "0x1",
            "ProxyServer": with_port(host, port),
            "ProxyOverride": "localhost;127.*;<local>",
            "AutoConfigURL": "",
        }


DESKTOPS: tuple[Desktop, ...] = (Gnome(), Kde(), Mac(), Windows())


def switch_on(host: str, port: int, journal: Journal) -> list[Outcome]:
    """Point every desktop found here at our proxy."""
    outcomes = []
    for desktop in DESKTOPS:
        if not desktop.available():
            continue
        try:
            _apply(desktop, desktop.wanted(host, port), journal)
        except tool.ToolError as error:
            outcomes.append(Outcome(done=False, text=f"{desktop.name}: {error}"))
        else:
            outcomes.append(Outcome(done=True, text=f"{desktop.name}: goes through {with_port(host, port)}"))
    return outcomes


def _apply(desktop: Desktop, wanted: dict[str, str], journal: Journal) -> None:
    before = desktop.read()
    if _same(before, wanted):
        return
    journal.add(Change(KIND, desktop.name, before=before, after=wanted))
    desktop.write(wanted)
    if not _same(desktop.read(), wanted):
        raise tool.ToolError("the settings did not take; run this inside your desktop session")


def switch_off(change: Change) -> Outcome:
    """Put back what stood before, unless somebody has changed it since; half of ours is ours too."""
    desktop = next(desktop for desktop in DESKTOPS if desktop.name == change.target)
    try:
        now = desktop.read()
        # a network service of macOS that was removed since is gone with its settings
        before, after = (
            {key: side[key] for key in side if key in now} for side in (change.before, change.after)
        )
        if _same(now, before):  # a switching on that failed, or put back by hand
            return Outcome(done=True, text=f"{desktop.name}: is as it was before")
        if any(_value(now[key]) not in (_value(before.get(key, "")), _value(after[key])) for key in after):
            return Outcome(done=True, text=f"{desktop.name}: was changed by something else since, left alone")
        desktop.write({key: before.get(key, "") for key in after})
    except tool.ToolError as error:
        return Outcome(done=False, text=f"{desktop.name}: {error}")
    return Outcome(done=True, text=f"{desktop.name}: as it was before")


def _same(now: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(_value(now.get(key, "")) == _value(value) for key, value in wanted.items())


def _value(text: str) -> object:
    """Read a GVariant or JSON notation where it is one: quotes and spacing may differ."""
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value
