"""Durations, sizes, addresses and hosts as people write them."""

import pytest
from pydantic_core import PydanticCustomError

from secondlook.config.query import PolicySettings, Reference, RemoteServer
from secondlook.config.record import WebhookSettings
from secondlook.config.service import FeedSettings, UpstreamSettings
from secondlook.config.traffic import ClientsSettings, GroupPolicy, PassthroughSettings, UpstreamProxySettings
from secondlook.config.value import Address, parse_address, parse_duration, parse_size


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [(0, 0), (1.5, 1.5), ("500ms", 0.5), ("10m", 600), ("1 h", 3600), ("7d", 604800), ("2", 2)],
)
def test_duration(raw, seconds):
    assert parse_duration(raw) == seconds


@pytest.mark.parametrize(
    "raw", ["", "-1", -1, "1y", "h", True, None, "1h30m", float("inf"), float("nan"), [1]]
)
def test_not_a_duration(raw):
    with pytest.raises(PydanticCustomError):
        parse_duration(raw)


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (0, 0),
        ("65536", 65536),
        ("64 KiB", 65536),
        ("1.5MiB", 1572864),
        ("2GB", 2 * 10**9),
        ("5 b", 5),
        ("1k", 1000),
    ],
)
def test_size(raw, count):
    assert parse_size(raw) == count


@pytest.mark.parametrize("raw", ["", "-1", -1, "1 parsec", True, None, 1.5])
def test_not_a_size(raw):
    with pytest.raises(PydanticCustomError):
        parse_size(raw)


@pytest.mark.parametrize(
    ("raw", "address", "loopback"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), True),
        ("[::1]:0", Address("::1", 0), True),
        ("localhost:1", Address("localhost", 1), True),
        ("*:80", Address("0.0.0.0", 80), False),
        ("[2001:DB8::1]:443", Address("2001:db8::1", 443), False),
    ],
)
def test_address(raw, address, loopback):
    assert parse_address(raw) == address
    assert parse_address(raw).loopback is loopback
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "raw", ["127.0.0.1", ":80", "::1:80", "127.0.0.1:65536", "127.0.0.1:x", "a.example:1", 8080]
)
def test_not_an_address(raw):
    with pytest.raises(PydanticCustomError):
        parse_address(raw)


def test_hosts_are_made_plain():
    assert PassthroughSettings(hosts=("*.Bücher.Example.", "10.0.0.1")).hosts == (
        "*.xn--bcher-kva.example",
        "10.0.0.1",
    )


def test_an_address_of_a_file_is_as_it_was_written_and_that_of_a_server_has_no_slash_at_its_end():
    for address in (
        "https://lists.example/text/",
        "https://lists.example/get?dir=/",
        "https://lists.example",
    ):
        assert FeedSettings(name="a", url=address).url == address
        assert WebhookSettings(url=address).url == address
        assert Reference(url=address).url == address
    for section in (RemoteServer, UpstreamSettings, UpstreamProxySettings):
        assert section(url="https://sps.example/second/").url == "https://sps.example/second"


def test_group_of_a_client():
    clients = ClientsSettings.model_validate(
        {
            "users": {"anna": "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"},
            "groups": [
                {"name": "lan", "networks": ["192.168.0.0/16"]},
                {"name": "people", "users": ["anna"]},
            ],
        }
    )
    assert clients.group_of("192.168.3.4", None).name == "lan"
    assert clients.group_of("192.168.3.4", "anna").name == "people"
    assert clients.group_of("10.0.0.1", None) is None


def test_group_policy_lies_over_the_common_one():
    policy = GroupPolicy(level="high", unverifiable={"download": "block"}, override=False).over(
        PolicySettings()
    )
    assert (policy.level, policy.unverifiable.download, policy.unverifiable.page) == ("high", "block", "flag")
    assert not policy.override.enabled
    assert policy.mode == "enforce"
