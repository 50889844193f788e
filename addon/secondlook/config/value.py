"""The small values a configuration is made of: durations, sizes, addresses, paths, and their spelling.

Each is an annotated type: the YAML may spell it for people (`1.5`, `10m`, `16 MiB`, `[::1]:8080`), the
settings hold the plain value (seconds, bytes, host and port, absolute path), and a JSON dump of the
settings reads back to the same value.
"""

import ipaddress
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from secondlook.core.url.address import is_loopback, with_port

_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", re.ASCII)
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*", re.ASCII)
_SIZE_UNITS_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?b?)\s*", re.ASCII | re.IGNORECASE)
_HOST = re.compile(
    r"(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
)
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=\d+)?\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+", re.ASCII
)
MAX_PORT = 65535
SECRET_KEYS = frozenset(
    {
        "key",
        "token",
        "password",
        "urls",
        "values",
        "users",
        "headers",
        "store",
        "upstream_auth",
        "cert_passphrase",
    }
)


class Quoted(str):
    """A text that stands in quotes in the file: what is meant as a number or a switch stands without."""

    __slots__ = ()


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error."""

    # built when first used: of most only their part in a whole file is ever needed
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, raw: Any) -> Any:
        """Read `key:` without a value as its default; a key that is not known stays, and is refused."""
        if not isinstance(raw, dict):
            return raw
        return {
            name: value for name, value in raw.items() if value is not None or name not in cls.model_fields
        }

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Keep secrets out of logs and tracebacks."""
        for name, value in super().__repr_args__():
            yield name, "…" if value and name in SECRET_KEYS else value


def section() -> Any:
    """Declare a section that may be left out: each of its keys has its default."""
    return Field(default={}, validate_default=True)


