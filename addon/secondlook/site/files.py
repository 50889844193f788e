"""The files of the site that are the same for everybody: certificate, profile for Apple's devices, PAC."""

from pathlib import Path
from typing import NamedTuple

from cryptography.x509 import load_pem_x509_certificate

from secondlook.core.pac import pac_text
from secondlook.site.mobile_profile import profile


class File(NamedTuple):
    """What is handed out, and the name under which it is saved, if it is."""

    content: bytes
    content_type: str
    name: str | None = None


def certificate(ca_pem: Path, ending: str = "pem") -> File:
    """Return the certificate. Raise OSError where there is none, ValueError where it is damaged.

    `ending` is that of the name under which it is saved: Windows opens `crt` and `cer`, not `pem`.
    """
    content = ca_pem.read_bytes()  # a few kB that stay in the page cache
    load_pem_x509_certificate(content)
    return File(content, "application/x-x509-ca-cert", f"second-look-ca.{ending}")


def mobile_profile(ca_pem: Path, description: str, proxy_address: str | None) -> File:
    """Return the profile, with the proxy where an address is given. Raise what `certificate` raises."""
    pac_url = f"http://{proxy_address}/proxy.pac" if proxy_address is not None else None
    content = profile(load_pem_x509_certificate(ca_pem.read_bytes()), description, pac_url)
    return File(content, "application/x-apple-aspen-config", "second-look.mobileconfig")


def pac(proxy_address: str, *, direct_fallback: bool) -> File:
    """Return the PAC file; `direct_fallback`: browsers go unchecked while the proxy is down."""
    host, _, port = proxy_address.rpartition(":")
    script = pac_text(host.strip("[]"), int(port), direct_fallback=direct_fallback)
    return File(script.encode(), "application/x-ns-proxy-autoconfig")
