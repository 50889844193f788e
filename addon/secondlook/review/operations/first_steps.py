"""The first steps on the set-up page: those that processes marked, and those that the ledger counts."""

from collections.abc import Sequence

from secondlook.ground.first_steps import FirstSteps, Step
from secondlook.ground.program_name import typed
from secondlook.ledger.ledger import Ledger
from secondlook.review.program import Json

COUNTED_S = 30 * 86_400.0

WORDS = {
    Step.REQUEST: ("A browser uses the proxy", "waiting for the first request"),
    Step.TRUST: ("Programs trust the certificate", "waiting for the first encrypted page"),
    Step.BLOCK: ("Something was blocked", "open the test address of step 3"),
    Step.NOTICE: ("Notices arrive (where you want any)", f"run {typed('notify test')}"),
}


def look(ledger: Ledger, steps: FirstSteps, now: float, *, with_proxy: bool) -> Sequence[Json]:
    """Return each step with whether it was taken, and mark what the ledger has counted; blocks."""
    taken = steps.taken()
    if not taken >= {Step.REQUEST, Step.BLOCK}:
        hours = ledger.statistics.hourly(now - COUNTED_S, now)
        seen = {
            Step.REQUEST: any(hour.checked for hour in hours),
            Step.BLOCK: any(hour.blocked or hour.would_block for hour in hours),
        }
        for step in {step for step, was in seen.items() if was} - taken:
            steps.mark(step)
            taken |= {step}
    return [
        {"name": str(step), "title": title, "taken": step in taken, "missing": missing}
        for step, (title, missing) in WORDS.items()
        if with_proxy or step is not Step.TRUST  # a gateway has an authority of its own
    ]
