"""What waits in an HTTP/2 connection for room at the other side, whatever that changes meanwhile.

- The other side's settings may make a window less than nothing (RFC 9113, 6.9.2) and frames smaller than a
  piece is that waits. Both are errors in mitmproxy's buffer, and end the connection in the middle of a body.
- Small pieces that wait become one: a body may come byte by byte.
- The end of a body goes with the last piece that waits for room, as nobody gives room for an end alone.
"""

from itertools import chain

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.stream import StreamState
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection, SendH2Data

from secondlook.ground.memory import give_back_soon

JOINED_BYTES = 4 << 10  # pieces that wait become one up to here
MUCH_BYTES = 8 << 20  # of a connection: no ordinary one ends with so much unsent
_SENDING = (StreamState.OPEN, StreamState.HALF_CLOSED_REMOTE)


class SendingConnection(BufferedH2Connection):
    """The sending half of an HTTP/2 connection."""

    def send_data(  # type: ignore[override]  # as mitmproxy's has it, of which it is one
        self,
        stream_id: int,
        data: bytes,
        end_stream: bool = False,
        pad_length: None = None,  # noqa: ARG002
    ) -> None:
        """Send a piece of a body, now or when there is room."""
        most = self.max_outbound_frame_size
        last = max(0, len(data) - 1) // most * most
        for at in range(0, last, most):
            self._send_piece(stream_id, data[at : at + most], end_stream=False)
        self._send_piece(stream_id, data[last:] if last else data, end_stream=end_stream)

    def _send_piece(self, stream_id: int, data: bytes, *, end_stream: bool) -> None:
        waiting = self.stream_buffers.get(stream_id)
        if not waiting:
            left = self._send_what_fits(stream_id, SendH2Data(data, end_stream))
            if left is not None:
                self.stream_buffers[stream_id].append(left)
        elif not data or len(waiting[-1].data) + len(data) <= JOINED_BYTES:
            waiting[-1] = SendH2Data(waiting[-1].data + data, end_stream)
        else:
            waiting.append(SendH2Data(data, end_stream))

    def stream_window_updated(self, stream_id: int) -> bool:
        """Send what waits of a stream, as far as there is room; return whether anything was."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.state_machine.state not in _SENDING:
            self.forget(stream_id)
            return False
        waiting = self.stream_buffers.get(stream_id)
        sent = False
        while waiting:
            piece = waiting.popleft()
            left = self._send_what_fits(stream_id, piece)
            sent |= left is not piece
            if left is not None:
                waiting.appendleft(left)
                return sent
        self.stream_buffers.pop(stream_id, None)
        if stream_id in self.stream_trailers:
            self.send_headers(stream_id, self.stream_trailers.pop(stream_id), end_stream=True)
        return sent

    def _send_what_fits(self, stream_id: int, piece: SendH2Data) -> SendH2Data | None:
        """Send what the windows have room for; return what is left of a piece.

        An end that comes alone needs no room (6.9.1), but a window below nothing is waited for: h2 as the
        other side takes it for an error.
        """
        data, ends = piece
        room, most, at = self.local_flow_control_window(stream_id), self.max_outbound_frame_size, 0
        while at < len(data) and room > at:
            end = min(at + most, room, len(data))
            H2Connection.send_data(self, stream_id, data[at:end], ends and end == len(data))
            at = end
        if at < len(data):
            return SendH2Data(data[at:], ends) if at else piece
        if ends and not data:
            if room < 0:
                return piece
            H2Connection.send_data(self, stream_id, b"", end_stream=True)
        return None

    def forget(self, stream_id: int) -> None:
        """Drop what waits to be sent on a stream."""
        self.stream_buffers.pop(stream_id, None)
        self.stream_trailers.pop(stream_id, None)

    def forget_all(self) -> None:
        """Drop what waits on every stream of a connection that has ended.

        Layers and streams know each other, so the connection stays until Python looks through its garbage:
        that comes with so many objects, however large they are.
        """
        waiting = chain.from_iterable(self.stream_buffers.values())
        if sum(len(piece.data) for piece in waiting) > MUCH_BYTES:
            give_back_soon()
        self.stream_buffers.clear()
        self.stream_trailers.clear()

    def reset_stream(self, stream_id: int, error_code: ErrorCodes | int = 0) -> None:
        """End a stream."""
        self.stream_trailers.pop(stream_id, None)
        super().reset_stream(stream_id, error_code)
