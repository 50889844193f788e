"""A writer that takes nothing, for as long as a test wants."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa


@contextmanager
def busy(ledger):
    """Keep the writer from everything, past every deadline."""
    options, ledger.store.options = ledger.store.options, replace(ledger.store.options, deadline_s=0.05)
    begun, release = threading.Event(), threading.Event()

    def work(_: sa.Connection) -> None:
        begun.set()
        release.wait(30.0)

    future = ledger.store.writer.submit(work)
    assert begun.wait(10.0)
    try:
        yield
    finally:
        release.set()
        future.result(10.0)
        ledger.store.options = options
