"""A URL, digest or file checked without a running proxy."""

import json
import os
import re

import pytest

from cli.calling import on
from e2e.processes import command, json_lines, server_publish


@pytest.mark.parametrize("path", ["/nonexistent/file.exe", "./nonexistent.exe"])
def test_a_file_that_is_not_there_is_no_url(state, path):
    done = on(state, "check", path, "--offline", check=False)
    assert done.returncode == 1
    assert f"cannot read the file {path}: No such file" in done.stderr


def test_check_without_a_running_proxy(state, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("bad.example\nhttp://half.example/bad/file.exe\n")
    bad_file = tmp_path / "sample.bin"
    bad_file.write_bytes(b"a bad file")
    digests = tmp_path / "digests.txt"
    import hashlib

    digest = hashlib.sha256(b"a bad file").hexdigest()
    digests.write_text(f"{digest}\n")
    server = state / "server"
    json_lines("server", "import", listed, "--state", server, "--list", "mw-8b")
    json_lines("server", "import", digests, "--state", server, "--list", "x-file-mw-8b")
    server_publish(server)
    done = command(
        "check", "http://www.bad.example/page?x=1", "half.example/bad/file.exe", "http://half.example/good",
        digest, str(bad_file), "--json", "--state", state, check=False,
    )  # fmt: skip
    assert done.returncode == 10
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["decision"] for each in told] == ["block", "block", "allow", "block", "block"]
    for each in told:
        assert set(each) >= {
            "subject", "decision", "verdict", "risk", "stage", "list", "rule", "threat", "canonical", "expressions",
            "stages",
        }  # fmt: skip
    assert told[0]["subject"] == "http://www.bad.example/page?x=1"
    assert told[0]["expressions"][0] == "www.bad.example/page?x=1"
    assert told[0]["list"] == "mw-8b"
    assert told[2]["verdict"] == "unknown"
    assert (told[3]["canonical"], told[3]["expressions"]) == (None, [])
    again = command("check", "http://half.example/good", "--state", state)
    assert (again.returncode, again.stderr) == (0, "")
    assert [path.name for path in state.iterdir()] == ["server"]  # no ledger was made for it


def test_check_of_what_nobody_can_answer(state, tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("servers: {embedded: false, intranet: [{url: 'http://127.0.0.1:9'}]}\n")
    for options in ((), ("--offline",)):
        done = command(
            "check", "http://x.example/", "--json", "-c", config, "--state", state, *options, check=False
        )
        assert done.returncode == 11, done.stderr
        (told,) = [json.loads(line) for line in done.stdout.splitlines()]
        assert told["decision"] == "flag"
        assert told["unverifiable"]


def test_unusual_input_of_check(state):
    done = command("check", "http://", "", "http://[", "\x01", "--state", state, "--json", check=False)
    assert done.returncode in {2, 10, 11}
    assert "Traceback" not in done.stderr


def test_what_is_neither_a_url_nor_a_file_is_not_allowed(state, tmp_path):
    """A file's name that is mistyped would else be a strange host that nobody has on a list."""
    done = command("check", "no such file.zip", "--state", state, check=False)
    assert done.returncode == 2
    assert "expected a URL or a digest, got 'no such file.zip'; there is no file of that name" in done.stderr
    assert "ALLOW" not in done.stdout
    for text in ("http://a.example/two words", "a.example/two words"):
        assert command("check", text, "--state", state, "--offline", check=False).returncode != 2
    for text, why in (
        ("-", "standard input is not read, got '-'"),
        ("ab" * 33, "a digest has 64 (sha256), 40 (sha1), 32 (md5) hexadecimal digits"),
    ):
        done = command("check", text, "--state", state, "--offline", check=False, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
    names = ("mistyped.exe", "xn--bcher-kva.example")
    shown = command("check", *names, "--state", state, "--offline", check=False).stdout
    assert "taken for  a host; no file here has this name" in shown
    assert "reads as   bücher.example" in shown
    (tmp_path / "site.example").mkdir()  # as `wget -r` makes one
    shown = command("check", "site.example", "--state", state, "--offline", check=False, cwd=tmp_path).stdout
    assert re.search(
        r"taken for  a host; the folder of this name here: \S*secondlook scan site\.example\n", shown
    )


def test_a_folder_is_no_host_that_is_on_no_list(state, tmp_path):
    (tmp_path / "some files" / "below").mkdir(parents=True)
    for words, hint in (
        (("some files",), "as a host: "),
        (("some files/below/",), "as a host: "),
        (("./some files",), None),
        ((tmp_path,), None),
        ((".",), None),
        (("--file", "some files"), "as a host: "),
    ):
        done = command("check", *words, "--state", state, "--offline", check=False, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.search(
            rf"{re.escape(str(words[-1]))} is a folder\n  `\S*secondlook scan .* looks", done.stderr
        )
        assert (hint or "as a host") in done.stderr if hint else "as a host" not in done.stderr


def test_a_digest_is_one_beside_a_folder_of_that_name(state, tmp_path):
    digest = "ab" * 32  # as collections of samples name their folders
    (tmp_path / digest).mkdir()
    done = command("check", digest, "--state", state, "--offline", check=False, cwd=tmp_path)
    assert done.returncode == 11, done.stderr  # no server was asked
    assert done.stdout.splitlines()[0].endswith(digest)
    done = command("check", f"{digest}/", "--state", state, "--offline", check=False, cwd=tmp_path)
    assert (done.returncode, "is a folder" in done.stderr) == (2, True)


def test_a_pipe_is_not_waited_for(state, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("./pipe", "pipe"):
        done = command("check", name, "--file", "--state", state, "--offline", check=False, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"cannot read the file {name}: it is a pipe or a device" in done.stderr
