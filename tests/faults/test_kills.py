"""Promotions side by side on a real Airflow whose processes are killed, again and again, while faults strike."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import leaks
import pytest
import yaml
from matrix import FAILING_IMPORT, STRIKES
from promotions import tail

from airflow_provider_infa.simulator import seed as seeds

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: What is killed, when, and which faults strike: another number is another night.
SEED = int(os.environ.get("INFA_FAULT_SEED", "20260302"))
KILLS = ["task"] * 4 + ["triggerer"] * 2 + ["scheduler"] * 2
FAULTS = 16
#: Promotions that end well, and that are rolled back.
WELL, BADLY = ("ada", "ben", "cem"), ("dan", "eve")
STRIKING = ("expire_session", "throttle", "maintenance", "drop_before", "drop_after", "truncate", "server_error")

DAGS = f"""
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG
from airflow_provider_infa.promotion import promote

STORE = os.environ["INFA_STORE"]

for org in {WELL + BADLY!r}:
    with DAG(f"into_{{org}}", schedule=None, default_args={{"retries": 12, "retry_delay": timedelta(seconds=1)}}):
        promote(
            "release",
            source_conn_id="infa_dev",
            target_conn_id=f"infa_{{org}}",
            manifest=str(Path(__file__).with_name("release.yaml")),
            backup_uri=STORE + "/backup",
            audit_uri=STORE + "/audit",
            rollback="on_failure",
            publish=True,
            poll_interval=1.0,
            timeout=300.0,
        )
