"""Pieces of a judged file through a real Squid: bytes at the origin, and what curl gets. 20 s.

What a Squid is set to beside the lines that hand on what a client wants (`range_offset_limit`, a cache that
heeds no `no-cache`, a Squid without the lines) changes what a piece costs, never whose bytes arrive.
"""

from collections.abc import Iterator

import pytest

from e2e.processes import Answer, Proxy, curl, json_lines, make_certificate, wait_for
from icapkit.squid import HANDS_ON, Squid, squid
from proxykit.nginx import Nginx, nginx
from proxykit.samples import program

CONFIG = """
mode: none
feeds: []
servers: {}
gateway: {enabled: true, icap: {listen: "127.0.0.1:0"}}
"""
KIB, MIB = 1 << 10, 1 << 20
SIZE = 3 * MIB + 100
EDGES = 128 * KIB  # what a piece costs beyond itself: the rest of the blocks at both ends
BODY = program(SIZE, 7)
CUT = 18  # curl: fewer bytes than the length says


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("origin")
    certificate = make_certificate(folder, "localhost", "127.0.0.1")
    more = f"location /whole/ {{ alias {folder}/nginx/www/; max_ranges 0; }}"
    with nginx(folder / "nginx", *certificate, more) as found:
        yield found


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("agent")
    (folder / "config.yaml").write_text(CONFIG)
    running = Proxy(folder / "state", folder / "config.yaml")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(agent: Proxy) -> Iterator[Squid]:
    with squid(agent.facts["icap"], hands_on=HANDS_ON) as found:
        yield found


class File:
    """A file of the origin, asked for through a Squid."""

    def __init__(self, site: Nginx, gateway: Squid, name: str, folder: str = "") -> None:
        self.site, self.gateway, self.target = site, gateway, f"/{folder}{name}"
        self.path = site.root / name
        self.path.write_bytes(BODY)

    def get(self, *arguments: str) -> Answer:
        return curl(f"http://127.0.0.1:{self.site.plain}{self.target}", "-x", self.gateway.url, *arguments)

    def piece(self, wanted: str) -> Answer:
        return self.get("-r", wanted)

    def sent(self, requests: int) -> list[int]:
        """Return what the origin sent, once it wrote down so many requests."""
        return wait_for(
            lambda: sent if len(sent := self.site.sent(self.target)) >= requests else None, "the origin's log"
        )


def begin(site: Nginx, gateway: Squid, name: str, folder: str = "") -> File:
    """Have a file judged by a piece of it, which shows too that the gateway hands on what is wanted."""
    file = File(site, gateway, name, folder)
    first = file.piece("0-9")
    assert (first.status, first.body == BODY) == (200, True)
    return file


def test_thirty_pieces_cost_one_whole_and_the_pieces(site: Nginx, gateway: Squid) -> None:
    file = begin(site, gateway, "thirty.exe")
    size = SIZE // 30
    for at in range(30):
        first, last = at * size, SIZE - 1 if at == 29 else (at + 1) * size - 1
        answer = file.piece(f"{first}-{last}")
        assert (answer.status, answer.headers["content-range"]) == (206, f"bytes {first}-{last}/{SIZE}")
        assert answer.body == BODY[first : last + 1]
    sent = file.sent(31)
    assert len(sent) == 31
    assert sum(sent) <= SIZE + SIZE + 30 * EDGES


@pytest.mark.parametrize("wanted", ["-500", f"{SIZE - 1}-", "0-", "65535-65536", "5-5"])
def test_a_piece_anywhere_is_the_one_that_was_wanted(site: Nginx, gateway: Squid, wanted: str) -> None:
    file = begin(site, gateway, f"any{wanted}.exe")
    answer = file.piece(wanted)
    first, _, last = wanted.partition("-")
    expected = BODY[-int(last) :] if not first else BODY[int(first) : int(last) + 1 if last else None]
    assert (answer.status, answer.body == expected) == (206, True)


def test_several_ranges_are_asked_for_whole(site: Nginx, gateway: Squid) -> None:
    answer = begin(site, gateway, "several.exe").piece("100000-100009,5-9")
    assert (answer.status, answer.body == BODY) == (200, True)


@pytest.mark.parametrize(("changed", "wanted"), [(100_005, "100000-300000"), (SIZE - 5, "-20")])
def test_a_piece_of_another_file_does_not_pass_and_the_whole_is_judged_anew(
    site: Nginx, agent: Proxy, gateway: Squid, changed: int, wanted: str
) -> None:
    """Of a whole block (64 KiB) the head has gone by then, so it is cut."""
    file = begin(site, gateway, f"other-{changed}.exe")
    other = BODY[:changed] + bytes([BODY[changed] ^ 1]) + BODY[changed + 1 :]
    file.path.write_bytes(other)
    answer = file.piece(wanted)
    if changed < SIZE - 64 * KIB:
        assert (answer.status, answer.exit, answer.body) == (206, CUT, b"")
    else:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    def written() -> list[str] | None:
        events = json_lines("log", "--state", agent.state, "--kind", "error")
        return [each["stage"] for each in events if (each["url"] or "").endswith(file.target)] or None

    assert wait_for(written, "the event") == ["pieces"]
    answer = file.piece(wanted)
    assert (answer.status, answer.body == other) == (200, True)


def test_an_origin_that_gives_no_pieces_is_asked_for_the_whole(site: Nginx, gateway: Squid) -> None:
    file = begin(site, gateway, "whole.exe", "whole/")
    for _ in range(2):
        answer = file.piece("100000-100009")
        assert (answer.status, answer.exit, answer.body == BODY) == (200, 0, True)


@pytest.mark.parametrize("more", ["", " ignore-reload", " reload-into-ims", "\nrange_offset_limit none"])
def test_what_squid_keeps_does_not_take_the_place_of_a_piece(site: Nginx, agent: Proxy, more: str) -> None:
    """It would give all the blocks, as it does not know what its client wanted."""
    keeps = f"maximum_object_size_in_memory 4 MB\nrefresh_pattern . 600 20% 4320{more}"
    with squid(agent.facts["icap"], hands_on=HANDS_ON, more=keeps) as gateway:
        for folder, status, expected in (("", 206, BODY[100_000:100_010]), ("whole/", 200, BODY)):
            file = begin(site, gateway, f"kept-{len(more)}.exe", folder)
            whole = file.get()
            assert (whole.headers["x-cache"].split()[0], whole.body == BODY) == ("HIT", True)
            answer = file.piece("100000-100009")
            assert (answer.status, answer.exit, answer.body == expected) == (status, 0, True)


def test_a_gateway_without_the_lines_gets_the_whole(site: Nginx, agent: Proxy) -> None:
    with squid(agent.facts["icap"]) as gateway:
        answer = begin(site, gateway, "without.exe").piece("100000-100009")
        assert (answer.status, answer.body == BODY) == (200, True)


def test_a_gateway_that_says_so_and_hands_nothing_on_gets_no_piece(
    site: Nginx, agent: Proxy, gateway: Squid
) -> None:
    """It looks like the other one, which did: the first piece is refused, the next is asked for whole."""
    begin(site, gateway, "seen.exe")
    with squid(agent.facts["icap"], hands_on=HANDS_ON.partition("\n")[2]) as other:
        file = begin(site, other, "nothing.exe")
        assert file.piece("100000-100009").status == 503
        answer = file.piece("100000-100009")
        assert (answer.status, answer.body == BODY) == (200, True)
