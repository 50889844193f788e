"""What is known of the family: the content of `run.json`, and the lines that a ready proxy writes."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from secondlook.ground.json_text import read_json
from secondlook.ground.program_name import typed
from secondlook.run.supervisor.child import Child
from secondlook.run.supervisor.heartbeat import Heartbeats
from secondlook.run.supervisor.listening import Sockets, address_of, visited
from secondlook.run.supervisor.plan import Plan
from secondlook.run.supervisor.rereading import Rereading
from secondlook.run.supervisor.runfile import process_mark


def service_of(children: Sequence[Child]) -> Child:
    """Return the newest service."""
    return next(child for child in reversed(children) if child.role == "service")


def facts_of(
    plan: Plan, sockets: Sockets, children: Sequence[Child], rereading: Rereading, heartbeats: Heartbeats
) -> dict[str, Any]:
    """Return the facts that others read in `run.json`."""
    service = service_of(children)
    proxies = [address_of(sock) for sock in sockets.of("proxy")]
    reviews = [address_of(sock) for sock in sockets.of("review")]
    servers = [address_of(sock) for sock in sockets.of("server")]
    return {
        "pid": os.getpid(),
        "process": process_mark(os.getpid()),
        "proxy": proxies[0] if proxies else None,
        "listen": proxies,
        "review": reviews[0] if reviews else None,
        "token": service.facts.get("token"),
        "metrics_token": service.facts.get("metrics_token"),
        "server": f"http://{servers[0]}" if servers else None,
        "gateway": plan.endpoints.gateway,
        "icap": next(map(address_of, sockets.of("icap")), None),
        "pattern": service.facts.get("pattern"),
        "mode": read_json(plan.settings)["mode"],
        "invocation": asdict(plan.invocation),
        "settings": {
            "file": plan.settings_file,
            "readings": rereading.readings,
            "reading": rereading.under_way,
            "refused": rereading.refused,
            "in_force": works_by_its_plan(children),
        },
        "started_at": plan.started_at,
        "service": service.process.pid if service.process is not None else None,
        "workers": processes(children, "worker"),
        "gates": processes(children, "gate"),
        "hung": heartbeats.summary(),
    }


def processes(children: Sequence[Child], role: str) -> list[int]:
    """Return those that do the work of a role: during a reload the old ones, until all new ones are ready."""
    of_role = [child for child in children if child.role == role and child.process is not None]
    serving = [child for child in of_role if _serves_on(child)]
    serving = serving or [child for child in of_role if not child.replaced]
    return [child.process.pid for child in serving if child.process is not None]


def works_by_its_plan(children: Sequence[Child]) -> bool:
    """Return whether all that is to take the place of others is ready, and none of those goes on.

    In a mode in which only one can listen, the old worker ends before the new one starts.
    """
    return all(child.ready for child in children if not (child.replaced or child.stopping)) and not any(
        map(_serves_on, children)
    )


def _serves_on(child: Child) -> bool:
    """Return whether a child goes on until those that are to take its place are ready."""
    return child.replaced and not child.stopping


def ready_lines(
    facts: dict[str, Any], settings: str, pattern: str | None, *, trusted: bool, begun: bool
) -> Iterator[str]:
    """Yield the lines of a proxy that is ready.

    `settings` are JSON, `pattern` is the pattern in words, `trusted` whether browsers know the CA, `begun`
    whether the first steps were taken.
    """
    workers = f", workers {len(facts['workers'])}" if facts["listen"] else ""
    yield f"proxy    {'  '.join(facts['listen']) or 'off'}  (mode {facts['mode']}{workers})"
    if facts["gateway"]:
        icap = f"  icap {facts['icap']}" if facts["icap"] else ""
        yield f"gateway  {facts['gateway']}{icap}  (workers {len(facts['gates'])})"
    scheme = "https" if read_json(settings)["review"].get("tls") else "http"
    review = f"{scheme}://{visited(facts['review'])}" if facts["review"] else None
    token = f"?token={facts['token']}" if facts["token"] else ""
    yield f"review   {review}/{token}" if review else "review   off"
    yield f"server   {facts['server'] or 'none embedded'}"
    yield f"pattern  {pattern or 'none yet'}"
    if facts["listen"] and not trusted:
        yield f"hint     browsers do not trust this proxy's certificates yet: {typed('setup ca on')}"
    if review and not begun:
        yield f"hint     first steps, each ticked off when it is done: {review}/setup{token}"
