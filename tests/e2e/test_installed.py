"""The wheel, made from the source archive, in an environment of its own: all that runs is in it (15 s).

The packages of requirements.txt are lent to it by the environment of the tests, and no others: none of an extra,
none of the tests. Of the source nothing is reachable.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from e2e.processes import START_S, curl, wait_for


def lend(folder: Path, lock: Path) -> None:
    """Link what the packages of a lock installed here into a folder."""
    folder.mkdir()
    for name in re.findall(r"^([a-z0-9.-]+)==", lock.read_text(), re.MULTILINE):
        for top in {
            file.parts[0]
            for file in distribution(name).files or ()
            if file.parts[0] not in ("..", "__pycache__")
        }:
            source, target = Path(sysconfig.get_path("purelib"), top), folder / top
            if not target.exists():  # two packages may share a folder
                target.symlink_to(source)


class Installed:
    """An environment that has the wheel, and a home without any configuration."""

    def __init__(self, folder: Path, wheel: Path, repository: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.bin = folder / "venv" / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        (packages,) = (folder / "venv").glob("lib/python3*/site-packages")
        lend(folder / "lent", repository / "requirements.txt")
        (packages / "lent.pth").write_text(f"{folder / 'lent'}\n")
        subprocess.run(
            [
                sys.executable, "-m", "pip", "--python", self.bin / "python", "install", "-q", "--no-deps", "--no-index",
                "--no-compile", wheel,
            ],
            check=True,
        )  # fmt: skip
        self.environ = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.bin / words[0], *words[1:]],
            cwd=self.home,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def run(self, *words: str) -> str:
        done = self.start(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> tuple[Path, Path]:
    """The source archive, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "-o", folder, repository],
        check=True,
        capture_output=True,
    )
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


@pytest.fixture(scope="module")
def installed(
    built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), built[1], repository)


def test_the_wheel_has_every_file_of_the_package(built, repository):
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "addon/secondlook"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = {name.removeprefix("addon/") for name in listed.stdout.splitlines()}
    with zipfile.ZipFile(built[1]) as wheel:
        inside = set(wheel.namelist())
        assert {name for name in inside if not name.startswith("secondlook-")} == ours
        shipped = wheel.read("secondlook/shipped/proxy.yaml")
    assert shipped == (repository / "proxy.yaml").read_bytes()
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"addon/{name}" for name in ours} | {
        "README.md",
        "LICENSE",
        "requirements.txt",
        "Makefile",
    } <= names


def test_it_says_which_version_it_is_and_runs_from_its_own_files(installed, built):
    version = built[1].name.split("-")[1]
    assert installed.run("secondlook", "--version") == f"secondlook {version}\n"
    assert installed.run("python", "-m", "secondlook", "--version") == f"secondlook {version}\n"
    place = installed.run("python", "-c", "import secondlook; print(secondlook.__file__)")
    assert place.startswith(str(installed.bin.parent))


@pytest.fixture(scope="module")
def facts(installed: Installed) -> Iterator[dict[str, str]]:
    """A proxy as it comes, but for its ports, with one worker and without public lists."""
    words = ["run", "--listen", "127.0.0.1:0", "--review", "127.0.0.1:0"]
    words += ["--set", "feeds=[]", "--set", "workers=1"]
    log = installed.home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [installed.bin / "secondlook", *words],
            cwd=installed.home,
            env=installed.environ,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    path = installed.home / ".local/state/secondlook/run.json"

    def told() -> dict[str, str] | None:
        assert process.poll() is None, log.read_text()
        return json.loads(path.read_text()) if path.exists() else None

    try:
        yield wait_for(told, "run.json", START_S)
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("extra", "setting"),
    [
        ("postgresql", "ledger=postgresql://a@b/c"),
        ("notices", "notify.urls=['json://localhost']"),
    ],
)
def test_a_setting_that_wants_an_extra_names_it(installed, extra, setting):
    done = installed.start("secondlook", "run", "--set", setting)
    assert done.returncode == 2
    assert (
        f"this needs the extra `{extra}`, which is not installed: pip install 'secondlook[{extra}]'"
        in done.stderr
    )
    assert setting.partition("=")[0] in done.stderr


def test_a_server_runs_without_the_extra_of_its_other_store(installed):
    done = installed.start("secondlook", "server", "run", "--set", "store=valkey://127.0.0.1/0")
    assert done.returncode == 2
    assert "store: this needs the extra `valkey`" in done.stderr
    loads = "import secondlook.server.service, secondlook.run.service, secondlook.run.worker"
    assert installed.run("python", "-c", loads) == ""


def test_it_runs_without_a_configuration_and_blocks_with_a_page_in_ones_language(installed, facts):
    blocked = curl(
        "http://malware.secondlook.test/", "-x", f"http://{facts['proxy']}",
        "-H", "Accept: text/html", "-H", "Accept-Language: de", "-H", "Sec-Fetch-Mode: navigate",
    )  # fmt: skip
    assert (blocked.status, blocked.headers["content-language"]) == (403, "de")
    assert b"<html" in blocked.body
    jar = ("-L", "-c", str(installed.home / "jar"), "-b", str(installed.home / "jar"))
    page = curl(f"http://{facts['review']}/?token={facts['token']}", *jar)
    assert (page.status, b"Second Look" in page.body) == (200, True)
    assert curl(f"http://{facts['review']}/static/page.js", *jar).status == 200
    events = wait_for(
        lambda: installed.run("secondlook", "log", "--decision", "block", "--json").splitlines() or None,
        "the event",
    )
    assert json.loads(events[0])["host"] == "malware.secondlook.test"
    assert "state" in installed.run("secondlook", "status")
    assert not list(installed.home.glob("*.yaml"))
