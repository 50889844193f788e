"""Make `addon/secondlook/known_good.txt` of public warninglists; `--help` tells how.

`LISTS` are folders of MISP warninglists (`NAME/list.json` or `NAME.json`, as in a clone of misp-warninglists
or in the sources of the pymispwarninglists package); the first that has a list gives it. `LISTED` are block
lists of hosts, the evidence of where strangers get names of their own: below a name with enough listed hosts
nothing is guarded. Warninglists of disposable mail and of address ranges are not used: whoever likes gets a
name or an address there, and one bad host among many good ones must stay listable.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "addon"))

from secondlook.core.url.canonical import canonical_host  # noqa: E402
from secondlook.suffix import PublicSuffixes, load_suffixes  # noqa: E402

TARGET = HERE.parent / "addon/secondlook/known_good.txt"

# Popular names: each guards its host, and votes for its registrable domain to be its owner's alone; it
# is taken for that while fewer hosts below it were ever listed than there are votes.
POPULAR = ("moz-top500", "majestic_million", "cisco_top10k", "tranco10k")
# Lists whose entries `.domain` say that everything below belongs to one owner: they vote too.
OWNED = ("google", "bank-website")
# Hosts where many people have pages: the host is guarded, one's pages on it are not.
PLATFORMS = ("lots-project", "url-shortener", "link-in-bio", "public-ipfs-gateways")
# Further hosts, each for itself.
HOSTS = ("captive-portals", "microsoft-office365", "security-provider-blogpost")
# Names below which whoever likes, or any department and student, gets one: nothing below is guarded.
STRANGERS = ("dynamic-dns", "university_domains")


HEAD = """\
# Hosts that no feed may block as a whole; made by scripts/known_good.py, not by hand (known_good_own.txt is).
# `host` guards a host and its parents, `.domain` also what lies below, `host/` a host where many have pages
# of their own. Facts gathered from MISP warninglists (CC0-1.0), name and version:
"""


def main() -> None:
    """Read the lists and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=Path, action="append", required=True, help="folder of warninglists")
    parser.add_argument("listed", type=Path, nargs="+", help="block lists of hosts, one a line")
    options = parser.parse_args()
    suffixes = load_suffixes()
    lists, versions = {}, []
    for name in (*POPULAR, *OWNED, *PLATFORMS, *HOSTS, *STRANGERS):
        found = _warninglist(options.lists, name)
        lists[name] = [text for raw in found["list"] if (text := _host(raw))]
        versions.append(f"{name} {found['version']}")
    listed = Counter(root for host in _lines(options.listed) if (root := _owner(host, suffixes)))

    votes: Counter[str] = Counter()
    for name in POPULAR:
        votes.update({root for host in lists[name] if (root := suffixes.registrable(host))})
    for name in OWNED:
        votes.update(set(lists[name]))
    platforms = {host for name in PLATFORMS for host in lists[name]}
    strangers = {host for name in STRANGERS for host in lists[name]} | {
        _host(text)
        for name in PLATFORMS
        for text in _warninglist(options.lists, name)["list"]
        if text.startswith(".")
    }
    owned = {
        host
        for host, count in votes.items()
        if suffixes.registrable(host) == host
        and host not in strangers
        and listed[host] < (1 if suffixes.is_platform(host) else count)
    }
    hosts = {host for name in (*POPULAR, *OWNED, *HOSTS) for host in lists[name]}
    lines = sorted(
        [f".{host}" for host in owned]
        + [f"{host}/" for host in platforms]
        + [host for host in hosts if host not in owned and host not in platforms],
        key=lambda line: line.strip("./"),
    )
    told = "".join(f"#   {version}\n" for version in versions)
    TARGET.write_text(HEAD + told + "".join(f"{line}\n" for line in lines), "utf-8")
    print(f"{len(owned)} domains with what is below, {len(platforms)} platforms, {len(lines)} lines")  # noqa: T201


def _warninglist(folders: Iterable[Path], name: str) -> dict[str, Any]:
    for folder in folders:
        for path in (folder / name / "list.json", folder / f"{name}.json"):
            if path.exists():
                found: dict[str, Any] = json.loads(path.read_bytes())
                return found
    raise SystemExit(f"no folder has the warninglist {name}")


def _host(raw: str) -> str:
    host, problem = canonical_host(raw.strip().removeprefix("*").removeprefix("."))
    return "" if problem or "." not in host or "/" in raw or host[-1].isdigit() else host


def _lines(paths: Iterable[Path]) -> set[str]:
    return {
        line.strip().lower() for path in paths for line in path.read_text("utf-8", "replace").splitlines()
    }


def _owner(host: str, suffixes: PublicSuffixes) -> str | None:
    """Give the registrable domain above a listed host, unless a platform lies between or is it."""
    root = suffixes.registrable(host)
    if root is None or host in {root, f"www.{root}"}:
        return None
    name = host
    while name != root:
        if suffixes.is_platform(name):
            return None
        name = name.partition(".")[2]
    return root


if __name__ == "__main__":
    main()
