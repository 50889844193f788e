"""What the review shows and does, as data: lists by people's words."""

from secondlook.review import words


def test_a_list_is_called_after_its_server_where_that_is_known(operations, monkeypatch):
    lists = [
        {"name": "mw-8b", "server": "embedded", "title": "URLhaus (malware)"},
        {"name": "mw-8b", "server": "office", "title": "office (malware)"},
        {"name": "se-8b", "server": "office", "title": "office (phishing or deception)"},
    ]
    monkeypatch.setattr(operations.program, "lists", lambda: lists)
    titles = operations.titles()
    assert titles["mw-8b"] == "URLhaus (malware), office (malware)"  # whose it is was not kept, as in counts
    event = {"list": "mw-8b", "server": "embedded"}
    assert words.list_title(event, titles) == "URLhaus (malware)"
    assert words.list_title({**event, "server": "office"}, titles) == "office (malware)"
    assert words.list_title({**event, "server": "gone"}, titles) == titles["mw-8b"]
    assert words.list_title({**event, "server": None}, titles) == titles["mw-8b"]
    assert words.list_title({"list": "gone-8b", "server": "office"}, titles) == "gone-8b"
