"""clamd's protocol: a plain yes or no counts, everything else is a fault."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.scan import Detection
from secondlook.core.verdict import Risk
from secondlook.scan.clamd_wire import (
    MOST_CHUNK_BYTES,
    ClamdError,
    ClamdVersion,
    chunk,
    read_answer,
    read_version,
)


def test_a_clean_file_and_a_bad_one():
    assert read_answer(b"stream: OK\0") == ()
    assert read_answer(b"stream: Win.Test.EICAR_HDB-1 FOUND\0") == (
        Detection("clamd", "Win.Test.EICAR_HDB-1", Risk.DANGEROUS),
    )


@pytest.mark.parametrize(
    ("answer", "told", "away"),
    [
        (b"INSTREAM size limit exceeded. ERROR\0", "larger than its StreamMaxLength", False),
        (b"stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND\0", "not looked into all of it", False),
        (b"stream: Can't allocate memory ERROR\0", "it answers: stream: Can't allocate memory ERROR", True),
        (b"UNKNOWN COMMAND\0", "no answer of clamd's", True),
        (b"stream: OK", "it ended its answer in the middle", True),
        (b"stream: OK\0stream: OK\0", "in the middle", True),
        (b"", "it closed without an answer", True),
        (b"stream:  FOUND\0", "no answer of clamd's", True),
        (b"stream: OK FOUND\n\0", None, True),
        (b"other: OK\0", "no answer of clamd's", True),
        (b"STREAM: OK\0", "no answer of clamd's", True),
        (b"stream: not OK\0", "no answer of clamd's", True),
        (b"\xff\xfe\x1b[2J\0", "no answer of clamd's: \ufffd\ufffd?[2J", True),
    ],
)
def test_everything_else_is_a_fault(answer, told, away):
    if told is None:
        assert read_answer(answer)[0].signature == "OK"
        return
    with pytest.raises(ClamdError) as caught:
        read_answer(answer)
    assert told in str(caught.value)
    assert caught.value.away is away


@given(answer=st.binary(max_size=60) | st.text(max_size=40).map(lambda text: f"stream: {text}\0".encode()))
def test_no_bytes_but_the_one_answer_mean_a_clean_file(answer):
    try:
        found = read_answer(answer)
    except ClamdError:
        return
    assert (
        found
        or answer.strip(b" \n\t\r\x0b\x0c\x1c\x1d\x1e\x1f\0") == b"stream: OK"
        or answer.decode().strip(" \0").split() == ["stream:", "OK"]
    )


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (b"ClamAV 1.4.3\0", ClamdVersion("ClamAV 1.4.3")),
        (
            b"ClamAV 1.4.3/27500/Mon Jan  5 10:00:00 2026\0",
            ClamdVersion("ClamAV 1.4.3/27500/Mon Jan  5 10:00:00 2026", 27500, 1767607200.0),
        ),
        (b"ClamAV 1.4.3/27500/some day\0", ClamdVersion("ClamAV 1.4.3/27500/some day", 27500)),
        (b"ClamAV 1.4.3/x/Mon\0", ClamdVersion("ClamAV 1.4.3/x/Mon")),
    ],
)
def test_versions(answer, version):
    assert read_version(answer) == version


@pytest.mark.parametrize("answer", [b"", b"ClamAV 1.4", b"UNKNOWN COMMAND\0", b"ClamAV \x1b[2J\0"])
def test_what_is_no_version(answer):
    with pytest.raises(ClamdError):
        read_version(answer)


def test_pieces_have_their_length_before_them():
    assert chunk(b"abc") == b"\0\0\0\x03abc"
    assert len(chunk(bytes(MOST_CHUNK_BYTES))) == MOST_CHUNK_BYTES + 4
    for wrong in (b"", bytes(MOST_CHUNK_BYTES + 1)):  # no length would end the file
        with pytest.raises(AssertionError):
            chunk(wrong)
