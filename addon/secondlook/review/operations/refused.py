"""Why something cannot be done, in words for the reader."""

from collections.abc import Callable

from secondlook.core.rules.client import ClientNameError, client_name


class Refused(Exception):  # noqa: N818 (an answer, in words for the reader)
    """Something cannot be done; the message is for the reader, `field` names what was typed wrongly."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Missing(Refused):
    """There is no such thing."""


def named_client(text: str, read: Callable[[str], str] = client_name) -> str:
    """Read whom something is for; a blank name is nobody, not everybody. Raises Refused."""
    try:
        return read(text)
    except ClientNameError as error:
        raise Refused(f"client: {error}", "client") from None
