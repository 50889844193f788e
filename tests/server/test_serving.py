"""The access log of a server, on a disk that is full or takes a part."""

import asyncio
import json
import os
import resource
from pathlib import Path

import httpx
import pytest

from secondlook.server.http.app import ServerApp
from secondlook.server.http.serving import FOLLOW_S, JsonAccessLog
from secondlook.server.reader import FileReader
from serverkit import make_store


def test_an_access_log_that_cannot_be_written_keeps_no_answer_back(tmp_path, caplog):
    log = JsonAccessLog(Path("/dev/full"))
    reader = FileReader(make_store(tmp_path, ["evil.example"]))

    async def asking():
        await reader.refresh()
        transport = httpx.ASGITransport(ServerApp(reader, access_log=log))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return [await client.get(path) for path in ("/v5/hashLists", "/v5/hashList/mw-8b", "/v5/nothing")]

    assert [answer.status_code for answer in asyncio.run(asking())] == [200, 200, 404]
    log.close()
    assert caplog.text.count("the access log cannot be written: No space left on device") == 1


@pytest.mark.parametrize(
    ("before", "kept"), [("", []), ("{}\n", ["{}"]), ('{}\n{"time": 0', ["{}", '{"time": 0'])]
)
def test_a_line_that_a_crash_broke_off_spoils_none_of_the_next_start(before, kept, tmp_path):
    path = tmp_path / "access.log"
    path.write_text(before)
    log = JsonAccessLog(path, now=lambda: 0.0)
    log("GET", 200, 1, 0.0, "a")
    log("GET", 201, 1, 0.0, "b")
    log.close()
    *found, first, second = path.read_text().splitlines()
    assert found == kept
    assert [json.loads(line)["status"] for line in (first, second)] == [200, 201]


@pytest.mark.parametrize("made", [False, True], ids=["gone", "another one has its name"])
def test_an_access_log_that_was_moved_away_is_followed(made, tmp_path):
    path, moved, at = tmp_path / "access.log", tmp_path / "access.log.1", 0.0
    log = JsonAccessLog(path, now=lambda: at)
    log("GET", 200, 1, 0.0, "a")
    path.rename(moved)
    if made:
        path.touch()
    log("GET", 201, 1, 0.0, "b")
    at = FOLLOW_S
    log("GET", 202, 1, 0.0, "c")
    log.close()
    found = [[json.loads(line)["status"] for line in each.read_text().splitlines()] for each in (moved, path)]
    assert found == [[200, 201], [202]]


def test_an_access_log_that_was_moved_away_goes_on_while_no_new_one_can_be_begun(tmp_path, caplog):
    folder, moved, at = tmp_path / "log", tmp_path / "moved", 0.0
    folder.mkdir()
    path = folder / "access.log"
    log = JsonAccessLog(path, now=lambda: at)
    folder.rename(moved)
    for at in (FOLLOW_S, 1.5 * FOLLOW_S, 2 * FOLLOW_S):  # noqa: B007 - the log's clock
        log("GET", 200, 1, 0.0, "a")
    assert caplog.text.count("no new one can be begun: No such file or directory") == 1
    folder.mkdir()
    at = 3 * FOLLOW_S
    log("GET", 201, 1, 0.0, "a")
    log.close()
    found = [
        [json.loads(line)["status"] for line in each.read_text().splitlines()]
        for each in (moved / path.name, path)
    ]
    assert found == [[200, 200, 200], [201]]


def test_an_access_log_may_be_a_pipe(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    at = 0.0
    log = JsonAccessLog(path, now=lambda: at)
    log("GET", 200, 1, 0.0, "a")
    at = FOLLOW_S  # it is the same one still
    log("GET", 200, 1, 0.0, "a")
    log.close()
    assert os.read(reader, 1000).count(b'"status": 200') == 2
    os.close(reader)


def test_a_line_that_the_disk_took_in_part_spoils_no_other(tmp_path, caplog):
    path = tmp_path / "access.log"
    log = JsonAccessLog(path, now=lambda: 0.0)
    log("GET", 200, 1, 0.0, "a")
    whole = path.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (10, 11, 12):  # within the line, its newline alone, and again within the line
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole + room, before[1]))
        try:
            log("GET", 201, 1, 0.0, "b")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log("GET", 202, 1, 0.0, "c")
    log("GET", 203, 1, 0.0, "d")
    log.close()
    first, torn, again, *good = path.read_text().splitlines()
    assert (json.loads(first)["status"], torn, again) == (200, '{"time": 0', "{")
    assert [json.loads(line)["status"] for line in good] == [202, 203]
    assert not caplog.text  # each write took something
