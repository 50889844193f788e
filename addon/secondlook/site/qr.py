"""The address of the proxy's own pages as a QR code, for the camera of a phone."""

from markupsafe import Markup

from secondlook.core.url.address import is_loopback


def address_code(proxy_address: str | None) -> Markup | None:
    """Draw the code of `host:port` as SVG; None for an address that no other device reaches.

    Dark on light in every colour scheme, as cameras want it.
    """
    if proxy_address is None or is_loopback(proxy_address.rpartition(":")[0].strip("[]")):
        return None
    import segno  # noqa: PLC0415 - few ask for such a page

    code = segno.make_qr(f"http://{proxy_address}/", error="m")
    drawn = code.svg_inline(scale=4, light="#fff", omitsize=True, lineclass=None, svgclass="qr")
    return Markup(drawn)  # noqa: S704 - made of nothing but squares
