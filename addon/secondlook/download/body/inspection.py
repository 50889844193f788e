"""What the bytes of a body show while they go by: digests (of the decoded form too), type, size."""

import hashlib
from collections import deque
from typing import cast

from secondlook.core.digest import DigestKind, file_hash, file_subject
from secondlook.core.subject import FileSubject
from secondlook.download.body.body_type import Declared, declared
from secondlook.download.body.decoding import Decoder, DecodeState, encodings_of
from secondlook.download.body.ranges import may_be_parts, read_first_part
from secondlook.download.body.signatures import (
    BEHIND_HEAD_BYTES,
    BEHIND_WITHIN_BYTES,
    MEDIA_ENOUGH_BYTES,
    SIGNATURE_BYTES,
    VOLUMES,
    archive_behind,
    image_at_end,
    is_binary,
    is_media,
    is_page,
    may_begin,
    risky_signature,
    script_signature,
)
from secondlook.download.body.zip_end import ZIP_END_BYTES, ends_like_zip

_FIRST_MAX_BYTES = 2048  # a part of a multipart body begins after its own head
_PART_ENOUGH_BYTES = 16
_HIDDEN_BYTES = 4096  # of an encoded body that decode to nothing: an empty one takes fewer
_MARKS: dict[str, bytes | tuple[bytes, ...]] = {  # the others begin with any byte
    "gzip": b"\x1f\x8b",
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes((first,)) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))),
}
_MOST_ENDS = 8  # of an encoded body of several members, where a client may stop


