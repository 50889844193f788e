"""What one offered list must pass, by itself: the updater's own tests tell the same of whole servers."""

from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentkit.hash_lists import build
from secondlook.agent.pattern.list_update import MAX_KNOWN_GOOD, Offer, UpdateRefused, take_list
from secondlook.config.query import PatternSettings
from secondlook.core.lists.hashlist import HashList
from secondlook.core.lists.name import parse_list_name
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate
from secondlook.wire.signature import sign_list, sign_reduction
from secondlook.wire.version import ListVersion
from wirekit.coded import rice64

KEY = Ed25519PrivateKey.generate()
GOOD = {sha256(f"good{at}.example/".encode()).digest(): f"good{at}.example/" for at in range(30)}


def entries(count, name="evil"):
    return sorted(sha256(f"{name}{at}.example/".encode()).digest()[:8] for at in range(count))


def offer(entries, *, named="mw-8b", key=None):
    """Offer a consistent full list; `named` is what its version says."""
    raw = b"".join(sorted(entries))
    checksum = sha256(raw).digest()
    message = pb.HashList(name="mw-8b", sha256_checksum=checksum)
    message.version = ListVersion(named, 9, checksum[:8]).encode()
    if entries:
        message.additions_eight_bytes.CopyFrom(rice64(raw))
    if key is not None:
        message.signature = sign_list(key, "mw-8b", message.version, checksum)
    public = key.public_key() if key is not None else None
    meaning = parse_list_name("mw-8b")
    assert meaning is not None
    return Offer(message=message, meaning=meaning, canary=None, key=public)


def held(count):
    return HashList.open(build(entries(count), 8))


def take(tmp_path, offered, before=None, guarded=None, **settings):
    try:
        return take_list(offered, before, tmp_path, PatternSettings(**settings), guarded or {})
    finally:
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], (
            "nothing is left beside"
        )


def test_a_small_list_does_not_become_empty(tmp_path):
    assert PatternSettings().shrink_from > 3
    with pytest.raises(UpdateRefused, match="it is empty, the last good one has 3 entries"):
        take(tmp_path, offer([]), held(3))
    assert take(tmp_path, offer([]), held(3), accept_shrink=True).count == 0
    assert take(tmp_path, offer(entries(1)), held(3)).count == 1, "it may become smaller"


def reduction(generation=7, count=5, key=KEY):
    signature = sign_reduction(key, "mw-8b", generation, count)
    return pb.Reduction(generation=generation, count=count, signature=signature)


def at(generation):
    return ListVersion("mw-8b", generation, bytes(8)).encode()


def test_a_reduction_is_believed_of_who_is_known_and_for_what_came_before_it(tmp_path):
    before, less = held(3000), offer(entries(5), key=KEY)
    meant = replace(less, held_version=at(6), reduction=reduction())
    assert take(tmp_path, meant, before).count == 5
    assert take(tmp_path, replace(meant, key=None, is_own=True), before).count == 5
    for unknown in (
        replace(meant, key=None),
        replace(meant, reduction=reduction(key=Ed25519PrivateKey.generate())),
        replace(meant, reduction=pb.Reduction(generation=8, count=5, signature=reduction().signature)),
        replace(meant, reduction=pb.Reduction(generation=7, count=-5, signature=reduction().signature)),
        replace(meant, held_version=at(7)),
        replace(meant, held_version=b""),
        replace(meant, reduction=reduction(count=2000)),
    ):
        with pytest.raises(UpdateRefused, match=r"it shrinks from [23]000 entries to 5"):
            take(tmp_path, unknown, before)
    later = replace(offer(entries(1100), key=KEY), held_version=at(6), reduction=reduction(count=2000))
    assert take(tmp_path, later, before).count == 1100


def test_what_another_server_gave_is_compared_with_and_never_updated(tmp_path):
    before = held(3000)
    with pytest.raises(UpdateRefused, match="it shrinks from 3000 entries to 5"):
        take(tmp_path, replace(offer(entries(5)), updates_held=False), before)
    taken = take(tmp_path, replace(offer(entries(3001)), updates_held=False), before)
    assert (taken.count, taken.added, taken.removed) == (3001, 1, 0)
    unchanged = replace(offer([]), message=pb.HashList(name="mw-8b", partial_update=True))
    assert take(tmp_path, unchanged, before).count == 3000
    with pytest.raises(BadUpdate, match="where nothing is held"):
        take(tmp_path, replace(unchanged, updates_held=False), before)


def test_a_list_is_no_larger_than_it_may_be(tmp_path):
    with pytest.raises(UpdateRefused, match=r"it has 129 entries, more than 1024 bytes \(pattern.max_list\)"):
        take(tmp_path, offer(entries(129)), max_list=1024)
    assert take(tmp_path, offer(entries(128)), max_list=1024).count == 128


def test_a_version_of_another_list_is_refused(tmp_path):
    with pytest.raises(UpdateRefused, match="it is a version of se-8b, not of mw-8b"):
        take(tmp_path, offer(entries(5), named="se-8b"))


def test_not_even_a_known_publisher_blocks_many_popular_sites(tmp_path):
    few, many = (
        offer([*entries(5), *(full[:8] for full in list(GOOD)[:count])], key=KEY)
        for count in (MAX_KNOWN_GOOD, MAX_KNOWN_GOOD + 1)
    )
    assert take(tmp_path, few, guarded=GOOD).count == 25
    with pytest.raises(UpdateRefused, match="it would block 21 known-good sites"):
        take(tmp_path, many, guarded=GOOD)
