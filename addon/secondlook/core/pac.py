"""The PAC file: which requests a browser sends through the proxy."""

import json
from ipaddress import ip_network

from secondlook.core.url.address import with_port

# Where names without a dot lead that are of this network, not of the Internet (RFC 1918, RFC 6598, RFC 3927).
_NEAR = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8")
_TEMPLATE = """// Second Look: addresses of this computer go direct, and names without a dot
// (printer) that lead to a private address. Everything else is checked.
function FindProxyForURL(url, host) {{
  if (host === "localhost" || host === "127.0.0.1" || host === "::1" || dnsDomainIs(host, ".localhost")) {{
    return "DIRECT";
  }}
  var address = isPlainHostName(host) && host.indexOf(":") < 0 ? dnsResolve(host) : null;
  if (address && ({near})) {{
    return "DIRECT";
  }}
  return {route};
}}
"""


def pac_text(host: str, port: int, *, direct_fallback: bool = False) -> str:
    """Write the PAC file; `direct_fallback` lets browsers go unchecked while the proxy is down."""
    route = f"PROXY {with_port(host, port)}" + ("; DIRECT" if direct_fallback else "")
    near = (ip_network(each) for each in _NEAR)
    tests = (f'isInNet(address, "{each.network_address}", "{each.netmask}")' for each in near)
    return _TEMPLATE.format(route=json.dumps(route), near=" ||\n    ".join(tests))
