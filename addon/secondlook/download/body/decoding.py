"""Content-Encoding, undone piece by piece in bounded memory: for looking inside, never for passing on.

Theory. Each layer is a decoder that gives at most `STEP_BYTES` for a call and keeps the input it has not
looked at. One 228-byte brotli chunk can stand for 300 MB, so both the output of one call and the output
in all are limited: `FEED_BYTES` for each piece fed (then it is `behind`, and `work` goes on, off the event
loop), `ratio` in all. A step that gives nothing has its price too: 64 KiB may be 3,000 empty members of gzip.
States: working → done (every layer reached its end) | broken (not what it says) | over (too much).
"""

import re
from collections.abc import Callable, Iterator
from enum import StrEnum

from secondlook.download.body.decoders import WORK_BYTES, BrokenEncodingError, Layer, layer_of

FEED_BYTES = 256 << 10  # decoded for one piece fed, so that the event loop stays free
_STEP_PRICE = 2 << 10
PASSED_RATIO = 100  # of a body that has gone on: beyond it only processor time is to be had
BACKLOG_BYTES = 1 << 20  # encoded input that may wait
RATIO_FROM_BYTES = 1 << 20  # small bodies may expand as they like up to here
_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate", "br": "br", "zstd": "zstd"}

_NO_ENCODING = (
    re.compile(  # what servers write there that encodes nothing, and no client takes for an encoding
        r"|identity|none|binary|[78]bit|chunked|aws-chunked|text|plain|utf-?(?:8|16)|us-ascii|ascii"
        r"|iso-?8859-\d+|windows-\d+"
    )
)


_APART = re.compile(r"[\s,]+")
_WITH_DICTIONARY = ("dcb", "dcz")


class DecodeState(StrEnum):
    """How far a decoder is."""

    WORKING = "working"
    DONE = "done"
    BROKEN = "broken"
    OVER = "over"
    UNKNOWN = "unknown"  # an encoding nobody here reads


def encodings_of(header: str | None, layers: int) -> tuple[tuple[str, ...], bool]:
    """Read a Content-Encoding: those that are known, outermost first, and whether all are, and not too many.

    Firefox divides it at spaces too, and undoes those that it knows whatever stands beside them.
    """
    if not header:
        return (), True
    names = [name for name in _APART.split(header.lower()) if _NO_ENCODING.fullmatch(name) is None]
    known = [_NAMES[name] for name in reversed(names) if name in _NAMES]
    sure = len(names) <= layers
    return tuple(known) if sure else (), sure and len(known) == len(names)


def needs_dictionary(header: str | None) -> bool:
    """Return whether only who has kept a dictionary can undo a Content-Encoding (RFC 9842)."""
    return header is not None and any(name in header.lower() for name in _WITH_DICTIONARY)


class Decoder:
    """Undoes a chain of encodings; `feed` gives what came out, in pieces of at most `STEP_BYTES`.

    `on_between` is given what each layer but the last gives. `on_end` is called where a client may stop
    though more follows: after what was given before, and before anything of what follows; `on_restart` where
    what follows is all of the body, read in another way.
    """

    def __init__(
        self,
        encodings: tuple[str, ...],
        *,
        ratio: int,
        on_end: Callable[[], None] = lambda: None,
        on_between: Callable[[int, bytes], None] = lambda _layer, _out: None,
        on_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_end = on_end
        self._on_restart = on_restart
        self._restarted: set[int] = set()
        self._encodings = encodings
        self._on_between = on_between
        self._layers: list[Layer] = [layer_of(name) for name in encodings]
        self._ratio = ratio
        self._in_bytes = 0
        self.out_bytes = 0
        self.behind = False  # more can be decoded of what is here
        self.state = DecodeState.WORKING

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode one more piece."""
        if self.state is not DecodeState.WORKING:
            return
        self._in_bytes += len(data)
        self._layers[0].feed(data)
        yield from self._work(FEED_BYTES)
        if len(self._layers[0].waiting) > BACKLOG_BYTES:
            self.state = DecodeState.OVER

    def work(self) -> Iterator[bytes]:
        """Decode more of what waits; may take some ten milliseconds."""
        self._be_patient(patient=True)
        yield from self._work(WORK_BYTES)
        self._be_patient(patient=False)

    def expect_less(self) -> None:
        """Have the body be too much earlier."""
        self._ratio = min(self._ratio, PASSED_RATIO)

    def finish(self) -> Iterator[bytes]:
        """Decode what still waits (much, where it is `behind`); afterwards the state is not WORKING."""
        while self.behind and self.state is DecodeState.WORKING:
            yield from self.work()
        if self.state is DecodeState.WORKING:
            whole = self._in_bytes == 0 or all(layer.done for layer in self._layers)
            self.state = DecodeState.DONE if whole else DecodeState.BROKEN

    def _restart(self, index: int) -> None:
        """Begin anew behind a layer; what it gave before was no more than a client might keep."""
        self._restarted.add(index)
        self._layers[index + 1 :] = [layer_of(name) for name in self._encodings[index + 1 :]]
        self._on_restart()

    def _be_patient(self, *, patient: bool) -> None:
        for layer in self._layers:
            layer.patient = patient

    def _work(self, budget: int) -> Iterator[bytes]:
        self.behind = False
        limit = max(RATIO_FROM_BYTES, self._in_bytes * self._ratio)
        last = len(self._layers) - 1
        try:
            while budget > 0:
                for index in range(last, -1, -1):  # innermost first: nothing piles up between layers
                    out = self._layers[index].step()
                    if self._layers[index].restarted and index not in self._restarted:
                        self._restart(index)
                    if self._layers[index].ended:
                        self._layers[index].ended = False
                        self._on_end()
                    if out or self._layers[index].busy:
                        break
                else:
                    return
                budget -= len(out) + _STEP_PRICE
                if not out:
                    continue
                if index != last:
                    self._on_between(index, out)
                    self._layers[index + 1].feed(out)
                    continue
                self.out_bytes += len(out)
                if self.out_bytes > limit:
                    self.state = DecodeState.OVER
                    return
                yield out
            self.behind = True
        except BrokenEncodingError:
            self.state = DecodeState.BROKEN
