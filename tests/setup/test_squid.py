"""The lines for squid.conf: what stands in them, and what Squid itself says of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from secondlook.gateway.icap.wanted import HANDS_ON, WANTED
from secondlook.setup.squid import SquidFacts, UnfitForSquidError, fragment


def facts(**more):
    values = {
        "helper": ("/opt/sl/bin/secondlook",),
        "socket": Path("/run/sl/gateway.sock"),
        "icap": "127.0.0.1:1344",
        "budget_s": 2.5,
        "workers": 3,
    }
    return SquidFacts(**(values | more))


def lines(**more):
    return [line for line in fragment(facts(**more)).splitlines() if line and not line.startswith("#")]


def test_one_helper_for_each_gate_worker_with_its_socket_and_budget():
    (asking,) = [line for line in lines() if line.startswith("external_acl_type")]
    assert "children-max=3 children-startup=3 concurrency=1000" in asking
    assert asking.endswith(" /opt/sl/bin/secondlook helper --socket /run/sl/gateway.sock --budget 2.5")


def test_the_choice_stands_first_and_closed():
    assert lines()[0] == "acl secondlook_open any-of !all"


def test_bodies_are_asked_about_always_in_the_closed_form_and_after_an_ok_in_the_open_one():
    found = [line.removeprefix("adaptation_access ") for line in lines()]
    assert "secondlook_response allow !secondlook_open" in found
    assert "secondlook_response_open allow secondlook_open secondlook_said" in found
    assert "secondlook_request deny secondlook_open secondlook_ok secondlook_noted" in found


def test_a_piece_is_shown_to_reqmod_after_tunnels_and_before_what_the_helper_let_through():
    found = [
        line for line in lines(authority=Path("/s/ca.pem")) if "adaptation_access secondlook_request" in line
    ]
    piece = "adaptation_access secondlook_request allow secondlook_piece !secondlook_open"
    denied = [line for line in found if " deny " in line]
    assert found.index(denied[0]) < found.index(piece) < found.index(denied[1])


def test_what_a_client_wants_of_a_file_is_handed_on_and_no_cache_answers_in_its_place():
    """In the open form nobody says so: there not every piece is shown to REQMOD."""
    found = lines()
    assert f"adaptation_masterx_shared_names {WANTED.decode()}" in found
    assert f"adaptation_meta {HANDS_ON.decode()} {WANTED.decode()} !secondlook_open" in found
    assert "cache deny secondlook_piece secondlook_anew" in found
    assert "acl secondlook_anew req_header Cache-Control no-cache" in found


def test_other_machines_reach_nothing_inside_but_our_pages_are_not_looked_up():
    (inside,) = [line for line in lines() if line.endswith(" secondlook_inside")]
    assert (
        inside == "http_access deny !secondlook_here !secondlook_pages !secondlook_refused secondlook_inside"
    )


def test_tls_is_opened_only_where_it_is_wanted():
    assert not [
        line for line in lines() if "ssl" in line.partition("%ssl")[0] or line.startswith("http_port")
    ]
    opened = lines(authority=Path("/s/ca.pem"), unopened=("bank.example", "*.clinic.example"), listen="3129")
    assert "acl secondlook_unopened ssl::server_name bank.example" in opened
    assert "acl secondlook_unopened ssl::server_name .clinic.example" in opened
    assert [line for line in opened if line.startswith("http_port 3129 ssl-bump tls-cert=/s/ca.pem ")]


@pytest.mark.parametrize("path", ["/my folder/s", '/a"b', "/a#b", "/100%"])
def test_a_path_that_squid_conf_cannot_name_is_refused(path):
    with pytest.raises(UnfitForSquidError, match=r"gateway\.socket lies at a path"):
        fragment(facts(socket=Path(path)))
    with pytest.raises(UnfitForSquidError, match="the helper lies at a path"):
        fragment(facts(helper=(path,)))


@pytest.mark.parametrize("opens", [False, True])
def test_squid_understands_every_line(tmp_path, opens):
    squid = shutil.which("squid") or "/usr/sbin/squid"
    if not Path(squid).exists():
        assert not os.environ.get("CI"), "squid is missing"
        pytest.skip("squid is missing")
    more = (
        {"authority": tmp_path / "ca.pem", "unopened": ("bank.example",), "listen": "3129"} if opens else {}
    )
    if opens:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
             "-keyout", tmp_path / "ca.pem", "-out", tmp_path / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        with (tmp_path / "ca.pem").open("a") as file:
            file.write((tmp_path / "cert.pem").read_text())
    text = fragment(facts(helper=(str(shutil.which("true")),), **more))
    conf = tmp_path / "squid.conf"
    conf.write_text(text + ("" if opens else "http_port 3128\n"))
    done = subprocess.run(
        [squid, "-k", "parse", "-n", "slparse", "-f", conf], capture_output=True, text=True, check=False
    )
    told = [
        line for line in done.stderr.splitlines() if any(bad in line for bad in ("WARNING", "ERROR", "FATAL"))
    ]
    assert (done.returncode, told) == (0, []), done.stderr
