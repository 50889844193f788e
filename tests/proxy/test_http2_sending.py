"""Bodies in an HTTP/2 connection whose other side changes its windows and frames meanwhile. No I/O."""

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from mitmproxy.proxy.events import ConnectionClosed

from proxykit.http2 import shut_client
from proxykit.sides import NoStreams, around, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_connection import Http2Connection


@pytest.fixture
def ours() -> Http2Connection:
    return Http2Connection(client=False, head_max=1 << 16, fields_max=100)


@pytest.fixture
def client(ours: Http2Connection) -> h2.connection.H2Connection:
    return shut_client(ours)


def narrow(client: h2.connection.H2Connection, ours: Http2Connection, size: int) -> None:
    """Have a client's windows become smaller by its settings (RFC 9113, 6.9.2)."""
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: size})
    ours.receive_data(client.data_to_send())
    client.receive_data(ours.data_to_send())


@pytest.mark.parametrize("further", [b"", b"x", b"x" * 9, b"x" * 20_000])
def test_a_window_that_became_less_than_nothing_is_waited_for(ours, client, further):
    narrow(client, ours, 1000)
    ours.send_data(1, b"a" * 1000)
    narrow(client, ours, 10)
    assert ours.local_flow_control_window(1) == -990
    ours.send_data(1, further)
    ours.end_stream(1)
    client.increment_flow_control_window(990 + len(further), stream_id=1)
    ours.receive_data(client.data_to_send())
    events = client.receive_data(ours.data_to_send())
    got = b"".join(each.data for each in events if isinstance(each, h2.events.DataReceived))
    assert got == further
    assert any(isinstance(each, h2.events.StreamEnded) for each in events)


def test_an_end_needs_no_room(ours, client):
    """RFC 9113, 6.9.1: a frame of no length that ends a stream may be sent whatever the window."""
    narrow(client, ours, 1000)
    ours.send_data(1, b"a" * 1000)
    assert ours.local_flow_control_window(1) == 0
    ours.end_stream(1)
    assert any(isinstance(each, h2.events.StreamEnded) for each in client.receive_data(ours.data_to_send()))


def test_an_end_goes_with_the_last_piece_that_waits(ours, client):
    ours.send_data(1, b"x" * 16_384)
    ours.end_stream(1)
    client.increment_flow_control_window(16_384, stream_id=1)
    ours.receive_data(client.data_to_send())
    assert any(isinstance(each, h2.events.StreamEnded) for each in client.receive_data(ours.data_to_send()))


def test_frames_that_may_only_be_smaller_from_now_on_are(ours, client):
    client.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 65_536})
    ours.receive_data(client.data_to_send())
    client.receive_data(ours.data_to_send())
    body = b"x" * 60_000
    ours.send_data(1, body)
    client.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 16_384})
    ours.receive_data(client.data_to_send())
    client.receive_data(ours.data_to_send())
    client.increment_flow_control_window(len(body), stream_id=1)
    ours.receive_data(client.data_to_send())
    events = client.receive_data(ours.data_to_send())
    assert b"".join(each.data for each in events if isinstance(each, h2.events.DataReceived)) == body


def test_nothing_waits_in_a_connection_that_has_ended():
    """Python finds such a connection late: it has layers and streams that know each other."""
    side = Http2ClientSide(around(), NoStreams(), TrafficLimitsSettings())
    client = shut_client(side.h2_conn)
    side.h2_conn.send_data(1, b"x" * 50_000)
    assert side.h2_conn.stream_buffers
    run(side, ConnectionClosed(side.conn))
    assert not side.h2_conn.stream_buffers
    assert client.streams  # it was the connection that ended, and not the stream
