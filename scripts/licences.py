"""What Second Look stands on, by the lock: BIN/python scripts/licences.py [--write | --sbom FILE].

Without arguments the page docs/licences.md is held against what is installed; `--write` writes it, `--sbom` a
bill of materials (CycloneDX 1.6, JSON), as `make dist` does beside the wheel. A package that does not say its
licence as SPDX does is named in `SAID`, after reading its own text.
"""

import re
import sys
import tomllib
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_expression, is_supported_id
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
OURSELVES = "secondlook"
BUILDING = {"editables", "hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}

SAID = {
    "backports-zstd": "PSF-2.0",  # not installed where Python has it itself
    "blinker": "MIT",
    "google-re2": "BSD-3-Clause",
    "hyperframe": "MIT",
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "ldap3": "LGPL-3.0-or-later",
    "markdown-it-py": "MIT",
    "mdurl": "MIT",
    "mitmproxy": "MIT",
    "mitmproxy-linux": "MIT",
    "mitmproxy-rs": "MIT",
    "multivolumefile": "LGPL-2.1-or-later",
    "protobuf": "BSD-3-Clause",
    "publicsuffix2": "MIT AND MPL-2.0",
    "pycryptodomex": "BSD-2-Clause AND LicenseRef-public-domain",
    "pyopenssl": "Apache-2.0",
    "pyperclip": "BSD-3-Clause",
    "sansldap": "MIT",
    "segno": "BSD-3-Clause",
    "shellingham": "ISC",
    "sortedcontainers": "Apache-2.0",
    "wcwidth": "MIT",
    "yara-x": "BSD-3-Clause",
}

HEAD = """\
# Licences

Second Look is under the MIT licence. This is what is installed with it, made by `make licences` from the lock
and from what the packages say; `make dist` writes the same with versions as a bill of materials (CycloneDX)
beside the wheel. The terms of public lists stand in [Feed formats](feed-formats.md), and in the log when a
list is fetched.

| package | licence | needed by | extra |
|---|---|---|---|
"""


@dataclass(slots=True)
class Package:
    """A package of the lock; `extra` is None for what everybody installs."""

    name: str
    version: str
    needed_by: list[str] = field(default_factory=list)
    extra: str | None = None

    @property
    def licence(self) -> str:
        """Return the SPDX expression. Raises SystemExit where nobody knows it."""
        if self.name in SAID:
            return SAID[self.name]
        try:
            told = metadata(self.name)
        except PackageNotFoundError:
            sys.exit(f"licences: {self.name} is not installed, so what it says is not known: make dev")
        for text in (told.get("License-Expression"), told.get("License")):
            if text and (is_supported_id(text) or is_expression(text)):
                return str(text)
        return sys.exit(f"licences: {self.name} says none as SPDX does; read its licence and name it in SAID")


def packages() -> list[Package]:
    """Read the lock: what everybody installs, then what the extras add."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {
        _name(each): extra
        for extra, wanted in project["optional-dependencies"].items()
        if extra != "dev"
        for each in wanted
    }
    found = {each.name: each for each in _read(ROOT / "requirements.txt") if each.name not in BUILDING}
    extras = {each.name: each for each in _read(ROOT / "requirements-extra.txt")}
    known = extras | found
    for each in extras.values():
        if each.name not in found and each.name not in BUILDING:
            found[each.name] = each
            each.extra = direct.get(each.name) or next(
                direct[one] for one in _roots(each, known) if one in direct
            )
    return sorted(found.values(), key=lambda each: each.name)


def _roots(package: Package, known: dict[str, Package]) -> list[str]:
    """Return by whom a package came, directly or not."""
    seen, waiting = set(), [package.name]
    while waiting:
        name = waiting.pop()
        if name not in seen and name in known:
            seen.add(name)
            waiting += known[name].needed_by
    return sorted(seen)


def _read(lock: Path) -> list[Package]:
    """Read what pip-compile wrote: pins, hashes, and whom each is there for."""
    found: list[Package] = []
    for line in lock.read_text().splitlines():
        if pin := re.match(r"([a-z0-9.-]+)==([^\s;]+)", line):
            found.append(Package(pin[1], pin[2]))
        elif via := re.match(r"    #(?: via)? +(\S+)", line):
            name = OURSELVES if "pyproject.toml" in via[1] or via[1].startswith(OURSELVES) else via[1]
            if name != "via" and not name.startswith("-"):
                found[-1].needed_by.append(name)
    return found


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9.-]+", requirement)
    assert found is not None, requirement
    return found[0]


def page() -> str:
    """Write the page."""
    rows = []
    for each in packages():
        by = ", ".join("Second Look" if name == OURSELVES else name for name in sorted(each.needed_by))
        rows.append(f"| {each.name} | {each.licence} | {by} | {f'`{each.extra}`' if each.extra else ''} |\n")
    return HEAD + "".join(rows)


def bill() -> str:
    """Write the bill of materials."""
    licences = LicenseFactory()
    ours = Component(
        type=ComponentType.APPLICATION,
        name=OURSELVES,
        version=version(OURSELVES),
        bom_ref=OURSELVES,
        licenses=[licences.make_from_string("MIT")],
    )
    made = {
        each.name: Component(
            type=ComponentType.LIBRARY,
            name=each.name,
            version=each.version,
            bom_ref=each.name,
            purl=PackageURL("pypi", None, each.name, each.version),
            licenses=[licences.make_from_string(each.licence)],
            scope=ComponentScope.OPTIONAL if each.extra else ComponentScope.REQUIRED,
        )
        for each in packages()
    }
    bom = Bom(components=made.values())
    bom.metadata.component = ours
    for component in (ours, *made.values()):
        bom.register_dependency(
            component,
            [made[each.name] for each in packages() if component.name in each.needed_by],
        )
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def main(arguments: list[str]) -> None:
    """Do what is asked."""
    match arguments:
        case ["--write"]:
            PAGE.write_text(page())
        case ["--sbom", path]:
            Path(path).write_text(bill())
        case []:
            if PAGE.read_text() != page():
                sys.exit("docs/licences.md is not what is locked and installed: make licences")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
