"""Where a server command works: settings, store, and what every one of them takes as options."""

from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secondlook.cli.context import CommandContext, Context, called_with, leave_to_owner
from secondlook.cli.installation import CONFIG_NAME
from secondlook.cli.options import UnusableStateError, enterable_state
from secondlook.cli.output import fail
from secondlook.core.lists.name import RISKS, list_name
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Threat
from secondlook.run.supervisor.runfile import SERVER_FOLDER, is_of_a_proxy
from secondlook.server.store.names import BASE_LISTS, THREATS
from secondlook.server.store.store import ServerStore

if TYPE_CHECKING:
    from secondlook.config.service import ServerSettings

SERVER_CONFIG_NAME = "server.yaml"
LISTS = (
    *(list_name(SubjectKind.URL, threat, risk) for threat in THREATS for risk in RISKS.values()),
    *(list_name(SubjectKind.FILE, Threat.MALWARE, risk) for risk in RISKS.values()),
    *(name for name in BASE_LISTS if "gc-" in name),
)
"""The lists that can be filled."""

ServerConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration; default: server.yaml here."),
]


class ServerContext(Context):
    """What a server command works on; read when it is first asked for. Raises ConfigError.

    A proxy's state folder given by `--state` means its embedded server, as does a `proxy.yaml`. Without a
    configuration and without `--state` it is that of the proxy that other commands mean, unless a server
    has its folder here.
    """

    def __init__(
        self, config: Path | None, state: Path | None, *, as_json: bool = False, **options: object
    ) -> None:
        super().__init__(config, state, as_json=as_json)
        self._options: Any = options

    @property
    def settings(self) -> "ServerSettings":
        """The settings."""
        return self._opened[0]

    @property
    def store(self) -> ServerStore:
        """The store, whose folder is there."""
        return self._opened[1]

    @property
    def is_configured(self) -> bool:
        """Whether the settings come from a `server.yaml`: those of a proxy's server are in `proxy.yaml`."""
        return self._opened[2]

    @cached_property
    def _opened(self) -> "tuple[ServerSettings, ServerStore, bool]":
        from secondlook.config.source import load_server_settings

        config, state = self._given
        if config is None and Path(SERVER_CONFIG_NAME).is_file():
            config = Path(SERVER_CONFIG_NAME)
        serves = bool(self._options)  # which nobody does by the settings of a proxy
        if config is not None and config.name == CONFIG_NAME and not serves:
            if state is None or not _is_of_a_server(state):
                state = CommandContext(config, state).state / SERVER_FOLDER
            config = None
        elif state is None and config is None:
            state = _server_of_the_proxy(load_server_settings(None, **self._options).state)
        elif state is not None:
            enterable_state(state)
            if is_of_a_proxy(state):
                leave_to_owner(state)
                state = state / SERVER_FOLDER
        settings = load_server_settings(config, state=state, **self._options)
        enterable_state(settings.state)
        try:
            settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            store = ServerStore(settings.state)
        except OSError as error:
            fail(
                f"cannot use the state folder {settings.state}: {error.strerror or error}",
                hint="choose another with --state",
            )
        leave_to_owner(settings.state)
        return settings, store, config is not None


with_server = called_with(ServerContext, ServerConfigOption)


def _is_of_a_server(state: Path) -> bool:
    enterable_state(state)
    return (state / "sources").is_dir()


def _server_of_the_proxy(usual: Path) -> Path | None:
    """Return the embedded server of the proxy that other commands mean; None where `usual` is meant.

    A proxy that is set up here comes first, then a server in its usual folder here, then a proxy elsewhere.
    Raises ConfigError where it is a proxy whose settings are wrong.
    """
    if Path(CONFIG_NAME).is_file():
        return CommandContext(None, None).state / SERVER_FOLDER
    if usual.is_dir():
        return None
    with suppress(OSError, UnusableStateError):  # a proxy whose folder may not be read is none of this user's
        if is_of_a_proxy(elsewhere := CommandContext(None, None).state):
            return elsewhere / SERVER_FOLDER
    return None
