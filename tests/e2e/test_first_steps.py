"""A new user's first minutes: the proxy starts, blocks the test list, logs it, restarts, drains (25 s)."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.prepared import REAL_STARTS
from e2e.processes import SECONDLOOK, Proxy, Running, command, curl, port_of, wait_for
from serverkit.ports import free_port

EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One as it comes, and started as it is by users, for all that only look at it."""
    folder = tmp_path_factory.mktemp("first")
    config = folder / "proxy.yaml"
    config.write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REAL_STARTS, "1")
        running = Proxy(folder / "state", config)
    yield running
    running.stop()


def test_blocks_the_test_list_and_lets_the_rest_through(proxy, plain_origin):
    assert stat.S_IMODE((proxy.state / "run.json").stat().st_mode) == 0o600

    def printed() -> set[str]:
        return {line.partition(" ")[0] for line in proxy.output.splitlines()}

    # a moment after run.json
    wait_for(lambda: {"proxy", "review", "server", "pattern"} <= printed(), "the ready lines")
    assert proxy.facts["pattern"]

    blocked = proxy.curl("http://malware.secondlook.test/")
    assert blocked.status == 403
    assert blocked.headers["x-second-look"].startswith("blocked; event=")
    assert "stage=pattern; threat=malware" in blocked.headers["x-second-look"]
    assert blocked.headers["cache-control"] == "no-store"
    assert proxy.curl("https://malware.secondlook.test/deep/page").status == 403
    assert proxy.curl("http://phishing.secondlook.test/login").status == 403

    clean = proxy.curl(plain_origin.url("/page"))
    assert (clean.status, clean.body) == (200, b"<h1>origin</h1>")
    assert "x-second-look" not in clean.headers

    def logged() -> set[tuple[str, str]]:
        return {(event["host"], event["threat"]) for event in proxy.json("log", "--decision", "block")}

    expected = {("malware.secondlook.test", "malware"), ("phishing.secondlook.test", "social_engineering")}
    wait_for(lambda: expected <= logged(), "the events")
    assert {each for each in logged() if each[0].endswith(".test")} == expected


def test_the_first_steps_are_named_at_the_start_and_tick_themselves_off(start_proxy):
    proxy: Proxy = start_proxy("workers: 1\nnotify: {desktop: false}\n")
    review = f"http://{proxy.facts['review']}"
    hint = re.compile(rf"hint +first steps, .*: {review}/setup\?token=\S+")
    wait_for(lambda: hint.search(proxy.output), "the line that names the page")

    def taken() -> set[str]:
        bearer = f"Authorization: Bearer {proxy.fresh_facts()['token']}"
        steps = json.loads(curl(f"{review}/api/v1/setup", "-H", bearer).body)["steps"]
        return {step["name"] for step in steps if step["taken"]}

    assert taken() == set()
    assert curl("https://malware.secondlook.test/", "-x", proxy.url).status == 0, (
        "it trusts no certificate of ours"
    )
    assert "trust" not in taken()
    assert proxy.curl("https://malware.secondlook.test/").status == 403
    wait_for(lambda: taken() == {"request", "trust", "block"} or None, "the steps to be ticked off")
    told = proxy.command("notify", "test", check=False)
    assert (told.returncode, "no notices are set up yet" in told.stderr) == (1, True)
    assert "notice" not in taken(), "a notice that reached nobody is no step"


def test_the_readme_shows_a_check_as_it_is_printed(proxy, repository):
    page = "http://phishing.secondlook.test/login"
    printed = proxy.command("check", page, check=False).stdout
    readme = (repository / "README.md").read_text()
    (shown,) = re.findall(rf"secondlook check {page}\n(.*?)^\$ ", readme, re.DOTALL | re.MULTILINE)

    def steady(text: str) -> list[str]:
        """Leave out what is measured, and blanks at the end of a line."""
        return [re.sub(r"\b\d[\d.]* (ms|s)\b", "…", line).rstrip() for line in text.splitlines()]

    assert steady(shown) == steady(printed)
    assert "phishing.secondlook.test/login  phishing.secondlook.test/" in shown


def test_who_asks_while_it_starts_is_answered_by_its_first_lists(tmp_path):
    proxy = f"127.0.0.1:{free_port()}"
    run = [
        *SECONDLOOK,
        "run",
        "--state",
        str(tmp_path / "state"),
        "--listen",
        proxy,
        "--review",
        "127.0.0.1:0",
    ]
    starting = Running(run, tmp_path / "run.log")
    try:
        retry = ["--retry", "150", "--retry-delay", "1", "--retry-connrefused", "-m", "200"]
        asked = ["curl", "-sSi", *retry, "-x", f"http://{proxy}", "http://malware.secondlook.test/"]
        done = subprocess.run(asked, capture_output=True, check=False)
        assert b"stage=pattern" in done.stdout, (done, starting.output)
    finally:
        assert starting.stop() == 0


