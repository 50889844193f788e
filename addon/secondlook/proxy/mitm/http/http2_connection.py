"""One HTTP/2 connection without I/O: `h2` with streams that fail alone and patience that ends.

What `h2` 4.4 does otherwise, and why it is changed here:

- Any malformed head or body ends the connection with all its streams; RFC 9113, 8.1.1 ends the stream.
- A GOAWAY ends everything at once; by RFC 9113, 6.8 streams up to its last one go on.
- HPACK is quadratic (`header_coding.py`), a header block may have 8 MB.
- Frames that cost the sender nothing (resets, PING, SETTINGS, empty frames, updates of windows) may come
  without end (CVE-2023-44487, CVE-2025-8671, CVE-2019-9512 to 9518). Here they are drawn from two allowances
  that time and honest work refill; when one is empty, the connection ends with ENHANCE_YOUR_CALM.
- Frames are handed out one by one, so that a reader can stop in between and let others have their turn.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionInputs
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import (
    DenialOfServiceError,
    InvalidBodyLengthError,
    ProtocolError,
    StreamClosedError,
    StreamIDTooLowError,
)
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamClosedBy, StreamState
from hpack.exceptions import HPACKError
from hyperframe.exceptions import InvalidPaddingError
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, WindowUpdateFrame

from secondlook.proxy.mitm.http.header_coding import Field, HeadDecoder, HeadEncoder
from secondlook.proxy.mitm.http.http2_head import MalformedHeadError, read_answer, read_request, read_trailers
from secondlook.proxy.mitm.http.http2_sending import SendingConnection

RESETS, RESETS_PER_S = 400, 33  # a browser that closes a tab with 100 streams is far below it
IDLE_FRAMES, IDLE_FRAMES_PER_S = 1000, 200
IDLE_FRAMES_PER_FRAME = 4  # for each frame of honest work: gRPC sends two updates and a PING for a message
_UPDATE_BYTES = 13
_PREFACE_BYTES = 24
_DATA = bytes([DataFrame.type])
_CONFIGURATIONS = {
    client: H2Configuration(
        client_side=client,
        header_encoding=False,
        validate_inbound_headers=False,  # `http2_head.py` does
        validate_outbound_headers=False,
        normalize_inbound_headers=False,
        normalize_outbound_headers=False,
    )
    for client in (False, True)
}


@dataclass
class StreamFailed(Event):
    """A stream was ended by us, because of what the other side sent on it."""

    stream_id: int
    reason: str


@dataclass
class HeadTooLarge(Event):
    """A request whose head is beyond the limit; it waits for an answer with that reason."""

    stream_id: int
    stream_ended: bool


class Allowance:
    """A number of things that may be done at once, refilled by time and by what is given back."""

    def __init__(self, most: float, per_second: float, clock: Callable[[], float]) -> None:
        self._left = self._most = most
        self._per_second = per_second
        self._clock = clock
        self._since = clock()

    def take(self) -> bool:
        """Take one; False where none is left."""
        if self._left < 1:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._since) * self._per_second)
            self._since = now
            if self._left < 1:
                return False
        self._left -= 1
        return True

    def give(self, count: int) -> None:
        """Give some back."""
        self._left = min(self._most, self._left + count)


class _ZeroUpdate(WindowUpdateFrame):
    """A WINDOW_UPDATE of nothing: an error of its stream (RFC 9113, 6.9), in `hyperframe` one of all."""


class _Frames(FrameBuffer):
    """Splits bytes into frames; a header block of several is bounded by its bytes."""

    def __init__(self, *, server: bool, block_max: int) -> None:
        super().__init__(server)
        self._block_max = block_max

    def __len__(self) -> int:
        return len(self._data)

    @property
    def is_cut(self) -> bool:
        """Whether the preface, a header block or another frame than a body's has begun and is not whole."""
        if self._preamble_len:
            return self._preamble_len < _PREFACE_BYTES
        return bool(self._headers_buffer or (self._data and self._data[3:4] != _DATA))

    def __next__(self) -> Frame:
        data = self._data
        if len(data) >= _UPDATE_BYTES and data[3] == WindowUpdateFrame.type and not self._headers_buffer:
            stream_id = int.from_bytes(data[5:9]) & 0x7FFFFFFF
            if data[:3] == b"\0\0\4" and stream_id and not int.from_bytes(data[9:13]) & 0x7FFFFFFF:
                del data[:_UPDATE_BYTES]
                return _ZeroUpdate(stream_id, window_increment=1)
        return super().__next__()

    def _update_header_buffer(self, f: Frame | None) -> Frame | None:
        if self._headers_buffer and sum(one.body_len for one in self._headers_buffer) > self._block_max:
            raise DenialOfServiceError("a header block far beyond the limit")
        return super()._update_header_buffer(f)


