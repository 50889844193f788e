"""What the ICAP server offers, and what it says to what it does not."""

import base64

import pytest

from icapkit.stand import Stand, reqmod, respmod
from icapkit.wire import chunked, message
from proxykit.gatekeeper import FakeGatekeeper


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


@pytest.fixture
def stand(tmp_path, gatekeeper):
    found = Stand(tmp_path, gatekeeper)
    yield found
    found.close()


def test_options_tell_what_a_gateway_needs(stand):
    reply = stand.run(stand.ask(message("OPTIONS", "respmod")))
    assert reply.status == 200
    expected = {
        "methods": "respmod",
        "istag": '"tag-1"',
        "max-connections": "100",
        "preview": "1024",
        "transfer-preview": "*",
        "allow": "204, 206",
        "options-ttl": "600",
        "x-include": "x-client-ip, x-authenticated-user",
    }
    assert expected.items() <= reply.fields.items()
    reply = stand.run(stand.ask(message("OPTIONS", "reqmod")))
    assert (reply.fields["methods"], reply.fields["preview"]) == ("reqmod", "0")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (message("OPTIONS", "virus_scan"), 404),
        (respmod(body=False).replace(b"/respmod", b"/echo"), 404),
        (reqmod().replace(b"/reqmod", b"/respmod"), 405),
        (message("LOGON", "reqmod"), 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (reqmod().replace(b"10.0.0.9", b"anna"), 400),
        (message("REQMOD", "reqmod", request=b"GET nonsense HTTP/1.1\r\n\r\n"), 400),
        (message("RESPMOD", "respmod", response=b"HTTP/1.1 200 OK\r\n\r\n"), 400),
        (message("RESPMOD", "respmod", request=b"GET http://a.test/ HTTP/1.1\r\n\r\n"), 400),
        (b"OPTIONS icap://a/reqmod ICAP/2.0\r\n\r\n", 505),
    ],
)
def test_what_is_not_understood_or_offered(stand, data, status):
    async def story():
        gateway = await stand.connect()
        await gateway.send(data)
        reply = await gateway.reply()
        if status in {400, 505}:
            assert await gateway.gone()
        else:
            await gateway.send(reqmod())
            assert (await gateway.reply()).status == 204
        return reply

    assert stand.run(story()).status == status
    assert len(stand.complaints) == (status in {400, 505})


def test_users_by_any_other_name(tmp_path, gatekeeper):
    def user(stand, said):
        stand.run(stand.ask(reqmod(icap=f"X-Authenticated-User: {said}\r\n")))
        stand.close()
        return gatekeeper.seen[-1][2].user

    assert user(Stand(tmp_path, gatekeeper), "anna") == "anna"
    assert user(Stand(tmp_path, gatekeeper), "Local://anna") == "anna"
    assert user(Stand(tmp_path, gatekeeper), "WinNT://HOUSE/anna") == "anna"
    said = base64.b64encode("LDAP://dc.test/cn=anna,ou=Köln".encode()).decode()
    assert user(Stand(tmp_path, gatekeeper, encoded_users=True), said) == "cn=anna,ou=Köln"
    plain = Stand(tmp_path, gatekeeper, encoded_users=True)
    assert plain.run(plain.ask(reqmod(icap="X-Authenticated-User: anna!\r\n"))).status == 400
    plain.close()


def test_requests_and_responses_are_of_the_gateway_that_asks(stand, gatekeeper):
    stand.run(stand.ask(reqmod()))
    sent = respmod("/setup.exe", kind="application/octet-stream", icap="Allow: 204\r\n")
    stand.run(stand.ask(sent + chunked(b"MZ" + bytes(100)) + b"0\r\n\r\n"))
    assert {context.gateway for _, _, context, _ in gatekeeper.seen} == {"our squid"}
    assert {subject.kind for _, subject, _, _ in gatekeeper.seen} == {"url", "file"}
