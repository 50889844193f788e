"""Lists and servers of a pattern folder, as a stamp names them."""

from dataclasses import replace

from agentkit.hash_lists import build
from secondlook.agent.pattern.files import StampedList, StampedServer
from secondlook.core.lists.hashlist import HashList

HASHES = [b"1" * 32, b"2" * 32]


def put_list(folder, name="mw-8b", hashes=HASHES, **more):
    data = build(hashes, 8)
    file = f"{name}.0123456789abcdef.slh"
    (folder / file).write_bytes(data)
    table = HashList.open(data)
    stamped = StampedList(
        name=name, file=file, width=8, count=table.count, sha256=table.checksum.hex(),
        tier="intranet", server="office", source="office", version="00", generation="1",
        confirmed_at=100.0, verified_at=100.0, complete=True,
    )  # fmt: skip
    return replace(stamped, **more)


def server(**more):
    stamped = StampedServer(
        server="office", tier="intranet", generation="1", whole=True, announced=False,
        fresh_for_s=60.0, confirmed_at=100.0,
    )  # fmt: skip
    return replace(stamped, **more)
