"""What every store holds from the start.

The test list, so that a new user sees a block within a minute, and nothing real is meant:
`malware.secondlook.test/` and its subdomains, `phishing.secondlook.test/login`, and the EICAR test file. The
`.test` domain is reserved (RFC 2606): nobody can own these names. And the addresses by which systems look for
captive portals, as known-good: they must not wait for a server that cannot be reached before somebody signs
in there.
"""

from hashlib import sha256
from importlib.resources import files

from secondlook.server.store.importing import Origin, drop_lists, take_in
from secondlook.server.store.names import import_list
from secondlook.server.store.store import ServerStore

EICAR_SHA256 = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
BUILTIN_LISTS = {
    "secondlook-test-malware": ("mw-8b", f"malware.secondlook.test\n{EICAR_SHA256}\n"),
    "secondlook-test-phishing": ("se-8b", "http://phishing.secondlook.test/login\n"),
    "secondlook-captive-portals": (
        "gc-32b",
        files("secondlook.server").joinpath("captive_portals.txt").read_text(encoding="ascii"),
    ),
}


def add_builtin_lists(store: ServerStore, *, now: float) -> bool:
    """Put them into a store that does not have them as they are now; True when something changed."""
    with store.writing():
        changed = False
        have = {source.name: source for source in store.sources() if source.kind == "builtin"}
        for name, (target, text) in BUILTIN_LISTS.items():
            origin = Origin(
                name=name,
                kind="builtin",
                target=import_list(target),
                who="secondlook",
                now=now,
                format="plain",
                licence="MIT",
            )
            old = have.get(name)
            if old is not None and old.sha256 == sha256(text.encode()).hexdigest():
                continue
            take_in(store, [text.encode()], origin)
            if old is not None:
                drop_lists(store, [old], set(old.counts))
            changed = True
        return changed