"""


@pytest.fixture(scope="module")
def here(airflow_tests, tmp_path_factory):
    """An Airflow with scheduler, triggerer and API server, and an org for each promotion."""
    folder = tmp_path_factory.mktemp("kills")
    seed = deepcopy(dict(seeds.load(None)))
    test = seed["orgs"].pop("test")
    seed["orgs"] |= {key: {**test, "name": f"ACME_{key.upper()}"} for key in WELL + BADLY}
    (folder / "seed.yaml").write_text(yaml.safe_dump(seed))
    (folder / "dags").mkdir()
    (folder / "dags" / "promotions.py").write_text(DAGS)
    manifest = yaml.safe_load((Path(__file__).parent / "dags" / "release.yaml").read_text())
    names = manifest["targets"]["ACME_TEST"]
    manifest["targets"] = {seed["orgs"][key]["name"]: names for key in WELL + BADLY}
    (folder / "dags" / "release.yaml").write_text(yaml.safe_dump(manifest))

    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=dict(os.environ), check=True, capture_output=True, timeout=120)
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        # So that what was killed is soon missed.
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
    }
    with airflow_tests.placing(
        tmp_path_factory.mktemp("place"), airflow_tests.HOME / "airflow.db", environment
    ) as make:
        here = make(folder / "dags", job_seconds=4.0, in_database=True, seed=folder / "seed.yaml")
        here.start_airflow()
        yield here
        here.stop()
        assert here.left() == []


class Night:
    """Kills and faults at random moments, the same ones each time."""

    def __init__(self, here) -> None:
        self.here, self.random = here, random.Random(SEED)
        #: What was killed; of processes that run tasks, each.
        self.killed: list[str] = []

    def spend(self) -> None:
        """Kill something, or let a fault strike, until both have happened as often as they are to."""
        events = KILLS + ["fault"] * FAULTS
        self.random.shuffle(events)
        for event in events:
            time.sleep(self.random.uniform(0.5, 4.0))
            {"fault": self._strike, "task": self._kill_task}.get(event, lambda part=event: self._kill_part(part))()
            self._remember_triggers()

    def ended(self, org: str) -> bool:
        rows = self.here.query("SELECT state FROM dag_run WHERE dag_id = ?", f"into_{org}")
        return bool(rows) and rows[0][0] in ("success", "failed")

    def _strike(self) -> None:
        org, name = self.random.choice(("dev", *WELL, *BADLY)), self.random.choice(STRIKING)
        fault = {**STRIKES[name], "method": None, "path": "/", "times": self.random.randint(1, 2)}
        log.warning(f"fault in {org}: {name}")
        self.here.tell(org, "faults", fault, "POST")

    def _kill_part(self, name: str) -> None:
        (part,) = [part for part in self.here.parts if part.name.startswith(name)]
        self.here.parts.remove(part)
        tasks = self._tasks() if name == "scheduler" else []
        log.warning(f"kill {part.name}, and {len(tasks)} tasks with it")
        part.kill()
        self.killed += [name] + ["task"] * len(tasks)
        self.here.parts.append(self.here.airflow(f"{name}-{len(self.killed)}", name, "--skip-serve-logs"))

    def _kill_task(self) -> None:
        """Kill one; wait for it while there is any to come."""
        while not (tasks := self._tasks()):
            if all(self.ended(org) for org in WELL + BADLY):
                return
            time.sleep(0.1)
        victim = self.random.choice(tasks)
        log.warning(f"kill task process {victim}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.killed.append("task")

    def _tasks(self) -> list[int]:
        """Processes that run a task; idle workers are left alone, as they hold locks of their executor."""
        parents, titles = {}, {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        # Not by their environment: they write their titles over it.
        ours = {part._process.pid for part in self.here.parts if part.name.startswith("scheduler")}
        while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
            ours |= more
        return sorted(pid for pid in ours if re.search(rb"airflow worker -- [0-9a-f]{8}-", titles.get(pid, b"")))

    def _remember_triggers(self) -> None:
        """Rows of triggers live as long as their waits; keep what they hold for the search."""
        with (self.here.home / "triggers-seen").open("a") as file:
            for row in self.here.query('SELECT classpath, kwargs FROM "trigger"'):
                file.write(json.dumps(row) + "\n")


def test_promotions_survive_a_night_of_kills_and_faults(here, undisturbed):
    log.warning(f"INFA_FAULT_SEED={SEED}")
    before = {org: here.look(org, "state") for org in BADLY}
    for org in BADLY:
        here.tell(org, "faults", FAILING_IMPORT, "POST")
    here.trigger(*(f"into_{org}" for org in WELL + BADLY))
    here.wait_until(lambda: here.query("SELECT 1 FROM task_instance WHERE state = 'running'"), 120)
    night = Night(here)
    night.spend()
    for org in WELL + BADLY:
        here.end(f"into_{org}", 300)
    assert set(night.killed) == set(KILLS)

    for org in WELL:
        assert_promoted(here, org, undisturbed.after)
    for org in BADLY:
        assert_rolled_back(here, org, before[org])
    assert_sessions_closed(here, night)
    assert_no_secret_anywhere(here)


def record(here, org: str) -> dict:
    (file,) = (here.store / "audit" / f"into_{org}").glob("*/*/record.json")
    return json.loads(file.read_text())


def imports(here, org: str) -> list[dict]:
    return [job for job in here.look(org, "jobs") if job["kind"] == "import" and job["start_requests"]]


def assert_promoted(here, org: str, expected: list[dict]) -> None:
    assert here.end(f"into_{org}") == "success", here.report(f"into_{org}")
    assert here.look(org, "state") == expected
    (job,) = imports(here, org)
    assert (job["state"], job["starts"], job["start_requests"]) == ("SUCCESSFUL", 1, 1)
    assert record(here, org)["state"] == "promoted"


def assert_rolled_back(here, org: str, before: list[dict]) -> None:
    assert here.end(f"into_{org}") == "failed", here.report(f"into_{org}")
    found = record(here, org)
    assert found["state"] == "rolled back"
    created = {row["path"] for row in found["rollback"]["created"]}
    assert [row for row in here.look(org, "state") if row["path"] not in created] == before
    assert not created & {row["path"] for row in before}
    failed, *restored = imports(here, org)
    assert failed["state"] == "FAILED"
    # A restore that was killed imports the backup again, which changes nothing; each of these started once as well.
    assert restored
    assert {(job["state"], job["starts"], job["start_requests"]) for job in [failed, *restored]} <= {
        ("FAILED", 1, 1),
        ("SUCCESSFUL", 1, 1),
    }


def assert_sessions_closed(here, night: Night) -> None:
    """A process that is killed can't log out, and nobody can end a session of which the id was not heard."""

    def too_many() -> dict[str, int]:
        found = {}
        for org in ("dev", *WELL, *BADLY):
            lost = [
                r
                for r in here.look(org, "requests")
                if r["path"].endswith("/login") and r["fault"] in ("drop_after", "truncate")
            ]
            if (left := here.look(org, "sessions")["open"]) > len(night.killed) + len(lost):
                found[org] = left
            assert here.look(org, "sessions")["failed_logins"] == 0
        return found

    here.wait_until(lambda: not too_many(), 30)


def assert_no_secret_anywhere(here) -> None:
    """Everything is stopped first, so that all is written."""
    secrets = {connection["password"]: name for name, connection in here.orgs["connections"].items()}
    secrets |= {tail(id): "a session" for id in (here.folder / "sessions").read_text().split()}
    here.stop()
    assert len((here.home / "triggers-seen").read_text().splitlines()) > 0
    printed = [path for path in here.folder.glob("*.log") if path.name != "simulator.log"]
    assert len(printed) >= len(here.parts)
    assert leaks.search([here.home, *printed], secrets) == []
