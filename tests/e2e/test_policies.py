"""Who gets which policy, by client address; assessment mode; back-testing on the log of that traffic."""

from collections import Counter

from e2e.processes import Answer, Proxy, server_import, server_publish, wait_for
from serverkit.ports import free_port

COMMON, HIGH, ASSESS, UNTESTED = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def test_every_client_gets_the_policy_of_its_group(start_proxy, plain_origin, memory_path):
    listed = memory_path / "listed.txt"
    bad, odd, game, plain = map(plain_origin.url, ("/bad", "/odd", "/game", "/plain"))
    plain_origin.pages["/eicar.com"] = ("application/octet-stream", EICAR)
    eicar = plain_origin.url("/eicar.com")
    proxy: Proxy = start_proxy(
        "workers: 2\n"
        "log: {all: true}\n"
        "feeds: [{name: secondlook-test, builtin: test}]\n"
        "clients:\n"
        "  groups:\n"
        f"  - {{name: children, networks: [{HIGH}/32], policy: {{level: high}}, rules: {{block: ['{game}']}}}}\n"
        f"  - {{name: laboratory, networks: [{ASSESS}/32], policy: {{mode: assess}}}}\n"
        f"  - {{name: kiosk, networks: [{UNTESTED}/32], policy: {{block_untested: true}}}}\n",
        folder=memory_path,
    )
    # asked for until it is listed; the others are listed when they are first asked for
    ready = plain_origin.url("/ready")
    for name, urls in (("mw-8b", (bad, ready)), ("mw-s-8b", (odd,))):
        listed.write_text("".join(f"{url}\n" for url in urls))
        server_import(proxy.state, name, listed)
    server_publish(proxy.state)

    def visit(url: str, client: str) -> Answer:
        return proxy.curl(url, "--interface", client)

    wait_for(
        lambda: proxy.each_worker(lambda: visit(ready, COMMON).status) == {403}, "the list in both workers"
    )
    expected = {
        COMMON: (403, 200, 200, 200, 403),
        HIGH: (403, 403, 403, 200, 403),
        ASSESS: (200, 200, 200, 200, 200),
        UNTESTED: (403, 200, 403, 403, 403),  # known to be odd is not untested
    }
    for _ in range(3):  # both workers, and what each remembers
        for client, statuses in expected.items():
            found = tuple(visit(url, client).status for url in (bad, odd, game, plain, eicar))
            assert found == statuses, client
    stages = {url: visit(url, HIGH).headers["x-second-look"] for url in (bad, game)}
    assert "stage=pattern" in stages[bad]
    assert "stage=rules" in stages[game]

    def would() -> Counter[tuple[object, object]] | None:
        events = proxy.json("log", "--kind", "would_block")
        assert {event["client"] for event in events} <= {ASSESS}
        found = Counter((event["subject"], event["url"]) for event in events)
        return found if found["url", bad] == 3 and found["file", eicar] == 3 else None

    found = wait_for(would, "what would have been blocked")
    # the URL of a bad file is refused for a while too
    assert set(found) <= {("url", bad), ("file", eicar), ("url", eicar)}
    blocked = ("log", "--kind", "blocked")
    proxy.json_when(lambda events: len({event["client"] for event in events}) == 3, *blocked)
    assert {event["client"] for event in proxy.json(*blocked)} == {COMMON, HIGH, UNTESTED}

    # a rule that does not exist yet, a level and a list, tried on what really happened
    def tried(text: str) -> dict[str, object]:
        (report,) = proxy.json("rules", "backtest", text)
        return report

    wait_for(lambda: tried(game)["newly_blocked"] == 6 or None, "the log of those that were let through")
    assert tried(game)["clients"] == [{"client": COMMON, "count": 3}, {"client": ASSESS, "count": 3}]
    assert tried(game)["often_visited"] == ["127.0.0.1"]
    assert tried("mw-s-8b")["newly_blocked"] == 0  # suspicious is not blocked at this level
    wait_for(lambda: tried("high")["newly_blocked"] == 9, "what HIGH alone was refused")
    assert tried("never.example")["newly_blocked"] == 0
    told = proxy.command("rules", "backtest", game).stdout
    assert "6 would be blocked in addition, 0 no longer" in told
    assert proxy.command("rules", "backtest", "no rule, no list", check=False).returncode == 2


def test_assessment_decides_the_same_and_enforces_nothing(start_proxy, plain_origin, memory_path):
    config = (
        "workers: 1\n"
        "servers:\n"
        f"  intranet: [{{url: 'http://127.0.0.1:{free_port()}', name: dead}}]\n"
        "policy:\n"
        "  mode: assess\n"
        "  unverifiable: {page: block, download: block}\n"
    )
    proxy: Proxy = start_proxy(config, folder=memory_path)
    url = plain_origin.url("/nobody/knows")
    proxy.command("block", plain_origin.url("/ruled"))
    wait_for(lambda: proxy.json("rules", "test", plain_origin.url("/ruled")) or None, "the rule")
    for path in ("/nobody/knows", "/ruled"):
        assert proxy.curl(plain_origin.url(path)).status == 200

    def told() -> dict[str, dict[str, object]] | None:
        found = {str(event["url"]): event for event in proxy.json("log", "--kind", "would_block,flagged")}
        return found if url in found else None

    assert wait_for(told, "the event")[url]["stage"] == "unverifiable"
    # let through unverified all the same: it waits for its second look
    proxy.json_when(lambda queue: url in {entry["url"] for entry in queue}, "queue", "list")

    def ruled() -> bool | None:
        assert proxy.curl(plain_origin.url("/ruled")).status == 200
        return (
            any(event["url"].endswith("/ruled") for event in proxy.json("log", "--kind", "would_block"))
            or None
        )

    wait_for(ruled, "the rule's would_block")
    assert proxy.json("log", "--decision", "block", "--kind", "blocked") == []
    proxy.stop()
    enforced: Proxy = start_proxy(config.replace("assess", "enforce"), folder=memory_path)
    assert enforced.curl(url).status == 403
    assert enforced.curl(plain_origin.url("/ruled")).status == 403
