"""Fuzzing: real inputs, damaged in every way, for as long as `SECONDLOOK_FUZZ_S` says.

A target is a function that states its invariant in one sentence (its docstring) and asserts it for any input:

    @fuzz(data=mutated(SEEDS))
    def test_something(data):
        \"\"\"Whatever the bytes, … .\"\"\"

In the ordinary suite a target meets a few inputs; `make fuzz` gives each ten seconds. What fails is kept in
`.hypothesis` and tried first the next time.
"""

import inspect
import os
import time
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

BUDGET_S = float(os.environ.get("SECONDLOOK_FUZZ_S", "0"))
_FEW, _ROUND = 15, 200
_MOST_STEPS = 6
_SPLICED_BYTES = 64


def fuzz(**inputs: st.SearchStrategy[object]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a target: its named inputs are drawn, its other arguments are fixtures."""

    def decorate(target: Callable[..., None]) -> Callable[..., None]:
        assert target.__doc__, f"{target.__name__} states no invariant"
        signature = inspect.signature(target)
        fixtures = [each for name, each in signature.parameters.items() if name not in inputs]

        @wraps(target)
        def run(record_property: Callable[[str, object], None], **given_fixtures: object) -> None:
            tried = count()

            def once(**drawn: object) -> None:
                next(tried)
                target(**given_fixtures, **drawn)

            began = time.monotonic()
            for number in count():
                _round(once, inputs, number)
                if time.monotonic() - began >= BUDGET_S:
                    break
            record_property("fuzzed", next(tried))

        asked = inspect.Parameter("record_property", inspect.Parameter.KEYWORD_ONLY)
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in fixtures]
        run.__signature__ = signature.replace(parameters=[asked, *keywords])  # type: ignore[attr-defined]
        return pytest.mark.fuzz(run)

    return decorate


def _round(once: Callable[..., None], inputs: dict[str, st.SearchStrategy[object]], number: int) -> None:
    """Draw a number of inputs; the first round also tries again what failed before."""
    phases = [Phase.explicit, Phase.generate, Phase.shrink, *([Phase.reuse] if not number else [])]
    test = settings(
        max_examples=_ROUND if BUDGET_S else _FEW,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )(given(**inputs)(once))
    if BUDGET_S:
        test = seed(time.time_ns())(test)
    test()


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """Draw one of some real inputs, with a few pieces changed, doubled, cut out, moved or made up."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, _MOST_STEPS))):
        first, last = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        match draw(st.sampled_from(["cut", "double", "insert", "change", "flip", "splice"])):
            case "cut":
                del data[first:last]
            case "double":
                data[first:first] = data[first:last][: 1 << 14]
            case "insert":
                data[first:first] = draw(st.binary(max_size=_SPLICED_BYTES))
            case "change":
                data[first : first + 1] = draw(st.binary(min_size=1, max_size=1))
            case "flip" if first < len(data):
                data[first] ^= 1 << draw(st.integers(0, 7))
            case "splice":
                other = draw(st.sampled_from(seeds))
                at = draw(st.integers(0, len(other)))
                data[first:last] = other[at : at + draw(st.integers(0, _SPLICED_BYTES))]
    return bytes(data)
