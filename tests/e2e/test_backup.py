"""A backup made beside traffic is restored elsewhere: same authority, same rules, same flags, same blocks (10 s)."""

from e2e.processes import command, curl, wait_for


def test_a_proxy_goes_on_from_a_backup_made_while_it_ran(start_proxy, plain_origin, tmp_path):
    config = "servers: {embedded: true, intranet: [{url: 'http://127.0.0.1:9'}]}\nfeeds: []\n"
    first = start_proxy(config, name="first")
    first.command("block", "bad.example", "--reason", "kept")
    flagged = plain_origin.url("/flagged")
    assert first.curl(flagged).status == 200
    wait_for(lambda: first.json("queue", "list"), "the flag")
    told = first.command("backup", str(tmp_path / "b")).stdout
    assert told.startswith(f"wrote {tmp_path}/b")
    assert first.curl(flagged).status == 200  # it runs on
    refused = first.command("restore", str(tmp_path / "b"), check=False)
    assert refused.returncode == 1
    assert f"Second Look runs on {first.state} (process {first.process.pid}); stop it" in refused.stderr
    authority = first.ca.read_bytes()
    queued = first.json("queue", "list")
    assert first.stop() == 0

    place = tmp_path / "second"
    command("restore", tmp_path / "b", "--keep-settings", "-c", first.config, "--state", place)
    second = start_proxy(config, name="second")
    assert second.ca.read_bytes() == authority
    assert second.curl("https://bad.example/").status == 403
    assert second.curl("http://malware.secondlook.test/").status == 403
    assert [each["id"] for each in second.json("queue", "list")] == [each["id"] for each in queued]
    assert [each["reason"] for each in second.json("rules", "list")] == ["kept"]
    assert curl(f"{second.url}/healthz").status == 200
