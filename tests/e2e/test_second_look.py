"""The story the program is named after, with real processes: servers away, let through, looked at again."""

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
    (entry,) = [each for each in proxy.json("queue", "list") if each["url"] == url]
    assert entry["class"] == "page"
    assert entry["clients"] == ["127.0.0.1"]
    assert entry["count"] >= 1

    proxy.kill_family()  # as a power cut would: what was let through must still be known
    (again,) = [each for each in proxy_queue(proxy) if each["url"] == url]
    assert again["id"] == entry["id"]

    proxy = start_proxy(config.replace("BACKOFF", "200ms"))
    assert any(each["url"] == url for each in proxy.json("queue", "list"))
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
    closed = {event["url"]: event["kind"] for event in proxy.json("log", "--kind", "cleared,confirmed")}
    assert closed[url] == "confirmed"
    assert closed[plain_origin.url("/more/0")] == "cleared"


def asked(proxy: Proxy) -> float:
    """Count the queries that were sent to servers, whatever came of them."""
    return sum(count for name, count in proxy.metrics().items() if name.startswith(ASKED))


def proxy_queue(proxy: Proxy) -> list[dict[str, object]]:
    """The queue as a command sees it while nothing runs."""
    return proxy.json("queue", "list")
