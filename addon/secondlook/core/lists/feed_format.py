"""The formats of feeds, by name: settings know which there are, and so do those who read them."""

from enum import StrEnum


class Format(StrEnum):
    """The formats a feed can have; the value names it on the command line (`--format`)."""

    PLAIN = "plain"  # one host, address, range, URL or digest a line
    HOSTS = "hosts"
    ADBLOCK = "adblock"
    DNSMASQ = "dnsmasq"
    UNBOUND = "unbound"
    BIND = "bind"
    RPZ = "rpz"
    TPL = "tpl"
    TABLE = "csv"
    DIGESTS = "digests"  # in any column, or in prose
    CLAMAV = "clamav"
    NSRL = "nsrl"
    RECORDS = "json"
    MISP = "misp"
    WARNINGLIST = "warninglist"
    STIX = "stix"
    HASHLOOKUP = "hashlookup"
    PHISHTANK_XML = "phishtank-xml"
