"""Which ways our code went: what takes a branch in a direction that none took before is worth changing further."""

import sys
from types import CodeType, TracebackType
from typing import Self

from conftest import REPOSITORY

_TOOL = 4  # of sys.monitoring; profilers and coverage have others
_OURS = str(REPOSITORY / "addon")
_EVENT = sys.monitoring.events.BRANCH


class Reach:
    """Counts directions of branches while it is entered; one whose two are known costs nothing any more."""

    def __init__(self) -> None:
        self.directions = 0
        self._first: dict[tuple[int, int], int] = {}  # by code and place

    def __enter__(self) -> Self:
        sys.monitoring.use_tool_id(_TOOL, "fuzzing")
        sys.monitoring.register_callback(_TOOL, _EVENT, self._branch)
        sys.monitoring.restart_events()
        sys.monitoring.set_events(_TOOL, _EVENT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.monitoring.set_events(_TOOL, 0)
        sys.monitoring.free_tool_id(_TOOL)

    def _branch(self, code: CodeType, place: int, destination: int) -> object:
        if not code.co_filename.startswith(_OURS):
            return sys.monitoring.DISABLE
        first = self._first.setdefault((id(code), place), -1)
        if first == destination:
            return None
        self.directions += 1
        if first >= 0:
            return sys.monitoring.DISABLE
        self._first[id(code), place] = destination
        return None