def test_blocks_a_listed_file_by_its_hash(proxy, plain_origin):
    plain_origin.pages["/eicar.com"] = ("application/octet-stream", EICAR)
    answer = proxy.curl(plain_origin.url("/eicar.com"))
    assert answer.status == 403
    assert EICAR not in answer.body

    def logged() -> list[dict[str, object]]:
        return [event for event in proxy.json("log", "--kind", "blocked") if event["subject"] == "file"]

    (event,) = wait_for(lambda: logged() or None, "the event")
    assert event["url"].endswith("/eicar.com")
    assert event["sha256"] == "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"


def test_who_is_killed_is_started_again(proxy, plain_origin):
    """The port stays; whoever starts anew takes the place of the dead."""
    before = proxy.fresh_facts()
    victim = before["workers"][0]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in proxy.fresh_facts()["workers"], "another worker")
    assert len(proxy.fresh_facts()["workers"]) == len(before["workers"])
    assert proxy.curl(plain_origin.url()).status == 200
    os.kill(before["service"], signal.SIGKILL)

    def another() -> dict[str, object] | None:
        facts = proxy.fresh_facts()
        return facts if facts["service"] != before["service"] else None

    assert wait_for(another, "another service")["token"], "a service is told of with the token that it takes"
    assert proxy.curl("http://malware.secondlook.test/").status == 403


def test_all_die_with_the_supervisor_and_their_place_is_taken(start_proxy):
    """SIGTERM ends all with 0."""
    proxy: Proxy = start_proxy("workers: 2\n")
    assert len(set(proxy.facts["workers"])) == 2
    proxy.kill_family()
    assert (proxy.state / "run.json").exists()
    again: Proxy = start_proxy("workers: 1\n")  # the stale run.json of a dead process is replaced
    assert again.facts["pid"] != proxy.facts["pid"]
    assert again.stop() == 0  # SIGTERM drains it
    assert not (again.state / "run.json").exists()
    assert "Traceback" not in again.output


def test_a_second_proxy_on_the_same_state_is_refused(proxy):
    done = command(
        "run", "-c", proxy.config, "--state", proxy.state, "--listen", "127.0.0.1:0", "--review", "127.0.0.1:0",
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "another Second Look runs on" in done.stderr
    assert proxy.curl("http://malware.secondlook.test/").status == 403


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(start_proxy, plain_origin):
    proxy: Proxy = start_proxy("workers: 1\n")
    proxy.config.write_text("workers: 1\npolcy: {}\n")
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "did you mean policy" in proxy.output or None, "the refusal")
    wait_for(lambda: "the old one stays in force" in proxy.output or None, "the refusal")
    assert proxy.curl(plain_origin.url()).status == 200
    wait_for(lambda: proxy.fresh_facts()["settings"]["refused"], "the refusal in run.json")
    (alert,) = [each for each in proxy.json("status")[0]["alerts"] if "has changed" in each]
    assert alert.endswith(
        f"(the last time it was refused: {proxy.config}:2: polcy: unknown key; did you mean policy?)"
    )
    assert any("the last time it was refused" in note["text"] for note in overview(proxy)["attention"])

    proxy.config.write_text("workers: 1\npolicy: {block_untested: true}\n")
    proxy.process.send_signal(signal.SIGHUP)
    wait_for(lambda: proxy.curl(plain_origin.url()).status == 403 or None, "the new policy")
    assert proxy.process.poll() is None

    def refusals() -> list[str]:  # a busy machine has other errors to tell of
        told = [event["detail"] for event in proxy.json("log", "--kind", "error")]
        return [detail for detail in told if "configuration" in detail]

    (detail,) = wait_for(lambda: refusals() or None, "the refusal's event")
    assert detail.startswith("the new configuration is refused, the old one stays in force")
    assert "did you mean policy" in detail


def overview(proxy: Proxy) -> dict[str, object]:
    facts = proxy.fresh_facts()
    address = f"http://{facts['review']}/api/v1/overview"
    return json.loads(curl(address, "-H", f"Authorization: Bearer {facts['token']}").body)


