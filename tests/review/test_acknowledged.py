"""Acknowledged late verdicts: kept over a restart, bounded, and never a reason to hide anything."""

import pytest

from secondlook.review.operations.acknowledged import MOST_ACKNOWLEDGED, Acknowledged


def test_what_was_acknowledged_is_known_after_a_restart(tmp_path):
    path = tmp_path / "review.json"
    first = Acknowledged(path)
    assert "a" not in first
    first.add("a")
    assert "a" in first
    again = Acknowledged(path)
    assert "a" in again
    assert "b" not in again


@pytest.mark.parametrize("content", [b"", b"{", b"7", b"\xff", b"null"])
def test_a_damaged_file_hides_nothing_and_is_written_anew(tmp_path, content):
    path = tmp_path / "review.json"
    path.write_bytes(content)
    found = Acknowledged(path)
    assert "a" not in found
    found.add("a")
    assert "a" in Acknowledged(path)


def test_the_newest_are_kept(tmp_path):
    path = tmp_path / "review.json"
    found = Acknowledged(path)
    found.add(*[str(number) for number in range(MOST_ACKNOWLEDGED)])
    assert "0" in found
    found.add(str(MOST_ACKNOWLEDGED))
    assert "0" not in found
    assert "1" in found
    assert str(MOST_ACKNOWLEDGED) in Acknowledged(path)
