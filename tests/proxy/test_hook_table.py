"""Hooks by their table: in the addons' order, waited for only where something is awaited."""

import asyncio
from types import SimpleNamespace

import pytest
from mitmproxy import exceptions
from mitmproxy.options import Options
from mitmproxy.proxy.layers.http import HttpRequestHeadersHook, HttpResponseHook
from mitmproxy.test.tflow import tflow

from secondlook.proxy.mitm.hook_table import HookTable


class Addon:
    """Notes what it is asked; `does` is done first."""

    def __init__(self, name: str, log: list[str], does=None) -> None:
        self.name = name
        self._log = log
        self._does = does

    def requestheaders(self, flow) -> object:
        self._log.append(f"{self.name} {flow.request.method}")
        return self._does() if self._does is not None else None


@pytest.fixture
def table() -> HookTable:
    commands = SimpleNamespace(collect_commands=lambda _: None)
    return HookTable(SimpleNamespace(commands=commands, options=Options()))


def _start(table: HookTable) -> object:
    return table.start(HttpRequestHeadersHook(tflow()))


def _fail() -> None:
    raise ZeroDivisionError


def _halt() -> None:
    raise exceptions.AddonHalt


def test_handlers_run_in_order_and_at_once(table):
    log: list[str] = []
    table.add(Addon("one", log), Addon("two", log))
    assert _start(table) is None
    assert log == ["one GET", "two GET"]
    assert table.start(HttpResponseHook(tflow())) is None


def test_who_comes_after_one_that_waits_comes_after_it(table):
    log: list[str] = []

    async def wait() -> None:
        await asyncio.sleep(0)
        log.append("waited")

    table.add(Addon("one", log), Addon("two", log, wait), Addon("three", log, wait), Addon("four", log))
    rest = _start(table)
    assert log == ["one GET", "two GET"]
    asyncio.run(rest)
    assert log[2:] == ["waited", "three GET", "waited", "four GET"]


@pytest.mark.parametrize("waiting", [False, True])
def test_a_fault_of_one_addon_is_shown_and_the_others_run(table, caplog, waiting):
    log: list[str] = []

    async def wait() -> None:
        _fail()

    table.add(Addon("one", log, _fail), Addon("two", log, wait if waiting else None))
    table.add(Addon("three", log))
    rest = _start(table)
    if rest is not None:
        asyncio.run(rest)
    assert log == ["one GET", "two GET", "three GET"]  # which may be what checks
    assert [each.getMessage() for each in caplog.records] == ["a hook failed: HttpRequestHeadersHook"] * (
        2 if waiting else 1
    )


@pytest.mark.parametrize("waiting", [False, True])
def test_an_addon_may_end_a_hook(table, waiting):
    log: list[str] = []

    async def wait() -> None:
        _halt()

    table.add(Addon("one", log, wait if waiting else _halt), Addon("two", log))
    rest = _start(table)
    if rest is not None:
        asyncio.run(rest)
    assert log == ["one GET"]


def test_an_addon_that_comes_or_goes_is_heeded(table):
    log: list[str] = []
    first, second = Addon("one", log), Addon("two", log)
    table.add(first)
    _start(table)
    table.add(second)
    _start(table)
    table.remove(first)
    _start(table)
    table.clear()
    _start(table)
    assert log == ["one GET", "one GET", "two GET", "two GET"]
