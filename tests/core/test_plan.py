"""The attempt plan: never past the budget, never more attempts than allowed, different servers first."""

from hypothesis import given
from hypothesis import strategies as st

from secondlook.core.asking.plan import (
    HEDGE_SHARE,
    MAX_HEDGE_CREDIT,
    MIN_SAMPLES,
    AttemptPlan,
    Begin,
    Cancel,
    Finish,
    HedgeCredit,
    LatencyWindow,
    Limits,
    arrange,
)


def make_plan(servers=2, *, deadline=1.5, attempts=3, closed=None, hedge=None, pause_s=0.05):
    closed = set(range(servers)) if closed is None else closed
    return AttemptPlan(
        tuple(range(servers)),
        Limits(deadline, attempts, 0.5, pause_s),
        ready_at=lambda server: 0.0 if server in closed else None,
        hedge_after_s=() if hedge is None else [hedge] * servers,
    )


def test_first_server_first_then_the_other_then_the_first_again():
    plan = make_plan()
    assert plan.tick(0.0) == [Begin(0, 0, 0.5)]
    assert plan.failed(0, 0.01) == [Begin(1, 1, 0.51)]
    assert plan.failed(1, 0.02) == []
    again = plan.wake_at
    assert again == 0.01 + 0.05
    assert plan.tick(again) == [Begin(2, 0, again + 0.5)]
    assert plan.failed(2, 0.07) == [Finish(None, "no answer")]
    assert plan.done
    assert plan.tick(0.08) == []


def test_a_hanging_server_costs_one_attempt_timeout():
    plan = make_plan()
    plan.tick(0.0)
    assert plan.wake_at == 0.5
    assert plan.tick(0.5) == [Cancel(0, 0, timed_out=True), Begin(1, 1, 1.0)]
    assert plan.answered(1) == [Finish(1, None)]


def test_with_every_circuit_open_it_is_over_at_once():
    assert make_plan(closed=set()).tick(0.0) == [Finish(None, "circuit open")]


def test_the_deadline_ends_everything():
    plan = make_plan(deadline=0.3)
    assert plan.tick(0.0) == [Begin(0, 0, 0.3)]
    assert plan.tick(0.3) == [Cancel(0, 0, timed_out=True), Finish(None, "timeout")]
    assert make_plan(deadline=0.0).tick(0.0) == [Finish(None, "timeout")]


def test_a_slow_first_request_is_hedged_at_another_server_and_the_loser_given_up():
    plan = make_plan(hedge=0.02)
    plan.tick(0.0)
    assert plan.wake_at == 0.02
    assert plan.tick(0.02) == [Begin(1, 1, 0.52, hedge=True)]
    assert plan.wake_at == 0.5
    assert plan.answered(1) == [Cancel(0, 0, timed_out=False), Finish(1, None)]


def test_a_single_server_is_never_hedged_with_itself():
    plan = make_plan(servers=1, hedge=0.02)
    plan.tick(0.0)
    assert plan.tick(0.02) == []
    assert plan.wake_at == 0.5


def test_a_failed_hedge_leaves_the_first_request_running():
    plan = make_plan(hedge=0.02)
    plan.tick(0.0)
    plan.tick(0.02)
    assert plan.failed(1, 0.03) == []
    assert plan.answered(0) == [Finish(0, None)]


def test_a_server_slowed_down_is_waited_for_inside_the_budget_only():
    waits = {0: 0.2}
    plan = AttemptPlan((0,), Limits(1.5), ready_at=waits.get)
    assert plan.tick(0.0) == []
    assert plan.wake_at == 0.2
    assert plan.tick(0.2) == [Begin(0, 0, 0.7)]
    late = AttemptPlan((0,), Limits(1.5), ready_at={0: 30.0}.get)
    assert late.tick(0.0) == [Finish(None, "slowed down")]


def test_a_late_answer_of_a_given_up_attempt_changes_nothing():
    plan = make_plan()
    plan.tick(0.0)
    plan.tick(0.5)
    assert plan.answered(0) == []
    assert plan.failed(0, 0.55) == []


