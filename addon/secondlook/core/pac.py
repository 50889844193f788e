"""The PAC file: which requests a browser sends through the proxy."""

import json

from secondlook.core.url.address import with_port

_TEMPLATE = """// Second Look: addresses of this computer go direct, everything else is checked.
function FindProxyForURL(url, host) {{
  if (isPlainHostName(host) || host === "127.0.0.1" || host === "::1" || dnsDomainIs(host, ".localhost")) {{
    return "DIRECT";
  }}
  return {route};
}}
"""


def pac_text(host: str, port: int, *, direct_fallback: bool = False) -> str:
    """Write the PAC file; `direct_fallback` lets browsers go unchecked while the proxy is down."""
    route = f"PROXY {with_port(host, port)}" + ("; DIRECT" if direct_fallback else "")
    return _TEMPLATE.format(route=json.dumps(route))
