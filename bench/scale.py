"""A fleet of agents in figures: queries a second, bandwidth, servers needed, from simulated browsing.

    .venv/bin/python bench/scale.py [--agents 1000000] [--hours 24]

Assumed: what people visit follows Zipf's law over sites (exponent 0.9), and 70 % of the URLs that are
checked are new
to their agent. Each URL stands for 6.4 expressions (measured on the browsing corpus), of which those of the
host are
shared by all pages of a site: they are what the cache holds, for the server's cache duration (60 s, nothing
listed).
An agent that mirrors every list of a server asks nothing; the figures are those of agents that ask about
everything.
"""

import argparse
import json
from bisect import bisect_left
from random import Random

EXPRESSIONS_HOST = 2.1  # of each URL, shared by all pages of a site
EXPRESSIONS_PATH = 4.3  # of each URL, its own
SITES = 200_000
ZIPF = 0.9
CACHE_S = 60.0
REQUEST_BYTES = 330  # one query: request line, headers, 7 prefixes, as measured on loopback
ANSWER_BYTES = 180
POLL_BYTES = 420  # /healthz, both ways
POLL_S = 30.0


def zipf(sites: int, exponent: float) -> list[float]:
    """Cumulated shares of visits by rank."""
    total, shares = 0.0, []
    for rank in range(1, sites + 1):
        total += rank**-exponent
        shares.append(total)
    return [share / total for share in shares]


def one_agent(hours: float, urls_per_hour: float, seed: int, shares: list[float]) -> tuple[float, float]:
    """Requests and prefixes an hour of an agent that queries for everything it does not hold in its cache."""
    random = Random(seed)
    cache: dict[int, float] = {}
    requests = prefixes = 0.0
    now, end = 0.0, hours * 3600
    while now < end:
        now += random.expovariate(urls_per_hour / 3600)
        site = bisect_left(shares, random.random())
        asked = EXPRESSIONS_PATH if random.random() < 0.7 else 0.0  # the rest: a page seen a moment ago
        if cache.get(site, -1.0) < now:
            asked += EXPRESSIONS_HOST
            cache[site] = now + CACHE_S
        if asked:
            requests += 1
            prefixes += asked
    return requests / hours, prefixes / hours


def fleet(agents: int, per_hour: tuple[float, float], options: argparse.Namespace) -> dict[str, object]:
    """What a fleet costs its servers."""
    requests_s = agents * per_hour[0] / 3600
    delta_bytes = options.entries * options.change * options.delta_bytes_per_entry
    return {
        "agents": agents,
        "queries_per_s": round(requests_s),
        "prefixes_per_s": round(agents * per_hour[1] / 3600),
        "query_mbit_s": round(requests_s * (REQUEST_BYTES + ANSWER_BYTES) * 8 / 1e6, 1),
        "polls_per_s": round(agents / POLL_S),
        "poll_mbit_s": round(agents / POLL_S * POLL_BYTES * 8 / 1e6, 1),
        "updates_mbit_s_daily_mean": round(agents * delta_bytes * options.updates / 86_400 * 8 / 1e6, 1),
        "cores_for_queries_at_half_load": round(requests_s / (options.per_core / 2), 1),
        "cores_for_polls_at_half_load": round(agents / POLL_S / (options.per_core / 2), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--urls-per-hour", type=float, default=900.0, help="checked by one agent, busy hour")
    parser.add_argument(
        "--per-core", type=float, default=10_000.0, help="searches a second of one core (P10)"
    )
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument(
        "--change", type=float, default=0.001, help="share of entries that one update changes"
    )
    parser.add_argument("--updates", type=float, default=48.0, help="updates a day")
    parser.add_argument("--delta-bytes-per-entry", type=float, default=6.1)
    options = parser.parse_args()
    shares = zipf(SITES, ZIPF)
    seen = [one_agent(options.hours, options.urls_per_hour, seed, shares) for seed in range(20)]
    per_hour = (sum(each[0] for each in seen) / len(seen), sum(each[1] for each in seen) / len(seen))
    print(
        json.dumps({"one agent, per hour": {"queries": round(per_hour[0]), "prefixes": round(per_hour[1])}})
    )
    for agents in (1_000, 100_000, options.agents):
        print(json.dumps(fleet(agents, per_hour, options)))


if __name__ == "__main__":
    main()
