"""What goes back of a body: which length is believed."""

import pytest

from secondlook.gateway.icap.heads import HttpResponse
from secondlook.gateway.icap.outlet import declared_length


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], None),
        ([(b"Content-Length", b"5")], 5),
        ([(b"content-length", b"5, 5")], 5),
        ([(b"Content-Length", b"5"), (b"Content-Length", b"6")], None),
        ([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], None),
        ([(b"Content-Length", b"-5")], None),
        ([(b"Content-Length", b"9" * 16)], None),
    ],
)
def test_the_length_that_is_believed(fields, length):
    assert declared_length(HttpResponse("1.1", 200, b"OK", tuple(fields))) == length
