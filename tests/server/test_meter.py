"""What a server counts, as Prometheus reads it."""

from secondlook.server.meter import Meter


def test_each_time_is_counted_in_its_bucket_and_all_above():
    meter = Meter()
    for seconds in (0.0005, 0.0006, 0.3, 9.0):
        meter.took(seconds)
    text = meter.text().decode()
    for bound, count in (("0.0005", 1), ("0.001", 2), ("0.25", 2), ("0.5", 3), ("2.5", 3), ("+Inf", 4)):
        assert f'secondlook_server_search_seconds_bucket{{le="{bound}"}} {float(count)}\n' in text
    assert "secondlook_server_search_seconds_sum 9.3011" in text


def test_counts_have_their_labels():
    meter = Meter()
    meter.requests["search", 200] += 3
    meter.updates["mw-8b", "partial"] += 1
    meter.feeds["urlhaus", "taken"] += 2
    meter.findings["listed"] += 1
    meter.prefixes, meter.gauges["generation"] = 7, 12
    assert set(meter.text().decode().splitlines()) >= {
        'secondlook_server_requests_total{method="search",status="200"} 3.0',
        'secondlook_server_updates_total{kind="partial",list="mw-8b"} 1.0',
        'secondlook_server_feed_fetches_total{feed="urlhaus",outcome="taken"} 2.0',
        'secondlook_server_findings_total{outcome="listed"} 1.0',
        "secondlook_server_prefixes_total 7.0",
        "secondlook_server_generation 12.0",
    }
