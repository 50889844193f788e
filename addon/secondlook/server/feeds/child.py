"""Heavy work in a child process, so that the serving one goes on answering: taking feeds in, publishing."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from secondlook.config.service import FeedSettings, PublishSettings
from secondlook.ground import collector
from secondlook.ground.children import answer_order, ask_child
from secondlook.server.feeds.known_good import take_guard
from secondlook.server.feeds.refresh import take_feed
from secondlook.server.feeds.rule_files import unpack_rules
from secondlook.server.publish.publishing import PublishReport, publish
from secondlook.server.store.importing import FileReport, Origin, file_chunks, take_in
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore

REJECTS_SHOWN = 20
LONGEST_S = 3600.0  # of one order, many times what the largest feeds take: all others wait for it


async def publish_in_child(
    store: ServerStore,
    *,
    now: float,
    settings: PublishSettings | None = None,
) -> PublishReport:
    """Publish in a child process; results and errors of `publish`."""
    answer = await _order(
        {
            "do": "publish",
            "root": str(store.root),
            "now": now,
            "settings": (settings or PublishSettings()).model_dump(mode="json"),
        }
    )
    answer["held_back_examples"] = [tuple(example) for example in answer["held_back_examples"]]
    return PublishReport(**answer)


async def take_feed_in_child(
    store: ServerStore,
    path: Path,
    origin: Origin,
    settings: PublishSettings,
    *,
    expires_s: float | None,
    most: int,
    accept_shrink: bool,
) -> FileReport:
    """Take a fetched feed in; results and errors of `take_feed`, but for the examples of rejects."""
    answer = await _order(
        {
            "do": "feed",
            "root": str(store.root),
            "path": str(path),
            "origin": {**asdict(origin), "target": origin.target.name},
            "settings": settings.model_dump(mode="json"),
            "expires_s": expires_s,
            "most": most,
            "accept_shrink": accept_shrink,
        }
    )
    return FileReport(**answer)


async def try_feed_in_child(root: Path, path: Path, origin: Origin) -> Mapping[str, Any]:
    """Read a fetched feed as `take_feed` would, into an empty store at `root`, which is thrown away after it.

    Returns the fields of a FileReport; `rejects` are the first few, each line, class and text.
    """
    asked = {**asdict(origin), "target": origin.target.name}
    return await _order({"do": "try", "root": str(root), "path": str(path), "origin": asked})


async def take_guard_in_child(
    store: ServerStore, path: Path, feed: FeedSettings, settings: PublishSettings, *, most: int
) -> FileReport:
    """Take a fetched list of known-good hosts in; results and errors of `take_guard`."""
    order = {"do": "guard", "root": str(store.root), "path": str(path)}
    asked = {"name": feed.name, "form": feed.format, "rank": feed.rank, "most": most}
    return FileReport(**await _order({**order, **asked, "settings": settings.model_dump(mode="json")}))


async def unpack_rules_in_child(path: Path, folder: Path, name: str) -> list[tuple[str, str]]:
    """Unpack a fetched feed of rules; results and errors of `unpack_rules`."""
    order = {"do": "rules", "path": str(path), "folder": str(folder), "name": name}
    return [(known_as, file) for known_as, file in (await _order(order))["files"]]


async def _order(order: Mapping[str, Any]) -> dict[str, Any]:
    return await ask_child("secondlook.server.feeds.child", order, order["do"], within_s=LONGEST_S)


def carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
    """Do what an order asks for, in this process."""
    if order["do"] == "rules":
        return {"files": unpack_rules(Path(order["path"]), Path(order["folder"]), order["name"])}
    store = ServerStore(Path(order["root"]))
    if order["do"] == "try":
        with store.writing():
            tried = take_in(store, file_chunks(Path(order["path"])), _origin(order["origin"]))
        rejects = [(each.line, each.cls.value, each.text) for each in tried.rejects[:REJECTS_SHOWN]]
        return {**asdict(replace(tried, rejects=())), "rejects": rejects}
    settings = PublishSettings.model_validate(order["settings"])
    if order["do"] == "guard":
        asked = {name: order[name] for name in ("name", "form", "rank", "most")}
        return asdict(take_guard(store, file_chunks(Path(order["path"])), settings=settings, **asked))
    if order["do"] == "publish":
        return asdict(publish(store, now=order["now"], settings=settings))
    origin, chunks = _origin(order["origin"]), file_chunks(Path(order["path"]))
    limits = {name: order[name] for name in ("expires_s", "most", "accept_shrink")}
    taken = take_feed(store, chunks, origin, settings, **limits)
    return {**asdict(taken), "rejects": []}


def _origin(raw: Mapping[str, Any]) -> Origin:
    return Origin(**{**raw, "target": import_list(raw["target"])})


def main() -> None:
    """Carry out one order."""
    collector.collect_seldom()
    answer_order(carry_out)


if __name__ == "__main__":
    main()
