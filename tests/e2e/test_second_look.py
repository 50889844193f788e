"""The story the program is named after, with real processes: servers away, let through, looked at again."""

import hashlib
import itertools

from e2e.processes import Proxy, Server, server_import, server_publish, wait_for
from serverkit.ports import free_port

ASKED = "secondlook_lookup_queries_total{"


def test_let_through_while_servers_are_away_and_caught_when_they_return(
    start_proxy, start_server, plain_origin, tmp_path
):
    empty, full = tmp_path / "empty", tmp_path / "full"
    harmless, harmful = tmp_path / "harmless.txt", tmp_path / "harmful.txt"
    harmless.write_text("harmless.example\n")
    url = plain_origin.url("/offer/setup")
    harmful.write_text(f"{url}\n")
    server_import(empty, "mw-8b", harmless)
    server_publish(empty)
    port = free_port()
    first: Server = start_server(empty, port=port)
    config = (
        "workers: 2\n"
        "servers:\n"
        "  embedded: false\n"
        "  circuit: {backoff_min: BACKOFF, backoff_max: BACKOFF}\n"
        "  budget: 30s\n"  # who answers late on a busy machine has answered
        "  attempt_timeout: 10s\n"
        f"  intranet: [{{url: 'http://127.0.0.1:{port}'}}]\n"
        "recheck: {first: 1s, longest: 5s}\n"
    )  # fmt: skip
    proxy: Proxy = start_proxy(config.replace("BACKOFF", "1h"))
    assert proxy.curl(plain_origin.url("/known")).status == 200
    assert proxy.json("queue", "list") == []

    first.stop()
    assert proxy.curl(url).status == 200
    # once its circuit is open nobody asks the dead server, so nothing waits for it
    numbers = itertools.count()

    def nobody_asks() -> bool:
        before = asked(proxy)
        for _ in range(4):
            assert proxy.curl(plain_origin.url(f"/more/{next(numbers)}")).status == 200
        return asked(proxy) == before

    wait_for(nobody_asks, "open circuits")

    def of_it(queue: list[dict[str, object]]) -> list[dict[str, object]]:
        return [each for each in queue if each["url"] == url]

    (entry,) = of_it(proxy.json_when(of_it, "queue", "list"))
    assert entry["class"] == "page"
    assert entry["clients"] == ["127.0.0.1"]
    assert entry["count"] >= 1

    proxy.kill_family()  # as a power cut would: what was let through must still be known
    (again,) = of_it(proxy_queue(proxy))
    assert again["id"] == entry["id"]

    proxy = start_proxy(config.replace("BACKOFF", "200ms"))
    assert of_it(proxy.json("queue", "list"))
    server_import(full, "mw-8b", harmful)
    server_publish(full)
    start_server(full, port=port)

    def confirmed() -> dict[str, object] | None:
        return next(
            (event for event in proxy.json("log", "--kind", "confirmed") if event["url"] == url), None
        )

    event = wait_for(confirmed, "the second look")
    assert event["threat"] == "malware"
    wait_for(lambda: proxy.each_worker(lambda: proxy.curl(url).status) == {403}, "the block in both workers")
    seen = len(plain_origin.requests)
    assert proxy.curl(url).status == 403
    assert len(plain_origin.requests) == seen
    assert wait_for(lambda: not proxy.json("queue", "list") or None, "the queue to drain")
    ends = {(url, "confirmed"), (plain_origin.url("/more/0"), "cleared")}
    proxy.json_when(
        lambda events: ends <= {(event["url"], event["kind"]) for event in events},
        *("log", "--kind", "cleared,confirmed"),
    )


def asked(proxy: Proxy) -> float:
    """Count the queries that were sent to servers, whatever came of them."""
    return sum(count for name, count in proxy.metrics().items() if name.startswith(ASKED))


def proxy_queue(proxy: Proxy) -> list[dict[str, object]]:
    """The queue as a command sees it while nothing runs."""
    return proxy.json("queue", "list")


def test_who_had_a_file_before_another_was_refused_it_has_it_taken_away(
    start_proxy, start_server, plain_origin, tmp_path
):
    body = b"#!/bin/sh\n# for the first and the second\n"
    plain_origin.pages["/twice.sh"] = ("application/octet-stream", body)
    url, state, downloads = plain_origin.url("/twice.sh"), tmp_path / "server", tmp_path / "downloads"
    downloads.mkdir()
    server_publish(state)
    server: Server = start_server(state)
    proxy: Proxy = start_proxy(
        "workers: 2\n"
        "servers:\n"
        "  embedded: false\n"
        f"  intranet: [{{url: '{server.url}'}}]\n"
        "  poll: 1h\n"  # what the server lists meanwhile is heard of by asking alone
        "  budget: 30s\n"
        "  attempt_timeout: 10s\n"
        "cache: {expiry_min: 1s, expiry_max: 2s}\n"
        f"downloads: {{folders: ['{downloads}']}}\n"
        "notify: {desktop: false}\n"
    )
    got = proxy.curl(url)
    assert (got.status, got.body) == (200, body)
    saved = downloads / "twice.sh"
    saved.write_bytes(got.body)

    listed = tmp_path / "listed.txt"
    listed.write_text(hashlib.sha256(body).hexdigest() + "\n")
    server_import(state, "x-file-mw-8b", listed)
    server_publish(state)
    second = ("--interface", "127.0.0.2")
    refused = wait_for(
        lambda: found if (found := proxy.curl(url, *second)).status == 403 else None, "the server's word"
    )
    assert "stage=query" in refused.headers["x-second-look"]
    late = wait_for(lambda: proxy.json("log", "--kind", "late_verdict") or None, "the late verdict")
    assert [event["sha256"] for event in late] == [hashlib.sha256(body).hexdigest()]
    wait_for(lambda: not saved.exists() or None, "the quarantine")
