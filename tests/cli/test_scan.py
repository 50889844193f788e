"""`secondlook scan`: what lies in folders, told, counted and put away (10 s)."""

import json
import os
from pathlib import Path

import pytest

from e2e.processes import command
from proxykit.samples import EICAR, program, zipped
from scankit.clamd import LyingClamd

HIDDEN = b"#!/bin/sh\n" + EICAR + b"\nnobody lists this\n"


@pytest.fixture
def place(tmp_path):
    """A configuration without servers, and a folder of files."""
    config, files = tmp_path / "proxy.yaml", tmp_path / "files"
    config.write_text("servers: {embedded: false}\n")
    (files / "deep").mkdir(parents=True)
    (files / "clean.exe").write_bytes(program(5000, 1))
    (files / "deep" / "packed.zip").write_bytes(zipped({"a/b.sh": HIDDEN}))
    (files / "link").symlink_to(files / "deep" / "packed.zip")
    return ["-c", config, "--state", tmp_path / "state"], files


def scan(place, *options, check=False):
    done = command("scan", place[1], *place[0], *options, check=check)
    assert "Traceback" not in done.stderr
    return done


def told(done):
    return {Path(each["subject"]).name: each for each in map(json.loads, done.stdout.splitlines())}


def test_every_file_once_and_what_lies_in_it(place):
    done = scan(place, "--json")
    assert done.returncode == 10
    files = told(done)
    assert set(files) == {"clean.exe", "packed.zip"}
    bad, clean = files["packed.zip"], files["clean.exe"]
    assert (bad["decision"], bad["stage"], bad["list"], bad["rule"]) == (
        "block", "scan", "yara", "EICAR_Test_File",
    )  # fmt: skip
    assert bad["expression"] == "member:a/b.sh"
    assert clean["decision"] == "allow"
    assert [step["outcome"] for step in clean["stages"] if step["stage"] == "scan"] == ["miss"]


def test_people_see_what_matters_and_a_count(place):
    done = scan(place)
    assert "packed.zip" in done.stdout
    assert "clean.exe" not in done.stdout
    assert done.stdout.splitlines()[-1] == "2 files, 1 blocked, 0 unverifiable, 0 unreadable"
    assert place[1].joinpath("deep", "packed.zip").exists()


def test_a_folder_of_clean_files_ends_well(place):
    (place[1] / "deep" / "packed.zip").unlink()
    (place[1] / "link").unlink()
    assert scan(place).returncode == 0


def test_what_is_blocked_is_put_away_on_request_and_comes_back(place):
    bytes_before = (place[1] / "deep" / "packed.zip").read_bytes()
    done = scan(place, "--json", "--quarantine")
    bad = told(done)["packed.zip"]
    assert bad["quarantine"] == [f"{place[1]}/deep/packed.zip: put into quarantine"]
    assert not (place[1] / "deep" / "packed.zip").exists()
    assert (place[1] / "clean.exe").exists()
    (record,) = [
        json.loads(line) for line in command("quarantine", "list", "--json", *place[0]).stdout.splitlines()
    ]
    command("quarantine", "restore", record["id"], *place[0])
    assert (place[1] / "deep" / "packed.zip").read_bytes() == bytes_before
    assert scan(place).returncode == 0  # it is allowed from now on


def test_an_engine_that_is_away_leaves_files_unverifiable(place, tmp_path):
    (tmp_path / "proxy.yaml").write_text(
        f"servers: {{embedded: false}}\nscan: {{clamd: {tmp_path}/none.ctl}}\n"
    )
    (place[1] / "deep" / "packed.zip").unlink()
    done = scan(place, "--json")
    assert done.returncode == 11
    assert told(done)["clean.exe"]["unverifiable"].startswith("scan: clamd: no connection")


def test_a_file_is_checked_by_the_engines_too(place, tmp_path):
    with LyingClamd() as liar:
        liar.lies.answer = b"stream: Some.Thing FOUND\0"
        (tmp_path / "proxy.yaml").write_text(
            f"servers: {{embedded: false}}\nscan: {{clamd: {liar.address}}}\n"
        )
        done = command("check", place[1] / "clean.exe", "--json", *place[0], check=False)
    (one,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, one["stage"], one["list"], one["rule"]) == (10, "scan", "clamd", "Some.Thing")


def test_a_path_that_is_not_there(place):
    done = command("scan", place[1] / "nothing", *place[0], check=False)
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr


def test_a_folder_that_cannot_be_read_is_told(place):
    """One so deep that no path names it is closed to root too; else whoever brings files could hide them."""
    (place[1] / "deep" / "packed.zip").unlink()
    at = os.open(place[1], os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=at)
        at, above = os.open("x" * 250, os.O_RDONLY, dir_fd=at), at
        os.close(above)
    os.close(at)
    done = scan(place)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (
        11,
        "2 files, 0 blocked, 0 unverifiable, 1 unreadable",
    )
    assert "File name too long" in done.stdout
