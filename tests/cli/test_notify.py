"""A notice to try: whether it went out is told, and only then is the step taken."""

import json
from types import SimpleNamespace

import pytest

from proxykit.site import send_page, serving
from secondlook.cli.operation import notify
from secondlook.config.record import NotifySettings
from secondlook.ground.first_steps import FirstSteps, Step


@pytest.fixture
def context(tmp_path):
    """The context of the command, by these addresses of notices; it keeps what is reported."""

    def make(*urls: str):
        reports = []
        return SimpleNamespace(
            settings=SimpleNamespace(notify=NotifySettings(urls=urls, desktop=False), upstream_proxy=None),
            state=tmp_path,
            report=lambda *told: reports.append(told),
            reports=reports,
        )

    return make


def test_a_notice_that_went_out_is_told_and_takes_the_step(context, tmp_path):
    seen = []

    def answer(request):
        seen.append(json.loads(request.rfile.read(int(request.headers["Content-Length"]))))
        send_page(request, b"")

    with serving(answer) as site:
        called = context(f"json://{site.removeprefix('http://')}hook")
        notify.test.__wrapped__(called)
    assert [message["title"] for message in seen] == ["Second Look: a test"]
    assert called.reports == [({"sent": True, "urls": 1, "desktop": False}, "the test notice went out")]
    assert FirstSteps(tmp_path).taken() == {Step.NOTICE}


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ((), "no notices are set up yet"),
        (("json://127.0.0.9:9/hook",), "could not be delivered to everybody"),
    ],
)
def test_one_that_did_not_is_told_and_takes_none(context, tmp_path, capsys, urls, said):
    called = context(*urls)
    with pytest.raises(SystemExit) as ended:
        notify.test.__wrapped__(called)
    assert ended.value.code == 1
    assert said in capsys.readouterr().err
    assert not called.reports
    assert not FirstSteps(tmp_path).taken()
