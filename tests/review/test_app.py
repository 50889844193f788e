"""The application of the review page: what it is made of, and when."""

from secondlook.review import app as made


def test_the_api_is_made_for_its_first_request_and_once(monkeypatch, client):
    before = made.create_api
    number = []
    monkeypatch.setattr(made, "create_api", lambda operations: number.append(1) or before(operations))
    assert client.get("/").status_code == 200
    assert not number
    answers = [client.get("/api/v1/openapi.json") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(number) == 1
    assert len(answers[1].json()["paths"]) >= 20
