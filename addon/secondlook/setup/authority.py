"""Trusting the certificate authority: the system's store, and the stores of Chromium and Firefox.

Each store is an adapter with `present`, `add` and `remove`; the tools are the platforms' own
(update-ca-certificates, update-ca-trust, certutil of NSS, security, certutil of Windows).
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from secondlook.ground.lock import locked_folder
from secondlook.setup import tool
from secondlook.setup.journal import CERTIFICATE, Change, Journal, Outcome

KIND = CERTIFICATE

# Folders where a distribution keeps added authorities, and the command that takes them up.
LINUX_STORES = (
    ("/usr/local/share/ca-certificates", ("update-ca-certificates",)),  # Debian, Ubuntu, Alpine
    ("/etc/pki/ca-trust/source/anchors", ("update-ca-trust", "extract")),  # Fedora, RHEL
    ("/etc/ca-certificates/trust-source/anchors", ("update-ca-trust", "extract")),  # Arch
    ("/usr/share/pki/trust/anchors", ("update-ca-certificates",)),  # openSUSE
)
LINUX_BUNDLES = (  # what those commands write, and programs read
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_NICKNAME = re.compile(r"Second Look [0-9a-f]{12}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_AGAIN = {  # what helps where a store could not be changed, by its kind and whether this is not root
    ("linux", True): "run this command again as root",
    ("linux", False): "another program may be changing the same store: run this command again",
}
PAUSES_S = (0.5, 2.0)  # before a store's command that failed is run again
NSS_HOMES = (".pki/nssdb", ".local/share/pki/nssdb")  # Chromium reads the first that is there
NSS_FILES = {"cert9.db", "key4.db", "pkcs11.txt"}  # all that a new database consists of
NSS_TABLES = (("cert9.db", "nssPublic"), ("key4.db", "nssPrivate"))
NSS_NEW_HOME = ".pki/nssdb"
NSS_SNAP_HOMES = ("snap/chromium/current/.pki/nssdb", "snap/chromium/current/.local/share/pki/nssdb")
FIREFOX_HOMES = (
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
    "AppData/Roaming/Mozilla/Firefox/Profiles",
)


def fingerprint(certificate: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a PEM certificate's DER form, in hexadecimal."""
    from hashlib import new  # noqa: PLC0415 - slow to import, and no help needs it
    from ssl import PEM_cert_to_DER_cert  # noqa: PLC0415

    der = PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))
    return new(algorithm, der).hexdigest()


def nickname(certificate: Path) -> str:
    """Name a certificate in stores that want a name; two authorities never share one."""
    return f"Second Look {fingerprint(certificate)[:12]}"


class Store(Protocol):
    """One place that holds trusted authorities; `target` names it and finds it again."""

    @property
    def target(self) -> str:
        """The store's name in the journal."""

    def add(self, certificate: Path) -> None:
        """Trust an authority. Raises ToolError, or OSError where files may not be written."""

    def remove(self, name: str, sha1: str) -> None:
        """Stop trusting the authority of that nickname and SHA-1; already gone is fine."""


@dataclass(frozen=True, slots=True)
class LinuxStore:
    """The distribution's store of authorities (root writes it)."""

    folder: str
    command: tuple[str, ...]

    @property
    def target(self) -> str:
        """The folder of added authorities."""
        return f"linux:{self.folder}"

    def _file(self, name: str) -> Path:
        return Path(self.folder) / f"{name.lower().replace(' ', '-')}.crt"

    def add(self, certificate: Path) -> None:
        """Copy the certificate there and have it taken up."""
        with locked_folder(Path(self.folder)):
            copied = self._file(nickname(certificate))
            copied.write_bytes(certificate.read_bytes())
            copied.chmod(0o644)  # all programs read it, whatever the umask
            try:
                tool.run(*self.command)
            except tool.ToolError:
                # It fails also at what is not ours: another certificate that went, perhaps at this moment.
                self._take_up_afresh()

    def remove(self, name: str, sha1: str) -> None:
        """Delete the copy and have that taken up; one that is gone may not have been taken up yet."""
        copied = self._file(name)
        if not copied.exists() and not os.access(self.folder, os.W_OK):
            if _is_bundled(sha1):
                raise tool.ToolError("its copy is gone, but what programs read still has it")
            return
        with locked_folder(Path(self.folder)):
            copied.unlink(missing_ok=True)
            self._take_up_afresh()

    def _take_up_afresh(self) -> None:
        # Debian's tool leaves links to what is gone, and then fails at them, unless it starts afresh.
        afresh = ("--fresh",) if self.command[0] == "update-ca-certificates" else ()
        for pause_s in PAUSES_S:
            try:
                tool.run(*self.command, *afresh)
            except tool.ToolError:
                time.sleep(pause_s)  # another program may be running it: all of them write one file
            else:
                return
        tool.run(*self.command, *afresh)


