"""A laptop leaves the intranet and returns: network namespaces, addresses removed and added."""

import pytest

from e2e.namespaces import cable, inside, ip, namespaces
from e2e.origin import origin
from e2e.processes import Proxy, Server, server_import, server_publish, wait_for

OFFICE, WORLD = "10.77.1.1", "10.88.1.1"
AT_OFFICE, AT_CAFE = "10.77.1.2/24", "10.88.1.2/24"
ANSWERED = 'secondlook_lookup_queries_total{{outcome="answered",server="{}"}}'


def answered(proxy: Proxy, server: str) -> float:
    """Count the queries that a server has answered."""
    return proxy.metrics().get(ANSWERED.format(server), 0.0)


def locations(proxy: Proxy) -> list[str]:
    """Tell how the location changed, oldest first."""
    return [
        "away" if "away from" in event["detail"] else "there"
        for event in proxy.json("log", "--kind", "server")
        if event["detail"].startswith("location: ")
    ]


@pytest.mark.timeout(600)
def test_a_laptop_leaves_the_intranet_and_returns(  # noqa: PLR0915 - one story
    start_proxy, start_server, memory_path
):
    def publish(name: str, *lines: str) -> None:
        listed = memory_path / f"{name}.txt"
        listed.write_text("\n".join(lines) + "\n")
        server_import(memory_path / name, "mw-8b", listed)
        server_publish(memory_path / name)

    def serve(name: str, address: str) -> Server:
        server: Server = start_server(memory_path / name, "--set", "tokens=false", address=address)
        return server

    publish("office", "office-only.example")
    publish("world", "world-only.example")
    with namespaces("laptop", "office", "world") as (laptop, office, world):
        cable(laptop, AT_OFFICE, office, f"{OFFICE}/24", "office")
        cable(laptop, AT_CAFE, world, f"{WORLD}/24", "cafe")
        ip("-n", laptop, "route", "add", "default", "via", WORLD)
        with inside(office):
            intranet = serve("office", OFFICE)
        with inside(world):
            network = serve("world", WORLD)
        with inside(laptop), origin() as site:
            proxy: Proxy = start_proxy(
                "workers: 2\n"
                "servers:\n"
                "  embedded: false\n"
                f"  intranet: [{{url: '{intranet.url}', name: office, insecure: true}}]\n"
                f"  network: {{url: '{network.url}', name: world, insecure: true}}\n"
                "  location: {networks: [10.77.1.0/24]}\n"
                "  poll: 1s\n"
                "  budget: 30s\n"  # who answers late on a busy machine has answered
                "  attempt_timeout: 10s\n"
                "  circuit: {backoff_min: 100ms, backoff_max: 1s}\n"
                "recheck: {first: 1s, longest: 5s}\n",
                folder=memory_path,
            )

            def visit(path: str) -> int:
                return proxy.curl(site.url(path)).status

            def generations(server: str) -> set[str]:
                lists = proxy.json("pattern", "status")
                return {line["generation"] for line in lists if line["server"] == server}

            before = answered(proxy, "world")
            assert visit("/at/work") == 200
            assert answered(proxy, "office") > 0
            assert answered(proxy, "world") == before
            assert proxy.curl("http://office-only.example/").status == 403
            (published,) = generations("office")

            ip("-n", laptop, "addr", "del", AT_OFFICE, "dev", "office")  # out of the house
            wait_for(lambda: locations(proxy) == ["away"] or None, "that it is away")
            wait_for(lambda: proxy.metrics()["secondlook_lookup_on_intranet"] == 0 or None, "every process")
            asked_office, asked_world = answered(proxy, "office"), answered(proxy, "world")
            assert visit("/in/the/cafe") == 200
            assert answered(proxy, "world") > asked_world
            assert proxy.json("queue", "list") == [], "the network server has answered"
            # the office publishes meanwhile; nobody here can know
            publish("office", "office-only.example", "new-at-the-office.example", site.url("/offer"))

            network.stop()
            for path in ("/offer", "/harmless/1", "/harmless/2"):
                assert visit(path) == 200
            waiting = {site.url(path) for path in ("/offer", "/harmless/1", "/harmless/2")}
            proxy.json_when(lambda queue: {entry["url"] for entry in queue} == waiting, "queue", "list")
            assert answered(proxy, "office") == asked_office, "not asked while away"
            assert generations("office") == {published}, "updates pause"

            ip("-n", laptop, "addr", "add", AT_OFFICE, "dev", "office")  # back at work
            wait_for(lambda: locations(proxy) == ["away", "there"] or None, "that it is there again")
            wait_for(lambda: not proxy.json("queue", "list") or None, "the second look")
            closed = ("log", "--kind", "confirmed,cleared")
            proxy.json_when(lambda events: waiting <= {event["url"] for event in events}, *closed)
            assert {event["url"]: event["kind"] for event in proxy.json(*closed)} == {
                site.url("/offer"): "confirmed",
                site.url("/harmless/1"): "cleared",
                site.url("/harmless/2"): "cleared",
            }
            wait_for(lambda: visit("/offer") == 403 or None, "the block")
            wait_for(
                lambda: proxy.curl("http://new-at-the-office.example/").status == 403 or None,
                "the lists published meanwhile",
            )
            wait_for(lambda: generations("office") != {published} or None, "that updates go on")
            assert visit("/at/work/again") == 200
            assert answered(proxy, "office") > asked_office
            proxy.stop()
