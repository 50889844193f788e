import pytest

from secondlook.ground.json_text import read_json


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_brackets_within_brackets_are_a_fault_in_words(opening):
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(opening * 100_000)


def test_json_is_read_from_text_and_bytes():
    assert read_json('{"a": [1]}') == read_json(b'{"a": [1]}') == {"a": [1]}


def test_what_is_no_json_is_a_fault_in_words():
    with pytest.raises(ValueError, match="line 1"):
        read_json("half a")
