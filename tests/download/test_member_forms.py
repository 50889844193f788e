"""The digests of a member: of all of it, and of what a reader has that takes less for all."""

import io
from hashlib import sha256

import pytest

from secondlook.download.archives.archive_stream import STEP_BYTES
from secondlook.download.archives.member_forms import MemberForms, without_holes


def taken(forms: MemberForms, *pieces: tuple[bytes, int]) -> list[tuple[bytes, str]]:
    return [each for piece, number in pieces for each in forms.take(piece, number)]


def test_all_of_a_member_is_one_form_however_it_comes():
    forms = MemberForms(None)
    assert taken(forms, (b"ab", 1), (b"c", 1)) == []
    assert (forms.size, forms.whole) == (3, sha256(b"abc").digest())


@pytest.mark.parametrize(
    ("stated", "shorter"), [(0, b""), (1, b"a"), (3, b"abc"), (4, b"abcd"), (5, None), (9, None)]
)
def test_a_reader_that_believes_the_header_ends_where_it_says(stated, shorter):
    forms = MemberForms(stated)
    expected = [] if shorter is None else [(sha256(shorter).digest(), "as long as declared")]
    assert taken(forms, (b"abc", 1), (b"de", 1)) == expected
    assert forms.whole == sha256(b"abcde").digest()


def test_a_reader_may_stop_where_another_stream_begins():
    forms = MemberForms(None)
    ends = taken(forms, (b"a", 1), (b"b", 2), (b"c", 2), (b"d", 3))
    assert ends == [
        (sha256(b"a").digest(), "up to another beginning"),
        (sha256(b"abc").digest(), "up to another beginning"),
    ]


def test_nothing_before_another_beginning_is_no_form_and_only_the_first_ends_count():
    assert taken(MemberForms(None), (b"", 1), (b"x", 2)) == []
    numbers = [number for number in range(1, 12) if taken(MemberForms(None), (b"a", 1), (b"b", number))]
    assert numbers == [2, 3, 4, 5, 6, 7, 8]


def test_a_file_without_its_holes_is_its_parts_one_after_the_other():
    content = b"head" + b"x" * (STEP_BYTES + 3) + b"tail"
    parts = [(0, 4), (4, STEP_BYTES + 3), (STEP_BYTES + 9, 2), (len(content), 0)]
    assert without_holes(io.BytesIO(content), parts) == sha256(content[: STEP_BYTES + 7] + b"il").digest()
