"""Version blobs of our lists: opaque to clients, but each names its list and the exact bytes it stands for.

```
bytes  what
1      format (1)
1      length n of the list's name
n      the name, ASCII
8      generation, big-endian
8      first 8 bytes of the SHA-256 of the list of that generation
0 | 4 + 8 + 8 + n   state of a list in the middle of a cut update, see below
```

Two publishers at the same generation never look alike, as the checksum differs. An update that was cut
(`maxUpdateEntries`) leaves the client with the new list's entries below a bound and the old list's from there
on; such a version goes on with the old generation (0: nothing), its checksum, and the bound.
"""

import struct
from dataclasses import dataclass
from typing import Self

FORMAT = 1
TAG_BYTES = 8
_FIXED = struct.Struct(">Q8s")
_MAX_VERSION_BYTES = 255


@dataclass(frozen=True, slots=True)
class ListVersion:
    """Which bytes of which list a client holds.

    `tag` is the first 8 bytes of the checksum of generation `generation`. With a `bound` the client
    holds that list's entries below it, and those of the list (`base`, `base_tag`) from it on.
    """

    name: str
    generation: int
    tag: bytes
    base: int = 0
    base_tag: bytes = bytes(TAG_BYTES)
    bound: bytes = b""

    @property
    def whole(self) -> bool:
        """Whether this is a list as published, not one in the middle of a cut update."""
        return not self.bound

    def encode(self) -> bytes:
        """Return the blob."""
        name = self.name.encode("ascii")
        head = bytes((FORMAT, len(name))) + name + _FIXED.pack(self.generation, self.tag)
        return head if not self.bound else head + _FIXED.pack(self.base, self.base_tag) + self.bound

    @classmethod
    def decode(cls, blob: bytes) -> Self | None:
        """Read a blob; None for one that we did not make."""
        if not 2 <= len(blob) <= _MAX_VERSION_BYTES or blob[0] != FORMAT:  # noqa: PLR2004
            return None
        at = 2 + blob[1]
        rest = blob[at:]
        try:
            name = blob[2:at].decode("ascii")
        except UnicodeDecodeError:
            return None
        if len(rest) == _FIXED.size:
            return cls(name, *_FIXED.unpack(rest))
        if len(rest) <= 2 * _FIXED.size:
            return None
        generation, tag = _FIXED.unpack_from(rest)
        base, base_tag = _FIXED.unpack_from(rest, _FIXED.size)
        return cls(name, generation, tag, base, base_tag, rest[2 * _FIXED.size :])
