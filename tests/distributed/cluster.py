"""Airflow on Celery, Postgres and Redis, with two workers and two triggerers that can be killed."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from airflow_tests import Place, Process
from cryptography.fernet import Fernet

WORKERS = TRIGGERERS = 2
#: Tasks that a worker runs at once.
SLOTS = 8

#: How soon Airflow notices what has died: minutes to hours by default.
NOTICED = {
    # What a killed worker was running is run again.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # What it had taken from the queue without running it goes back there.
    "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    # What a killed triggerer was waiting for is waited for by the other one: see Place.start_airflow.
}


class Cluster(Place):
    """
    A simulator, and an Airflow of many processes.

    :param folder: Where all of it is kept.
    :param services: Where Postgres and Redis are.
    """

    def __init__(self, folder: Path, services: Any) -> None:
        template = folder / "template"
        template.mkdir()
        # The place of one Airflow begins with a copy of these; here a server keeps the database.
        for name in ("airflow.db", "airflow.cfg"):
            (template / name).touch()
        env = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        self.dags = folder / "dags"
        super().__init__(folder, template / "airflow.db", env, self.dags)
        #: All that was ever seen of the arguments of triggers.
        self.stored_waits: set[str] = set()
        self.env |= NOTICED | {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{services.postgres}",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{services.postgres}",
            "AIRFLOW__CELERY__BROKER_URL": services.redis,
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
            # Keys that all of them have to share.
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__API__SECRET_KEY": os.urandom(16).hex(),
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(64).hex(),
        }
        self._database = psycopg2.connect(f"postgresql://{services.postgres}")
        self._database.autocommit = True

    def migrate(self) -> None:
        """Make Airflow's tables."""
        migration = self.airflow("migration", "db", "migrate")
        assert migration.wait(120) == 0, migration.output

    def write_dags(self, texts: dict[str, str]) -> None:
        """Write a DAG file for each name."""
        self.dags.mkdir()
        for name, text in texts.items():
            (self.dags / f"{name}.py").write_text(text)

    def start_airflow(self) -> None:
        """Start all processes; they are known by their names from then on."""
        super().start_airflow()
        self.part("triggerer").name = "triggerer-1"
        self.parts += [self.start_worker(f"worker-{number}") for number in range(1, WORKERS + 1)]
        triggerers = "SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY id"
        self.triggerers = {}
        for number in range(1, TRIGGERERS + 1):
            # The database knows triggerers by numbers only: the next one starts when this one has got its own.
            if number > 1:
                self.parts.append(self.start_triggerer(f"triggerer-{number}"))
            ids = self.wait_until(lambda number=number: len(found := self.query(triggerers)) == number and found, 60)
            self.triggerers[ids[-1][0]] = self.parts[-1] if number > 1 else self.part("triggerer-1")

    def start_worker(self, name: str) -> Process:
        pid = self.folder / f"{name}.pid"
        return self.airflow(name, "celery", "worker", "--celery-hostname", name, "--pid", str(pid), "--skip-serve-logs")

    def part(self, name: str) -> Process:
        return next(part for part in self.parts if part.name == name)

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with self._database.cursor() as cursor:
            cursor.execute(sql.replace("?", "%s"), arguments or None)
            return cursor.fetchall()

    def stop(self) -> None:
        self._database.close()
        # Asked politely, workers finish what they are at, which can take long. The simulator has folders to remove.
        simulator = {each._process.pid for each in self._processes if each.name == "simulator"}
        for pid in {*self.left()} - simulator:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        super().stop()
        until = time.monotonic() + 10
        while self.left() and time.monotonic() < until:
            time.sleep(0.1)

    def done(self, task: str) -> int:
        """In how many runs a task has succeeded so far."""
        sql = "SELECT count(*) FROM task_instance WHERE state = 'success' AND task_id = ?"
        return self.query(sql, task)[0][0]

    def watch(self, condition: Callable[[], Any], seconds: float) -> Any:
        """Wait until something holds, with an eye on what is stored of triggers meanwhile."""

        def look() -> Any:
            self.stored_waits.update(self.waits())
            return condition()

        return self.wait_until(look, seconds)

    # --- Killing --------------------------------------------------------------------------------------------------

    def freeze(self, name: str) -> None:
        """Stop a part with all its children where they are, so that what they hold does not change any more."""
        self._signal(name, signal.SIGSTOP)
        # Children that were born meanwhile.
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def kill(self, name: str) -> None:
        """End a frozen part with all its children as a power cut would. Nothing comes in its stead."""
        self._signal(name, signal.SIGKILL)
        part = self.part(name)
        self.parts.remove(part)
        part.kill()

    def _signal(self, name: str, number: int) -> None:
        for pid in family_of(self.part(name)._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def run_by(self, worker: str) -> list[tuple[str, str, str]]:
        """Tasks that a worker runs right now: DAG, run and task."""
        family = family_of(self.part(worker)._process.pid)
        rows = self.query("SELECT dag_id, run_id, task_id, pid FROM task_instance WHERE state = 'running'")
        return [(dag, run, task) for dag, run, task, pid in rows if pid in family]

    def waited_for_by(self, triggerer: str) -> list[tuple[str, str, str]]:
        """Tasks for which a triggerer waits right now."""
        (number,) = (number for number, part in self.triggerers.items() if part.name == triggerer)
        return self.query(
            'SELECT ti.dag_id, ti.run_id, ti.task_id FROM task_instance ti JOIN "trigger" t ON t.id = ti.trigger_id '
            "WHERE t.triggerer_id = ? AND ti.state = 'deferred'",
            number,
        )

    # --- Looking afterwards ---------------------------------------------------------------------------------------

    def waits_of(self, triggerer: int) -> list[tuple[str, str, str]]:
        """All waits that a triggerer has ever begun, as its logs tell: DAG, run and task."""
        found = []
        for log in (self.home / "logs").rglob(f"attempt=*.log.trigger.{triggerer}.log"):
            dag, run, task = (part.partition("=")[2] for part in log.parts[-4:-1])
            found += [(dag, run, task)] * log.read_text().count(") starting")
        return found

    def waits(self) -> set[str]:
        """What is stored of the triggers that are waiting now; it is gone when they end."""
        return {text for (text,) in self.query('SELECT kwargs FROM "trigger"')}

    def dump(self) -> dict[str, str]:
        """All that the database holds, by table."""
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        found = {}
        with self._database.cursor() as cursor:
            for (table,) in self.query(tables):
                text = io.StringIO()
                cursor.copy_expert(f'COPY "{table}" TO STDOUT', text)
                found[table] = text.getvalue()
        return found


def family_of(pid: int) -> set[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name in front may hold anything, brackets too.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    family, new = set(), {pid}
    while new:
        family |= new
        new = {child for parent in new for child in children.get(parent, [])} - family
    return family
