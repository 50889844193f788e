"""Where a generation lies in a Valkey store, and by which client it is reached."""

import pytest
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

from secondlook.server.valkey.layout import PIECE_BYTES, connect, key_of, pieces_of


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "tls"),
    [
        ("valkey://127.0.0.1:7001/3", "127.0.0.1", 7001, 3, False),
        ("valkeys://store.example:7002/0", "store.example", 7002, 0, True),
    ],
)
def test_one_server_is_reached_by_its_address(url, host, port, database, tls):
    client = connect(url)
    assert isinstance(client, Redis)
    facts = client.connection_pool.connection_kwargs
    assert (facts["host"], facts["port"], facts["db"]) == (host, port, database)
    assert ("SSL" in client.connection_pool.connection_class.__name__) is tls


def test_a_cluster_is_reached_by_any_of_its_nodes():
    client = connect("valkey+cluster://[::1]:7001,b.example:7002/")
    assert isinstance(client, RedisCluster)
    assert [(node.host, node.port) for node in client.nodes_manager.startup_nodes.values()] == [
        ("b.example", 7002), ("::1", 7001),
    ]  # fmt: skip


@pytest.mark.parametrize(("scheme", "tls"), [("valkey", False), ("valkeys", True), ("rediss", True)])
def test_a_cluster_is_given_a_password_and_spoken_to_over_tls(scheme, tls):
    more = "?ssl_ca_certs=/etc/store.pem" if tls else ""
    client = connect(f"{scheme}+cluster://agent:p%40ss@a.example:7001,b.example:7002/0{more}")
    assert isinstance(client, RedisCluster)
    for node in client.nodes_manager.startup_nodes.values():
        facts = node.connection_kwargs
        assert (facts["username"], facts["password"]) == ("agent", "p@ss")
        assert ("SSL" in node.connection_class.__name__) is tls
        assert facts.get("ssl_ca_certs") == ("/etc/store.pem" if tls else None)


def test_pieces_are_of_one_size_but_the_last():
    data = memoryview(bytes(2 * PIECE_BYTES + 1))
    assert [len(piece) for piece in pieces_of(data)] == [PIECE_BYTES, PIECE_BYTES, 1]
    assert [len(piece) for piece in pieces_of(data[:PIECE_BYTES])] == [PIECE_BYTES]
    assert list(pieces_of(data[:0])) == []


def test_keys_are_ours():
    assert key_of(7, "t", 3) == "secondlook:7:t:3"
