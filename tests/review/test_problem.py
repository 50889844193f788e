"""Errors of the API."""


def test_errors_have_one_shape(client):
    for path in (
        "/api/v1/events/none",
        "/api/v1/events?since=x",
        "/api/v1/nothing",
        "/api/v1/events?limit=0",
        "/api/v1/check?subject=a%20b",
    ):
        answer = client.get(path)
        assert answer.status_code in {400, 404, 422}
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail"}