def test_order_as_listed_or_by_draws():
    assert arrange(3, None) == (0, 1, 2)
    assert arrange(3, [0.9, 0.1, 0.5]) == (1, 2, 0)


@st.composite
def histories(draw):
    servers = draw(st.integers(1, 5))
    ready = [draw(st.one_of(st.none(), st.just(0.0), st.floats(0, 3))) for _ in range(servers)]
    hedge = [draw(st.one_of(st.none(), st.floats(0.005, 1))) for _ in range(servers)]
    return {
        "servers": servers,
        "ready": ready,
        "hedge": hedge,
        "attempts": draw(st.integers(1, 6)),
        "deadline": draw(st.floats(0, 3)),
        "attempt_timeout_s": draw(st.floats(0.01, 2)),
        "order": tuple(draw(st.permutations(range(servers)))),
    }


@given(histories(), st.data())
def test_bounds_hold_in_every_history(history, data):  # noqa: C901, PLR0912 - one loop over what may happen
    ready = list(history["ready"])
    limits = Limits(history["deadline"], history["attempts"], history["attempt_timeout_s"])
    plan = AttemptPlan(history["order"], limits, ready_at=ready.__getitem__, hedge_after_s=history["hedge"])
    now, running, tries, failed_at, finished = 0.0, {}, dict.fromkeys(range(history["servers"]), 0), {}, None
    commands = plan.tick(now)
    for _ in range(60):
        for command in commands:
            assert finished is None
            match command:
                case Begin():
                    assert now < limits.deadline
                    assert command.timeout_at <= min(limits.deadline, now + limits.attempt_timeout_s)
                    assert command.server not in {b.server for b in running.values()}
                    may_now = [
                        s
                        for s in range(history["servers"])
                        if ready[s] is not None
                        and max(ready[s], failed_at.get(s, -1) + limits.pause_s) <= now
                        and s not in {b.server for b in running.values()}
                    ]
                    assert command.server in may_now
                    assert tries[command.server] == min(tries[s] for s in may_now)
                    tries[command.server] += 1
                    running[command.attempt] = command
                case Cancel():
                    begun = running.pop(command.attempt)
                    failed_at[begun.server] = now
                case Finish():
                    finished = command
        assert sum(tries.values()) == plan.started <= limits.attempts
        if finished is not None:
            assert not running
            assert plan.done
            break
        assert plan.wake_at is not None
        assert now < plan.wake_at <= limits.deadline
        if data.draw(st.integers(0, 5)) == 0:  # a circuit opens or closes meanwhile
            ready[data.draw(st.integers(0, history["servers"] - 1))] = data.draw(st.sampled_from([None, 0.0]))
        if running and data.draw(st.booleans()):  # something happens before the plan would look again
            now = data.draw(st.floats(now, plan.wake_at, exclude_max=True))
            attempt = data.draw(st.sampled_from(sorted(running)))
            if data.draw(st.integers(0, 3)) == 0:
                running.pop(attempt)
                commands = plan.answered(attempt)
            else:
                failed_at[running.pop(attempt).server] = now
                commands = plan.failed(attempt, now)
        else:
            now = data.draw(st.floats(plan.wake_at, plan.wake_at + 0.5))
            commands = plan.tick(now)
    else:
        raise AssertionError("the plan does not end")
    if finished.attempt is None:
        assert finished.reason in {"timeout", "no answer", "circuit open", "slowed down"}


def test_the_usual_p95_needs_enough_answers_and_follows_them():
    window = LatencyWindow()
    for _ in range(MIN_SAMPLES - 1):
        window.add(0.01)
    assert window.p95_s is None
    for _ in range(50):
        window.add(0.01)
    assert window.p95_s == 0.01
    for _ in range(64):
        window.add(0.2)
    assert window.p95_s == 0.2


def test_hedges_are_a_share_of_the_queries():
    credit, hedges = HedgeCredit(), 0
    for _ in range(1000):
        if credit.earn():
            credit.spend()
            hedges += 1
    assert 1000 * HEDGE_SHARE <= hedges <= 1000 * HEDGE_SHARE + MAX_HEDGE_CREDIT
