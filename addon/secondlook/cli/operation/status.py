"""`secondlook status`: one screen about how protection is doing."""

import json
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from secondlook.cli.caller import on_terminal, typed
from secondlook.cli.context import CommandContext, with_known_context
from secondlook.cli.options import UtcOption
from secondlook.cli.output import (
    duration_text,
    generation_text,
    print_facts,
    print_json,
    print_marked,
    time_text,
)
from secondlook.core.neutralize import inert
from secondlook.ground.errors import LedgerError, PatternError
from secondlook.run.supervisor.runfile import SERVER_FOLDER, read_run_file
from secondlook.run.supervisor.settings_file import changed, changed_since_read
from secondlook.server.publish.held_back import read_held_back

if TYPE_CHECKING:
    from secondlook.core.tls_exception import Lasting
    from secondlook.ledger.ledger import Ledger

app = typer.Typer(add_completion=False)
DAY_S = 86_400.0
ANSWER_S = 2.0
MOST_BYTES = 1_000


@app.command()
@with_known_context
def status(context: CommandContext, utc: UtcOption = False) -> None:
    """Show on one screen how protection is doing."""
    from secondlook.agent.pattern import change
    from secondlook.ledger.log.shape import rfc3339
    from secondlook.server.store.feed_alerts import feed_alerts

    now = time.time()
    running = read_run_file(context.state)
    facts: dict[str, Any] = {
        "running": running is not None,
        "name": context.settings.proxy_name,
        "shared": context.settings.shares_ledger,
        "since": rfc3339(running["started_at"]) if running else None,
        "proxy": running["proxy"] if running else None,
        "gateway": running.get("gateway") if running else None,
        "icap": running.get("icap") if running else None,
        "gate_workers": len(running.get("gates", ())) if running else None,
        "review": _review(context, running["review"]) if running and running["review"] else None,
        "server": running["server"] if running else None,
        "mode": context.settings.policy.mode,
        "level": context.settings.policy.level,
        "state": str(context.state),
        "paused_until": None,
        "paused_for": None,
        "pattern": None,
        "pattern_lists": 0,
        "pattern_entries": 0,
        "pattern_age_s": None,
        "alerts": [],
        "waiting": None,
        "oldest_waiting": None,
        "checked": None,
        "blocked": None,
        "flagged": None,
        "rules": None,
        "passed_through": None,
        "settings_changed": False,
        "hung": running.get("hung", {}).get("last") if running else None,
    }
    try:
        lists = change.status(context.state, now=now, title=context.list_title)
        facts["pattern"] = lists.generation or None
        facts["pattern_lists"] = len(lists.lists)
        facts["pattern_entries"] = lists.entries
        facts["pattern_age_s"] = round(max((each.age_s for each in lists.lists), default=0.0), 1)
        facts["alerts"] += lists.alerts
    except PatternError as error:
        facts["alerts"].append(str(error))
    servers = context.settings.servers
    if servers.embedded.enabled:
        folder = context.state / SERVER_FOLDER
        named, others = bool(context.settings.feeds), bool(servers.intranet or servers.network)
        facts["alerts"] += _of_feeds(folder, now)
        facts["alerts"] += feed_alerts(folder, named=named, others=others, now=now)
    if running and (hung := _hung(running, now, utc=utc)):
        facts["alerts"].append(hung)
    if running and changed_since_read(running):
        facts["settings_changed"] = True
        file, refused = running["invocation"]["config"], running["settings"]["refused"]
        facts["alerts"].append(changed(file, typed("reload"), refused))
    if running and running["proxy"] and (trouble := _trouble(running["proxy"])):
        facts["alerts"].append(trouble)
    try:
        with context.ledger_to_read() as ledger:
            try:
                facts |= _of_ledger(ledger, context.settings.passages, now)
            except LedgerError as error:
                facts["alerts"].append(ledger.trouble or str(error))
    except LedgerError as error:
        facts["alerts"].append(str(error))
    if context.as_json:
        print_json(facts)
        return
    if facts["review"] and running and on_terminal():
        # Only where a person reads it: it opens the page once, and must not end up in a file.
        facts["review"] += f"?token={running['token']}"
    _print(facts, utc=utc)


def _trouble(address: str) -> str | None:
    """Ask the proxy whether it can protect, and return what is wrong; one that hangs makes us wait."""
    from http.client import SERVICE_UNAVAILABLE, HTTPConnection, HTTPException

    from secondlook.run.supervisor.listening import visited

    host, _, port = visited(address).rpartition(":")
    asked = HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_S)
    try:
        asked.request("GET", "/healthz")
        answer = asked.getresponse()
        return answer.read(MOST_BYTES).decode().strip() if answer.status == SERVICE_UNAVAILABLE else None
    except TimeoutError:
        return f"the proxy gave no answer on {address} within {ANSWER_S:g} s"
    except (OSError, HTTPException):  # other modes speak no HTTP there
        return None
    finally:
        asked.close()


