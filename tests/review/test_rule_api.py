"""Rules by the API."""

from operator import itemgetter

from review.stage import csrf


def test_a_rule_is_made_and_removed(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    made = client.post(
        "/api/v1/rules", json={"action": "allow", "subject": "Example.ORG", "for_s": 60}, headers=headers
    )
    assert made.status_code == 201
    assert made.json()["subject"] == "example.org"
    assert client.get("/api/v1/rules").json() == [made.json()]
    assert client.get("/api/v1/rules/test?url=http://www.example.org/").json()[0]["id"] == made.json()["id"]
    assert client.delete(f"/api/v1/rules/{made.json()['id']}", headers=headers).status_code == 204
    assert client.delete(f"/api/v1/rules/{made.json()['id']}", headers=headers).status_code == 404
    assert client.post("/api/v1/rules", json={"action": "allow", "subject": "a.example"}).status_code == 403
    assert not ledger.snapshots.rules()


def test_an_export_of_rules_comes_back_with_its_ends(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    for subject, for_s in (("ends.example", 60), ("stays.example", None)):
        client.post(
            "/api/v1/rules", json={"action": "allow", "subject": subject, "for_s": for_s}, headers=headers
        )
    exported = client.get("/api/v1/rules").json()
    for rule in exported:
        client.delete(f"/api/v1/rules/{rule['id']}", headers=headers)
    over = {"action": "allow", "subject": "over.example", "expires": "2020-01-01T00:00:00Z"}
    assert client.post("/api/v1/rules/import", json=[*exported, over], headers=headers).status_code == 204
    ends = {rule["subject"]: rule["expires"] for rule in client.get("/api/v1/rules").json()}
    assert set(ends) == {"ends.example", "stays.example"}
    assert ends["stays.example"] is None
    assert ends["ends.example"] is not None
    broken = [{"action": "allow", "subject": "new.example"}, {"action": "allow", "subject": "a b"}]
    assert client.post("/api/v1/rules/import", json=broken, headers=headers).status_code == 400
    assert len(client.get("/api/v1/rules").json()) == 2


def test_an_import_said_again_changes_nothing(client, ledger):
    headers = {"x-csrf-token": csrf(client)}
    made = [
        {"action": "allow", "subject": "a.example", "created": "2020-01-02T03:04:05Z", "source": "override"},
        {"action": "block", "subject": "b.example", "client": "10.0.0.9/24", "reason": "why"},
        {"action": "block", "subject": "c.example", "source": "config"},
        {"action": "allow", "subject": "d.example", "for_s": 600},
    ]
    assert client.post("/api/v1/rules/import", json=made, headers=headers).status_code == 204
    exported = client.get("/api/v1/rules").json()
    assert [(rule["subject"], rule["source"], rule["client"]) for rule in exported] == [
        ("a.example", "override", None),
        ("b.example", "operator", "10.0.0.0/24"),
        ("d.example", "operator", None),
    ]
    assert [rule["expires"] is None for rule in exported] == [True, True, False]
    assert exported[0]["created"] == "2020-01-02T03:04:05.000Z"
    for _ in range(2):
        assert client.post("/api/v1/rules/import", json=exported, headers=headers).status_code == 204
        # by subject: rules of one millisecond are in the order of their ids, which are random
        assert sorted(client.get("/api/v1/rules").json(), key=itemgetter("subject")) == exported
    again = {"action": "block", "subject": "b.example", "client": "10.0.0.0/24", "reason": "other"}
    assert client.post("/api/v1/rules", json=again, headers=headers).json()["id"] == exported[1]["id"]
    broken = [{**made[0], "source": "nobody"}]
    assert client.post("/api/v1/rules/import", json=broken, headers=headers).status_code == 422
