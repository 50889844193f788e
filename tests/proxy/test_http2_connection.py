"""What waits in an HTTP/2 connection for room at the other side, however small its pieces come. No I/O."""

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest

from proxykit.http2 import shut_client
from secondlook.proxy.mitm.http.http2_connection import Http2Connection
from secondlook.proxy.mitm.http.http2_sending import JOINED_BYTES


@pytest.fixture
def ours() -> Http2Connection:
    return Http2Connection(client=False, head_max=1 << 16, fields_max=100)


@pytest.fixture
def client(ours: Http2Connection) -> h2.connection.H2Connection:
    return shut_client(ours)


@pytest.mark.parametrize("size", [1, 700, JOINED_BYTES, 16_384, 50_000])
def test_a_body_that_waits_arrives_whole_and_in_order(ours, client, size):
    body = bytes(range(256)) * 400
    for at in range(0, len(body), size):
        ours.send_data(1, body[at : at + size])
    ours.end_stream(1)
    client.receive_data(ours.data_to_send())
    client.increment_flow_control_window(len(body), stream_id=1)
    client.increment_flow_control_window(len(body))
    ours.receive_data(client.data_to_send())
    events = client.receive_data(ours.data_to_send())
    assert b"".join(each.data for each in events if isinstance(each, h2.events.DataReceived)) == body
    assert any(isinstance(each, h2.events.StreamEnded) for each in events)


def test_pieces_of_a_byte_wait_as_few(ours, client):
    """What waits is summed up for each piece that comes: a million of them would hold the event loop."""
    for _ in range(10 * JOINED_BYTES):
        ours.send_data(1, b"x")
    assert len(ours.stream_buffers[1]) == 10
    ours.end_stream(1)
    assert (len(ours.stream_buffers[1]), ours.stream_buffers[1][-1].end_stream) == (10, True)


def test_nothing_comes_behind_the_end_of_a_body(ours, client):
    ours.send_data(1, b"x")
    ours.end_stream(1)
    assert [(piece.data, piece.end_stream) for piece in ours.stream_buffers[1]] == [(b"x", True)]
