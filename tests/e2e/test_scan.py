"""Files that no list knows, found by looking into them, through the proxy and through Squid: held, streamed, in every
wrapping. 20 s.
"""

import signal
from contextlib import ExitStack
from typing import Any

import pytest

from e2e.processes import Proxy, curl, wait_for
from icapkit.squid import squid
from proxykit.samples import EICAR, gzipped, program, tarred, zipped
from scankit.clamd import MARK, real_clamd

HIDDEN = b"#!/bin/sh\n" + EICAR + b"\nnobody lists this\n"
OWN = 'rule Planted { meta: severity = "high" family = "Planted" strings: $a = "planted by the test" condition: $a }\n'
PLANTED = program(3 << 20, 5)[: 3 << 19] + b"planted by the test" + program(3 << 20, 6)[: 3 << 19]
LATE = b"a mark of which nobody knows yet"
FILES = {
    "plain.exe": HIDDEN,
    "packed.zip": zipped({"a/b.sh": HIDDEN}),
    "packed.tar.gz": tarred({"b.sh": HIDDEN}, "w:gz"),
    "nested.zip": zipped({"in.tar.gz": tarred({"in.zip": zipped({"b.sh": HIDDEN})}, "w:gz")}),
    "streamed.exe": PLANTED,
    "clean.exe": program(3 << 20, 7),
    "small.exe": program(5000, 8),
}


WAYS = {
    "proxy": "workers: 1\n",
    "squid": 'mode: none\ngateway: {enabled: true, icap: {listen: "127.0.0.1:0"}}\n',
}


@pytest.mark.parametrize("way", WAYS)
def test_what_no_list_knows_is_found(start_proxy, plain_origin, tmp_path, way):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "own.yar").write_text(OWN)
    for name, body in FILES.items():
        plain_origin.pages[f"/{name}"] = ("application/octet-stream", body)
    encoded = ("Content-Encoding", "gzip")
    plain_origin.pages["/encoded.exe"] = ("application/octet-stream", gzipped(HIDDEN), encoded)
    proxy: Proxy = start_proxy(
        f"{WAYS[way]}log: {{all: true}}\nfeeds: []\ndownloads: {{hold_up_to: 1 MiB}}\n"
        f"scan: {{yara: {{rules: [{rules}]}}}}\n"
    )

    def told() -> list[str]:
        return [str(event["detail"]) for event in proxy.json("log", "--kind", "update")]

    wait_for(lambda: "2 YARA rules in force" in told(), "the rules in force")
    with ExitStack() as stack:
        by = proxy.url if way == "proxy" else stack.enter_context(squid(proxy.facts["icap"])).url
        for name in ("plain.exe", "encoded.exe", "packed.zip", "packed.tar.gz", "nested.zip"):
            answer = curl(plain_origin.url(f"/{name}"), "-x", by)
            assert answer.status == 403, name
            assert "stage=scan; threat=malware" in answer.headers["x-second-look"], name
        for name in ("clean.exe", "small.exe"):
            answer = curl(plain_origin.url(f"/{name}"), "-x", by)
            assert (answer.status, answer.body) == (200, FILES[name])
        cut = curl(plain_origin.url("/streamed.exe"), "-x", by)
        assert cut.exit != 0
        assert len(cut.body) < len(PLANTED)
    names = {*FILES, "encoded.exe"} - {"clean.exe", "small.exe"}
    found = proxy.json_when(
        lambda events: names == {event["filename"] for event in events}, "log", "--kind", "blocked"
    )
    events = {event["filename"]: event for event in found}
    assert {(event["stage"], event["list"]) for event in events.values()} == {("scan", "yara")}
    streamed, nested = events["streamed.exe"], events["nested.zip"]
    assert (streamed["rule"], streamed["risk"], streamed["detail"]) == (
        "Planted",
        "dangerous",
        "family: Planted",
    )
    assert nested["extra"]["member"] == "in.tar.gz/unpacked/in.zip/b.sh"

    def small(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in events if each["filename"] == "small.exe" and each["subject"] == "file"]

    (looked,) = small(proxy.json_when(small, "log", "--kind", "check"))
    assert ("scan", "miss") in [(step["stage"], step["outcome"]) for step in looked["extra"]["steps"]]


