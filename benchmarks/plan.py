"""
Planning an import of 1,000 objects: ours against one infapy lookup for each object, as scripts do it.

Both ask the same simulated org, which takes 50 ms for every call. The last line is one JSON object.
"""

from __future__ import annotations

import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from infapy.connections import Infapy

from airflow_provider_infa.idmc import exports, jobs
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.idmc.wishes import Wishes
from airflow_provider_infa.simulator import Simulator

OBJECTS = 1000
LATENCY = 0.05


def orgs() -> dict[str, Any]:
    """Two orgs with the same assets."""
    assets = [{"path": f"Bulk/mt_{n:04d}", "type": "MTT", "uses": ["AGENTS"]} for n in range(OBJECTS)]
    org = {
        "users": ["deployer"],
        "runtime_environments": ["AGENTS"],
        "projects": [{"name": "Bulk"}],
        "assets": assets,
    }
    return {"orgs": {name: {"name": f"ACME_{name.upper()}"} | org for name in ("dev", "test")}}


def session(connection: dict[str, str]) -> Session:
    """A session with an org of the simulator."""
    return Session(Settings(connection["host"], connection["login"], connection["password"]))


def main() -> None:
    """Measure and print."""
    with Simulator(orgs()) as simulator, tempfile.TemporaryDirectory() as folder:
        package_path = Path(folder) / "package.zip"
        with session(simulator.connections["infa_dev"]) as dev:
            ids = [asset.id for asset in list_objects(dev, types="MTT")]
            job = exports.start_export(dev, ids)
            jobs.wait(dev, JobKind.EXPORT, job.id, deadline=time.time() + 60, poll_interval=0.1)
            exports.download_package(dev, job.id, package_path)
        package = read_package(package_path)
        simulator.add_fault("test", {"kind": "slow", "seconds": LATENCY, "path": "/(lookup|objects)$"})
        with session(simulator.connections["infa_test"]) as test:
            login = test.login()
            simulator.clear_requests()
            began = time.perf_counter()
            plan = plan_import(test, package, Wishes())
            ours = {"seconds": time.perf_counter() - began, "calls": len(simulator.requests("test"))}

            v3 = Infapy({}, {}, login.session_id, login.api_base, "", "").v3()
            simulator.clear_requests()
            began = time.perf_counter()
            found = [v3.lookup(path=o.path, objectType=o.type)["objects"] for o in package.objects]
            theirs = {"seconds": time.perf_counter() - began, "calls": len(simulator.requests("test"))}
    if sum(map(bool, found)) != plan.counts["overwrite"] + plan.counts["reuse"]:
        raise SystemExit("the two do not agree about what the target org holds")
    for name, figures in (("ours", ours), ("infapy, one by one", theirs)):
        print(f"{name:20} {figures['seconds']:8.2f} s {figures['calls']:6} calls")
    ratio = theirs["seconds"] / ours["seconds"]
    print(f"ratio {ratio:.0f}")
    figures = {"objects": len(package.objects), "latency": LATENCY, "ours": ours, "infapy": theirs, "ratio": ratio}
    print(json.dumps(figures | {"python": platform.python_version(), "machine": platform.machine()}))


if __name__ == "__main__":
    main()
