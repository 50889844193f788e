"""A replica: pulls published generations over HTTP from another server, or from any static web server.

It asks for `current`, then for the manifest of that generation and its signature, then for the files that it
does not have yet (a file of an earlier generation with the same checksum is linked, not fetched). Everything
is checked against the manifest before the generation takes its place. One that is here already is known by
its signature: the publisher may have another one with that number by now.
"""

import asyncio
import hashlib
import logging
import os
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from secondlook.config.service import PublishSettings, UpstreamSettings
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.json_text import read_json
from secondlook.ground.lanes import LISTS
from secondlook.ground.trust import trust_for
from secondlook.server.meter import Meter
from secondlook.server.publish.generation import FORMAT, MANIFEST, SIGNATURE, Generation, digest_of
from secondlook.server.replica.publisher_answer import PLAIN, pieces, whole, within
from secondlook.server.replica.state import ReplicationState, read_replication_state, write_replication_state
from secondlook.server.store.store import ServerStore
from secondlook.wire.signature import is_signed, read_public_key

log = logging.getLogger(__name__)
MAX_MANIFEST_BYTES: Final = 16 << 20
MAX_FILE_BYTES: Final = 64 << 30
TIMEOUT_S: Final = 30.0
OK: Final = 200


class Replica:
    """Keeps a store equal to what its publisher serves."""

    def __init__(
        self,
        store: ServerStore,
        upstream: UpstreamSettings,
        settings: PublishSettings | None = None,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._store = store
        self._every_s = upstream.every
        self._keep = (settings or PublishSettings()).keep
        self._key: Ed25519PublicKey | None = read_public_key(upstream.key) if upstream.key else None
        headers = PLAIN | ({"Authorization": f"Bearer {upstream.token}"} if upstream.token else {})
        self._client = httpx.AsyncClient(
            base_url=f"{upstream.url}/published/",
            headers=headers,
            verify=trust_for(upstream.url, str(upstream.ca) if upstream.ca else None),
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=1.0),  # pulls are rare, a kept connection would be closed
            timeout=TIMEOUT_S,
        )
        self.state = read_replication_state(store)
        self._show()

    async def run(self) -> None:
        """Look for another generation again and again, until cancelled."""
        while True:
            try:
                number = await self.pull()
                if number is not None:
                    log.info("replicated generation %d", number)
                if self.state.alert is not None:
                    log.warning("replication works again")
                self._change_state(self.state.worked())
            except (PatternError, ServiceError, OSError) as error:
                if self.state.alert != str(error):
                    log.warning("replication failed, what is here stays: %s", error)
                self._change_state(self.state.failed(str(error), time.time()))
            await asyncio.sleep(self._every_s)

    def verify(self) -> None:
        """Look once, before anything is served, whether what is here is still what was fetched.

        A generation with a damaged file goes; the latest whole one is served until the next pull.
        """
        current = self._store.current()
        for number in reversed([each for each in self._store.generations() if each <= (current or 0)]):
            folder = self._store.generation_folder(number)
            try:
                Generation(folder).verify()
            except PatternError as error:
                log.warning("generation %d is damaged and is fetched again: %s", number, error)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if number != current:
                self._store.set_current(number)
            return

    async def pull(self) -> int | None:
        """Fetch the publisher's current generation if it is another one; returns its number then.

        Raises ServiceError when the publisher gives nothing usable, PatternError when what it gives is wrong.
        """
        text = (await self._get("current", 64)).decode("ascii", "replace").strip()
        if not text.isdigit():
            raise PatternError("the publisher's current file does not name a generation")
        number = int(text)
        before = self._store.current()
        is_here = number in self._store.generations() and await self._is_publishers(number)
        if number == before and is_here:
            return None
        if not is_here:
            await self._fetch(number)
        async with self._store.writing_from_loop():
            self._store.set_current(number)
            await LISTS.run(self._store.drop_generations, self._keep)
        state = self.state.seen(before, number)
        if before is not None and number < before:
            log.warning("the publisher went back from generation %d to %d", before, number)
        elif self.state.behind is not None and state.behind is None:
            log.warning("the publisher is past generation %d again", self.state.behind[1])
        self._change_state(state)
        return number

    def _change_state(self, state: ReplicationState) -> None:
        if state != self.state:
            self.state = state
            with suppress(OSError):  # a full disk is reported where it matters
                write_replication_state(self._store, state)
        self._show()

    def _show(self) -> None:
        if self._meter:
            self._meter.gauges["upstream_failing"] = float(self.state.alert is not None)
            self._meter.gauges["upstream_went_back"] = float(self.state.behind is not None)

    async def _is_publishers(self, number: int) -> bool:
        """Return whether what is here with a number is what the publisher has with it.

        One whose folder was set up anew counts from the first again.
        """
        signed = await self._get(f"generations/{number:06d}/{SIGNATURE}", 64)
        try:
            return signed == (self._store.generation_folder(number) / SIGNATURE).read_bytes()
        except OSError:
            return False

    async def _fetch(self, number: int) -> None:
        remote = f"generations/{number:06d}"
        manifest = await self._get(f"{remote}/{MANIFEST}", MAX_MANIFEST_BYTES)
        signature = await self._get(f"{remote}/{SIGNATURE}", 64)
        about = _read_manifest(manifest, number)
        if self._key is not None and not is_signed(self._key, manifest, signature):
            raise PatternError(f"generation {number} is not signed by the publisher whose key is pinned")
        folder = self._store.generations_folder / f".{number:06d}-replica"
        place, gone = self._store.generation_folder(number), folder.with_name(f".{number:06d}-gone")
        for left in (folder, gone):
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir()
        try:
            for name, facts in about["files"].items():
                if not await LISTS.run(self._link, folder, name, facts):
                    await self._save(f"{remote}/{name}", folder / name, facts)
            (folder / MANIFEST).write_bytes(manifest)
            (folder / SIGNATURE).write_bytes(signature)
            _ = Generation(folder).table  # opens: sizes, bounds
            async with self._store.writing_from_loop():
                if place.exists():  # another one, of before the publisher was set up anew
                    place.rename(gone)
                folder.rename(place)
        finally:
            for left in (folder, gone):
                shutil.rmtree(left, ignore_errors=True)

    def _link(self, folder: Path, name: str, facts: dict[str, Any]) -> bool:
        """Take a file from an earlier generation that has the same bytes; what is damaged has none."""
        for number in reversed(self._store.generations()):
            earlier = self._store.generation_folder(number)
            with suppress(PatternError, OSError):
                known = Generation(earlier).manifest["files"].get(name)
                if known == facts and digest_of(earlier / name) == facts["sha256"]:
                    os.link(earlier / name, folder / name)
                    return True
        return False

    async def _save(self, path: str, target: Path, facts: dict[str, Any]) -> None:
        size, digest = 0, hashlib.sha256()
        limit = min(facts["size"], MAX_FILE_BYTES)
        async with self._answer(path, limit) as response:
            with target.open("wb") as file:
                async for piece in pieces(response, path, limit):
                    size += len(piece)
                    digest.update(piece)
                    file.write(piece)
        if size != facts["size"] or digest.hexdigest() != facts["sha256"]:
            raise PatternError(f"{path} does not match its checksum")

    async def _get(self, path: str, limit: int) -> bytes:
        async with self._answer(path, limit) as response:
            return await whole(response, path, limit)

    @asynccontextmanager
    async def _answer(self, path: str, limit: int) -> AsyncGenerator[httpx.Response]:
        try:
            async with within(path, limit), self._client.stream("GET", path) as response:
                if response.status_code != OK:
                    raise ServiceError(f"cannot fetch {path}: status {response.status_code}")
                yield response
        except httpx.HTTPError as error:
            raise ServiceError(f"cannot fetch {path}: {str(error) or type(error).__name__}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _read_manifest(data: bytes, number: int) -> dict[str, Any]:
    try:
        about: dict[str, Any] = read_json(data)
        if about["format"] != FORMAT or about["number"] != number:
            raise PatternError(f"the manifest of generation {number} is of another one")
        for name, facts in about["files"].items():
            sized = isinstance(facts["size"], int) and facts["size"] >= 0 and isinstance(facts["sha256"], str)
            if not sized or name.startswith(".") or not name.isprintable() or "/" in name:
                raise PatternError(f"the manifest of generation {number} names an impossible file")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PatternError(f"the manifest of generation {number} cannot be read: {error}") from error
    return about
