"""The end of a zip, by which it is known whatever stands before it.

For itself, as the child that unpacks needs no more of what headers say of a body than this.
"""

import struct

ZIP_END_BYTES = 22 + 0xFFFF  # its fixed part and the longest comment
_ZIP_MARK = b"PK\x05\x06"
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_ENTRY_BYTES = 46
_ZIP64 = 0xFFFFFFFF
_MOST_ENDS = 64  # of a zip: who has more of them hides the one that counts


def ends_like_zip(last: bytes, size: int) -> bool:
    """Return whether a body of `size` bytes that ends so has a zip's directory at its end (APPNOTE, 4.3.16).

    What stands before the zip does not matter to those who open it: a program (self-extracting), a picture.
    Nor do the numbers of disks and members and the length of the comment to some of them, and most find one
    whose comment holds another mark: only where the directory is counts, of any end that is there.
    """
    behind = len(last) - _ZIP_END.size + len(_ZIP_MARK)
    for _ in range(_MOST_ENDS):
        at = last.rfind(_ZIP_MARK, 0, max(0, behind))
        if at < 0:
            return False
        *_, directory, offset, _ = _ZIP_END.unpack_from(last, at)
        fits = directory >= _ZIP_ENTRY_BYTES and directory + offset <= size
        if fits or _ZIP64 in {directory, offset}:
            return True
        behind = at + len(_ZIP_MARK) - 1
    return True