def test_reload_waits_until_the_file_is_in_force_and_reports_what_differs(start_proxy, plain_origin):
    proxy: Proxy = start_proxy("workers: 2\n")
    (before,) = proxy.json("status")
    assert before["settings_changed"] is False
    assert proxy.curl(plain_origin.url()).status == 200

    proxy.config.write_text("workers: 2\npolicy: {block_untested: true}\n")
    (edited,) = proxy.json("status")
    assert "Settings." in [note["title"] for note in overview(proxy)["attention"]]
    assert edited["settings_changed"] is True
    assert f"{proxy.config} has changed" in proxy.command("status").stdout
    assert "secondlook reload" in proxy.command("doctor", check=False).stdout
    for options in ((), ("--offline",)):  # answered by the proxy, and by the command itself
        looked_up = proxy.command("check", *options, "http://a.example/", check=False)
        assert f"{proxy.config} has changed" in looked_up.stderr
    assert proxy.command("reload").stdout == f"{proxy.config} is in force in 2 workers\n"
    assert all(proxy.curl(plain_origin.url()).status == 403 for _ in range(6))
    (after,) = proxy.json("status")
    assert overview(proxy)["running_since"] == after["since"] == before["since"]
    assert after["settings_changed"] is False
    assert "has not changed" in proxy.command("reload").stdout

    facts = proxy.fresh_facts()
    proxy.config.write_text("workers: 2\npolcy: {}\n")
    faulty = proxy.command("reload", check=False)
    assert faulty.returncode == 2
    assert f"{proxy.config}:2: polcy: unknown key; did you mean policy?" in faulty.stderr
    assert proxy.fresh_facts()["settings"]["readings"] == facts["settings"]["readings"], "nothing was sent"
    assert all(proxy.curl(plain_origin.url()).status == 403 for _ in range(6))


def test_after_a_reload_no_worker_keeps_to_the_old_configuration(start_proxy, plain_origin):
    proxy: Proxy = start_proxy("workers: 2\n")
    old = set(proxy.facts["workers"])
    proxy.config.write_text("workers: 2\npolicy: {unverifiable: {page: bl\n")  # half written
    proxy.process.send_signal(signal.SIGHUP)
    proxy.config.write_text("workers: 2\npolicy: {block_untested: true}\n")
    proxy.process.send_signal(signal.SIGHUP)  # while the first one is still being obeyed: it counts too
    for pid in old:
        wait_for(lambda pid=pid: not Path(f"/proc/{pid}").exists() or None, "the end of an old worker", 90.0)
    assert not old & set(proxy.fresh_facts()["workers"])
    assert all(proxy.curl(plain_origin.url()).status == 403 for _ in range(6))


def test_rules_and_pauses_are_obeyed(start_proxy, plain_origin):
    proxy: Proxy = start_proxy("workers: 1\n")
    secret = plain_origin.url("/secret")

    def until(status: int) -> None:
        wait_for(lambda: proxy.curl(secret).status == status, f"status {status}")

    proxy.command("block", secret)
    until(403)
    assert proxy.curl(plain_origin.url("/open")).status == 200
    proxy.command("pause", "60")
    until(200)
    proxy.command("resume")
    until(403)
    # workers write their counts now and then
    wait_for(lambda: proxy.json("rules", "list")[0]["hits"] >= 2 or None, "the rule's hits")
    (rule,) = proxy.json("rules", "list")
    assert rule["hits"] >= 2, "the first refusal, and that after the pause"
    proxy.command("rules", "remove", rule["id"])
    until(200)


def test_what_is_allowed_is_counted_although_no_event_is_kept(start_proxy, plain_origin):
    proxy: Proxy = start_proxy("workers: 1\n")
    proxy.command("allow", "http://malware.secondlook.test/")
    wait_for(lambda: proxy.curl("http://malware.secondlook.test/").status != 403 or None, "the rule")
    wait_for(lambda: proxy.json("rules", "list")[0]["hits"] or None, "a hit of the rule that allows")
    before = proxy.json("status")[0]["checked"]
    assert proxy.curl(plain_origin.url()).status == 200
    wait_for(lambda: proxy.json("status")[0]["checked"] > before or None, "the count of what was checked")
    assert not proxy.json("log", "--kind", "check")


def test_the_proxy_does_not_lead_to_its_own_pages(proxy):
    for port in (proxy.review_port, port_of(proxy.facts["server"])):
        for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]"):
            assert proxy.curl(f"http://{host}:{port}/").status == 403
    assert curl(f"{proxy.url}/healthz").body == b"ok\n"
    assert b"BEGIN CERTIFICATE" in curl(f"{proxy.url}/ca.pem").body


def test_a_request_to_the_review_page_is_bounded(proxy):
    with socket.create_connection(("127.0.0.1", proxy.review_port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000)
        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")