class Address(NamedTuple):
    """Where to listen: an IP address (or `localhost`) and a port, 0 for any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return with_port(self.host, self.port)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)


def expected(what: str) -> PydanticCustomError:
    """Return the error that names what was expected of a value."""
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def problem(key: str, what: str) -> PydanticCustomError:
    """Return the error of a value that does not fit its neighbours; `key` is the dotted key to point at."""
    return PydanticCustomError("problem", "{what}", {"key": key, "what": what})


def check_names(key: str, names: Sequence[str]) -> None:
    """Raise the error of items of `key` of which two have one name."""
    for index, name in enumerate(names):
        if names.index(name) != index:
            raise problem(f"{key}.{index}.name", f"expected another name than {name}: it is taken")


def parse_duration(raw: object) -> float:
    """Read a duration into seconds: a number of seconds, or a number with ms, s, m, h, d or w."""
    what = "a duration such as 0.5, 500ms, 10m, 1h or 7d"
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise expected(what)
    if isinstance(raw, str):
        found = _DURATION.fullmatch(raw)
        if not found:
            raise expected(what)
        raw = float(found[1]) * _DURATION_UNITS_S[found[2] or "s"]
    if raw < 0 or not math.isfinite(raw):
        raise expected(what + ", not negative")
    return float(raw)


def parse_span(text: str) -> float:
    """Read a duration that somebody types, into seconds: a bare number could be minutes as well."""
    if _NUMBER.fullmatch(text):
        number = text.strip()
        raise expected(f"a unit after the number: {number}s, {number}m, {number}h or {number}d")
    try:
        return parse_duration(text)
    except ValueError:
        raise expected("a duration such as 90s, 10m, 1h or 7d") from None


def parse_size(raw: object) -> int:
    """Read a size into bytes: a whole number, or a number with kB, MB, GB, KiB, MiB, GiB or TiB."""
    what = "a size such as 65536, 64 KiB or 16 MiB"
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise expected(what)
    if isinstance(raw, int):
        if raw < 0:
            raise expected(what + ", not negative")
        return raw
    found = _SIZE.fullmatch(raw)
    unit = found[2].lower() if found else None
    if unit in {"k", "m", "g", "t", "ki", "mi", "gi", "ti"}:
        unit += "b"
    if found is None or unit not in _SIZE_UNITS_BYTES:
        raise expected(what)
    return int(float(found[1]) * _SIZE_UNITS_BYTES[unit])


def parse_address(raw: object) -> Address:
    """Read `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`; port 0 means any free one."""
    what = "an address such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080"
    if isinstance(raw, Address):
        return raw
    if not isinstance(raw, str):
        raise expected(what)
    host, colon, port = raw.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise expected(what + " (an IPv6 address stands in brackets)")
    if host == "*":
        host = "0.0.0.0"  # noqa: S104 - what the operator wrote; needs `clients`, see Settings
    try:
        host = host if host == "localhost" else str(ipaddress.ip_address(host))
    except ValueError:
        raise expected(what) from None
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= MAX_PORT):
        raise expected(what + ", with a port of 0 to 65535")
    return Address(host, int(port))


def _listed(raw: object) -> object:
    """Let one value stand for a list of one."""
    return raw if isinstance(raw, list | tuple) else (raw,)


def _network(raw: object) -> str:
    what = "a network such as 192.168.1.0/24 or fd00::/8, or one address"
    if not isinstance(raw, str):
        raise expected(what)
    try:
        return str(ipaddress.ip_network(raw.strip(), strict=False))
    except ValueError:
        raise expected(what) from None


def _number(raw: object) -> object:
    if isinstance(raw, bool):
        raise expected("a number")
    if isinstance(raw, Quoted):
        raise expected("a number, without quotes")
    return raw


def _switch(raw: object) -> object:
    """Read yes, no, on, off for true and false, as YAML once did, but no text in quotes."""
    if isinstance(raw, Quoted):
        raise expected("true or false, without quotes")
    return raw


def _some_time(seconds: float) -> float:
    if not seconds:
        raise expected("a duration such as 500ms, 10m or 1h, more than 0")
    return seconds


def _path(raw: object, info: ValidationInfo) -> str:
    if not isinstance(raw, str | Path) or not str(raw):
        raise expected("a path")
    base = (info.context or {}).get("base")
    path = Path(raw).expanduser()
    return str(path if path.is_absolute() or base is None else Path(base) / path)


def _authority(path: Path, info: ValidationInfo) -> Path:
    """Try the file where it is about to be used: a command that only reads the log may not be allowed to."""
    if not (info.context or {}).get("serving"):
        return path
    import ssl  # noqa: PLC0415 - slow to import, and only what serves needs it

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise problem("", f"cannot use {path}: it holds no certificate in PEM") from None
    except OSError as error:
        raise problem("", f"cannot read {path}: {error.strerror or error}") from None
    return path


def _host(raw: object) -> str:
    what = "a host such as example.org, or *.example.org for its subdomains too"
    if not isinstance(raw, str):
        raise expected(what)
    text = raw.strip().rstrip(".").lower()
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        if not text.isascii():
            try:
                text = text.encode("idna").decode("ascii")
            except UnicodeError:
                raise expected(what) from None
        if not _HOST.fullmatch(text):
            raise expected(what) from None
    return text


def _http_url(raw: object) -> str:
    what = "a URL such as https://sps.example.org or http://127.0.0.1:5274"
    if not isinstance(raw, str):
        raise expected(what)
    text = raw.strip()
    if not re.fullmatch(r"https?://[^\s/?#@]+(?:/[^\s]*)?", text, re.IGNORECASE):
        raise expected(what)
    return text


def _without_slash(url: str) -> str:
    """Paths are put behind it, and two ways to write it are one server."""
    return url.rstrip("/")


def _token(raw: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", raw):
        raise expected("a name without spaces, such as second-look")
    return raw


def _password_hash(raw: str) -> str:
    if not _ARGON2.fullmatch(raw):
        raise expected("the hash of a password as `secondlook password` makes it ($argon2id$…)")
    return raw


type Switch = Annotated[bool, BeforeValidator(_switch)]
type Seconds = Annotated[float, BeforeValidator(parse_duration)]
type SomeSeconds = Annotated[float, BeforeValidator(parse_duration), AfterValidator(_some_time)]
type Bytes = Annotated[int, BeforeValidator(parse_size)]
type Listen = Annotated[Address, BeforeValidator(parse_address), PlainSerializer(str, return_type=str)]
type ListenAddresses = Annotated[tuple[Listen, ...], BeforeValidator(_listed), Field(min_length=1)]
type Network = Annotated[str, BeforeValidator(_network)]
type FilePath = Annotated[Path, BeforeValidator(_path)]
type AuthorityFile = Annotated[FilePath, AfterValidator(_authority)]
type Host = Annotated[str, BeforeValidator(_host)]
type HttpUrl = Annotated[str, BeforeValidator(_http_url)]  # as it was written: a file's may end in a slash
type BaseUrl = Annotated[HttpUrl, AfterValidator(_without_slash)]
type Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
type Positive = Annotated[int, BeforeValidator(_number), Field(ge=1)]
type Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
type Secret = Annotated[str, Field(min_length=1)]
type PasswordHash = Annotated[str, AfterValidator(_password_hash)]
type Token = Annotated[str, AfterValidator(_token)]
type Text = Annotated[str, AfterValidator(str.strip), Field(min_length=1)]


def short_for(key: str, *kinds: type) -> BeforeValidator:
    """Let a plain value of these kinds stand for a whole section: it is that of one of its keys."""
    return BeforeValidator(lambda raw: {key: raw} if isinstance(raw, kinds) else raw)


def false_is_empty(raw: object) -> Any:
    """Let `false` switch a whole section off, written as `{enabled: false}`."""
    if raw is False:
        return {"enabled": False}
    if raw is True:
        return {}
    return raw
