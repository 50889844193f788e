"""`secondlook`: a command is answered by the proxy that runs, else by this process."""

import io
import os
import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what the system refuses is reported in one line, with status 1."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["helper"]:  # Squid waits for it, and starts many
        from secondlook.gateway import helper

        sys.exit(helper.main(words[1:]))
    _have_outputs()
    from secondlook.ground import collector

    collector.collect_seldom()
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
        sys.argv[1:] = words
    try:
        _run(words)
    except BrokenPipeError:
        # the reader of our output went away (`secondlook log | head`); 0 would be the word of a whole `scan`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:  # a full or read-only disk, a folder of somebody else
        from secondlook.cli.output import fail

        place = f"{error.filename}: " if error.filename else ""
        fail(f"{place}{error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _run(words: list[str]) -> None:
    from secondlook.cli import running_proxy

    try:
        status = running_proxy.answered(words)
        if status is not None:
            sys.exit(status)
        from secondlook.cli.program import run

        run(words)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Typer ends with 1 there, without a word
            raise ended.__context__ from None
        sys.stdout.flush()  # here, where a reader that went away is met
        raise


def _have_outputs() -> None:
    """Have somewhere to write to where the caller closed it (`>&-`), and write what an old encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 (stays open)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
