"""A ClientHello until all of it is here, whatever pieces and records it comes in.

mitmproxy waits for up to 16 MB of one, and reads all that has come from its beginning for every piece that
comes: some megabytes in small pieces hold the event loop for minutes. Here each record is looked at once, and
none is waited for that nobody would take: OpenSSL takes 128 KiB, BoringSSL 16.
"""

HELLO_MAX_BYTES = 64 << 10  # with the headers of its records
_RECORD_HEADER = 5
_MESSAGE_HEADER = 4
_HANDSHAKE = b"\x16\x03"


class HelloBuffer:
    """What has come of a ClientHello."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._at = 0  # so much of it are whole records
        self._unfinished_bytes = 0
        self._message = 0  # bytes in these
        self._header = bytearray()  # the first of them, which have the length of the message

    def add(self, data: bytes) -> bool:
        """Take a piece; return whether all is here, or it is none: then it is to be read."""
        self.data += data
        while (start := self._at + _RECORD_HEADER) <= len(self.data):
            size = int.from_bytes(self.data[start - 2 : start])
            if not self.data.startswith(_HANDSHAKE, self._at) or not size:
                return True
            if len(self.data) < start + size:
                break
            self._header += self.data[start : start + min(size, _MESSAGE_HEADER - len(self._header))]
            self._message += size
            self._at = start + size
            if self._message >= self._length:
                return True
        self._unfinished_bytes = len(self.data)
        return False

    @property
    def is_too_large(self) -> bool:
        """Whether it is larger than anybody would take."""
        return max(self._unfinished_bytes, self._at, self._length) > HELLO_MAX_BYTES

    @property
    def _length(self) -> int:
        """The length of the message, as far as it is known."""
        if len(self._header) < _MESSAGE_HEADER:
            return _MESSAGE_HEADER
        return _MESSAGE_HEADER + int.from_bytes(self._header[1:])
