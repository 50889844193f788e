"""A feed that is switched off, by hand and for all workers: off is off, on is on at once, and a fault ends nothing (30 s)."""

from e2e.processes import json_lines, server_publish, wait_for
from proxykit.site import send_page, serving

HOSTS = [f"off-story{number}.example" for number in range(1500)]  # beyond what a list may lose by accident
LISTED = f"http://{HOSTS[7]}/"
SETTINGS = """\
workers: 2
log: {{all: true}}
feeds:
  - name: secondlook-test
    builtin: test
  - name: story
    url: {site}list
    every: 1d
"""
OFF = "    enabled: false\n"


def statuses(proxy, url=LISTED):
    return proxy.each_worker(lambda: proxy.curl(url).status)


def blocks(proxy, *, whether):
    """Wait until every worker blocks what the feed lists, or none does."""
    wait_for(lambda: all((status == 403) is whether for status in statuses(proxy)), f"blocked: {whether}")


def test_off_is_off_in_every_worker_and_on_again_needs_no_fetch(start_proxy):
    fetched = []

    def answer(request):
        fetched.append(request.path)
        send_page(request, "".join(f"{host}\n" for host in HOSTS).encode())

    with serving(answer) as site:
        settings = SETTINGS.format(site=site)
        proxy = start_proxy(settings)

        def reload(text):
            proxy.config.write_text(text)
            proxy.command("reload")

        def alerts():
            return [each for each in proxy.json("status")[0]["alerts"] if "list" in each or "feeds" in each]

        blocks(proxy, whether=True)
        assert alerts() == []

        reload(settings + OFF)
        blocks(proxy, whether=False)
        assert proxy.curl("http://malware.secondlook.test/").status == 403
        wait_for(lambda: alerts() or None, "the alert that nothing protects")
        assert alerts() == ["no list protects any more: story is switched off, and nothing else is in force"]
        (event,) = proxy.json_when(bool, "log", "--kind", "action")
        assert event["detail"].startswith("feed story switched off: what it brought (1,500) is out of force")
        (status,) = json_lines("server", "status", "--state", proxy.state)
        assert "what it brought is kept" in status["feeds"][0]["off"]
        server_publish(proxy.state)  # by a command, which knows nothing of the settings
        blocks(proxy, whether=False)

        proxy.stop()
        before = len(fetched)
        again = start_proxy(settings + OFF)
        assert all(status != 403 for status in statuses(again))

        again.config.write_text(settings)
        again.command("reload")
        blocks(again, whether=True)
        assert len(fetched) == before  # it is due tomorrow

        again.config.write_text("workers: 2\nfeeds: [\n")
        assert again.command("reload", check=False).returncode != 0
        again.config.write_text("workers: 2\nfeeds: []\n")
        again.command("reload")
        wait_for(
            lambda: any("name no feeds" in each for each in again.json("status")[0]["alerts"]) or None,
            "the alert that no feeds are named",
        )
        blocks(again, whether=True)

        again.config.write_text(settings.partition("  - name: story")[0])
        again.command("reload")
        blocks(again, whether=False)
