"""Notices, and who sends them."""

from secondlook.agent.actions.notice import Notice


class Sender:
    """Keeps what it is to send, or fails."""

    def __init__(self, *, fail: bool = False) -> None:
        self.sent: list[tuple[str, str]] = []
        self.fail = fail

    def send(self, title: str, body: str) -> bool:
        if self.fail:
            raise RuntimeError("planted")
        self.sent.append((title, body))
        return True


def notice(
    subject: str | None = "http://bad.test/x?q=secret",
    text: str = "listed as malware",
    kind: str = "confirmed",
    clients: tuple[str, ...] = (),
    users: tuple[str, ...] = (),
) -> Notice:
    title = "Something let through turned out dangerous"
    return Notice(kind, title, "bad.test", subject, text, clients, users)
