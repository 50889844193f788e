"""Options and arguments whose values are texts, paths or switches come without pydantic.

Typer makes a validator of pydantic for each parameter of a command, also for one that was not given or whose
text is wanted as it is. To import pydantic takes as long as all else that an error or a completion needs, and
each validator as long as a module.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from typer import BadParameter


class _Reading:
    """What turns a typed value into the wanted one; Typer's own is made where there is anything to turn."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        wanted = param.type_descriptor.annotation
        given = value if several else [value]
        # an empty path would be the current folder
        if "" in given and (param.param_type_name == "argument" or wanted in (Path, list[Path])):
            raise BadParameter("expected a value, got nothing", ctx=ctx, param=param)
        if wanted == (list[str] if several else str) and all(type(text) is str for text in given):
            return value
        if wanted is bool and type(value) is bool:
            return value
        if wanted == (list[Path] if several else Path) and all(type(text) is str for text in given):
            try:
                from typer._param_types import coerce_cli_path
            except ImportError:
                pass  # it is Typer's alone; where it is gone, Typer reads paths in its own way
            else:
                info = param.type_descriptor.parameter_info
                paths = [
                    coerce_cli_path(Path(text), info, path_type=Path, param=param, ctx=ctx) for text in given
                ]
                return paths if several else paths[0]
        try:
            return self._make().coerce(value, param=param, ctx=ctx)
        except BadParameter as error:
            if (cause := error.__cause__) is None:
                raise
            from secondlook.config.fault_words import plainly

            faults: Any = cause  # pydantic's, whose words are made for programmers
            fault = faults.errors()[0]
            named = fault["type"] == "value_error"  # the value stands in it
            error.message = plainly(fault).rstrip(".") + ("" if named else f", got {value!r}")
            raise


def _plain(listed: Callable[[Any], list[Any]], ctx: Any) -> list[Any]:
    parameters = listed(ctx)
    for parameter in parameters:
        make = getattr(parameter, "get_runtime_param", None)  # not every Typer has it
        if make is not None and not isinstance(make, partial):
            parameter.get_runtime_param = partial(_Reading, make)
            if parameter.param_type_name == "argument":
                _show_as_typed(parameter)
    return parameters


def _show_as_typed(argument: Any) -> None:
    """Have usage and help show an argument as our pages write it, without its type in Python."""
    shown = argument.metavar or argument.name.upper()
    argument.get_usage_pieces = lambda _ctx: [shown]
    argument.display_type_rich = lambda ctx: ""  # noqa: ARG005 (it is called by that name)


def with_plain_parameters(command: Any) -> Any:
    """Have the parameters of a command, and of those below it, read so; returns the command."""
    command.get_params = partial(_plain, command.get_params)  # `--help` is among them
    for below in getattr(command, "commands", {}).values():
        if below is not command:  # a group that imports its commands later names itself in their place
            with_plain_parameters(below)
    return command
