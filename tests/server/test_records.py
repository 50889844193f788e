"""Records are sorted and merged like a sorted set of hashes, whatever the memory bound."""

from hashlib import sha256
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondlook.server.store.records import (
    NO_TEXT,
    RECORD,
    RunWriter,
    open_run,
    same_as_previous,
    slices,
    sort_records,
)


def records(hashes):
    return np.array([(np.void(each), at, 0, 0, 0, 0, 0) for at, each in enumerate(hashes)], dtype=RECORD)


def hashes_of(found):
    return [bytes(each) for each in found["hash"]]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(min_size=0, max_size=3), max_size=60), st.booleans())
def test_sorting_equals_pythons_even_where_eight_bytes_agree(tails, shared):
    head = bytes(8) if shared else b""
    made = [(head + sha256(tail).digest())[:32] for tail in tails]
    found = sort_records(records(made))
    assert hashes_of(found) == sorted(made)
    assert found["text"].tolist() == [at for _, at in sorted((each, at) for at, each in enumerate(made))]
    distinct = hashes_of(found[~same_as_previous(found)])
    assert distinct == sorted(set(made))


@pytest.mark.parametrize("limit", [7, 100, 10_000])
def test_runs_merge_to_the_sorted_set_under_any_memory_bound(tmp_path, limit):
    random = Random(1)
    made = [sha256(random.randbytes(2)).digest() for _ in range(1000)]
    writer = RunWriter(tmp_path, limit=limit)
    for at in range(0, len(made), 13):
        writer.add(records(made[at : at + 13]).tobytes())
    writer.finish(tmp_path / "records")
    assert hashes_of(open_run(tmp_path / "records")) == sorted(set(made))
    assert [path.name for path in tmp_path.iterdir()] == ["records"]


def test_slices_cut_all_runs_at_the_same_hashes():
    random = Random(2)
    runs = [
        sort_records(records([random.randbytes(32) for _ in range(count)])) for count in (0, 1, 500, 3000)
    ]
    seen, last = 0, b""
    for parts in slices(runs, 200):
        together = sorted(each for part in parts for each in hashes_of(part))
        assert not together or together[0][:4] > last[:4]
        last = together[-1] if together else last
        seen += len(together)
    assert seen == 3501


def test_an_empty_run_is_an_empty_array(tmp_path):
    RunWriter(tmp_path).finish(tmp_path / "records")
    assert len(open_run(tmp_path / "records")) == 0
    assert NO_TEXT == 2**64 - 1
