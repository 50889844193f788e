"""The circuit: its transition table, and that no server is shut out for ever."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from secondlook.core.asking.circuit import Circuit, CircuitState

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


def opened(now=0.0, **settings):
    circuit = Circuit(failures=1, **settings)
    assert circuit.failed(now, 0.0)
    return circuit


def test_opens_after_failures_in_a_row():
    circuit = Circuit(failures=3)
    assert [circuit.failed(0.0, 0.0), circuit.failed(0.0, 0.0)] == [False, False]
    assert not circuit.succeeded()  # closed nothing, but starts the count anew
    assert [circuit.failed(0.0, 0.0) for _ in range(3)] == [False, False, True]
    assert (circuit.state, circuit.admits(), circuit.failed_in_a_row) == (OPEN, False, 3)


def test_a_probe_is_sent_once_and_not_before_its_time():
    circuit = opened(now=100.0, backoff_s=1.0)
    assert circuit.probe_at == 101.0
    assert not circuit.probe(100.9)
    assert circuit.probe(101.0)
    assert (circuit.state, circuit.admits()) == (HALF_OPEN, False)
    assert not circuit.probe(102.0)


def test_a_probe_decides():
    circuit = opened(backoff_s=1.0)
    circuit.probe(1.0)
    assert circuit.succeeded()
    assert (circuit.state, circuit.probe_at, circuit.failed_in_a_row) == (CLOSED, None, 0)
    circuit = opened(backoff_s=1.0)
    circuit.probe(1.0)
    assert not circuit.failed(1.0, 0.0)  # it was not closed before
    assert (circuit.state, circuit.probe_at) == (OPEN, 3.0)


def test_backoff_doubles_to_its_cap_and_starts_anew_after_closing():
    circuit = opened(backoff_s=1.0, backoff_max_s=10.0)
    now, waits = 0.0, []
    for _ in range(6):
        waits.append(circuit.probe_at - now)
        now = circuit.probe_at
        circuit.probe(now)
        circuit.failed(now, 0.0)
    assert waits == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    circuit.succeeded()
    circuit.failed(now, 0.0)
    assert circuit.probe_at == now + 1.0


def test_late_results():
    circuit = opened(backoff_s=5.0)
    assert not circuit.failed(4.0, 0.9)
    assert circuit.probe_at == 5.0  # a late failure postpones nothing
    assert circuit.succeeded()
    assert circuit.admits()


def test_a_lost_probe_is_sent_again():
    circuit = opened(backoff_s=1.0, probe_timeout_s=30.0)
    assert circuit.probe(1.0)
    assert not circuit.probe(30.9)
    assert circuit.probe(31.0)


class AnyServer(RuleBasedStateMachine):
    """Any order of events: the circuit always comes back, and is never probed twice at a time."""

    @initialize(failures=st.integers(1, 4))
    def start(self, failures):
        self.now = 0.0
        self.failures = failures
        self.in_a_row = 0
        self.probed_at = None
        self.circuit = Circuit(failures=failures, backoff_s=1.0, backoff_max_s=300.0, probe_timeout_s=30.0)

    @rule(seconds=st.floats(0.0, 400.0))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def succeed(self):
        was = self.circuit.state
        assert self.circuit.succeeded() == (was is not CLOSED)
        assert self.circuit.admits()
        self.in_a_row, self.probed_at = 0, None

    @rule(jitter=st.floats(0.0, 1.0, exclude_max=True))
    def fail(self, jitter):
        was = self.circuit.state
        opens = self.circuit.failed(self.now, jitter)
        if was is CLOSED:
            self.in_a_row += 1
            assert opens == (self.in_a_row >= self.failures)
        else:
            assert not opens
            assert self.circuit.state is OPEN
        if was is HALF_OPEN:
            self.probed_at = None

    @rule()
    def probe(self):
        was = self.circuit.state
        if self.circuit.probe(self.now):
            assert was is not CLOSED
            assert self.probed_at is None or self.now - self.probed_at >= 30.0
            self.probed_at = self.now

    @invariant()
    def a_closed_server_has_a_time_to_be_tried(self):
        if not hasattr(self, "circuit") or self.circuit.admits():
            return
        assert self.circuit.probe_at is not None
        assert self.circuit.probe_at <= self.now + 300.0 + 1e-6


TestAnyServer = AnyServer.TestCase


@given(st.integers(1, 100), st.floats(0.0, 1.0, exclude_max=True))
def test_waits_stay_within_a_second_and_five_minutes(rounds, jitter):
    circuit, now = opened(), 0.0
    for _ in range(rounds):
        assert 1.0 - 1e-6 <= circuit.probe_at - now <= 300.0 + 1e-6
        now = circuit.probe_at
        assert circuit.probe(now)
        circuit.failed(now, jitter)
