"""Connections are counted; idle ones make room, busy ones do not."""

import asyncio
import socket
import threading

from proxykit.origin import send
from secondlook.proxy.mitm.transport.connection_limits import Complaint, Crowd, most_clients, most_origins


class Line:
    """A connection that is idle or not."""

    def __init__(self, *, idle=True):
        self.idle = idle
        self.ended = 0

    def is_idle(self):
        return self.idle

    def end(self):
        self.ended += 1


def fill(crowd, host, *lines):
    return [crowd.add(line, host) for line in lines]


def test_the_oldest_idle_one_of_the_same_address_gives_way():
    crowd = Crowd(100, 3)
    busy, old, new, other = Line(idle=False), Line(), Line(), Line()
    fill(crowd, "192.0.2.9", other)
    fill(crowd, "192.0.2.1", busy, old, new)
    assert crowd.admits("192.0.2.1")
    assert [each.ended for each in (busy, old, new, other)] == [0, 1, 0, 0]


def test_one_too_many_of_the_busy_is_refused_and_a_place_that_is_left_is_free():
    crowd = Crowd(100, 3)
    leave, *_ = fill(crowd, "192.0.2.1", *(Line(idle=False) for _ in range(3)))
    assert not crowd.admits("192.0.2.1")
    assert crowd.admits("192.0.2.2")
    leave()
    assert crowd.admits("192.0.2.1")
    assert len(crowd) == 2


def test_where_all_are_too_many_the_address_with_most_gives_way():
    crowd = Crowd(5, 4)
    few, many = [Line(), Line()], [Line(), Line(), Line()]
    fill(crowd, "192.0.2.1", *few)
    fill(crowd, "192.0.2.2", *many)
    assert crowd.admits("192.0.2.3")
    assert [each.ended for each in (*few, *many)] == [0, 0, 1, 0, 0]


def test_who_gives_way_makes_room_for_one():
    """It is idle until it has gone, which takes a turn of the loop; sixty-four may come in one."""
    crowd = Crowd(100, 2)
    leave, _ = fill(crowd, "192.0.2.1", old := Line(), Line(idle=False))
    assert crowd.admits("192.0.2.1")
    fill(crowd, "192.0.2.1", Line(idle=False))
    assert not crowd.admits("192.0.2.1")
    leave()
    assert (old.ended, len(crowd)) == (1, 2)
    assert not crowd.admits("192.0.2.1")


def test_of_ipv6_the_network_is_counted():
    crowd = Crowd(100, 2)
    fill(crowd, "2001:db8:0:1::1", Line(idle=False))
    fill(crowd, "2001:db8:0:1:ffff::2", Line(idle=False))
    assert not crowd.admits("2001:db8:0:1::3")
    assert crowd.admits("2001:db8:0:2::1")


def test_something_is_left_for_what_is_no_connection(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda _: (1024, 1024))
    assert (most_clients(), most_origins(256)) == (256, 512)


def test_a_complaint_comes_once_a_minute():
    said = []
    complain = Complaint(said.append)
    for now in (0.0, 1.0, 59.0, 61.0, 62.0):
        complain("too many", now)
    assert said == ["too many", "too many (3 since the last such line)"]


def idle_lines(proxy, count):
    return [socket.create_connection(("127.0.0.1", proxy.port), timeout=30) for _ in range(count)]


def test_idle_connections_lock_nobody_out(make_proxy, make_origin, curl):
    asked, let = threading.Event(), threading.Event()

    async def reply(request, writer):
        if request.target == "/slow":
            asked.set()
            await asyncio.to_thread(let.wait, 60)
        await send(writer, b"hello")

    proxy = make_proxy(limits={"connections_per_address": 4})
    origin = make_origin(reply)
    url = f"http://127.0.0.1:{origin.port}/"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as busy:
        busy.sendall(f"GET {url}slow HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        asked.wait(30)
        lines = idle_lines(proxy, 12)
        assert curl(proxy, url).stdout == b"hello"
        assert proxy.worker.listener.open_connections <= 5
        let.set()
        assert busy.recv(20).startswith(b"HTTP/1.1 200"), "who waits for an answer keeps the connection"
    for line in lines:
        line.close()


def test_too_many_busy_ones_are_told(make_proxy, make_origin, curl):
    let, count = threading.Event(), threading.Semaphore(0)

    async def reply(_request, writer):
        count.release()
        await asyncio.to_thread(let.wait, 60)
        await send(writer, b"hello")

    proxy = make_proxy(limits={"connections_per_address": 2})
    origin = make_origin(reply)
    url = f"http://127.0.0.1:{origin.port}/"
    lines = idle_lines(proxy, 2)
    for line in lines:
        line.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert count.acquire(timeout=30)
    done = curl(proxy, "-i", url)
    assert done.stdout.startswith(b"HTTP/1.1 503"), done
    assert done.stdout.endswith(b"this proxy has too many connections from here\n")
    let.set()
    for line in lines:
        assert line.recv(20).startswith(b"HTTP/1.1 200")
        line.close()
    assert curl(proxy, url).stdout == b"hello"