def _is_bundled(sha1: str) -> bool:
    """Return whether programs of this system trust the authority of that digest."""
    from base64 import b64decode  # noqa: PLC0415 - no help needs it
    from hashlib import sha1 as sha1_of  # noqa: PLC0415

    bodies: list[str] = []
    for path in LINUX_BUNDLES:
        with contextlib.suppress(OSError):
            bodies += _PEM.findall(Path(path).read_text(encoding="utf-8", errors="replace"))
    for body in bodies:
        with contextlib.suppress(ValueError):  # one that is damaged is trusted by nobody
            if sha1_of(b64decode(body), usedforsecurity=False).hexdigest() == sha1:
                return True
    return False


@dataclass(frozen=True, slots=True)
class NssStore:
    """A database of Chromium (per user) or of one Firefox profile."""

    folder: str

    @property
    def target(self) -> str:
        """The folder of the database."""
        return f"nss:{self.folder}"

    def add(self, certificate: Path) -> None:
        """Add it as an authority for web sites (trust flags `C,,`)."""
        folder = Path(self.folder)
        if not (folder / "cert9.db").exists():
            self._make(folder)
        tool.run(
            "certutil",
            "-A",
            "-d",
            f"sql:{folder}",
            "-t",
            "C,,",
            "-n",
            nickname(certificate),
            "-i",
            str(certificate),
        )

    def _make(self, folder: Path) -> None:
        """Make an empty database; where that fails no folder of it stays, as Chromium would use it."""
        made = [path for path in (folder, folder.parent) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            tool.run("certutil", "-N", "-d", f"sql:{folder}", "--empty-password")
        except tool.ToolError:
            with contextlib.suppress(OSError):  # something is in it
                for path in made:
                    path.rmdir()
            raise

    def remove(self, name: str, sha1: str) -> None:  # noqa: ARG002 (the nickname finds it here)
        """Delete it by its nickname."""
        if not (Path(self.folder) / "cert9.db").exists():
            return
        if name in tool.run("certutil", "-L", "-d", f"sql:{self.folder}"):
            tool.run("certutil", "-D", "-d", f"sql:{self.folder}", "-n", name)

    def made_by_us(self) -> bool:
        """Return whether adding will make the database."""
        return not (Path(self.folder) / "cert9.db").exists()

    def unmake(self) -> None:
        """Delete a database that was made for us, if it holds nothing at all and nothing lies beside it."""
        folder = Path(self.folder)
        if {path.name for path in folder.iterdir()} != NSS_FILES or not _nss_is_empty(folder):
            return
        for name in NSS_FILES:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # shared with others
            folder.rmdir()
            folder.parent.rmdir()


def _nss_is_empty(folder: Path) -> bool:
    """Return whether a database holds no certificate, key or module; what cannot be read counts as full.

    Its tables are counted: `certutil -L` and `-K` list neither revocation lists nor secret keys.
    """
    import sqlite3  # noqa: PLC0415 - no help needs it

    try:
        for file, table in NSS_TABLES:
            with contextlib.closing(
                sqlite3.connect(f"{(folder / file).as_uri()}?mode=ro", uri=True)
            ) as opened:
                if opened.execute(f"SELECT count(*) FROM {table}").fetchone() != (0,):  # noqa: S608 (of our own table)
                    return False
        modules = (folder / "pkcs11.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, sqlite3.Error):
        return False
    return not any(line.startswith("library=") and line != "library=" for line in modules)


@dataclass(frozen=True, slots=True)
class MacStore:
    """The log-in keychain of macOS."""

    keychain: str

    @property
    def target(self) -> str:
        """The keychain's file."""
        return f"mac:{self.keychain}"

    def add(self, certificate: Path) -> None:
        """Add it as a trusted root; macOS asks the user for a password."""
        tool.run("security", "add-trusted-cert", "-r", "trustRoot", "-k", self.keychain, str(certificate))

    def remove(self, name: str, sha1: str) -> None:  # noqa: ARG002 (macOS knows digests, not nicknames)
        """Delete it, and its trust settings, by its digest."""
        if sha1.upper() in tool.run("security", "find-certificate", "-a", "-Z", self.keychain):
            tool.run("security", "delete-certificate", "-Z", sha1.upper(), "-t", self.keychain)


@dataclass(frozen=True, slots=True)
class WindowsStore:
    """The user's root store of Windows around WSL 2; Firefox reads it there too."""

    @property
    def target(self) -> str:
        """The one store there is."""
        return "windows:Root"

    def add(self, certificate: Path) -> None:
        """Add it; Windows asks the user to agree."""
        there = tool.run("wslpath", "-w", str(certificate))
        tool.run("certutil.exe", "-addstore", "-user", "Root", there)

    def remove(self, name: str, sha1: str) -> None:  # noqa: ARG002 (Windows knows thumbprints, not nicknames)
        """Delete it by its thumbprint."""
        tool.run("certutil.exe", "-delstore", "-user", "Root", sha1)


def stores(home: Path | None = None) -> list[Store]:
    """Find every store of this computer and this user."""
    home = home or Path.home()
    found: list[Store] = []
    if sys.platform == "darwin":
        found.append(MacStore(str(home / "Library/Keychains/login.keychain-db")))
    else:
        known = (LinuxStore(folder, command) for folder, command in LINUX_STORES)
        found += [store for store in known if Path(store.folder).is_dir() and tool.has(store.command[0])][:1]
        # A database made beside one that Chromium uses would hide what the user trusts there.
        there = [path for path in NSS_HOMES if (home / path).is_dir()] or [NSS_NEW_HOME]
        there += [path for path in NSS_SNAP_HOMES if (home / path).is_dir()]
        found += [NssStore(str(home / path)) for path in there]
    found += [NssStore(str(folder)) for folder in firefox_profiles(home)]
    if tool.windows():
        found.append(WindowsStore())
    return found


def firefox_profiles(home: Path) -> Iterable[Path]:
    """Yield the folders of Firefox profiles that hold a certificate database."""
    for base in FIREFOX_HOMES:
        yield from sorted(database.parent for database in (home / base).glob("*/cert9.db"))


def trust(certificate: Path, journal: Journal, places: Iterable[Store]) -> list[Outcome]:
    """Trust the authority in every place that lets us, and return what is left to do by hand."""
    outcomes = []
    for store in places:
        known = {"nickname": nickname(certificate), "sha1": fingerprint(certificate, "sha1")}
        made = isinstance(store, NssStore) and store.made_by_us()
        change = Change(KIND, store.target, before={"made": made}, after=known)
        new = journal.add(change)
        try:
            store.add(certificate)
        except (tool.ToolError, OSError) as error:
            if new and _left_nothing(store, change):
                journal.forget(change)
            outcomes.append(
                Outcome(done=False, text=f"{store.target}: {error}", hint=_by_hand(store, certificate))
            )
        else:
            outcomes.append(Outcome(done=True, text=f"{store.target}: trusted"))
    return outcomes


def _left_nothing(store: Store, change: Change) -> bool:
    """Take back what a step that failed may have done, and return whether nothing of it is left."""
    never_begun = isinstance(store, NssStore) and not tool.has("certutil")
    return never_begun or distrust(change).done


def _is_own(folder: Path) -> bool:
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return True  # gone, or closed to us: the tool says which


def _by_hand(store: Store, certificate: Path) -> str:
    match store:
        case LinuxStore(folder, command):
            copied = f"{folder}/{nickname(certificate).lower().replace(' ', '-')}.crt"
            return f'run as root: install -m 644 "{certificate}" "{copied}" && {tool.shown(command)}'
        case NssStore():
            return "install NSS tools (Debian: libnss3-tools, Fedora: nss-tools) and run this again"
        case _:
            return f"import {certificate} as a trusted root in your system's settings"


def distrust(change: Change) -> Outcome:
    """Undo one place's trust. What the record names is looked at first: another user may have written it."""
    scheme, _, path = change.target.partition(":")
    known, sha1 = str(change.after.get("nickname")), str(change.after.get("sha1"))
    unknown_store = scheme == "linux" and path not in dict(LINUX_STORES)
    if unknown_store or not (_NICKNAME.fullmatch(known) and _SHA1.fullmatch(sha1)):
        return Outcome(done=False, text=f"{change.target}: its record is damaged")
    if scheme == "nss" and not _is_own(Path(path)):
        # certutil would load the modules that the database names
        return Outcome(False, f"{change.target}: belongs to another user", "run this as that user")
    store: Store
    match scheme:
        case "linux":
            store = LinuxStore(path, dict(LINUX_STORES)[path])
        case "nss":
            store = NssStore(path)
        case "mac":
            store = MacStore(path)
        case _:
            store = WindowsStore()
    try:
        store.remove(known, sha1)
        if isinstance(store, NssStore) and change.before.get("made") and not store.made_by_us():
            store.unmake()
    except (tool.ToolError, OSError) as error:
        hint = _AGAIN.get((scheme, os.geteuid() != 0))
        return Outcome(done=False, text=f"{change.target}: {error}", hint=hint)
    return Outcome(done=True, text=f"{change.target}: no longer trusted")