class Http2Connection(SendingConnection):
    """The state of an HTTP/2 connection, either side of it.

    `head_max` bounds a head that is received, as SETTINGS_MAX_HEADER_LIST_SIZE counts it; `fields_max` is the
    number of its fields.
    """

    def __init__(self, *, client: bool, head_max: int, fields_max: int) -> None:
        super().__init__(_CONFIGURATIONS[client])
        self.encoder = HeadEncoder()
        self.decoder: HeadDecoder = HeadDecoder(head_max, fields_max)
        self.local_settings[SettingCodes.MAX_HEADER_LIST_SIZE] = head_max
        self.local_settings.acknowledge()
        self.incoming_buffer: _Frames = _Frames(server=not client, block_max=2 * head_max)
        self.frames = 0  # that came whole
        self._resets = Allowance(RESETS, RESETS_PER_S, time.monotonic)
        self._idle = Allowance(IDLE_FRAMES, IDLE_FRAMES_PER_S, time.monotonic)
        self._frame_dispatch_table[_ZeroUpdate] = self._receive_zero_update

    def add(self, data: bytes) -> None:
        """Take bytes from the network; `next_events` looks at them. ProtocolError: they are no HTTP/2."""
        self.incoming_buffer.add_data(data)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size

    def next_events(self) -> list[Event] | None:
        """Handle the next whole frame; None where there is none. ProtocolError: the connection is over."""
        try:
            frame = next(self.incoming_buffer)
            self.frames += 1
        except StopIteration:
            return None
        except InvalidPaddingError as error:
            raise ProtocolError("a frame has more padding than it is long") from error
        return self._sent_on(self._receive_frame(frame))

    def receive_data(self, data: Any) -> list[Event]:
        """Handle all that there is, at once."""
        self.add(data)
        found: list[Event] = []
        while (some := self.next_events()) is not None:
            found += some
        return found

    def _sent_on(self, events: list[Event]) -> list[Event]:
        """Send what waited for room where there is some now; return the events that are not about that."""
        kept: list[Event] = []
        for event in events:
            match event:
                case WindowUpdated(stream_id=0):
                    self.connection_window_updated()
                case WindowUpdated(stream_id=stream_id) if stream_id is not None:
                    self.stream_window_updated(stream_id)
                case RemoteSettingsChanged(changed_settings=changed):
                    if SettingCodes.INITIAL_WINDOW_SIZE in changed:
                        self.connection_window_updated()
                    kept.append(event)
                case StreamReset(stream_id=stream_id):
                    self.forget(stream_id)
                    kept.append(event)
                case _:
                    kept.append(event)
        return kept

    def _receive_frame(self, frame: Frame) -> list[Event]:
        kind = type(frame)
        if isinstance(frame, DataFrame):
            if frame.data or "END_STREAM" in frame.flags:
                self._idle.give(IDLE_FRAMES_PER_FRAME)
            else:
                self._draw(self._idle, "empty frames")
        elif kind is HeadersFrame:
            self._idle.give(IDLE_FRAMES_PER_FRAME)
        elif kind is RstStreamFrame:
            self._draw(self._resets if self._is_open(frame.stream_id) else self._idle, "resets")
        else:
            self._draw(self._idle, f"frames of {kind.__name__}")
        events = self._dispatch(frame)
        for event in events:
            if isinstance(event, StreamReset) and not event.remote_reset:
                self._draw(self._resets, "faults")
            elif isinstance(event, InformationalResponseReceived):
                for _ in range(IDLE_FRAMES_PER_FRAME + 1):
                    self._draw(self._idle, "interim responses")
        return events

    def _dispatch(self, frame: Frame) -> list[Event]:
        """Handle a frame as `h2` does, which first draws a picture of each for a log that nobody keeps."""
        answer: list[Frame]
        events: list[Event]
        try:
            answer, events = self._frame_dispatch_table[type(frame)](frame)
        except (StreamClosedError, StreamIDTooLowError) as error:
            stream_id = error.stream_id
            if not self._stream_is_closed_by_reset(stream_id):
                if isinstance(error, StreamIDTooLowError) and self._stream_is_closed_by_end(stream_id):
                    raise StreamClosedError(stream_id) from error
                raise
            reset = RstStreamFrame(stream_id)
            if isinstance(error, StreamClosedError):
                # what h2 itself takes from it, in `_receive_frame`: the events are nowhere else
                reset.error_code, events = error.error_code, error._events  # noqa: SLF001
            else:
                reset.error_code, events = ErrorCodes.STREAM_CLOSED, []
            answer = [reset]
        self._prepare_for_sending(answer)
        return events

    def _is_open(self, stream_id: int) -> bool:
        """Return whether a reset ends anything: clients may answer late frames of a stream with another."""
        stream = self.streams.get(stream_id)
        return stream is not None and stream.state_machine.state is not StreamState.CLOSED

    def _draw(self, allowance: Allowance, what: str) -> None:
        if not allowance.take():
            raise DenialOfServiceError(f"too many {what}")

    def _receive_headers_frame(self, frame: HeadersFrame) -> tuple[list[Frame], list[Event]]:
        fields = self._decode(frame.data)
        server = not self.config.client_side
        too_many = (
            server
            and frame.stream_id not in self.streams
            and self.open_inbound_streams >= self.local_settings.max_concurrent_streams
        )
        self.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        stream = self._get_or_create_stream(frame.stream_id, AllowedStreamIDs(server))
        ended = "END_STREAM" in frame.flags
        if too_many:
            return self._give_up(stream, "too many requests at once", ErrorCodes.REFUSED_STREAM)
        new = stream.state_machine.state is StreamState.IDLE
        try:
            if self.decoder.oversized and new and server:
                stream.receive_headers([], ended, None)
                return [], [HeadTooLarge(stream.stream_id, ended)]
            head = self._read(stream, fields, new=new)
            _, events = stream.receive_headers(head, ended, None)
            self._check_length(stream, head, ended=ended)
        except StreamClosedError:
            raise
        except (ProtocolError, MalformedHeadError) as error:
            return self._give_up(stream, str(error))
        return [], events

    def _decode(self, block: bytes) -> list[Field]:
        if len(block) > self.incoming_buffer._block_max:  # noqa: SLF001
            raise DenialOfServiceError("a header block far beyond the limit")
        try:
            return self.decoder.decode(bytes(block), raw=True)
        except HPACKError as error:
            raise ProtocolError(f"a header block cannot be read: {error}") from error

    def _read(self, stream: H2Stream, fields: list[Field], *, new: bool) -> list[Field]:
        if self.decoder.oversized:
            raise MalformedHeadError(f"the head is larger than {self.decoder.max_header_list_size} bytes")
        if new and not self.config.client_side:
            pseudo, rest = read_request(fields)
            return [*pseudo.items(), *rest]
        if self.config.client_side and not stream.state_machine.headers_received:
            return read_answer(fields)
        return read_trailers(fields)

    def _check_length(self, stream: H2Stream, head: list[Field], *, ended: bool) -> None:
        """Hold a message to its length where no body follows; a 304 has another's length (RFC 9110, 8.6)."""
        # h2 compares the body with the length, for a 304 too, whose length is of what it does not send
        if head[:1] in ([(b":status", b"304")], [(b":status", b"204")]):
            stream._expected_content_length = None  # noqa: SLF001
        elif ended and stream._expected_content_length:  # noqa: SLF001
            raise MalformedHeadError("the body is missing")

    def _receive_data_frame(self, frame: DataFrame) -> tuple[list[Frame], list[Event]]:
        try:
            return super()._receive_data_frame(frame)
        except InvalidBodyLengthError as error:
            self.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
            return self._give_up(self.streams[frame.stream_id], str(error))

    def _receive_zero_update(self, frame: _ZeroUpdate) -> tuple[list[Frame], list[Event]]:
        self.state_machine.process_input(ConnectionInputs.RECV_WINDOW_UPDATE)
        try:
            stream = self._get_stream_by_id(frame.stream_id)
        except StreamClosedError:
            return [], []
        return self._give_up(stream, "a window was widened by nothing")

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        """Report a GOAWAY; what is under way goes on (RFC 9113, 6.8)."""
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = bytes(frame.additional_data) or None
        return [], [event]

    def _give_up(
        self, stream: H2Stream, reason: str, code: ErrorCodes = ErrorCodes.PROTOCOL_ERROR
    ) -> tuple[list[Frame], list[Event]]:
        """End one stream because of what came on it; that is drawn from the allowance of resets too."""
        self._draw(self._resets, "faults")
        self.forget(stream.stream_id)
        stream.state_machine.state = StreamState.CLOSED
        stream.state_machine.stream_closed_by = StreamClosedBy.SEND_RST_STREAM
        reset = RstStreamFrame(stream.stream_id)
        reset.error_code = code
        return [reset], [StreamFailed(stream.stream_id, reason)]

    def send_data(  # type: ignore[override]  # as mitmproxy's has it, of which it is one
        self, stream_id: int, data: bytes, end_stream: bool = False, pad_length: None = None
    ) -> None:
        """Send a piece of a body, now or when there is room; it is honest work."""
        self._idle.give(IDLE_FRAMES_PER_FRAME + (len(data) >> 10))
        super().send_data(stream_id, data, end_stream, pad_length)
