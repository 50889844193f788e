"""What the log keeps of a visit (`log.privacy`, `log.ignore`): what can be shown or made of it later."""

from urllib.parse import urlsplit

from secondlook.ledger.log.privacy import Discretion, Privacy, without_query


class Keeping:
    """Knows what of a URL will be found in the log once it was blocked."""

    def __init__(self, discretion: Discretion) -> None:
        self._discretion = discretion

    def event(self, url: str) -> bool:
        """Whether a block is kept as an event of its own, which a page can be about."""
        return self._level(url) < Privacy.COUNTS

    def whole_url(self, url: str) -> bool:
        """Whether the whole URL is kept, so that an exception can be made of it."""
        level = self._level(url)
        return level is Privacy.EVERYTHING or (level is Privacy.NO_QUERY and without_query(url) == url)

    def _level(self, url: str) -> Privacy:
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        return self._discretion.level_of(host)
