"""The file of a hash list: its layout, and what can be wrong with one.

```
offset  bytes        what
0       8            magic "SLHASHES"
8       4            format version (1)
12      4            width of an entry in bytes: 4, 8, 16 or 32
16      8            count of entries
24      32           SHA-256 of the sorted entries, as in Safe Browsing v5's `sha256_checksum`
56      8            zero
64      65,537 * 4   index: entry `index[t]` is the first whose upper 16 bits are >= t; index[65536] = count
262212  4            zero
262216  count * K    keys: the first K = min(width, 8) bytes of each entry, as integers
…       count * (width - K)   tails: the rest of each entry, as it is
```

All integers are little-endian. Keys are stored as machine integers, because a bisection over a
`memoryview` of integers runs in C; an entry on the wire is the same number in big-endian order.
Hashes are evenly spread, so a list of 10 million has about 150 entries for each index slot.
"""

from struct import Struct
from typing import Final

from secondlook.ground.errors import PatternError

MAGIC: Final = b"SLHASHES"
VERSION: Final = 1
WIDTHS: Final = (4, 8, 16, 32)
HEADER: Final = Struct("<8sIIQ32s8x")
RESERVED_AT: Final = 56
BUCKETS: Final = 65_536
INDEX_BYTES: Final = (BUCKETS + 1) * 4
KEYS_AT: Final = HEADER.size + INDEX_BYTES + 4  # on a multiple of 8
MAX_COUNT: Final = 2**32 - 1
KEY_BYTES: Final = 8
BLOCK_ENTRIES: Final = 65_536


class NotAHashList(PatternError):  # noqa: N818 (the four load errors are named after what was found)
    """The file does not begin with the magic of a hash list."""


class UnsupportedVersion(PatternError):  # noqa: N818
    """The file is a hash list of another format version, or this machine is big-endian."""


class Truncated(PatternError):  # noqa: N818
    """The file is shorter than its header says."""


class Corrupt(PatternError):  # noqa: N818
    """The file contradicts itself: bounds, order or checksum."""
