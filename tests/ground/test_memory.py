"""`ground.memory`: what the system gets back."""

import subprocess
import sys
import threading

import pytest

from secondlook.ground import memory

TRIED = """
import sys
from pathlib import Path
from secondlook.ground.memory import give_back_large

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

if sys.argv[1] == "given back":
    give_back_large()
for _ in range(3):  # glibc learns from what is freed
    bytearray(8 << 20)
before = resident()
large, small = [], []
for _ in range(20):
    large.append(bytearray(4 << 20))
    small.append(bytearray(100_000))
del large
print((resident() - before) >> 20)
"""


def printed(script: str, how: str) -> int:
    done = subprocess.run([sys.executable, "-c", script, how], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_large_pieces_go_back_though_small_ones_lie_between_them():
    assert printed(TRIED, "left alone") > 60
    assert printed(TRIED, "given back") < 10


HOLES = """
import ctypes, sys, time
from pathlib import Path
from secondlook.ground import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
before = resident()
pieces = [libc.malloc(ctypes.c_size_t(100_000)) for _ in range(400)]
for piece in pieces:
    ctypes.memset(piece, 1, 100_000)
for piece in pieces[:-1]:  # the last keeps the heap's end where it is
    libc.free(piece)
if sys.argv[1] == "given back":
    memory.keep_giving_back(0.01)
    due = time.monotonic() + 60
    while resident() - before > 20 << 20 and time.monotonic() < due:
        time.sleep(0.01)
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_is_free_below_a_piece_in_use_goes_back():
    assert printed(HOLES, "left alone") > 30
    assert printed(HOLES, "given back") < 20


THREADS = """
import ctypes, sys, threading
from secondlook.ground.memory import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
heaps, all_there = set(), threading.Barrier(8)

def take():
    all_there.wait()
    heaps.add(libc.malloc(ctypes.c_size_t(1000)) >> 26)  # 64 MiB of addresses, which one heap has
    all_there.wait()

threads = [threading.Thread(target=take) for _ in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(len(heaps))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_threads_share_two_heaps():
    assert printed(THREADS, "one each") > 2
    assert printed(THREADS, "shared") <= 2


READ = """
import resource, socket
from secondlook.ground.memory import give_back_large

give_back_large()
ours, theirs = socket.socketpair()
for turn in range(301):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    theirs.send(b"x" * 3000)
    ours.recv(256 << 10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_a_read_of_asyncio_takes_no_fresh_pages():
    done = subprocess.run([sys.executable, "-c", READ], stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) < 150


def test_what_is_dropped_is_given_back_before_its_time(monkeypatch):
    given = threading.Event()
    monkeypatch.setattr(memory, "give_back_free", given.set)
    memory.keep_giving_back(every_s=3600)
    assert not given.wait(0.3)
    memory.give_back_soon()
    assert given.wait(30)
