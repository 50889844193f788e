"""A published generation on disk: what its manifest says is there, else it is not opened."""

import json
import shutil

import pytest

from secondlook.ground.errors import PatternError
from secondlook.server.publish.generation import MANIFEST, Generation, PublishedList
from serverkit import make_store


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    store = make_store(tmp_path_factory.mktemp("published"), [f"evil{at}.example" for at in range(50)])
    return store.generation_folder(1)


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "000001")


def change(folder, **facts):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_whole_one_is_opened_and_verified(folder):
    generation = Generation(folder)
    generation.verify()
    assert (generation.number, generation.entries) == (1, len(generation.table))
    assert len(generation.raw("mw-8b")) == 8 * generation.lists["mw-8b"].count


@pytest.mark.parametrize(
    "facts",
    [
        {"format": 99},
        {"number": None, "lists": 7},
        {"lists": {"mw-8b": {}}},
        {"files": {"gone": {"size": 1}}},
    ],
)
def test_a_manifest_of_another_form_is_refused(folder, facts):
    change(folder, **facts)
    with pytest.raises(PatternError, match="generation in"):
        Generation(folder)


@pytest.mark.parametrize(
    "reduction", [[5], "x", 7, ["a", "b", "00"], [1, None, "00"], [1, 2, 3], [1, 2, "0"], [1, 2, "00", 4]]
)
def test_a_damaged_reduction_is_refused(folder, reduction):
    lists = json.loads((folder / MANIFEST).read_bytes())["lists"]
    lists["mw-8b"]["reduction"] = reduction
    change(folder, lists=lists)
    with pytest.raises(PatternError, match="generation in"):
        Generation(folder)


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1, 1 << 63, 1.5, "1", None])
@pytest.mark.parametrize("of", ["number", "count", "since", "reduction"])
def test_a_number_that_no_answer_can_hold_is_refused(folder, of, number):
    if of == "number":
        change(folder, number=number)
    else:
        lists = json.loads((folder / MANIFEST).read_bytes())["lists"]
        lists["mw-8b"][of] = [1, number, "00"] if of == "reduction" else number
        change(folder, lists=lists)
    with pytest.raises(PatternError, match="generation in"):
        Generation(folder)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(PatternError):
        Generation(folder)


def test_a_file_that_is_cut_is_seen_at_once_and_a_changed_one_when_it_is_verified(folder):
    path = folder / "mw-8b.raw"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(PatternError, match="not as long"):
        Generation(folder)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PatternError, match="does not match"):
        Generation(folder).verify()


def test_a_list_comes_back_from_its_json():
    made = PublishedList(
        name="mw-8b", count=1, checksum=b"c" * 32, since=7, canary=b"k" * 8, digests=("md5",), signature=b"s"
    )
    assert PublishedList.from_json("mw-8b", json.loads(json.dumps(made.to_json()))) == made
    with pytest.raises(PatternError, match="unknown meaning"):
        _ = PublishedList(name="what", count=0, checksum=b"", since=1).facts
