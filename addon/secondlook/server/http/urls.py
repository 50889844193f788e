"""`urls:search`: whole URLs, for foreign clients that ask so. Nothing of them is kept or logged.

Our own clients never send a URL; the method is there because the protocol has it.
"""

from collections.abc import Callable

from secondlook.core.url.canonical import url_subject
from secondlook.server.http.answer import Answer, message_answer
from secondlook.server.http.query import Fields, wants_private
from secondlook.server.reader import Reader
from secondlook.suffix import load_suffixes
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadRequest

MAX_URLS = 50


class UrlMethods:
    """Answers about URLs by the same search as about prefixes.

    `duration` returns the seconds that an answer may be kept, by whether something is listed.
    """

    def __init__(self, reader: Reader, duration: Callable[[bool], int]) -> None:
        self._reader = reader
        self._duration = duration

    async def search(self, fields: Fields, *, as_json: bool) -> Answer:
        """Answer `urls:search`."""
        urls = [value.decode("utf-8", "replace") for value in fields.get(b"urls", ()) if value]
        if not urls or len(urls) > MAX_URLS:
            raise BadRequest(f"urls: expected 1 to {MAX_URLS}")
        subjects = [url_subject(url, load_suffixes()) for url in urls]
        prefixes = list({full_hash[:4] for subject in subjects for full_hash in subject.hashes})
        packed, _ = await self._reader.search(prefixes)
        listed = {found.full_hash: found for found in pb.SearchHashesResponse.FromString(packed).full_hashes}
        answer = pb.SearchUrlsResponse()
        for url, subject in zip(urls, subjects, strict=True):
            threats = {
                detail.threat_type
                for full_hash in subject.hashes
                if full_hash in listed
                for detail in listed[full_hash].full_hash_details
            }
            if threats:
                answer.threats.add(url=url, threat_types=sorted(threats))
        answer.cache_duration.seconds = self._duration(bool(answer.threats))
        return message_answer(answer, as_json=as_json, private=wants_private(fields))
