"""What is sealed with a passphrase: others of the format read it, we read theirs, and no change goes unseen (4 s)."""

import io

import pyrage
import pytest

from secondlook.run.backup.age import MAGIC, MOST_LOG2N, PIECE_BYTES, Opened, Sealer, SealError

WORK = 10  # of scrypt: the least that others open
SIZES = (0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 200_000)


def content_of(size: int) -> bytes:
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


def sealed(content: bytes, passphrase: str = "correct horse", step: int = 70_001) -> bytes:
    sink = io.BytesIO()
    sealer = Sealer(sink, passphrase, log2n=WORK)
    for at in range(0, len(content), step):
        sealer.write(content[at : at + step])
    sealer.close()
    return sink.getvalue()


def opened(data: bytes, passphrase: str = "correct horse") -> bytes:
    return io.BufferedReader(Opened(io.BytesIO(data), lambda: passphrase)).read()


@pytest.mark.parametrize("size", SIZES)
def test_another_program_of_the_format_opens_what_is_sealed(size):
    content = content_of(size)
    assert pyrage.passphrase.decrypt(sealed(content), "correct horse") == content
    assert opened(sealed(content, step=7_777)) == content


def test_what_another_program_sealed_is_opened():
    for size in (0, PIECE_BYTES, 200_000):
        theirs = pyrage.passphrase.encrypt(content_of(size), "pässwort")
        assert opened(theirs, "pässwort") == content_of(size)


def test_a_wrong_passphrase_is_named():
    with pytest.raises(SealError, match="the passphrase is wrong"):
        opened(sealed(b"x"), "wrong")


def test_no_byte_can_be_changed():
    data = sealed(content_of(PIECE_BYTES + 100))
    head = data.index(b"\n--- ") + 60
    for at in (*range(head), head + 1000, len(data) - 1, len(data) - 110):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(SealError):
            opened(bytes(changed))


@pytest.mark.parametrize("size", SIZES[2:])
def test_no_cut_goes_unseen(size):
    data = sealed(content_of(size))
    begin = len(data) - size - 16 * max(1, -(-size // PIECE_BYTES))
    piece = begin + PIECE_BYTES + 16
    for length in {0, 10, begin - 1, begin, begin + 5, piece - 1, piece, piece + 1, len(data) - 1}:
        if length < len(data):
            with pytest.raises(SealError):
                opened(data[:length])
    for longer in (data + b"x", data + data[begin:]):
        with pytest.raises(SealError):
            opened(longer)


def test_pieces_cannot_change_places():
    data = sealed(content_of(3 * PIECE_BYTES))
    size = PIECE_BYTES + 16
    begin = len(data) - 3 * size
    with pytest.raises(SealError, match="after 0 bytes"):
        opened(
            data[:begin] + data[begin + size : begin + 2 * size] + data[begin : begin + size] + data[-size:]
        )
    with pytest.raises(SealError, match="after 65,536 bytes"):
        opened(data[: begin + size] + data[-size:])


def test_a_file_may_not_ask_for_endless_work():
    data = sealed(b"x").replace(b" %d\n" % WORK, b" %d\n" % (MOST_LOG2N + 1), 1)
    with pytest.raises(SealError, match=r"2\^21"):
        opened(data)


def test_what_is_sealed_for_a_key_is_refused_in_words():
    theirs = pyrage.encrypt(b"x", [pyrage.x25519.Identity.generate().to_public()])
    assert theirs.startswith(MAGIC)
    with pytest.raises(SealError, match="not encrypted with a passphrase"):
        opened(theirs)


def test_each_file_has_its_own_keys():
    first, second = sealed(b"same"), sealed(b"same")
    assert first[len(MAGIC) :] != second[len(MAGIC) :]
    assert first[-20:] != second[-20:]
