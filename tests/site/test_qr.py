"""The code that a phone reads."""

import pytest

from secondlook.site.qr import address_code


@pytest.mark.parametrize("address", [None, "127.0.0.1:8080", "[::1]:8080", "localhost:8080"])
def test_what_no_phone_reaches_has_no_code(address):
    assert address_code(address) is None


def test_the_code_is_drawn_dark_on_light_with_its_quiet_zone_and_says_the_address():
    drawn = address_code("192.168.1.5:8080")
    assert drawn.startswith('<svg viewBox="0 0 132 132" class="qr">')  # 25 squares and 4 on each side
    assert '<path fill="#fff" d="M0 0h33v33h-33z"/>' in drawn
    assert '<path stroke="#000"' in drawn
    assert "style=" not in drawn  # the pages' policy allows none
    assert drawn != address_code("192.168.1.6:8080")
