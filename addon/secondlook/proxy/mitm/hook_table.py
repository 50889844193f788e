"""A table of hook handlers instead of a walk over every addon for every event.

mitmproxy asks each addon and its children for each hook (`AddonManager._iter_hooks`); that walk is
close to half of its time per request. Here the handlers of a hook are looked up once per hook class and
kept until an addon comes or goes. `start` runs synchronous handlers at once and hands back a coroutine
only when one of them has to be awaited, so that most hooks need no task.
"""

import dataclasses
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import AddonManager

type Handler = Callable[[Any], Awaitable[None] | None]

logger = logging.getLogger(__name__)


class HookTable(AddonManager):
    """mitmproxy's addon manager with a dispatch table, computed once per hook class."""

    def __init__(self, master: Any) -> None:
        self._table: dict[type[hooks.Hook], tuple[str | None, tuple[Handler, ...]]] = {}
        super().__init__(master)

    def register(self, addon: Any) -> Any:
        """Register an addon and forget the table."""
        self._table.clear()
        return super().register(addon)

    def remove(self, addon: Any) -> None:
        """Remove an addon and forget the table."""
        super().remove(addon)
        self._table.clear()

    def clear(self) -> None:
        """Remove all addons and forget the table."""
        super().clear()
        self._table.clear()

    def start(self, event: hooks.Hook) -> Coroutine[Any, Any, None] | None:
        """Run the handlers of a hook; return the coroutine that goes on when one must be awaited."""
        kind = type(event)
        entry = self._table.get(kind)
        if entry is None:
            entry = self._fill(kind, event)
        field, handlers = entry
        if not handlers:
            return None
        data = getattr(event, field) if field is not None else None
        for index, handler in enumerate(handlers):
            try:
                waiting = handler(data) if field is not None else handler()  # type: ignore[call-arg]
            except exceptions.AddonHalt:
                return None
            except Exception:
                logger.exception("a hook failed: %s", kind.__name__)
                continue
            if waiting is not None and inspect.isawaitable(waiting):
                return self._go_on(kind, waiting, handlers[index + 1 :], data, field)
        return None

    async def trigger_event(self, event: hooks.Hook) -> None:
        """Run the handlers of a hook and wait for them."""
        rest = self.start(event)
        if rest is not None:
            await rest

    handle_lifecycle = trigger_event  # nobody here listens to `update`, so it is not sent

    def _fill(self, kind: type[hooks.Hook], event: hooks.Hook) -> tuple[str | None, tuple[Handler, ...]]:
        names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        if len(names) > 1:
            raise TypeError(f"hook {kind.__name__} carries {len(names)} values, expected at most one")
        handlers = tuple(handler for addon in self.chain for _, handler in self._iter_hooks(addon, event))
        entry = self._table[kind] = (names[0] if names else None, handlers)
        return entry

    async def _go_on(
        self,
        kind: type[hooks.Hook],
        waiting: Awaitable[None],
        rest: tuple[Handler, ...],
        data: object,
        field: str | None,
    ) -> None:
        def begin(handler: Handler) -> Awaitable[None] | None:
            return handler(data) if field is not None else handler()  # type: ignore[call-arg]

        steps: list[Callable[[], Awaitable[None] | None]] = [lambda: waiting]
        steps += [partial(begin, handler) for handler in rest]
        for step in steps:
            try:
                result = step()
                if result is not None and inspect.isawaitable(result):
                    await result
            except exceptions.AddonHalt:
                return
            except Exception:  # as in `start`: what follows may be what checks
                logger.exception("a hook failed: %s", kind.__name__)
