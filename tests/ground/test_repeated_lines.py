"""What is logged again and again is left out, and counted."""

import logging
from collections.abc import Callable, Iterator

import pytest

from secondlook.ground.repeated_lines import MOST, MOST_KINDS, WINDOW_S, RepeatedLines


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    logger = logging.getLogger(f"repeated.{request.node.name}")
    logger.propagate = False
    yield logger
    logger.handlers.clear()


@pytest.fixture
def log(clock: Clock, logger: logging.Logger) -> tuple[Callable[[str], None], Kept]:
    """Logs from one place, as mitmproxy does, and what was written."""
    kept = Kept()
    kept.addFilter(RepeatedLines(clock))
    logger.addHandler(kept)

    def write(text: str) -> None:
        logger.warning("%s", text)

    return write, kept


def test_lines_of_one_kind_are_bounded_and_others_are_not_in_their_way(log):
    write, kept = log
    for number in range(MOST + 50):
        write(f"Server TLS handshake failed. {number}")
    assert len(kept.lines) == MOST
    write("Client TLS handshake failed.")
    assert kept.lines[-1] == "Client TLS handshake failed."


def test_later_it_is_said_how_many_were_left_out(log, clock):
    write, kept = log
    for _ in range(MOST + 7):
        write("a hook failed: it is said in many words")
    clock.now += WINDOW_S
    write("a hook failed: it is said in many words")
    write("a hook failed: it is said in many words")
    assert kept.lines[MOST:] == [
        "a hook failed: it is said in many words (before it 7 lines like it were left out)",
        "a hook failed: it is said in many words",
    ]


def test_a_traceback_is_left_out_with_its_line(logger):
    kept = Kept()
    kept.addFilter(RepeatedLines())
    logger.addHandler(kept)
    for _ in range(MOST + 1):
        try:
            int("a fault")
        except ValueError:
            logger.exception("a protocol layer failed")
    assert sum("Traceback" in line for line in kept.lines) == MOST


def test_another_handler_has_all_of_them_as_they_are(log, logger, clock):
    write, kept = log
    whole = Kept()
    logger.addHandler(whole)
    for _ in range(MOST + 1):
        write("again")
    clock.now += WINDOW_S
    write("again")
    assert whole.lines == ["again"] * (MOST + 2)
    assert kept.lines[-1] != "again"


def test_kinds_are_bounded(log):
    write, kept = log
    for number in range(3 * MOST_KINDS):
        write(f"{number}")
    assert len(kept.lines) == 3 * MOST_KINDS
    assert len(kept.filters[0]._kinds) <= MOST_KINDS


def test_a_line_whose_values_do_not_fit_is_left_to_its_handler() -> None:
    record = logging.makeLogRecord({"msg": "%d pieces", "args": ("many",)})
    assert RepeatedLines().filter(record) is True
