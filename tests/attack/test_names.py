"""Names. What a name server does to lead a client inside, or to keep others waiting; root only, on Linux."""

import time
from collections.abc import Iterator

import pytest

from attack.conftest import configuration
from attackkit.stand import Stand, api, at_once
from e2e.namespaces import cable, inside, namespaces, resolving_at
from e2e.origin import origin
from e2e.processes import Proxy, curl
from proxykit.names import name_server

CLIENT, GATE = "10.77.9.2", "10.77.9.1"


def _records(name: str, kind: int, before: int) -> list[str] | None:
    match name.split(".", maxsplit=1)[0], kind:
        case "turning", 1:
            return [CLIENT] if before == 0 else ["127.0.0.1"]
        case "inside", 1:
            return ["127.0.0.1"]
        case "dead", _:
            return None
        case "living", 1:
            return [GATE]
    return []


@pytest.fixture
def networks() -> Iterator[tuple[str, ...]]:
    """The namespaces of a client and of the proxy."""
    with namespaces("client", "gate") as (client, gate):
        cable(client, f"{CLIENT}/24", gate, f"{GATE}/24", "cable")
        yield client, gate


@pytest.fixture
def stand(networks, tmp_path, site) -> Iterator[Stand]:
    def start() -> Proxy:
        config = configuration(tmp_path, "clients: {networks: [10.77.9.0/24]}\n")
        with resolving_at("127.0.0.1", tmp_path):  # no thread may begin meanwhile
            return Proxy(tmp_path / "state", config, listen="0.0.0.0:0")

    with inside(networks[1]), name_server(_records, ("127.0.0.1", 53)):
        stand = Stand.make(start, site)
        assert stand.watch.served(30)
        yield stand
        stand.close()


def test_rebinding(stand, networks):
    """Names that lead this machine's clients elsewhere the second time, or inside at once: nothing inside is reached."""
    through = ("-x", f"http://{GATE}:{stand.port}")
    with origin() as inner:
        with inside(networks[0]):
            for name in ("turning.a.example", "turning.b.example", "inside.example"):
                for tunnel in ((), ("-p",)):
                    for _ in range(2):
                        answer = curl(f"http://{name}:{inner.port}/", *through, "-m", "5", *tunnel)
                        assert answer.status != 200, name
        assert inner.connections == 0


def test_dead_names(stand):
    """Forty names whose name server is silent: another name is answered meanwhile, a block is in force at once."""
    with origin(address=(GATE, 0)) as living:
        took: list[float] = []

        def dead(number: int) -> None:
            stand.proxy.curl(f"http://dead.{number}.example/", "-m", "6")

        def alive() -> None:
            time.sleep(1)
            begun = time.monotonic()
            assert stand.proxy.curl(f"http://living.example:{living.port}/", "-m", "6").status == 200
            took.append(time.monotonic() - begun)
            api(stand.proxy, "POST", "/rules", {"action": "block", "subject": "living.example"})
            time.sleep(2)
            assert stand.proxy.curl(f"http://living.example:{living.port}/", "-m", "6").status == 403

        at_once(*(lambda n=n: dead(n) for n in range(40)), alive)
        assert took
