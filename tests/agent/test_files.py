"""The pattern on disk as its readers meet it: whole, damaged, of another program, changed meanwhile."""

import json
from dataclasses import replace

import pytest

from agentkit.stamps import HASHES, put_list, server
from secondlook.agent.pattern.files import (
    CONFIRMED,
    FOLDER,
    STAMP,
    PatternFolder,
    Stamp,
    StampedList,
    list_info,
    load_pattern,
    open_list,
    read_confirmed,
    read_stamp,
)
from secondlook.core.answer import Tier
from secondlook.core.lists.format import KEYS_AT, Corrupt
from secondlook.core.lists.name import Role
from secondlook.core.subject import SubjectKind
from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    return folder


def put_stamp(folder, *lists, servers=(), **more):
    stamp = Stamp(serial=1, written_at=100.0, lists=lists, servers=servers or (server(),), **more)
    (folder / STAMP).write_bytes(stamp.to_json())
    return stamp


def test_a_stamp_comes_back_as_it_was(folder):
    stamp = put_stamp(
        folder, put_list(folder, digests=("sha256", "md5"), canary="aa"), held={"office/mw-8b": "07"}
    )
    assert read_stamp(folder) == stamp


def test_no_stamp_is_none(folder):
    assert read_stamp(folder) is None
    assert load_pattern(folder.parent).lists == ()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"format": 1}', b"\xff"])
def test_what_is_no_stamp_is_damage(folder, data):
    (folder / STAMP).write_bytes(data)
    with pytest.raises(Corrupt):
        read_stamp(folder)


def test_a_stamp_of_another_format_says_so(folder):
    raw = json.loads(Stamp().to_json())
    (folder / STAMP).write_text(json.dumps(raw | {"format": 2}))
    with pytest.raises(Corrupt, match="format 2, this program reads 1"):
        read_stamp(folder)


def test_a_stamp_that_cannot_be_opened_is_an_error_of_the_pattern(folder):
    (folder / STAMP).mkdir()
    with pytest.raises(PatternError, match="cannot read"):
        read_stamp(folder)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"office": "soon"}', b"\xff"])
def test_confirmations_that_cannot_be_read_are_none(folder, data):
    (folder / CONFIRMED).write_bytes(data)
    assert read_confirmed(folder) == {}


def test_generations_are_shown_for_people():
    one, two = server(generation="2"), server(server="spare", generation="7")
    listed = StampedList(
        name="mw-8b", file="", width=8, count=1, sha256="", tier="intranet", server="office", source="office",
        version="", generation="2", confirmed_at=0.0, verified_at=0.0,
    )  # fmt: skip
    assert Stamp().generation == ""
    assert Stamp(servers=(one,)).generation == "2"
    assert Stamp(servers=(one, two), lists=(listed,)).generation == "office 2, spare 7"
    mixed = (replace(listed, generation="12"), replace(listed, generation="9"))
    assert Stamp(servers=(one,), lists=mixed).generation == "9 and 12"


@pytest.mark.parametrize("change", [{"count": 3}, {"sha256": "00" * 32}, {"width": 16}])
def test_another_list_than_was_verified_is_not_opened(folder, change):
    stamped = put_list(folder)
    assert open_list(folder, stamped).count == 2
    with pytest.raises(Corrupt, match="is not the list that was verified"):
        open_list(folder, replace(stamped, **change))


def test_a_list_that_is_gone_empty_or_elsewhere_is_not_opened(folder):
    stamped = put_list(folder)
    (folder.parent / "outside.slh").write_bytes((folder / stamped.file).read_bytes())
    with pytest.raises(Corrupt, match="outside its folder"):
        open_list(folder, replace(stamped, file="../outside.slh"))
    (folder / stamped.file).write_bytes(b"")
    with pytest.raises(PatternError, match="cannot open"):
        open_list(folder, stamped)
    (folder / stamped.file).unlink()
    with pytest.raises(PatternError, match="cannot open"):
        open_list(folder, stamped)


def test_what_a_list_means_is_in_its_name(folder):
    stamped = put_list(folder)
    info = list_info(stamped, {"office": 200.0, "other": 900.0})
    assert (info.role, info.kind, info.tier, info.confirmed_at) == (
        Role.BLOCK,
        SubjectKind.URL,
        Tier.INTRANET,
        200.0,
    )
    assert info.digest_kinds == ("sha256",)
    assert list_info(replace(stamped, digests=("md5", "odd")), {}).digest_kinds == ("md5",)
    for wrong in ({"name": "what-is-this"}, {"width": 16}):
        with pytest.raises(Corrupt, match="without a meaning"):
            list_info(replace(stamped, **wrong), {})


def test_a_list_that_is_damaged_is_left_out_and_its_server_is_asked(folder):
    good, bad = put_list(folder), put_list(folder, "se-8b", server="spare", sha256="00" * 32)
    put_stamp(folder, good, bad, servers=(server(), server(server="spare")))
    reader = PatternFolder(folder.parent)
    pattern = reader.load()
    assert [info.name for info, _ in pattern.lists] == ["mw-8b"]
    assert len(reader.faults) == 1
    assert reader.faults[0].startswith("se-8b: ")
    assert {each.server: each.whole for each in pattern.mirrors} == {"office": True, "spare": False}


def test_a_reader_keeps_what_it_has_open(folder):
    reader = PatternFolder(folder.parent)
    assert reader.load().lists == ()
    stamped, empty = put_list(folder), put_list(folder, "se-8b", [])
    put_stamp(folder, stamped, empty)
    tables = [table for _, table in reader.load().lists]
    (folder / CONFIRMED).write_text('{"office": 300.0}')
    again = reader.load()
    assert all(now is before for (_, now), before in zip(again.lists, tables, strict=True))
    assert again.mirrors[0].confirmed_at == 300.0
    (folder / stamped.file).unlink()
    assert reader.load().lists[0][1] is tables[0], "what is open is better than nothing"


def test_a_list_that_was_damaged_and_put_in_place_again_is_opened_anew(folder):
    """Its name is that of its content, and nobody need have looked while it was out of the stamp."""
    stamped = put_list(folder)
    put_stamp(folder, stamped)
    path = folder / stamped.file
    whole = path.read_bytes()
    reader = PatternFolder(folder.parent)
    with path.open("r+b") as file:
        file.seek(KEYS_AT)
        file.write(b"0000")
    assert not reader.load().lists[0][1].has(HASHES[0])
    write_whole(path, whole)
    assert reader.load().lists[0][1].has(HASHES[0])


def test_a_stamp_that_was_damaged_is_read_again(folder):
    reader = PatternFolder(folder.parent)
    (folder / STAMP).write_bytes(b"{")
    for _ in range(2):
        with pytest.raises(PatternError):
            reader.load()
