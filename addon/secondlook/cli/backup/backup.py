"""`secondlook backup`: everything an installation cannot fetch again, in one file."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from secondlook.cli.backup.passphrase import PassphraseOption, read_passphrase
from secondlook.cli.caller import typed
from secondlook.cli.context import CommandContext, with_context
from secondlook.cli.installation import find_config
from secondlook.cli.options import flag

app = typer.Typer(add_completion=False)

_ENDINGS: Final = (signal.SIGTERM, signal.SIGHUP)


@app.command()
@with_context
def backup(
    context: CommandContext,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    encrypt: Annotated[bool, flag("--encrypt", "Encrypt it with a passphrase.")] = False,
    passphrase_file: PassphraseOption = None,
    quarantine: Annotated[bool, flag("--quarantine", "Quarantined files too.")] = False,
    replace: Annotated[bool, flag("--replace", "Replace FILE where it exists.")] = False,
) -> None:
    """Write a backup: log, queue, rules, authority, keys, lists, configuration; the proxy may run."""
    from secondlook.core.display import size_text
    from secondlook.run.backup.making import make_backup

    passphrase = None
    if encrypt or passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file, twice=True)
    for number in _ENDINGS:  # so that nothing half written stays
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup`
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    own = None if context.config is None or _is_shipped(context.config) else context.config
    made = make_backup(
        context.settings, own, file.absolute(), passphrase=passphrase, quarantine=quarantine, replace=replace
    )
    record = {
        "file": made.path,
        "bytes": made.bytes,
        "files": made.files,
        "encrypted": made.encrypted,
        "quarantine": made.quarantine,
        "settings": made.settings,
    }
    lines = [f"wrote {made.path}: {size_text(made.bytes)}, {made.files} files"]
    if not made.encrypted:
        lines.append("  not encrypted: whoever reads it can pose as any site to those who trust this proxy")
    context.report(record, *lines, f"  try it: {typed(f'restore --check {file}')}")


def _is_shipped(config: Path) -> bool:
    """Return whether a configuration came with the package."""
    found, own_state = find_config(None)
    return own_state is not None and found is not None and found.absolute() == config.absolute()
