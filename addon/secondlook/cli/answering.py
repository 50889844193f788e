"""Running a command inside the service, for a command line beside it (`running_proxy.py`)."""

import importlib
import logging
from typing import Any, Final

from typer.main import get_command

from secondlook.cli.caller import CALLER, Caller
from secondlook.cli.parameters import with_plain_parameters
from secondlook.cli.program import COMMANDS
from secondlook.cli.running_proxy import answerable
from secondlook.core.neutralize import inert
from secondlook.ground.errors import LedgerError
from secondlook.run.assembly.answers.answering import Running
from secondlook.run.supervisor.command_socket import MOST_ASKED_BYTES

logger = logging.getLogger(__name__)

MOST_PRINTED: Final = 1 << 20  # characters; a long log is read without burdening the service
type Json = dict[str, Any]


class _TooMuchError(Exception):
    pass


class _Printed:
    """What a command writes, in order, by stream."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, list[str]]] = []
        self._left = MOST_PRINTED

    def write(self, stream: str, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise _TooMuchError
        if not self.parts or self.parts[-1][0] != stream:
            self.parts.append((stream, []))
        self.parts[-1][1].append(text)


def answer(asked: object, running: Running) -> Json:
    """Run the command of a request; blocks. Whatever is wrong, the command is sent the ordinary way."""
    try:
        words, columns, environ, called = _read(asked)
    except (ValueError, LookupError, TypeError) as error:
        return {"elsewhere": f"unusable request: {error}"}
    printed = _Printed()
    calling = CALLER.set(Caller(running, printed.write, columns, environ, called))
    try:
        module, _ = COMMANDS[words[0]]
        app = importlib.import_module(f"secondlook.cli.{module}").app
        command = with_plain_parameters(get_command(app))
        returned = command.main(words[1:], prog_name=f"secondlook {words[0]}", standalone_mode=False)
        status = returned if isinstance(returned, int) else 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except LedgerError as error:  # it is the same ledger for whoever asks
        printed.write("err", f"secondlook: {inert(str(error))}\n")
        status = 1
    except Exception as error:
        logger.debug("a command was not answered", exc_info=True)
        return {"elsewhere": f"{type(error).__name__}: {error}"}
    finally:
        CALLER.reset(calling)
    return {"printed": [(stream, "".join(texts)) for stream, texts in printed.parts], "status": status}


def _read(asked: object) -> tuple[list[str], int | None, dict[str, str], str]:
    if not isinstance(asked, dict):
        raise TypeError("expected an object")
    words = [str(word) for word in asked["words"]]
    if not answerable(words):
        raise ValueError("not a command that is answered here")
    columns = asked["columns"]
    if columns is not None and not 0 < int(columns) <= MOST_ASKED_BYTES:
        raise ValueError("unusable width")
    environ = {str(name): str(value) for name, value in asked["environ"].items()}
    return words, columns, environ, str(asked["called"])
