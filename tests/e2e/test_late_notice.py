"""Who was let through to something bad is told before the next page, once, whichever worker it meets."""

from e2e.processes import server_import, server_publish, wait_for
from serverkit.ports import free_port

NAVIGATION = ("-H", "Accept: text/html,application/xhtml+xml")


def test_told_once_on_the_next_page(start_proxy, start_server, plain_origin, tmp_path):
    port = free_port()
    config = f"""
workers: 2
feeds: []
notify: {{desktop: false, next_page: true}}
servers:
  embedded: false
  intranet: [{{url: "http://127.0.0.1:{port}"}}]
  circuit: {{backoff_min: 100ms, backoff_max: 500ms}}
recheck: {{first: 1s, longest: 5s}}
"""
    proxy = start_proxy(config)
    bad = plain_origin.url("/bad?<b>", host="localhost")
    other = plain_origin.url("/other", host="localhost")
    assert proxy.curl(bad, *NAVIGATION).status == 200
    wait_for(lambda: proxy.json("queue", "list") or None, "the flag")

    state = tmp_path / "server"
    listed = tmp_path / "urls.txt"
    listed.write_text(f"{bad}\n")
    server_import(state, "mw-8b", listed)
    server_publish(state)
    start_server(state, port=port)
    wait_for(lambda: proxy.json("log", "--kind", "confirmed") or None, "the confirmation")

    # What is no navigation is not disturbed; the first navigation is told, then never again.
    assert proxy.curl(other, "-H", "Accept: application/json").body == b"<h1>origin</h1>"
    told = wait_for(
        lambda: (
            (b"turned out to be bad" in (answer := proxy.curl(other, *NAVIGATION)).body and answer) or None
        ),
        "the notice",
    )
    assert told.status == 200
    assert b"/bad?&lt;b&gt;" in told.body
    assert f'href="{other}"'.encode() in told.body
    (note,) = wait_for(lambda: proxy.json("log", "--kind", "action") or None, "the note of it")
    assert note["client"] == "127.0.0.1"
    for _ in range(6):
        assert proxy.curl(other, *NAVIGATION).body == b"<h1>origin</h1>"
    proxy.stop()
    again = start_proxy(config)
    for _ in range(6):
        assert again.curl(other, *NAVIGATION).body == b"<h1>origin</h1>"
