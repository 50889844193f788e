"""What an ICAP connection reports (events) and is to send (commands)."""

from dataclasses import dataclass
from typing import NamedTuple

from secondlook.gateway.icap.heads import Fields, HttpRequest, HttpResponse, IcapHead


class Request(NamedTuple):
    """A request has begun: its head, and those of the HTTP messages in it."""

    head: IcapHead
    request: HttpRequest | None
    response: HttpResponse | None


class Data(NamedTuple):
    """The next bytes of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PreviewEnd:
    """The preview is over and was not all: the gateway waits."""


@dataclass(frozen=True, slots=True)
class End:
    """The body is whole."""

    trailers: Fields = ()


type Event = Request | Data | PreviewEnd | End


@dataclass(frozen=True, slots=True)
class Continue:
    """The rest of the body is wanted."""


@dataclass(frozen=True, slots=True)
class Pass:
    """The gateway goes on with what it has."""

    fields: Fields = ()


class Answer(NamedTuple):
    """The head of any other answer; `http` takes the place of the message that was asked about."""

    status: int
    fields: Fields = ()
    http: HttpRequest | HttpResponse | None = None
    body: bool = False


class More(NamedTuple):
    """The next bytes of the answer's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer's body is whole; `original`: the gateway goes on with its own from that byte on."""

    original: int | None = None


type Command = Continue | Pass | Answer | More | Finish
