"""A server whose store is a Valkey Cluster of three: one node dies under load, and nothing is lost."""

import math
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from e2e.fronts import Front
from e2e.processes import Proxy, Server, curl, server_import, server_publish, wait_for
from e2e.traffic import Traffic
from secondlook.core.url.canonical import url_subject
from serverkit.valkey import cluster


@pytest.mark.parametrize("visits", [150, pytest.param(5_000, marks=pytest.mark.soak)])
def test_a_node_dies_and_checks_go_on_or_are_flagged(
    visits: int, start_server, start_proxy, tmp_path: Path, suffixes, plain_origin
):
    listed = tmp_path / "listed.txt"
    bad = plain_origin.url("/offer/setup")
    listed.write_text(f"{bad}\n" + "".join(f"evil{number}.example\n" for number in range(2000)))
    server_import(tmp_path / "server", "mw-8b", listed)
    server_publish(tmp_path / "server")
    with cluster(tmp_path / "valkey") as (url, nodes):
        server: Server = start_server(tmp_path / "server", "--set", f"store={url}")
        wait_for(
            lambda: "generation=1" in curl(f"{server.url}/healthz").body.decode(),
            "the generation to be served",
        )
        with Front(urlsplit(server.url).netloc) as front:
            proxy: Proxy = start_proxy(
                "workers: 1\n"
                "servers:\n"
                "  embedded: false\n"
                "  circuit: {backoff_min: 100ms, backoff_max: 300ms}\n"
                f"  intranet: [{{url: '{front.url}', name: office}}]\n"
                "recheck: {first: 1h, longest: 1h}\n"  # what is flagged stays to be seen
            )
            assert proxy.curl(bad).status == 403
            with Traffic(lambda: proxy.address, pause_s=0.05) as traffic:

                def let_through(mark: int, wanted: int) -> None:
                    wait_for(
                        lambda: sum(visit.let_through for visit in traffic.since(mark)) >= wanted,
                        "traffic",
                        120 + wanted / 5,
                    )

                let_through(0, 20)
                spare = next(
                    node
                    for node in nodes
                    if all(
                        "MOVED" in node.cli("exists", f"secondlook:{key}")
                        for key in ("current", "1:manifest")
                    )
                )
                spare.kill()
                killed = time.monotonic()
                let_through(traffic.mark(), visits)
            assert proxy.curl(bad).status == 403

            def answered(visited: str) -> float:
                return front.answered.get(url_subject(visited, suffixes).identity[:4], math.inf)

            unverified = {
                visit.url
                for visit in traffic.visits
                if visit.let_through and answered(visit.url) > visit.started + visit.took_s
            }
            assert all(visit.let_through for visit in traffic.visits)
            assert unverified, "nobody missed the node"
            proxy.json_when(lambda queue: unverified <= {each["url"] for each in queue}, "queue", "list")
            checked = [visit for visit in traffic.visits if killed < answered(visit.url) < math.inf]
            assert checked, "no check went on"
            sys.stdout.write(
                f"{len(traffic.visits)} requests, {len(checked)} checked without the node, "
                f"{len(unverified)} flagged\n"
            )
