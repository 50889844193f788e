"""Whether the directory whose users sign in can be asked."""

import secrets

from secondlook.config.ldap import LdapSettings
from secondlook.proxy.access.ldap import DirectoryError, Ldap
from secondlook.run.diagnosis.check_result import CheckResult

_REMEDY = (
    "see whether it runs, this machine reaches it, and `clients.ldap` has its address, certificate (`ca`), "
    "base and search user; meanwhile who was let in before goes on for `stale`"
)


async def directory(settings: LdapSettings) -> CheckResult:
    """Ask for somebody who is not there, the way that users are asked for."""
    try:
        there = await Ldap(settings).holds(f"secondlook-doctor-{secrets.token_hex(8)}", secrets.token_hex(16))
    except (DirectoryError, OSError) as error:  # OSError: `ca` cannot be read
        return CheckResult("directory", "problem", f"the directory gives no answer: {error}", _REMEDY)
    if there:
        return CheckResult(
            "directory",
            "problem",
            f"{settings.uri} lets a name in that nobody has, by a password made up just now",
            "take `clients.ldap` out until it does not: everybody could sign in",
        )
    return CheckResult("directory", "ok", f"{settings.uri} answers about users")
