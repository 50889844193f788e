"""From a YAML file to frozen settings: every fault with its file, line and key, all of them at once.

The file is read with positions kept, `${NAME}` is replaced from the environment, `--set` values are
laid over it, and the whole is validated in one go; what pydantic reports is shown in the operator's
words at the operator's line.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from secondlook.config.agent import Settings
from secondlook.config.document import Document, InvalidConfigError, lay_over, put, read_document
from secondlook.config.fault_words import fault_from
from secondlook.config.service import ServerSettings


def load_settings(
    path: Path | None,
    *,
    overrides: Sequence[str] = (),
    state: Path | None = None,
    listen: Sequence[str] = (),
    review: str | None = None,
    workers: int | None = None,
    serving: bool = False,
    content: bytes | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Load `proxy.yaml` (None: the defaults) with command-line values over it.

    `overrides` are `dotted.key=value`, the value in YAML; `serving` also tries the files of TLS;
    `content` is read in place of what stands in the file. Raises InvalidConfigError.
    """
    document = read_document(path, environ, content)
    lay_over(document, overrides)
    if review is not None:
        put(document, ("review", "listen"), review, "--review")
    if workers is not None:
        put(document, ("workers",), workers, "--workers")
    _put_places(document, state, listen)
    return _validated(Settings, document, path, serving=serving)


def load_server_settings(
    path: Path | None,
    *,
    overrides: Sequence[str] = (),
    state: Path | None = None,
    listen: Sequence[str] = (),
    serving: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> ServerSettings:
    """Load `server.yaml` as `load_settings` loads `proxy.yaml`. Raises InvalidConfigError."""
    document = read_document(path, environ)
    lay_over(document, overrides)
    _put_places(document, state, listen)
    return _validated(ServerSettings, document, path, serving=serving)


def _put_places(document: Document, state: Path | None, listen: Sequence[str]) -> None:
    if listen:
        put(document, ("listen",), list(listen), "--listen")
    if state is not None:
        put(document, ("state",), str(state.absolute()), "--state")


def _validated[Model: BaseModel](
    model: type[Model], document: Document, path: Path | None, *, serving: bool
) -> Model:
    base = path.absolute().parent if path is not None else Path.cwd()
    try:
        settings = model.model_validate(document.values, context={"base": base, "serving": serving})
    except ValidationError as error:
        known = {fault.key for fault in document.faults}
        rejected = (fault_from(model, document, details) for details in error.errors())
        faults = [*document.faults, *(fault for fault in rejected if fault.key not in known)]
        raise InvalidConfigError(sorted(faults, key=lambda fault: fault.line or 0)) from None
    if document.faults:
        raise InvalidConfigError(document.faults)
    state = getattr(settings, "state", None)
    if isinstance(state, Path) and not state.is_absolute():
        return settings.model_copy(update={"state": base / state})
    return settings