def test_clamd_finds_is_missed_and_comes_back(start_proxy, plain_origin, tmp_path):
    """Held and streamed files go to a real clamd; while it is away they are flagged, and nobody waits for it."""
    large = program(3 << 20, 5) + MARK
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for name, body in {
        "small.exe": b"MZ" + MARK,
        "large.exe": large,
        "packed.zip": zipped({"in.zip": zipped({"a": MARK})}),
        "clean.exe": program(3 << 20, 7),
        "fresh.exe": program(3 << 20, 8) + LATE,
    }.items():
        plain_origin.pages[f"/{name}"] = ("application/octet-stream", body)
    with real_clamd() as clamd:
        proxy: Proxy = start_proxy(
            f"workers: 1\nfeeds: []\ndownloads: {{hold_up_to: 1 MiB, folders: [{downloads}]}}\n"
            f"actions: {{file: quarantine}}\n"
            f"scan: {{clamd: {{address: {clamd.address}, timeout: 30s}}}}\n"
        )
        for name in ("small.exe", "packed.zip"):
            answer = proxy.curl(plain_origin.url(f"/{name}"))
            assert (answer.status, "stage=scan" in answer.headers["x-second-look"]) == (403, True), name
        assert proxy.curl(plain_origin.url("/large.exe")).exit != 0
        assert proxy.curl(plain_origin.url("/clean.exe")).status == 200
        names = {"small.exe", "packed.zip", "large.exe"}
        found = proxy.json_when(
            lambda events: names == {event["filename"] for event in events}, "log", "--kind", "blocked"
        )
        assert {(event["list"], event["rule"]) for event in found} == {("clamd", "Own.Mark")}
        assert "engine clamd" in proxy.command("doctor", check=False).stdout
        clamd.stop(signal.SIGTERM)
        for number in range(4):
            answer = proxy.curl(plain_origin.url(f"/fresh.exe?{number}"))
            assert (answer.status, len(answer.body)) == (200, (3 << 20) + len(LATE))
        (waiting,) = proxy.json_when(lambda queue: [each["count"] for each in queue] == [4], "queue", "list")
        assert waiting["reason"].startswith("scan: clamd: ")
        assert waiting["filename"] == "fresh.exe"

        def told(what: str) -> list[str] | None:
            events = [event for event in proxy.json("log", "--kind", "server") if event["server"] == "clamd"]
            return [str(event["detail"]) for event in events if event["detail"].startswith(what)] or None

        wait_for(lambda: told("opened: no connection"), "the event that clamd is away")
        (downloads / "fresh.exe").write_bytes(plain_origin.pages["/fresh.exe"][1])
        (downloads / "clean.exe").write_bytes(plain_origin.pages["/clean.exe"][1])
        with (clamd.database / "own.ndb").open("a") as signatures:  # it comes back and knows more
            signatures.write(f"Own.Late:0:*:{LATE.hex()}\n")
        clamd.start()
        wait_for(lambda: told("closed: answers again"), "the event that clamd answers again")
        # what was flagged is looked into where it lies, found and taken away
        (confirmed,) = wait_for(lambda: proxy.json("log", "--kind", "confirmed") or None, "the second look")
        assert (confirmed["stage"], confirmed["list"], confirmed["rule"]) == ("scan", "clamd", "Own.Late")
        wait_for(lambda: not (downloads / "fresh.exe").exists() or None, "the quarantine")
        assert (downloads / "clean.exe").exists()
        proxy.json_when(lambda queue: not queue, "queue", "list")
        assert proxy.curl(plain_origin.url("/fresh.exe?4")).exit != 0  # cut, as it streams
        plain_origin.pages["/again.exe"] = ("application/octet-stream", large)
        assert proxy.curl(plain_origin.url("/again.exe")).exit != 0
