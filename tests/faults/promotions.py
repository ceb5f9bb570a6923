"""An Airflow that runs one promotion after the other, each against orgs of its own."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matrix
from matrix import FAILED, STRIKES, Case

from airflow_provider_infa.simulator import Simulator, wire

DAGS = Path(__file__).with_name("dags")
RUNNER = Path(__file__).with_name("runner.py")
#: Of each case, what a secret was.
Secrets = dict[str, str]


#: Faults after which the client does not know what the server answered.
UNHEARD = ("drop_after", "truncate", "too_slow")


def tail(secret: str) -> str:
    """As much of a long id as is its own."""
    return secret[-60:]


class Airflow:
    """An Airflow home, and the process that runs DAGs in it."""

    def __init__(self, home: Path) -> None:
        self.home, self.store = home, home / "store"
        # What Airflow prints is searched with all the rest.
        self._printed = (home / "printed").open("wb")
        self._numbers = itertools.count()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "INFA_STORE": self.store.as_uri(),
            "NO_COLOR": "1",
        }

    def start(self) -> None:
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, env=self.env, check=True, stdout=self._printed, stderr=subprocess.STDOUT, timeout=120)
        here, there = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, str(RUNNER), str(there)],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            pass_fds=[there],
            text=True,
        )
        os.close(there)
        self._answers = os.fdopen(here)

    def run(self, dag_id: str, environment: dict[str, str], conf: dict[str, Any]) -> dict[str, Any]:
        """Run a DAG to its end, and tell ``run_id``, ``state``, and what the tasks noted when they ``begun``."""
        begun = self.home / f"begun-{next(self._numbers)}"
        order = {"dag_id": dag_id, "environment": environment, "conf": {**conf, "begun": str(begun)}}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._answers.readline()
        assert answer, (self.home / "printed").read_text(errors="replace")[-5000:]
        notes = begun.read_text().splitlines() if begun.exists() else []
        return {**json.loads(answer), "begun": [json.loads(note) for note in notes]}

    def stop(self) -> None:
        self._process.stdin.close()
        self._process.wait(30)
        self._printed.close()


@contextmanager
def orgs(known_secrets: Secrets) -> Iterator[Simulator]:
    """Simulated orgs, with passwords that every form of writing them down changes."""
    # Long ids of the other kind in one org, short ones in the other.
    with Simulator(job_seconds=0.15, passwords=f'P"ä/\\+ %{secrets.token_hex(8)}') as simulator:
        simulator.change_settings("test", session_kind="jwt")
        for name, connection in simulator.connections.items():
            known_secrets[connection["password"]] = f"password of {name}"
        yield simulator


class Promotion:
    """One run, and what it left behind."""

    def __init__(self, airflow, sim: Simulator, case: Case) -> None:
        self.sim, self.case = sim, case
        self.before = sim.state("test")
        # Patient enough for every burst of the matrix.
        extra = {"retry_timeout": 20, "read_timeout": matrix.PATIENCE}
        environment = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps({**connection, "extra": extra})
            for name, connection in sim.connections.items()
        }
        over = threading.Event()
        watcher = threading.Thread(target=self._end_jobs, args=(over,))
        if case.strikes == "never_end":
            watcher.start()
        try:
            done = airflow.run("faulty", environment, {"control": sim.control, "faults": case.faults})
        finally:
            over.set()
            if watcher.is_alive():
                watcher.join()
        self.run_id, self.run_state, self.begun = done["run_id"], done["state"], done["begun"]
        folder = re.sub("[:+]", "-", self.run_id)
        files = list(airflow.store.glob(f"audit/faulty/{folder}/*/record.json"))
        self.record = json.loads(files[0].read_text()) if files else None

    def _end_jobs(self, over: threading.Event) -> None:
        """Let jobs that never end do so once they were asked for three times: long enough that everybody waits."""
        looks: dict[str, int] = {}
        while not over.wait(0.05):
            for org in ("dev", "test"):
                self.sim._call(lambda org=org: self._end_if_asked(org, looks))

    def _end_if_asked(self, key: str, looks: dict[str, int]) -> None:
        org = self.sim._orgs[key]
        for job in org.jobs:
            if job.started and not job.ended:
                calls = [r for r in org.recorder.entries() if r["method"] == "GET" and f"/{job.id}" in r["path"]]
                if len(calls) >= looks.setdefault(job.id, len(calls)) + 3:
                    job.ended = wire.now()
                    heapq.heappush(org.jobs._ends, (job.ended, -id(job), job))

    @property
    def end(self) -> str:
        return self.record["state"] if self.record else FAILED

    @property
    def after(self) -> list[dict[str, Any]]:
        return self.sim.state("test")

    def jobs(self, kind: str, org: str = "test") -> list[dict[str, Any]]:
        return [job for job in self.sim.jobs(org) if job["kind"] == kind]

    def tries(self, task: str) -> int:
        return max((number for name, number, _ in self.begun if name == task), default=0)

    def unheard(self, path: str) -> int:
        """How many answers of a call were not heard."""
        names = {STRIKES["too_slow"]["kind"] if name == "too_slow" else name for name in UNHEARD}
        if self.case.strikes == "slow":
            return 0
        requests = [r for org in ("dev", "test") for r in self.sim.requests(org)]
        return sum(r["status"] == 200 and r["fault"] in names and bool(re.search(path, r["path"])) for r in requests)

    def open_sessions(self) -> int:
        """Sessions that stay open; triggers log out in the background, after their event."""
        until = time.monotonic() + 10
        while True:
            left = sum(self.sim.sessions(org)["open"] for org in ("dev", "test"))
            if left <= self.unheard("/login$") or time.monotonic() > until:
                return left
            time.sleep(0.05)
