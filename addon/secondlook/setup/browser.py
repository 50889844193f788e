"""A browser in a fresh profile of its own behind the proxy: the quickest way to see it work."""

from pathlib import Path

from secondlook.core.url.address import with_port
from secondlook.setup import profile, tool
from secondlook.setup.authority import NssStore

CHROMIUMS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "brave-browser",
    "microsoft-edge",
)
FIREFOXES = ("firefox", "firefox-esr", "librewolf")

_FIREFOX_PREFERENCES = """\
user_pref("network.proxy.type", 1);
user_pref("network.proxy.http", "{host}");
user_pref("network.proxy.http_port", {port});
user_pref("network.proxy.ssl", "{host}");
user_pref("network.proxy.ssl_port", {port});
user_pref("network.proxy.no_proxies_on", "");
user_pref("network.trr.mode", 5);
user_pref("network.http.http3.enable", false);
user_pref("security.enterprise_roots.enabled", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
"""


def find(wanted: str | None) -> str | None:
    """Find a browser's program: the wanted one, else the first that is installed."""
    return next((name for name in ([wanted] if wanted else CHROMIUMS + FIREFOXES) if tool.has(name)), None)


def command(program: str, folder: Path, host: str, port: int, url: str) -> list[str]:
    """Write the command line that starts a browser in the profile `folder` behind the proxy.

    QUIC and DNS over HTTPS are switched off there: both would go round the proxy.
    """
    if Path(program).name in FIREFOXES:
        return [program, "--no-remote", "--profile", str(folder), url]
    return [
        program,
        f"--user-data-dir={folder}",
        f"--proxy-server=http://{with_port(host, port)}",
        "--proxy-bypass-list=<-loopback>",
        "--disable-quic",
        "--disable-features=DnsOverHttps",
        "--no-first-run",
        "--no-default-browser-check",
        url,
    ]


def prepare(program: str, certificate: Path, folder: Path, host: str, port: int) -> None:
    """Make the profile: trust for this profile alone, and Firefox's proxy settings. Raises ToolError."""
    if Path(program).name in FIREFOXES:
        NssStore(str(folder)).add(certificate)
        (folder / "user.js").write_text(_FIREFOX_PREFERENCES.format(host=host, port=port), encoding="utf-8")


def chromium_trust(certificate: Path) -> list[str]:
    """Return the switch that makes Chromium accept our authority in this one process.

    Chromium reads the user's own NSS store whatever the profile, so trust is given by the digest of the
    authority's public key instead (`--ignore-certificate-errors-spki-list`), and ends with the process.
    """
    from base64 import b64encode  # noqa: PLC0415 (cryptography is slow to load and only needed here)
    from hashlib import sha256  # noqa: PLC0415

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    key = load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [f"--ignore-certificate-errors-spki-list={b64encode(sha256(der).digest()).decode()}"]


def start(program: str, certificate: Path, host: str, port: int, url: str, *extra: str) -> Path:
    """Start a browser in a fresh profile, which ends with it, and return its folder. Raises ToolError."""

    def prepared(folder: Path) -> list[str]:
        prepare(program, certificate, folder, host, port)
        words = command(program, folder, host, port, url)
        if Path(program).name not in FIREFOXES:
            words[1:1] = chromium_trust(certificate)
        words[1:1] = extra
        return words

    return profile.start(prepared)
