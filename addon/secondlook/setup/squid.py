"""The lines of squid.conf by which a Squid asks the Second Look that runs here; they are only printed.

```
http_access ─ not opened TLS and requests ─► helper: OK │ ERR │ BH (closed: the request is denied here)
adaptation_access, requests ─ refused, or for our own pages ─► ICAP REQMOD answers in place of the origin
                            ─ for a piece of a file ─► REQMOD asks for the whole, where it may be risky, or
                              for the blocks around it, where the file was judged (`gateway/icap/wanted.py`)
adaptation_access, responses ─ all; in the open form those that the helper answered ─► ICAP RESPMOD
ssl_bump ─ hosts of `passthrough` ─► asked by name and spliced; all others ─► opened before the origin is
```

What Squid makes of the helper's answers (5.7, `external_acl.cc`): OK matches, ERR does not, and BH ends the
list of rules undecided, which denies in `http_access` and adapts nothing in `adaptation_access`. So the one
list or the other asks, as the variable at the top says. A rule that ends in `!all` only asks.
Squid connects to an ICAP that hangs and waits for it (`icap_io_timeout` is one for all, and for slow origins
too), so in the open form it is not asked about a body where the helper could not tell.
"""

from dataclasses import dataclass
from pathlib import Path

from secondlook.refusal.refusal import INTERNAL_HOST

ASKED_AT_ONCE = 1000  # questions under way to one helper
KEPT_S = 10  # Squid asks no more often about the same request
CERTGEN = "/usr/lib/squid/security_file_certgen"
CERTIFICATES = "/var/spool/squid/secondlook-certificates"


class UnfitForSquidError(ValueError):
    """A value cannot stand in squid.conf; the message names it and the reason."""


@dataclass(frozen=True, slots=True)
class SquidFacts:
    """What the lines are made of."""

    helper: tuple[str, ...]  # program and its first arguments
    socket: Path
    icap: str  # host:port as Squid reaches it
    budget_s: float  # of the helper
    workers: int
    unopened: tuple[str, ...] = ()  # hosts whose TLS is not opened, as in `passthrough`
    authority: Path | None = None  # certificate and key; None: TLS is not opened at all
    listen: str = "3128"
    certgen: str = CERTGEN
    certificates: str = CERTIFICATES


def fragment(facts: SquidFacts) -> str:
    """Write the lines. Raises UnfitForSquidError."""
    for what, value in (("the helper", " ".join(facts.helper[:1])), ("gateway.socket", str(facts.socket))):
        if any(each.isspace() or each in "\"'#\\%" for each in value):
            raise UnfitForSquidError(f"{what} lies at a path that squid.conf cannot name: {value}")
    opens = facts.authority is not None
    parts = [_HEAD, _ASKING.format(**_words(facts)), _own_names(facts, opens=opens)]
    parts.append((_OPENED_ACCESS if opens else _PLAIN_ACCESS) + _INSIDE)
    parts.append(_ICAP.format(icap=facts.icap, sparing=_SPARING if opens else ""))
    if opens:
        parts.append(_BUMP.format(**_words(facts)))
    return "\n".join(parts)


def _words(facts: SquidFacts) -> dict[str, object]:
    command = [*facts.helper, "helper", "--socket", str(facts.socket), "--budget", f"{facts.budget_s:g}"]
    return {
        "kept": KEPT_S,
        "workers": facts.workers,
        "at_once": ASKED_AT_ONCE,
        "queue": ASKED_AT_ONCE * 4,
        "command": " ".join(command),
        "listen": facts.listen,
        "authority": facts.authority,
        "certgen": facts.certgen,
        "certificates": facts.certificates,
    }


def _own_names(facts: SquidFacts, *, opens: bool) -> str:
    lines = [f"acl secondlook_pages dstdomain {INTERNAL_HOST}", "acl secondlook_tunnel method CONNECT"]
    if opens:
        names = [host.removeprefix("*") for host in facts.unopened] or [f"none.{INTERNAL_HOST}"]
        lines += [f"acl secondlook_unopened ssl::server_name {name}" for name in names]
    return "\n".join(lines) + "\n"


