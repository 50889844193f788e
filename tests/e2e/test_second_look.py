"""The story the program is named after, with real processes: servers away, let through, looked at again."""

import time

from e2e.processes import Proxy, Server, server_import, server_publish, wait_for


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
    first: Server = start_server(empty)
    port = first.port
    config = (
        "workers: 2\n"
        "servers:\n"
        "  embedded: false\n"
        f"  intranet: [{{url: 'http://127.0.0.1:{port}'}}]\n"
    )  # fmt: skip
    proxy: Proxy = start_proxy(config)
    assert proxy.curl(plain_origin.url("/known")).status == 200
    assert proxy.json("queue", "list") == []

    first.stop()
    started = time.monotonic()
    answer = proxy.curl(url)
    assert answer.status == 200
    assert time.monotonic() - started < 5.0
    # once the circuit is open nothing waits for the dead server
    for number in range(4):
        proxy.curl(plain_origin.url(f"/more/{number}"))
    assert proxy.curl(plain_origin.url("/quick")).took_s < 1.0
    (entry,) = [each for each in proxy.json("queue", "list") if each["url"] == url]
    assert entry["class"] == "page"
    assert entry["clients"] == ["127.0.0.1"]
    assert entry["count"] >= 1

    proxy.kill_family()  # as a power cut would: what was let through must still be known
    (again,) = [each for each in proxy_queue(proxy) if each["url"] == url]
    assert again["id"] == entry["id"]

    proxy = start_proxy(config)
    assert any(each["url"] == url for each in proxy.json("queue", "list"))
    server_import(full, "mw-8b", harmful)
    server_publish(full)
    start_server(full, port=port)

    def confirmed() -> dict[str, object] | None:
        return next(
            (event for event in proxy.json("log", "--kind", "confirmed") if event["url"] == url), None
        )

    event = wait_for(confirmed, "the second look", 60)
    assert event["threat"] == "malware"
    assert wait_for(lambda: proxy.curl(url).status == 403 or None, "the block", 5)
    seen = len(plain_origin.requests)
    assert proxy.curl(url).status == 403
    assert len(plain_origin.requests) == seen
    assert wait_for(lambda: not proxy.json("queue", "list") or None, "the queue to drain", 30)
    closed = {event["url"]: event["kind"] for event in proxy.json("log", "--kind", "cleared,confirmed")}
    assert closed[url] == "confirmed"
    assert closed[plain_origin.url("/quick")] == "cleared"


def proxy_queue(proxy: Proxy) -> list[dict[str, object]]:
    """The queue as a command sees it while nothing runs."""
    return proxy.json("queue", "list")
