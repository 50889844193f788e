"""`secondlook status`: one screen about how protection is doing."""

import time
from contextlib import suppress
from datetime import datetime
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
from secondlook.ground.instant import rfc3339
from secondlook.ground.json_text import read_json
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
OF_LEDGER = (
    "passed_through",
    "waiting",
    "oldest_waiting",
    "checked",
    "blocked",
    "flagged",
    "rules",
    "paused_until",
    "paused_for",
)


@app.command()
@with_known_context
def status(context: CommandContext, utc: UtcOption = False) -> None:
    """Show on one screen how protection is doing."""
    now = time.time()
    running = read_run_file(context.state)
    lists, list_alerts = _of_lists(context, now)
    log, log_alerts = _of_log(context, now)
    facts: dict[str, Any] = {
        **_of_processes(context, running),
        "mode": context.settings.policy.mode,
        "level": context.settings.policy.level,
        "state": str(context.state),
        **lists,
        "alerts": [
            *list_alerts,
            *_feed_alerts(context, now),
            *(_process_alerts(running, now, utc=utc) if running else ()),
            *log_alerts,
        ],
        **log,
    }
    if context.as_json:
        print_json(facts)
        return
    if facts["review"] and running and on_terminal():
        # Only where a person reads it: it opens the page once, and must not end up in a file.
        facts["review"] += f"?token={running['token']}"
    _print(facts, utc=utc)


def _of_processes(context: CommandContext, running: dict[str, Any] | None) -> dict[str, Any]:
    """Return what runs and where it is reached, from the run file (None: nothing runs)."""
    known = running or {}
    return {
        "running": running is not None,
        "name": context.settings.proxy_name,
        "shared": context.settings.shares_ledger,
        "since": rfc3339(known.get("started_at")),
        "proxy": known.get("proxy"),
        "listen": known.get("listen"),
        "gateway": known.get("gateway"),
        "icap": known.get("icap"),
        "gate_workers": len(known.get("gates", ())) if running else None,
        "review": _review(context, known["review"]) if known.get("review") else None,
        "server": known.get("server"),
        "settings_changed": running is not None and changed_since_read(running),
        "hung": known.get("hung", {}).get("last"),
    }


def _of_lists(context: CommandContext, now: float) -> tuple[dict[str, Any], list[str]]:
    """Return how the lists in force are doing, and what is wrong with them."""
    from secondlook.agent.pattern import change

    try:
        lists = change.status(context.state, now=now, title=context.list_title)
    except PatternError as error:
        unknown = {"pattern": None, "pattern_lists": 0, "pattern_entries": 0, "pattern_age_s": None}
        return unknown, [str(error)]
    facts = {
        "pattern": lists.generation or None,
        "pattern_lists": len(lists.lists),
        "pattern_entries": lists.entries,
        "pattern_age_s": round(max((each.age_s for each in lists.lists), default=0.0), 1),
    }
    return facts, list(lists.alerts)


def _of_log(context: CommandContext, now: float) -> tuple[dict[str, Any], list[str]]:
    """Return what the ledger counts (None where it cannot be read), and why it cannot be."""
    try:
        with context.ledger_to_read() as ledger:
            try:
                return _of_ledger(ledger, context.settings.passages, now), []
            except LedgerError as error:
                return dict.fromkeys(OF_LEDGER), [ledger.trouble or str(error)]
    except LedgerError as error:
        return dict.fromkeys(OF_LEDGER), [str(error)]


def _process_alerts(running: dict[str, Any], now: float, *, utc: bool) -> list[str]:
    """Return what is wrong with the processes that run; a proxy that hangs makes us wait."""
    alerts = [_hung(running, now, utc=utc)]
    if changed_since_read(running):
        file, refused = running["invocation"]["config"], running["settings"]["refused"]
        alerts.append(changed(file, typed("reload"), refused))
    if running["proxy"]:
        alerts.append(_trouble(running["proxy"]))
    return [alert for alert in alerts if alert]


def _trouble(address: str) -> str | None:
    """Ask the proxy whether it can protect, and return what is wrong."""
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


def _feed_alerts(context: CommandContext, now: float) -> list[str]:
    """Return which feeds of the embedded server fail, are refused, or name known-good sites of late."""
    from secondlook.server.store.feed_alerts import feed_alerts
    from secondlook.server.store.feeds_off import read_off

    servers, folder = context.settings.servers, context.state / SERVER_FOLDER
    if not servers.embedded.enabled:
        return []
    alerts = []
    off = read_off(folder)
    for path in sorted((folder / "feeds").glob("*.json")):
        with suppress(OSError, ValueError, AttributeError):  # half of one is none
            if (error := read_json(path.read_bytes()).get("error")) and path.stem not in off:
                alerts.append(f"feed {path.stem}: {error}")
    alerts += [held.summary() for held in read_held_back(folder) or () if held.is_news(now)]
    named, others = bool(context.settings.feeds), bool(servers.intranet or servers.network)
    return [*alerts, *feed_alerts(folder, named=named, others=others, now=now)]


def _review(context: CommandContext, address: str) -> str:
    from secondlook.run.supervisor.listening import visited

    scheme = "https" if context.settings.review.tls else "http"
    return f"{scheme}://{visited(address)}/"


def _of_ledger(ledger: "Ledger", lasting: "Lasting", now: float) -> dict[str, Any]:
    from secondlook.ledger.log.shape import passage_json

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
        ("proxy", "  ".join(facts["listen"]) if facts["listen"] else facts["proxy"]),
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
