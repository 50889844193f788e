"""Whether this process can protect, as `/healthz` shows a balancer."""

from secondlook.agent.check.watch import Watcher
from secondlook.core.asking.circuit import CircuitState
from secondlook.run.assembly.check.parts import Parts


def why_not_ready(parts: Parts, watcher: Watcher) -> str | None:
    """Return what keeps this process from protecting, in words; None when it can. Looks at memory only.

    A server or a database that is away is no reason while there are lists to judge by and a journal to write
    to: a balancer that turned all proxies away for it would leave nobody protected.
    """
    if not parts.ledger.flags.takes_flags:
        return "what no server can decide cannot be written down (a full disk?), and is refused"
    if not watcher.has_read:
        return "the operator's rules could not be read yet"
    servers = parts.lookup.status()
    if servers and not parts.view.current.pattern.lists and not any(_answers(each.state) for each in servers):
        return "there are no lists, and no server answers"
    return None


def _answers(state: str) -> bool:
    # one that is tried again now and then has not answered yet: a balancer must not hear of each try
    return state in {CircuitState.CLOSED.value, "slowed"}
