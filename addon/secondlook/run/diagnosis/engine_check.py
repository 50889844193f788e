"""Whether the engines that look into files could do so now, and what to do where not."""

import os
from collections.abc import AsyncIterator

from secondlook.config.agent import Settings
from secondlook.config.extra import has
from secondlook.ground.lanes import STATE
from secondlook.run.diagnosis.check_result import CheckResult
from secondlook.scan.clamd import Clamd
from secondlook.scan.clamd_wire import ClamdError
from secondlook.scan.rule_keeper import refused
from secondlook.scan.rule_set import RulesInForce

OLD_SIGNATURES_S = 7 * 86_400.0
_DAY_S = 86_400.0


async def engines(settings: Settings, now: float) -> AsyncIterator[CheckResult]:
    """Ask each engine that the settings name; one that would look unasked is named where it is missing."""
    if not has("yara"):
        yield _found("yara", "not installed (the extra `yara`): its rules look into no file")
    if settings.looking.yara.rules:
        yield await STATE.run(_rules, settings)
    if settings.scan.clamd is not None:
        yield await _clamd(Clamd(settings.scan.clamd), now)


def _rules(settings: Settings) -> CheckResult:
    error = refused(settings.state)
    rules = RulesInForce(settings.state).current
    if error is not None:
        kept = "none are in force" if rules is None else f"the last good {rules.count} stay in force"
        return _found("yara", f"rules refused ({kept}): {error}", "mend that file, or take it out")
    if rules is None:
        return _found("yara", "its rules are not compiled", "start the proxy: its service does that")
    if rules.path is not None and not os.access(rules.path, os.R_OK):
        text = f"its compiled rules cannot be read: {rules.path}"
        return _found("yara", text, "start the proxy again: its service compiles them where they are gone")
    return _found("yara", f"{rules.count} rules in force")


async def _clamd(clamd: Clamd, now: float) -> CheckResult:
    try:
        version = await clamd.ask_version()
    except ClamdError as error:
        remedy = "start clamd, let this user open its socket, and see scan.clamd.address"
        return _found("clamd", f"{clamd.settings.address}: {error}", remedy)
    finally:
        await clamd.aclose()
    if version.made_at is not None and now - version.made_at > OLD_SIGNATURES_S:
        days = (now - version.made_at) / _DAY_S
        return _found(
            "clamd",
            f"{version.text}: its database is {days:.0f} days old",
            "see to freshclam (its log says why)",
        )
    return _found("clamd", version.text)


def _found(engine: str, text: str, remedy: str | None = None) -> CheckResult:
    """How one engine is; `remedy` is what to do about its trouble, None where there is none."""
    return CheckResult(f"engine {engine}", "ok" if remedy is None else "problem", text, remedy)
