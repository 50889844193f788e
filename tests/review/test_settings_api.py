"""The settings page as JSON: the same change by its preview, its digest and its outcome."""

import signal


def test_the_same_as_json(client, door, hangups):
    headers = {"authorization": f"Bearer {door.token}"}
    facts = client.get("/api/v1/settings", headers=headers).json()
    assert [feed["enabled"] for feed in facts["feeds"]] == [True, False]
    change = {"what": "switch-feed", "values": {"name": "warnings", "enabled": "true"}}
    made = client.post("/api/v1/settings/preview", json=change, headers=headers).json()
    assert "+    enabled: true" in made["difference"]
    begun = client.post("/api/v1/settings", json={**change, "digest": made["digest"]}, headers=headers)
    assert begun.status_code == 202
    assert hangups == [signal.SIGHUP]
    outcome = client.get("/api/v1/settings/outcome", params=begun.json(), headers=headers).json()
    assert outcome == {"state": "reading", "why": None, "workers": 0}
    again = client.post("/api/v1/settings", json={**change, "digest": made["digest"]}, headers=headers)
    assert again.status_code == 400
    wrong = {"what": "policy", "values": {"level": "x"}}
    answer = client.post("/api/v1/settings/preview", json=wrong, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
