"""What one agent finds out protects all: two proxies, one server, and an operator who blocks at one of them."""

import hashlib
import json
import time

import pytest

from e2e.processes import Server, command, json_lines, server_publish, wait_for

TOKEN = "a token of the office"


@pytest.fixture
def office(start_server, start_proxy, tmp_path):
    server_publish(tmp_path / "server")  # nothing yet: else what passes is flagged, and confirmed instead
    server: Server = start_server(
        tmp_path / "server", "--set", "findings=auto", "--set", f"tokens={json.dumps([TOKEN])}"
    )
    config = (
        "workers: 1\n"
        "servers:\n"
        "  embedded: false\n"
        f"  intranet: [{{url: '{server.url}', name: office, token: '{TOKEN}'}}]\n"
        "  poll: 1s\n"
        "  budget: 30s\n"  # on a busy machine too an answer comes: what none came for is no late verdict
        "  attempt_timeout: 10s\n"
        "cache: {expiry_min: 1s, expiry_max: 2s}\n"
        "notify: {desktop: false}\n"
    )
    rules = tmp_path / "own.yar"
    rules.write_text('rule Planted { strings: $a = "planted by the test" condition: $a }')
    scans = f"scan: {{report: true, yara: {{rules: ['{rules}']}}}}\n"
    return server, start_proxy(config + scans, name="one"), start_proxy(config, name="two")


def test_what_one_finds_in_a_file_is_refused_at_the_other(office, plain_origin, record_property):
    server, one, two = office
    body = b"#!/bin/sh\n# planted by the test\n"
    plain_origin.pages["/setup.sh"] = ("application/octet-stream", body)
    url = plain_origin.url("/setup.sh")
    assert two.curl(url).body == body
    refused = wait_for(
        lambda: found if (found := one.curl(url)).status == 403 else None, "the rules in force at one"
    )
    assert "stage=scan" in refused.headers["x-second-look"]
    found_at = time.monotonic()
    refused = wait_for(lambda: found if (found := two.curl(url)).status == 403 else None, "the other's block")
    record_property("seconds from found at one to refused at the other", time.monotonic() - found_at)
    assert "stage=scan" not in refused.headers["x-second-look"]
    digest = hashlib.sha256(body).hexdigest()
    late = wait_for(lambda: two.json("log", "--kind", "late_verdict") or None, "the late verdict")
    assert {event["sha256"] for event in late} == {digest}
    (found,) = json_lines("server", "findings", "--state", server.state)
    assert (found["subject"], found["list"], found["found"]) == (digest, "x-file-mw-hs-8b", "yara: Planted")


def test_what_is_blocked_at_one_is_refused_at_the_other(office, plain_origin):
    server, one, two = office
    url = plain_origin.url("/offer/setup")
    assert two.curl(url).status == 200
    printed = one.command("block", url, "--reason", "a false shop", "--report").stdout
    assert "reported" in printed
    wait_for(lambda: two.curl(url).status == 403, "the block at the other proxy")
    (late,) = wait_for(lambda: two.json("log", "--kind", "late_verdict") or None, "the late verdict")
    assert late["url"] == url
    (blocked,) = two.json_when(bool, "log", "--kind", "blocked", "--limit", "1")
    assert (blocked["list"], blocked["server"] or "office") == ("mw-8b", "office")
    (event,) = wait_for(
        lambda: [each for each in one.json("log", "--kind", "action") if each["server"] == "office"] or None,
        "the event of the report",
    )
    assert event["detail"] == "one finding reported to office: 1 listed"

    (found,) = json_lines("server", "findings", "--state", server.state)
    assert (found["state"], found["found"], found["address"]) == (
        "listed",
        "operator: a false shop",
        "127.0.0.1",
    )
    json_lines("server", "findings", "withdraw", found["id"], "--state", server.state)
    server_publish(server.state)
    wait_for(lambda: two.curl(url).status == 200, "the end of the block")
    assert one.curl(url).status == 403


def test_what_no_list_can_hold_is_not_reported(tmp_path):
    config = tmp_path / "proxy.yaml"
    config.write_text("servers: {intranet: [{url: 'http://127.0.0.1:9'}]}\n")
    place = ("--report", "-c", config, "--state", tmp_path / "state")
    for words in (("/evil.*/",), ("=evil.example",), ("evil.example", "--client", "10.0.0.1")):
        done = command("block", *words, *place, check=False)
        assert (done.returncode, "lists hold nothing else" in done.stderr) == (2, True), words
    config.write_text("")
    done = command("block", "evil.example", *place, check=False)
    assert (done.returncode, "servers.intranet" in done.stderr) == (1, True)
    assert not (tmp_path / "state").exists()