_HEAD = """\
# Second Look: printed by `secondlook setup squid`. Include it in squid.conf after the rule that makes clients
# log in, where there is one, and before the other http_access rules (Debian: conf.d/50-secondlook.conf; files
# there are read by their names, and debian.conf is the one that lets other machines in).

# What becomes of requests while nobody can tell (the agent is away, or hangs):
#   any-of !all   closed: they are denied
#   any-of all    open: they go on unchecked, and nothing is written down of them
acl secondlook_open any-of !all
"""
_ASKING = """\
# Each answer is kept for ttl seconds: a new rule or finding takes so long to come into force in Squid.
external_acl_type secondlook ttl={kept} negative_ttl=0 children-max={workers} children-startup={workers} \
concurrency={at_once} queue-size={queue} %>a %un %>rm %>ru %ssl::>sni %>ha{{Sec-Fetch-Dest}} {command}
acl secondlook_ok external secondlook
acl secondlook_refused note secondlook
# Nobody waits for ICAP in the open form where the helper could not tell: it said neither OK nor ERR.
acl secondlook_noted annotate_transaction secondlook_said=ok
acl secondlook_said note secondlook_said
"""
_PLAIN_ACCESS = """\
http_access deny !secondlook_open !secondlook_pages secondlook_ok !all
"""
_OPENED_ACCESS = """\
http_access deny !secondlook_open !secondlook_pages !secondlook_tunnel secondlook_ok !all
http_access deny !secondlook_open secondlook_tunnel secondlook_unopened secondlook_ok !all
"""
_INSIDE = """\
# Clients of other machines reach nothing inside this one through Squid: no page or server, no metadata.
acl secondlook_here src 127.0.0.0/8 ::1
acl secondlook_inside dst 127.0.0.0/8 0.0.0.0/8 169.254.0.0/16 ::1 fe80::/10
http_access deny !secondlook_here !secondlook_pages !secondlook_refused secondlook_inside
"""
_SPARING = "adaptation_access secondlook_request deny secondlook_tunnel !secondlook_unopened\n"
_ICAP = """\
icap_enable on
icap_preview_enable on
icap_persistent_connections on
icap_connect_timeout 5 seconds
icap_service_failure_limit -1
icap_service_revival_delay 5
icap_io_timeout 2 minutes
adaptation_send_client_ip on
adaptation_send_username on
icap_client_username_header X-Authenticated-User
icap_client_username_encode off
adaptation_meta X-Second-Look-Event "%{{secondlook}}note"

# RESPMOD hears of REQMOD what a client wants of a file that was judged, and no cache answers in its place.
adaptation_masterx_shared_names X-Second-Look-Wanted
adaptation_meta X-Second-Look-Hands-On X-Second-Look-Wanted !secondlook_open
acl secondlook_piece req_header Range .
acl secondlook_anew req_header Cache-Control no-cache
cache deny secondlook_piece secondlook_anew

icap_service secondlook_request reqmod_precache bypass=off icap://{icap}/reqmod
{sparing}adaptation_access secondlook_request allow secondlook_pages
adaptation_access secondlook_request allow secondlook_piece !secondlook_open
adaptation_access secondlook_request deny secondlook_open secondlook_ok secondlook_noted
adaptation_access secondlook_request allow secondlook_open secondlook_noted
adaptation_access secondlook_request allow secondlook_refused

icap_service secondlook_response respmod_precache bypass=off icap://{icap}/respmod
icap_service secondlook_response_open respmod_precache bypass=on icap://{icap}/respmod
adaptation_access secondlook_response allow !secondlook_open
adaptation_access secondlook_response_open allow secondlook_open secondlook_said
"""
_BUMP = """\
# TLS is opened with the client before anything is asked of the origin, by certificates of Second Look's
# authority, which clients have to trust. In place of the http_port line of squid.conf; once, before that:
#   {certgen} -c -s {certificates} -M 16MB && chown -R proxy: {certificates}
http_port {listen} ssl-bump tls-cert={authority} generate-host-certificates=on \
dynamic_cert_mem_cache_size=16MB
sslcrtd_program {certgen} -s {certificates} -M 16MB
acl secondlook_step1 at_step SslBump1
ssl_bump bump secondlook_step1 !secondlook_unopened
ssl_bump peek secondlook_step1
ssl_bump terminate !secondlook_ok
ssl_bump splice secondlook_unopened
ssl_bump bump all
"""
