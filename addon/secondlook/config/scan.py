"""Settings of the engines that look into files."""

import re
from typing import Annotated, Self

from pydantic import BeforeValidator, model_validator

from secondlook.config.extra import needs
from secondlook.config.value import (
    MAX_PORT,
    Bytes,
    FilePath,
    Positive,
    Section,
    SomeSeconds,
    Switch,
    expected,
    problem,
    section,
)
from secondlook.core.url.address import is_loopback

_NETWORK = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})")


def _address(raw: object) -> str:
    """Read where clamd listens: the path of its Unix socket, or host and port."""
    what = "the path of clamd's socket, such as /run/clamav/clamd.ctl, or host:port"
    if not isinstance(raw, str):
        raise expected(what)
    text = raw.strip().removeprefix("unix:")
    found = _NETWORK.fullmatch(text)
    if not text.startswith("/") and (found is None or not 0 < int(found[3]) <= MAX_PORT):
        raise expected(what)
    return text


class ClamdSettings(Section):
    """ClamAV's daemon."""

    address: Annotated[str, BeforeValidator(_address)]
    timeout: SomeSeconds = 10.0  # of one look, from the last byte on
    max_bytes: Bytes = 100 << 20  # clamd's StreamMaxLength: larger files are unverifiable
    at_once: Positive = 8  # looks of one worker
    insecure: Switch = False  # files go to another machine, over a network on which others may read them

    @model_validator(mode="after")
    def _stays_here(self) -> Self:
        host = self.network[0] if self.network is not None else None
        if host is not None and not is_loopback(host) and not self.insecure:
            raise problem(
                "address",
                f"expected a Unix socket or a loopback address, got {self.address}: clamd's protocol has no "
                "encryption; `insecure: true` sends files there all the same",
            )
        return self

    @property
    def network(self) -> tuple[str, int] | None:
        """Host and port; None for a Unix socket."""
        found = _NETWORK.fullmatch(self.address)
        if found is None or self.address.startswith("/"):
            return None
        return found[1] or found[2], int(found[3])


def _clamd(raw: object) -> object:
    """Let an address stand for the section, and `false` for none."""
    if isinstance(raw, str):
        return {"address": raw}
    return None if raw is False else raw


def _rules(raw: object) -> object:
    if raw:
        needs("yara")
    return raw


class YaraSettings(Section):
    """YARA-X, in the process that reads archives."""

    # files, and folders with all .yar and .yara below them
    rules: Annotated[tuple[FilePath, ...], BeforeValidator(_rules)] = ()
    timeout: SomeSeconds = 5.0  # of one file with all that lies in it
    max_bytes: Bytes = 256 << 20  # of one file or member; beyond it, it is unverifiable


class ScanSettings(Section):
    """Engines that look into risky files. Without any our own few YARA rules do, with the extra `yara`."""

    clamd: Annotated[ClamdSettings | None, BeforeValidator(_clamd)] = None
    yara: YaraSettings = section()
    report: Switch = False  # what engines find, to our own servers (servers.intranet)
    remember: Positive = 50_000  # files whose results are kept across restarts
