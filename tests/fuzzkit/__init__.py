"""Fuzzing: real inputs, damaged in every way, for as long as `SECONDLOOK_FUZZ_S` says.

A target is a function that states its invariant in one sentence (its docstring) and asserts it for any input:

    @fuzz(data=mutated(SEEDS))
    def test_something(data):
        \"\"\"Whatever the bytes, … .\"\"\"

In the ordinary suite a target meets a few inputs, drawn by Hypothesis; `make fuzz` gives each ten seconds more.
A target with `mutated` bytes spends these on real inputs that are changed, at the speed of Python (Hypothesis
draws a tenth as many); what failed is kept in `.hypothesis/corpus` and tried first the next time.
"""

import inspect
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from fuzzkit.corpus import Corpus, smaller
from fuzzkit.mutation import Mutated, mutated

__all__ = ["BUDGET_S", "fuzz", "mutated"]

BUDGET_S = float(os.environ.get("SECONDLOOK_FUZZ_S", "0"))
# CI tries the same inputs each time: what fails there can be made to fail here, and is of the change that is tried.
SEED = 0 if os.environ.get("CI") else time.time_ns()
_FEW, _ROUND = 15, 200
_POOL = 40  # inputs of a target that goes on by changing some

type Drawn = dict[str, object]


def fuzz(
    **inputs: st.SearchStrategy[object] | Mutated,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a target: its named inputs are drawn, its other arguments are fixtures."""
    strategies = {
        name: each.strategy() if isinstance(each, Mutated) else each for name, each in inputs.items()
    }
    changing = {name: each for name, each in inputs.items() if isinstance(each, Mutated)}

    def decorate(target: Callable[..., None]) -> Callable[..., None]:
        assert target.__doc__, f"{target.__name__} states no invariant"
        signature = inspect.signature(target)
        fixtures = [each for name, each in signature.parameters.items() if name not in inputs]

        @wraps(target)
        def run(record_property: Callable[[str, object], None], **given_fixtures: object) -> None:
            tried = count()
            pool: dict[str, list[object]] = defaultdict(list)

            def once(**drawn: object) -> None:
                next(tried)
                target(**given_fixtures, **drawn)

            def noted(**drawn: object) -> None:
                for name, value in drawn.items():
                    pool[name].append(value)
                once(**drawn)

            until = time.monotonic() + BUDGET_S
            for number in count():
                _round(noted, strategies, number, most=(_POOL if changing else _ROUND) if BUDGET_S else _FEW)
                if changing or time.monotonic() >= until:
                    break
            if changing and BUDGET_S:
                name = f"{target.__module__}.{target.__name__}"
                _change(once, changing, pool, Corpus(name), until)
            record_property("fuzzed", next(tried))

        asked = inspect.Parameter("record_property", inspect.Parameter.KEYWORD_ONLY)
        keywords = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in fixtures]
        run.__signature__ = signature.replace(parameters=[asked, *keywords])  # type: ignore[attr-defined]
        return pytest.mark.fuzz(run)

    return decorate


def _round(
    once: Callable[..., None], inputs: dict[str, st.SearchStrategy[object]], number: int, *, most: int
) -> None:
    """Draw a number of inputs; the first round also tries again what failed before."""
    phases = [Phase.explicit, Phase.generate, Phase.shrink, *([Phase.reuse] if not number else [])]
    test = settings(
        max_examples=most,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )(given(**inputs)(once))
    if BUDGET_S:
        test = seed(SEED + number)(test)
    test()


def _change(
    once: Callable[..., None],
    changing: dict[str, Mutated],
    pool: dict[str, list[object]],
    corpus: Corpus,
    until: float,
) -> None:
    """Change inputs until a moment, after those that are known."""
    random = Random(SEED)
    known = {name: [*each.seeds, *corpus.read(name)] for name, each in changing.items()}

    def draw() -> Iterator[Drawn]:
        for name, data in [(name, data) for name, held in known.items() for data in held]:
            yield {**_others(random, pool), name: data}
        while time.monotonic() < until:
            fresh = {name: each.random(random, known[name]) for name, each in changing.items()}
            yield {**_others(random, pool), **fresh}

    for drawn in draw():
        try:
            once(**drawn)
        except Exception as error:
            for name in changing:
                least = smaller(once, drawn, name, type(error))
                corpus.keep(name, least)
                drawn[name] = least
            error.add_note(f"with {drawn!r}")
            raise


def _others(random: Random, pool: dict[str, list[object]]) -> Drawn:
    """Choose for each input one of the values that Hypothesis drew."""
    return {name: random.choice(values) for name, values in pool.items()}
