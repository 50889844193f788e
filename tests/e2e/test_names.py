"""Names that lead inside, from a client on another machine, with a real name server: about 8 s."""

from e2e.namespaces import cable, inside, ip, namespaces, resolving_at
from e2e.origin import origin
from e2e.processes import Proxy, curl, make_certificate
from proxykit.names import AAAA, A, name_server

CLIENT, GATE, OTHER = "10.77.2.2", "10.77.2.1", "10.77.2.3"
CONFIG = """
mode: regular
workers: 1
feeds: [{name: test, builtin: test}]
clients: {networks: [10.77.2.0/24]}
mitmproxy: {ssl_insecure: true}
"""


def records(name: str, kind: int, before: int) -> list[str]:
    """Answer as a hostile name server does: harmless once, then this machine."""
    match name.split(".", maxsplit=1)[0], kind:
        case "turning", 1:
            return [CLIENT] if before == 0 else ["127.0.0.1"]
        case "inside", 1:
            return ["127.0.0.1"]
        case "mapped", 28:
            return ["::ffff:127.0.0.1"]
        case "six", 28:
            return ["::1"]
        case "zero", 1:
            return ["0.0.0.0"]
        case "metadata", 1:
            return ["169.254.169.254"]
        case "mixed", 1:
            return ["127.0.0.1", GATE]
        case "around", 1:
            return [OTHER]
        case "dead", _:
            return {A: [GATE], AAAA: ["2001:db8::1"]}[kind]
    return []


def test_no_name_leads_another_machine_inside(start_proxy, tmp_path):
    with namespaces("client", "gate") as (client, gate):
        cable(client, f"{CLIENT}/24", gate, f"{GATE}/24", "cable")
        ip("-n", gate, "addr", "add", f"{OTHER}/24", "dev", "cable")
        certificate = make_certificate(tmp_path, "turning.example")
        with (
            inside(gate),
            name_server(records, ("127.0.0.1", 53)) as names,
            origin() as plain,
            origin(certificate=certificate) as secure,
            origin(address=(GATE, 0)) as public,
            resolving_at("127.0.0.1", tmp_path),
        ):
            proxy: Proxy = start_proxy(CONFIG, listen="0.0.0.0:0")
            with inside(client):

                def get(url: str, *arguments: str):
                    through = ("-x", f"http://{GATE}:{proxy.port}", "--cacert", str(proxy.ca))
                    return curl(url, *through, "-m", "20", *arguments)

                for host in ("inside", "mapped", "six", "zero", "metadata"):
                    answer = get(f"http://{host}.example:{plain.port}/")
                    assert (answer.status, "stage=access" in answer.error) == (403, True), (host, answer)
                for url, tunnel in (
                    (f"http://turning.example:{plain.port}/", ()),
                    (f"http://turning.a.example:{plain.port}/", ("-p",)),
                    (f"https://turning.b.example:{secure.port}/", ()),
                ):
                    for _ in range(3):
                        assert get(url, *tunnel).status in {403, 502}, url
                    assert names.asked[url.split("/")[2].partition(":")[0], A] == 1, "asked once, judged once"
                assert (plain.connections, secure.connections) == (0, 0), "nobody came in"
                # one of its addresses is open, and that one is taken; a dead one costs no more than a moment
                assert get(f"http://mixed.example:{public.port}/").body == b"<h1>origin</h1>"
                assert get(f"http://dead.example:{public.port}/").body == b"<h1>origin</h1>"
                # whoever comes to the proxy through the proxy would pass for this machine
                for host in (OTHER, "around.example"):
                    assert get(f"http://{host}:{proxy.port}/healthz").status == 403, host
            hosts = {"inside.example", OTHER, "around.example"}
            refused = proxy.json_when(
                lambda events: hosts <= {event["host"] for event in events}, "log", "--decision", "block"
            )
            assert {event["stage"] for event in refused} == {"access"}
