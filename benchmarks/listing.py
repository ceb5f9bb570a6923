"""
Listing an org of 20,000 assets: ours against infapy in a loop over ``skip``, as scripts do it, and against the limit.

Both ask the same simulated org in a process of its own, which takes 50 ms for every page. Its own ceiling are the same
requests without that, sent raw. The last line is one JSON object.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from benchmarks import common

ASSETS = 20_000
PAGE_SIZE = 200
LATENCY = 0.05
CONCURRENCY = 8
ROUNDS = 3


def seed() -> dict[str, Any]:
    """One org with nothing but mapping tasks in one project, which is listed as well."""
    generated = {"path": "Bulk/mt_{n:05d}", "type": "MTT", "uses": ["AGENTS"], "tags": ["release-1"], "count": ASSETS}
    org = {"runtime_environments": ["AGENTS"], "assets": [{"generate": generated}]}
    return {"orgs": {"dev": {"name": "ACME_DEV", **org}}}


def ours(connection: dict[str, Any]) -> dict[str, Any]:
    """List with our client and keep what a task does of it; rows go by one at a time."""
    from airflow_provider_infa.idmc.objects import list_objects

    with common.session(connection) as session:
        session.login()
        common.reset_peak()
        idle, busy, began = common.rss_mib(), time.process_time(), time.perf_counter()
        found = sum(1 for _ in list_objects(session, types="MTT"))
        seconds = time.perf_counter() - began
        cpu = time.process_time() - busy
        return {"found": found, "seconds": seconds, "cpu": cpu, "rss": common.rss_mib(peak=True) - idle}


def infapy(connection: dict[str, Any]) -> dict[str, Any]:
    """List with infapy, page after page."""
    from infapy.connections import Infapy

    with common.session(connection) as session:
        login = session.login()
        objects = Infapy({}, {}, login.session_id, login.api_base, "", "").v3().objects()
        began, found, skip, count = time.perf_counter(), 0, 0, 1
        with contextlib.redirect_stdout(io.StringIO()):
            while skip < count:
                page = objects.getObjectID(q="type=='MTT'", limit=PAGE_SIZE, skip=skip)
                count, skip = page["count"], skip + PAGE_SIZE
                found += len(page["objects"])
        return {"found": found, "seconds": time.perf_counter() - began}


def raw(connection: dict[str, Any]) -> dict[str, Any]:
    """Fetch the same pages with next to no client, as many at a time as we do."""
    with common.session(connection) as session:
        login = session.login()
        base = urlsplit(login.api_base)
        skips = iter(range(0, ASSETS, PAGE_SIZE))

        def worker() -> int:
            pages = 0
            with contextlib.closing(http.client.HTTPConnection(base.netloc)) as http_connection:
                for skip in skips:
                    path = f"{base.path}/public/core/v3/objects?q=type%3D%3D%27MTT%27&limit={PAGE_SIZE}&skip={skip}"
                    http_connection.request("GET", path, headers={"INFA-SESSION-ID": login.session_id})
                    answer = http_connection.getresponse()
                    answer.read()
                    pages += answer.status == http.client.OK
            return pages

        began = time.perf_counter()
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            pages = sum(future.result() for future in [pool.submit(worker) for _ in range(CONCURRENCY)])
        return {"found": pages * PAGE_SIZE, "seconds": time.perf_counter() - began}


def rounds(part: str, connection: dict[str, Any], times: int) -> dict[str, float]:
    """Medians of some rounds of a part, each in a process of its own."""
    done = [common.in_own_process("benchmarks.listing", part, json.dumps(connection)) for _ in range(times)]
    if any(each.pop("found") != ASSETS for each in done):
        raise SystemExit(f"{part} did not find {ASSETS} assets")
    return {name: round(median(each[name] for each in done), 3) for name in done[0]}


def main() -> None:
    """Measure and print."""
    pages = -(-ASSETS // PAGE_SIZE)
    limit = LATENCY * pages / CONCURRENCY
    with common.serving(seed()) as server:
        connection = server.connections["infa_dev"]
        used = server.cpu_seconds()
        ceiling = rounds("raw", connection, ROUNDS)
        ceiling["cpu"] = round((server.cpu_seconds() - used) / ROUNDS, 3)
        server.ask("POST", "/orgs/dev/faults", {"kind": "slow", "seconds": LATENCY, "path": "/objects$"})
        mine = rounds("ours", connection, ROUNDS)
        theirs = rounds("infapy", connection, ROUNDS)
    ratios = {"infapy": round(theirs["seconds"] / mine["seconds"], 2), "limit": round(mine["seconds"] / limit, 2)}
    print(f"{pages} pages of {PAGE_SIZE} assets, {LATENCY * 1000:.0f} ms each; medians of {ROUNDS} rounds")
    print(f"server alone      {ceiling['seconds']:8.2f} s without the {LATENCY * 1000:.0f} ms, {CONCURRENCY} at a time")
    print(f"limit             {limit:8.2f} s  latency x pages / {CONCURRENCY}")
    print(f"ours              {mine['seconds']:8.2f} s  {mine['cpu']:.2f} s of CPU, {mine['rss']:.1f} MiB above idle")
    print(f"infapy in a loop  {theirs['seconds']:8.2f} s")
    figures = {"assets": ASSETS, "latency": LATENCY, "concurrency": CONCURRENCY, "limit": limit, "server": ceiling}
    common.report(
        figures | {"ours": mine, "infapy": theirs, "ratios": ratios},
        {
            f"at least 6 times as fast as infapy: {ratios['infapy']}": ratios["infapy"] >= 6,
            f"at most 1.3 times the limit: {ratios['limit']}": ratios["limit"] <= 1.3,
        },
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps({"ours": ours, "infapy": infapy, "raw": raw}[sys.argv[1]](json.loads(sys.argv[2]))))
    else:
        main()
