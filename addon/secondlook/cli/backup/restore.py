"""`secondlook restore`: a backup put in the place of the state, or only looked at."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondlook.cli.backup.passphrase import PassphraseOption, read_passphrase
from secondlook.cli.installation import CONFIG_NAME, find_config
from secondlook.cli.options import ConfigOption, JsonOption, StateOption, flag
from secondlook.cli.output import print_facts, print_json, print_line

if TYPE_CHECKING:
    from secondlook.run.backup.restoring import Wanted

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    check: Annotated[bool, flag("--check", "Read it to its end, change nothing.")] = False,
    passphrase_file: PassphraseOption = None,
    keep_settings: Annotated[
        bool, flag("--keep-settings", "Leave the configuration of this machine as it is.")
    ] = False,
    keep_ledger: Annotated[
        bool, flag("--keep-ledger", "Leave the database as it is, which other proxies use.")
    ] = False,
    config: ConfigOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup in the place of the state; the proxy must not run. What was there is set aside."""
    from secondlook.run.backup.restoring import check_backup, restore_backup

    @cache
    def ask() -> str:
        return read_passphrase(passphrase_file, twice=False)

    if check:
        facts = check_backup(file, ask)
        if as_json:
            print_json(facts)
        else:
            print_facts([*_shown(facts), ("whole", True)])
        return
    wanted = replace(_wanted(config, state, keep_settings=keep_settings), keep_ledger=keep_ledger)
    done = restore_backup(file, wanted, ask)
    if as_json:
        print_json(
            {**done.facts, "state": done.settings.state, "config": done.config, "set_aside": done.aside}
        )
        return
    print_facts([*_shown(done.facts), ("state", done.settings.state), ("configuration", done.config)])
    for path in done.aside:
        print_line(f"what was there is kept in {path}")


def _wanted(config: Path | None, state: Path | None, *, keep_settings: bool) -> "Wanted":
    """Return where a backup goes: to the configuration named or found here, else to this user's own place."""
    import platformdirs

    from secondlook.run.backup.restoring import Wanted

    found, own_state = find_config(config)
    if own_state is None:
        return Wanted(found, state, keep_settings)
    if keep_settings:
        return Wanted(found, state or own_state, keep_settings)
    own = Path(platformdirs.user_config_path("secondlook")) / CONFIG_NAME
    return Wanted(own, state, keep_settings, own_state)


def _shown(facts: dict[str, Any]) -> list[tuple[str, object]]:
    return [
        ("made", f"{facts['made_at']} on {facts['host']}, by Second Look {facts['program']}"),
        ("ledger", f"from {facts['ledger']}, schema {facts['schema']}"),
        ("quarantine", facts["quarantine"]),
    ]