def _hung(running: dict[str, Any], now: float, *, utc: bool) -> str | None:
    """Return which process hung last, where that was within a day, and how many did since the start."""
    hung = running.get("hung", {})  # absent: the proxy is of an older version
    last = hung.get("last")
    if last is None or now - last["at"] > DAY_S:
        return None
    count = sum(hung["count"].values())
    others = f"; {count} did since the start" if count > 1 else ""
    return f"{last['process']} hung, was killed and started again at {time_text(last['at'], utc=utc)}{others}"


def _of_feeds(folder: Path, now: float) -> list[str]:
    """Return which feeds of the embedded server fail, are refused, or name known-good sites of late."""
    from secondlook.server.store.feeds_off import read_off

    alerts = []
    off = read_off(folder)
    for path in sorted((folder / "feeds").glob("*.json")):
        with suppress(OSError, ValueError, AttributeError):  # half of one is none
            if (error := json.loads(path.read_bytes()).get("error")) and path.stem not in off:
                alerts.append(f"feed {path.stem}: {error}")
    return alerts + [held.summary() for held in read_held_back(folder) or () if held.is_news(now)]


def _review(context: CommandContext, address: str) -> str:
    from secondlook.run.supervisor.listening import visited

    scheme = "https" if context.settings.review.tls else "http"
    return f"{scheme}://{visited(address)}/"


def _of_ledger(ledger: "Ledger", lasting: "Lasting", now: float) -> dict[str, Any]:
    from secondlook.ledger.log.shape import passage_json, rfc3339

    waiting, oldest, _ = ledger.queue.count()
    hours = ledger.statistics.hourly(now - DAY_S, now)
    pauses = [pause for pause in ledger.snapshots.pauses() if pause.created <= now < pause.until]
    everybody = [pause for pause in pauses if pause.client is None]
    paused = everybody or pauses  # the widest is shown
    return {
        "passed_through": [passage_json(each) for each in ledger.events.passages(lasting)],
        "waiting": waiting,
        "oldest_waiting": rfc3339(oldest),
        "checked": sum(hour.checked for hour in hours),
        "blocked": sum(hour.blocked for hour in hours),
        "flagged": sum(hour.flagged for hour in hours),
        "rules": len(ledger.rules.all()),
        "paused_until": rfc3339(max(pause.until for pause in paused)) if paused else None,
        "paused_for": None if everybody or not paused else sorted({str(pause.client) for pause in paused}),
    }


def _gateway_shown(facts: dict[str, Any]) -> str | None:
    if not facts.get("gateway"):
        return None
    icap = f", ICAP on {facts['icap']}" if facts["icap"] else ""
    return f"{facts['gateway']}{icap} (workers {facts['gate_workers']})"


def _print(facts: dict[str, Any], *, utc: bool) -> None:
    def at(text: str) -> str | None:
        return time_text(datetime.fromisoformat(text).timestamp(), utc=utc)

    if not facts["running"]:
        protection = f"off: no proxy runs on this state; start it with `{typed('run')}`"
    elif facts["paused_until"]:
        whose = f" for {inert(', '.join(facts['paused_for']))}" if facts["paused_for"] else ""
        protection = f"PAUSED{whose} until {at(facts['paused_until'])}; on again with `{typed('resume')}`"
    elif facts["mode"] == "assess":
        protection = "assessing: nothing is enforced"
    else:
        protection = f"on since {at(facts['since'])}, level {facts['level']}"
    pattern = "no lists yet"
    if facts["pattern_lists"]:
        pattern = (
            f"{facts['pattern_entries']:,} entries, {generation_text(facts['pattern'])}, "
            f"confirmed {duration_text(facts['pattern_age_s'])} ago"
        )
    rows = [
        ("protection", protection),
        ("name", facts["name"] if facts.get("shared") else None),
        ("proxy", facts["proxy"]),
        ("gateway", _gateway_shown(facts)),
        ("review", facts["review"]),
        ("server", facts["server"]),
        ("pattern", pattern),
    ]
    if facts["waiting"] is not None:
        waiting = f"{facts['waiting']:,} flagged" + (
            f", the oldest since {at(facts['oldest_waiting'])}" if facts["waiting"] else ""
        )
        day = f"{facts['checked']:,} checked, {facts['blocked']:,} blocked, {facts['flagged']:,} flagged"
        rows += [("second look", waiting), ("last day", day), ("rules", facts["rules"])]
    rows += [
        (
            "passed through",
            f"{inert(each['host'])} for {inert(each['user'] or each['client'])}, until {at(each['until'])}",
        )
        for each in facts["passed_through"] or ()
    ]
    rows.append(("state", facts["state"]))
    print_facts((name, value) for name, value in rows if value is not None)
    for alert in facts["alerts"]:
        print_marked("attention:", f" {alert}", "doubtful")