class BodyLook:
    """Hashes and recognizes one body.

    `kinds` are the digests that are wanted, SHA-256 in any case; `piece`: it is one of a larger body;
    `from_start`: of several, the first should be its beginning.
    `problem` is why its content could not be seen.
    """

    def __init__(
        self,
        stated: Declared,
        encoding: str | None,
        *,
        kinds: frozenset[str],
        ratio: int,
        layers: int,
        multipart: bool,
        piece: bool = False,
        from_start: bool = False,
    ) -> None:
        self.declared = stated
        self.size = 0
        self.risky = stated.risky
        self.signature: str | None = None
        self.unshown = False  # risky for being nothing that a browser shows
        self.behind_other: str | None = None  # the kind of an archive that other bytes stand before
        self.problem: str | None = None
        self._multipart = multipart
        self._piece = piece
        self._from_start = from_start
        self._part_seen = False
        self._first = bytearray()
        self._raw_first = b""  # as it came, where that is not what it decodes to
        self._keeps = True
        self._scanned = 0
        self._seam = b""
        self._last: deque[bytes] = deque()
        self._last_bytes = 0
        self._sha256 = hashlib.sha256()
        self._kinds = sorted(kinds - {"sha256"})
        self._others = self._machines()
        self._decoded: hashlib._Hash | None = None
        self._decoded_any = False
        self._decoder: Decoder | None = None
        self._ends: list[bytes] = []
        chain, known = encodings_of(encoding, layers)
        self.encodings = chain  # outermost first
        self._unknown = not known
        self._between: dict[int, hashlib._Hash] = {}
        if not known:
            self.problem = f"content encoding {encoding!r} is not known"
        if chain:
            self._decoder = Decoder(
                chain,
                ratio=ratio,
                on_end=self._note_end,
                on_between=self._note_between,
                on_restart=self._begin_anew,
            )
            self._decoded = hashlib.sha256()
            self._decoded_others = self._machines()

    def _machines(self) -> dict[str, "hashlib._Hash"]:
        return {kind: hashlib.new(kind, usedforsecurity=False) for kind in self._kinds}

    @property
    def settled(self) -> bool:
        """Return whether no further byte will change the type."""
        return self.signature is not None or len(self._first) >= SIGNATURE_BYTES

    @property
    def blind(self) -> bool:
        """Return whether nothing of the decoded form is there yet."""
        return self._decoder is not None and not self._first

    @property
    def holds_archive(self) -> bool:
        """Return whether unpackers find an archive in what came (of the decoded form)."""
        if self.behind_other is not None:
            return True
        last, size = b"".join(self._last), self.size if self._decoder is None else self._decoder.out_bytes
        return ends_like_zip(last, size) or image_at_end(last) is not None

    @property
    def behind(self) -> bool:
        """Return whether more can be decoded of what came."""
        decoder = self._decoder
        return decoder is not None and decoder.behind and decoder.state is DecodeState.WORKING

    def work(self) -> None:
        """Decode more of it; takes too long for the event loop, and nothing may be fed meanwhile."""
        if self._decoder is not None:
            for piece in self._decoder.work():
                self._take_decoded(piece)

    def let_go(self) -> None:
        """Keep no last bytes: the body goes on, and nobody will ask how it ends."""
        self._keeps, self._last = False, deque()
        if self._decoder is not None:
            self._decoder.expect_less()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.size += len(data)
        self._sha256.update(data)
        for machine in self._others.values():
            machine.update(data)
        if self._decoder is None:
            self._note_first(data)
            return
        if len(self._raw_first) < SIGNATURE_BYTES:
            self._raw_first += data[: SIGNATURE_BYTES - len(self._raw_first)]
        for piece in self._decoder.feed(data):
            self._take_decoded(piece)

    def end(self) -> None:
        """Note that the body is whole."""
        if self._decoder is None:
            return
        for piece in self._decoder.finish():
            self._take_decoded(piece)
        if self._decoder.state is not DecodeState.DONE and self.problem is None:
            self.problem = f"content encoding is {self._decoder.state.value}"

    def judge(self) -> None:
        """Judge by the first bytes whether the body can hurt: those that came, and what they decode to."""
        if self._multipart:
            self._judge_part()
            return
        self.signature = risky_signature(bytes(self._first))
        if self.signature is None and self._raw_first and not self._is_as_declared():
            self.signature = risky_signature(self._raw_first)
        self.risky = self.risky or self.signature is not None

    def conclude(self) -> None:
        """Judge by the first bytes where no more of them are waited for: what they do not show counts too.

        A body whose encoding is not known or is not the one it claims is what it is as it came: a client that
        does not decode saves that.
        """
        self.judge()
        if self.risky or self._multipart or not self.size:
            return
        first, stated = bytes(self._first), self.declared
        broken = self._decoder is not None and self._decoder.state is DecodeState.BROKEN
        if self._unknown or broken:
            raw = self._raw_first or first
            self.unshown = not (is_media(raw) or is_page(raw))
        elif not first:
            self.unshown = self.size > _HIDDEN_BYTES
        elif stated.saved and not self._piece:
            self.unshown = not self._is_shown(first)
        elif stated.text or stated.saved:  # whoever reads data in pieces does not save them
            self.unshown = stated.text and is_binary(first) and not is_media(first)
            self.signature = script_signature(first)
        self.risky = self.unshown or self.signature is not None

    def undecided(self) -> bool:
        """Return whether so few bytes may still turn out to be the beginning of something dangerous."""
        if self._multipart:
            return not self._part_seen
        if self._decoder is not None and self._decoder.state is not DecodeState.WORKING:
            return False
        first = bytes(self._first)
        if self.declared.saved and len(first) < MEDIA_ENOUGH_BYTES and not self._is_shown(first):
            return True
        if len(first) < SIGNATURE_BYTES and not self.declared.live and is_binary(first):
            return True  # the marks of some formats do not stand at their beginning
        return may_begin(first)

    def _is_shown(self, first: bytes) -> bool:
        return is_media(first) or (self.declared.untyped and is_page(first) and not script_signature(first))

    def _is_as_declared(self) -> bool:
        """Return whether the bytes that came begin as their outermost encoding does, where it has a mark."""
        mark = _MARKS.get(self.encodings[0])
        return mark is not None and self._raw_first.startswith(mark)

    def subject(self, members: tuple[tuple[str, bytes], ...] = ()) -> FileSubject:
        """Make the subject of the whole body; `members` are labelled digests from inside an archive."""
        others = {kind: machine.hexdigest() for kind, machine in self._others.items()}
        return file_subject(
            self._sha256.digest(),
            md5=others.get("md5"),
            sha1=others.get("sha1"),
            further=(*self._decoded_forms(), *members),
            size=self.size,
            filename=self.declared.filename,
        )

    def _decoded_forms(self) -> list[tuple[str, bytes]]:
        """Return the digests of what clients make of an encoded body: one may stop where another goes on."""
        if self._decoded is None or self._decoder is None:
            return []
        whole = self._decoder.state is DecodeState.DONE
        forms = {self._decoded.digest(): "decoded" if whole else "decoded in part"}
        if not whole and not self._decoded_any:
            forms.clear()
        for number, digest in enumerate(self._ends, 1):
            forms.setdefault(digest, f"decoded up to end {number}")
        for number, machine in self._between.items():
            forms.setdefault(machine.digest(), f"decoded from {'+'.join(self.encodings[: number + 1])}")
        if whole:
            for kind, other in self._decoded_others.items():
                forms.setdefault(file_hash(cast("DigestKind", kind), other.hexdigest()), f"decoded {kind}")
        return [(label, digest) for digest, label in forms.items()]

    def _note_between(self, layer: int, out: bytes) -> None:
        self._between.setdefault(layer, hashlib.sha256()).update(out)

    def _note_end(self) -> None:
        assert self._decoded is not None
        if len(self._ends) < _MOST_ENDS and self._decoded_any:
            self._ends.append(self._decoded.copy().digest())

    def _begin_anew(self) -> None:
        """Keep the digest of what was decoded in one way, and begin with what comes in another."""
        self._note_end()
        self._decoded, self._decoded_any = hashlib.sha256(), False
        self._decoded_others = self._machines()
        self._first.clear()
        self._last.clear()
        self._last_bytes, self._seam = 0, b""

    def _take_decoded(self, piece: bytes) -> None:
        assert self._decoded is not None
        self._decoded_any = True
        self._decoded.update(piece)
        for machine in self._decoded_others.values():
            machine.update(piece)
        self._note_first(piece)

    def _note_last(self, data: bytes) -> None:
        self._last.append(data)
        self._last_bytes += len(data)
        while self._last_bytes - len(self._last[0]) >= ZIP_END_BYTES:
            self._last_bytes -= len(self._last.popleft())

    def _note_first(self, data: bytes) -> None:
        if self._keeps:
            self._note_last(data)
            if self._scanned < BEHIND_WITHIN_BYTES and self.behind_other is None:
                self._scan(data)
        if len(self._first) < _FIRST_MAX_BYTES:
            self._first += data[: _FIRST_MAX_BYTES - len(self._first)]

    def _scan(self, data: bytes) -> None:
        """Look for an archive that begins in the middle."""
        self._scanned += len(data)
        data = self._seam + data
        begin = self._scanned - len(data)
        found = archive_behind(data)
        if found is not None:
            self.behind_other = found[0]
        elif any(at >= begin and data.startswith(marks, at - begin) for at, marks in VOLUMES):
            self.behind_other = "disk image"
        self._seam = data[-BEHIND_HEAD_BYTES:]

    def _judge_part(self) -> None:
        """Judge a multipart/byteranges body by the head and the first bytes of its first part."""
        first = bytes(self._first)
        in_parts = may_be_parts(self.declared.full_type, first)
        part = read_first_part(self.declared.full_type, first) if in_parts else None
        if part is None:
            lost = not in_parts or len(first) >= _FIRST_MAX_BYTES
            self.risky = self.risky or lost  # a client may keep it as it came
            return
        if part.content_type is not None and declared(part.content_type, None, "").risky:
            self.risky = True
        elif part.piece is None or (part.piece.first > 0 and self._from_start):
            self.risky = True  # the beginning may come behind it, where nobody looks
        elif part.piece.first == 0:
            count = part.piece.last + 1
            first = part.first[:count]
            self.signature = risky_signature(first)
            self.risky = self.signature is not None or (len(first) == count and may_begin(first))
        self._part_seen = len(part.first) >= _PART_ENOUGH_BYTES or part.piece is None or part.piece.first > 0
