"""A crash while a file is put away: what lies where is settled at the next start, and no file is lost."""

import asyncio
import errno

import pytest

from agentkit.quarantining import BAD, DIGEST, Place
from secondlook.agent.actions import file_move
from secondlook.agent.actions import quarantine as module
from secondlook.agent.actions.file_move import put_away
from secondlook.agent.actions.quarantine import QuarantineError


@pytest.mark.parametrize("moved", [True, False])
def test_a_crash_in_the_middle_is_settled_at_the_next_start(place, monkeypatch, moved):
    class Crash(BaseException):
        pass

    def crash(candidate, folder, record):
        if moved:
            put_away(candidate, folder, record)
        raise Crash

    monkeypatch.setattr(module, "put_away", crash)
    bad = place.put()
    with pytest.raises(Crash):
        place.act()
    monkeypatch.undo()
    quarantine = place.quarantine()
    asyncio.run(quarantine.settle())
    (record,) = place.ledger.records.values()
    assert record.state == ("held" if moved else "failed")
    if moved:
        assert asyncio.run(quarantine.restore(record.id)).read_bytes() == BAD
    assert bad.read_bytes() == BAD


@pytest.mark.parametrize("how", ["moved", "copied", "copied and fixed there", "copied in part", "changed"])
def test_a_crash_between_folder_and_quarantine_loses_no_file(place, monkeypatch, how):
    def crash(_):
        raise KeyboardInterrupt

    bad = place.put()
    monkeypatch.setattr(file_move, "hash_of", crash)
    with pytest.raises(KeyboardInterrupt):
        place.act()
    monkeypatch.undo()
    (record,) = place.ledger.records.values()
    moving = place.store / f".moving-{record.id}"
    assert not bad.exists()
    if how.startswith("copied"):
        moving.rename(bad)
        moving.write_bytes(BAD[:100] if how == "copied in part" else BAD)
    elif how == "changed":
        moving.write_bytes(b"mine")

    def refuse(_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if how == "copied and fixed there":
        monkeypatch.setattr(file_move, "_unlink_same", refuse)
    quarantine = place.quarantine()
    asyncio.run(quarantine.settle())
    (record,) = place.ledger.records.values()
    assert not moving.exists()
    if how in {"moved", "copied"}:
        assert not bad.exists()
        assert (record.state, place.stored()) == ("held", [DIGEST.hex()])
        assert (place.store / DIGEST.hex()).stat().st_mode & 0o777 == 0o600
        assert asyncio.run(quarantine.restore(record.id)).read_bytes() == BAD
    else:
        assert (record.state, place.stored()) == ("failed", [])
        assert bad.read_bytes() == (b"mine" if how == "changed" else BAD)


def test_what_another_proxy_holds_is_left_to_it(tmp_path, monkeypatch):
    """Two machines, one ledger: the same file lies on both, and one of them crashed while it was taken away."""

    def crash(*_):
        raise KeyboardInterrupt

    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = Place(tmp_path / "one"), Place(tmp_path / "two")
    two.ledger = one.ledger
    for place in (one, two):
        place.put()
        place.act(proxy=place.base.name, shared=True)
    of_one, of_two = one.ledger.records.values()
    assert (of_one.proxy, of_two.proxy) == ("one", "two")
    here = one.quarantine(proxy="one", shared=True)
    for act in (here.restore, here.delete):
        with pytest.raises(QuarantineError, match="on the machine of the proxy two: do it there"):
            asyncio.run(act(of_two.id))
    assert not one.ledger.rule_list
    asyncio.run(here.delete(of_one.id))  # though the other's has the same name
    assert (one.stored(), two.stored()) == ([], [DIGEST.hex()])

    monkeypatch.setattr(module, "put_away", crash)
    two.put()
    with pytest.raises(KeyboardInterrupt):
        two.act(proxy="two", shared=True)
    monkeypatch.undo()
    (moving,) = (record for record in one.ledger.records.values() if record.state == "moving")
    asyncio.run(one.quarantine(proxy="one", shared=True).settle())
    assert one.ledger.records[moving.id] == moving
    asyncio.run(two.quarantine(proxy="two", shared=True).settle())
    assert two.ledger.records[moving.id].state == "held"  # the bytes of the first lie there already
