"""An Airflow of its own for these tests, and tasks that run in it against the simulator."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import heapq
import importlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# Airflow reads these once, when it is imported. Without them the tests would write into the home of whoever runs them.
HOME = Path(tempfile.mkdtemp(prefix="infa-airflow-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
    del os.environ[name]
(HOME / "dags").mkdir()
os.environ["AIRFLOW_HOME"] = str(HOME)
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(HOME / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/airflow.db"

import pytest  # noqa: E402

from airflow_provider_infa.simulator import Simulator  # noqa: E402

#: Whether this Airflow lets people decide about plans in its UI.
HAS_APPROVAL = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 1)
collect_ignore = ["test_approval_missing.py" if HAS_APPROVAL else "test_approval.py"]


class Ti:
    """As much of a task instance as operators touch; what goes into XCom must be plain JSON, as in the database."""

    def __init__(self) -> None:
        self.xcom: dict[str, Any] = {}
        # What a rescheduled sensor asks about its earlier tries.
        self.first_reschedule: datetime | None = None
        self.dag_id, self.task_id, self.run_id, self.map_index, self.max_tries = "promote", "task", "manual__1", -1, 0
        self.id, self.log_url = uuid.UUID(int=7), "http://localhost:8080/dags/promote/log"

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        assert json.loads(json.dumps(value, allow_nan=False)) == value
        self.xcom[key] = value

    def xcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        """What this task itself has pushed: nothing else is ever pulled by hand."""
        assert (task_ids, map_indexes) == (self.task_id, self.map_index)
        return self.xcom[key]

    def get_first_reschedule_date(self, context: Any) -> datetime | None:
        return self.first_reschedule


class Runner:
    """Runs a task the way a worker does, through a deferral too; the resumed task is a new object."""

    def __init__(self) -> None:
        self.context = new_context()
        self.deferrals: list[Any] = []
        self.events: list[dict[str, Any]] = []

    @property
    def xcom(self) -> dict[str, Any]:
        return self.context["ti"].xcom

    def __call__(self, make: Callable[[], Any]) -> Any:
        from airflow.providers.common.compat.sdk import TaskDeferred

        resume: tuple[Any, ...] = ()
        while True:
            try:
                task = make()
                result = task.resume_execution(*resume, self.context) if resume else task.execute(self.context)
                break
            except TaskDeferred as deferred:
                self.deferrals.append(deferred)
                event = asyncio.run(first_event(rebuilt(deferred.trigger)))
                self.events.append(event)
                # "airflow dags test" drops them, so all that a task has to know again travels with its trigger.
                resume = (deferred.method_name, {"event": event})
        assert [deferred.kwargs for deferred in self.deferrals if deferred.kwargs] == []
        assert json.loads(json.dumps(result)) == result
        return result


def new_context() -> dict[str, Any]:
    try:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    except ImportError:  # Airflow 2
        from airflow.utils.context import OutletEventAccessors
    ti = Ti()
    return {
        "ti": ti,
        "task_instance": ti,
        "dag": SimpleNamespace(dag_id="promote"),
        "run_id": "manual__2026-03-02T09:15:00+00:00",
        "outlet_events": OutletEventAccessors(),
    }


def rebuilt(trigger: Any) -> Any:
    """What a triggerer makes of a trigger: a new object from JSON."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)(**json.loads(json.dumps(arguments)))


async def first_event(trigger: Any) -> dict[str, Any]:
    events = trigger.run()
    try:
        event = await asyncio.wait_for(anext(events), 30)
    finally:
        await events.aclose()
    payload = event.payload
    assert json.loads(json.dumps(payload)) == payload
    return payload


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of hundredths of a second where the real ones begin with seconds."""
    from airflow_provider_infa.idmc import imports, policy

    monkeypatch.setattr(policy, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(policy, "FIRST_POLL", 0.02)
    monkeypatch.setattr(imports, "SETTLE_DELAYS", (0.05, 0.1))
    monkeypatch.setattr("airflow_provider_infa.triggers.jobs.PAUSE", 0.02)


def masker() -> Any:
    """Airflow's secrets masker; it has moved from version to version."""
    for name in (
        "airflow.sdk._shared.secrets_masker",
        "airflow.sdk.execution_time.secrets_masker",
        "airflow.utils.log.secrets_masker",
    ):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise AssertionError("no secrets masker found")


@pytest.fixture(autouse=True)
def few_secrets() -> Iterator[None]:
    """Let Airflow forget the secrets of each test: with every new one it compiles one expression of all it knows."""
    yield
    if "airflow" in sys.modules:
        known = masker()._secrets_masker()
        known.patterns, known.replacer = set(), None


@pytest.fixture
def redact() -> Callable[[str], str]:
    """What Airflow's masker makes of a text."""
    return masker().redact


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an Airflow connection: a mapping with the fields that differ from those of the simulator's org."""

    def make(conn_id: str, fields: dict[str, Any] | str) -> None:
        text = fields if isinstance(fields, str) else json.dumps({"conn_type": "infa", **fields})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)

    return make


@pytest.fixture
def change_connection(sim: Simulator, connect: Callable[..., None]) -> Callable[..., None]:
    """Set fields of the extra of a connection to a simulated org."""

    def change(conn_id: str = "infa_test", **extra: Any) -> None:
        connect(conn_id, {**sim.connections[conn_id], "extra": {"retry_timeout": 1, "read_timeout": 10, **extra}})

    return change


@pytest.fixture
def sim(connect: Callable[..., None]) -> Iterator[Simulator]:
    """The simulated orgs dev, test and prod, with connections to them."""
    with Simulator(job_seconds=0.0) as simulator:
        for conn_id, connection in simulator.connections.items():
            connect(conn_id, {**connection, "extra": {"retry_timeout": 1, "read_timeout": 10}})
        yield simulator


@pytest.fixture
def between(connect: Callable[..., None]) -> Iterator[Callable[..., Promotion]]:
    """Start two orgs that hold nothing but some assets, for a promotion from dev to test."""
    with contextlib.ExitStack() as stack:

        def start(dev: list[dict[str, Any]], test: list[dict[str, Any]]) -> Promotion:
            assets = {"dev": [{"tags": ["release-1"], **asset} for asset in dev], "test": test}
            orgs = {
                o: {"name": f"ACME_{o.upper()}", "users": ["deployer", "anna"], "assets": assets[o]} for o in assets
            }
            simulator = stack.enter_context(Simulator({"orgs": orgs}, job_seconds=0.0))
            for conn_id, connection in simulator.connections.items():
                connect(conn_id, {**connection, "extra": {"retry_timeout": 1, "read_timeout": 10}})
            promotion = Promotion(simulator)
            stack.callback(promotion.stop)
            return promotion

        yield start


@pytest.fixture
def run() -> Runner:
    """Run tasks in one context, one after the other."""
    return Runner()


@pytest.fixture
def context() -> dict[str, Any]:
    return new_context()


@pytest.fixture
def event_of() -> Callable[[Any], Any]:
    """The event of a trigger, after a rebuild."""
    return lambda trigger: asyncio.run(first_event(rebuilt(trigger)))


@pytest.fixture
def rebuild() -> Callable[[Any], Any]:
    return rebuilt


#: How names of dev are called in test.
NAMES = {"runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"}, "connections": {"ora_dev": "ora_test"}}


class Promotion:
    """The steps before the one that a test is about, done by the hook."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.names = NAMES
        self.over = threading.Event()
        self._watchers: list[threading.Thread] = []

    def end_jobs_after_two_looks(self, org: str = "test") -> None:
        """Let jobs run until their state was asked for twice: so long that tasks defer, and no longer."""
        self.sim.add_fault(org, {"kind": "never_end"})
        self._watchers.append(threading.Thread(target=self._end_jobs, args=(org,)))
        self._watchers[-1].start()

    def _end_jobs(self, org: str) -> None:
        before: dict[str, int] = {}
        while not self.over.wait(0.01):
            for job in self.sim._call(lambda: list(self.sim._orgs[org].jobs)):
                looks = len(self.calls(org, "GET", f"/{job.id}(/Status)?$"))
                if job.state == "IN_PROGRESS" and job.ended is None and looks >= before.setdefault(job.id, looks) + 2:
                    self.sim._call(lambda job=job: self._end(org, job))

    def _end(self, org: str, job: Any) -> None:
        job.ended = datetime.now(timezone.utc)
        heapq.heappush(self.sim._orgs[org].jobs._ends, (job.ended, -id(job), job))

    def stop(self) -> None:
        self.over.set()
        for watcher in self._watchers:
            watcher.join()

    def ids(self, tag: str = "release-1", org: str = "dev") -> list[str]:
        return [asset["id"] for asset in self.sim.assets(org) if tag in asset["tags"]]

    def export(self, ids: list[str] | None = None) -> str:
        from airflow_provider_infa.hooks.infa import InfaHook

        with InfaHook("infa_dev") as hook:
            return hook.start_export(ids or self.ids()).id

    def package(self, path: Path, tag: str = "release-1") -> Path:
        from airflow_provider_infa.hooks.infa import InfaHook

        with InfaHook("infa_dev") as hook:
            return hook.download_export_package(self.export(self.ids(tag)), path).path

    def upload(self, path: Path) -> str:
        from airflow_provider_infa.hooks.infa import InfaHook

        with InfaHook("infa_test") as hook:
            return hook.upload_import_package(path)

    def plan(self, path: Path, **wishes: Any) -> dict[str, Any]:
        from airflow_provider_infa.hooks.infa import InfaHook
        from airflow_provider_infa.idmc.package import read_package
        from airflow_provider_infa.idmc.plan import plan_import
        from airflow_provider_infa.idmc.wishes import Wishes

        with InfaHook("infa_test") as hook:
            return plan_import(hook.get_conn(), read_package(path), Wishes(**{**NAMES, **wishes})).to_json()

    def start(self, job_id: str, specification: dict[str, Any] | None = None, name: str | None = None) -> str:
        from airflow_provider_infa.hooks.infa import InfaHook

        with InfaHook("infa_test") as hook:
            return hook.start_import(job_id, name, import_specification=specification).id

    def carry_out(self, path: Path, plan: dict[str, Any] | None = None, *, name: str | None = None) -> str:
        """Upload a package and import it as planned; returns the id of the job, which by its name is for the plan."""
        plan = plan or self.plan(path)
        return self.start(self.upload(path), plan["import_specification"], name or f"x-plan-{plan['hash'][:12]}")

    def asset(self, path: str, type: str, org: str = "test") -> dict[str, Any]:
        return next(a for a in self.sim.assets(org) if (a["path"], a["type"]) == (path, type))

    def job(self, job_id: str, org: str = "test") -> dict[str, Any]:
        return next(job for job in self.sim.jobs(org) if job["id"] == job_id)

    def open_sessions(self, org: str = "test") -> int:
        """Sessions that stay open; a trigger logs out in the background, after its event."""
        for _ in range(60):
            if not (left := self.sim.sessions(org)["open"]):
                break
            time.sleep(0.05)
        return left

    def calls(self, org: str, method: str, path_end: str) -> list[dict[str, Any]]:
        return [r for r in self.sim.requests(org) if r["method"] == method and re.search(path_end, r["path"])]


@pytest.fixture
def promotion(sim: Simulator) -> Iterator[Promotion]:
    promotion = Promotion(sim)
    yield promotion
    promotion.stop()


@pytest.fixture
def package(promotion: Promotion, tmp_path: Path) -> Path:
    """The package of release-1."""
    return promotion.package(tmp_path / "release-1.zip")


@pytest.fixture
def ready_import(promotion: Promotion, package: Path) -> Callable[[], str]:
    """Upload and start an import from dev to test, and tell its id."""

    def start() -> str:
        return promotion.start(promotion.upload(package), promotion.plan(package)["import_specification"])

    return start


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """All that was logged so far: through Python's logging, or as newer versions of Airflow do it, to the terminal."""
    caplog.set_level(logging.INFO)
    kept = [logger for logger in map(logging.getLogger, ("airflow.task", "airflow")) if not logger.propagate]
    for logger in kept:
        logger.addHandler(caplog.handler)
        logger.setLevel(logging.INFO)
    printed: list[str] = []

    def text() -> str:
        printed.extend(capfd.readouterr())
        return "\n".join([*(f"{r.levelname.lower()}: {r.getMessage()}" for r in caplog.records), *printed])

    yield text
    for logger in kept:
        logger.removeHandler(caplog.handler)


@pytest.fixture
def object_store() -> str:
    """URI of a place that is no file system, so that nothing there is a local file."""
    import fsspec

    try:
        from airflow.sdk.io import attach
    except ImportError:  # Airflow 2
        from airflow.io.store import attach
    store = fsspec.filesystem("memory")
    attach(protocol="memory", fs=store)
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    return "memory://packages"


@pytest.fixture(scope="session")
def airflow_env() -> dict[str, str]:
    """Environment for an Airflow that runs as a process of its own, with the home of these tests."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


#: Airflow's command line, several commands in one process: starting it takes longer than most commands.
COMMANDS = """
import json, sys
from airflow.__main__ import main

for arguments in json.loads(sys.argv[1]):
    sys.argv = ["airflow", *arguments]
    try:
        code = main()
    except SystemExit as end:
        code = end.code or None
    print("\\n\\x1e" + json.dumps(code), flush=True)
"""


@pytest.fixture(scope="session")
def airflow(airflow_env: dict[str, str]) -> Callable[..., list[str]]:
    """Run commands of Airflow's command line; returns what each printed."""

    def call(*commands: str, timeout: float = 110, **env: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, json.dumps([shlex.split(command) for command in commands])],
            env={**airflow_env, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        codes = re.findall(r"\x1e(.*)\n", done.stdout)
        assert codes == ["null"] * len(commands), done.stdout + done.stderr
        return re.split(r"\n\x1e.*\n", done.stdout)[:-1]

    return call


@pytest.fixture(scope="session")
def database(airflow: Callable[..., list[str]]) -> Path:
    """Airflow's database, made once."""
    airflow("db migrate")
    return HOME / "airflow.db"


@pytest.fixture
def serialised(database: Path) -> Callable[[Any], Any]:
    """Make of a DAG what the scheduler knows of it; Airflow 2 asks its database meanwhile."""
    from airflow.serialization import serialized_objects

    serializer = getattr(serialized_objects, "DagSerialization", serialized_objects.SerializedDAG)
    return lambda dag: serializer.from_dict(json.loads(json.dumps(serializer.to_dict(dag))))


# --- Airflow in processes of its own ----------------------------------------------------------------------------------

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"

#: The console script, and a list of all session ids that it gives out, for a search afterwards.
RECORDING_SIMULATOR = """
import sys
from airflow_provider_infa.simulator import session_book
from airflow_provider_infa.simulator.cli import main

open_session = session_book.SessionBook.open

def recorded(*args, **kwargs):
    session = open_session(*args, **kwargs)
    with open(sys.argv[1], "a") as file:
        print(session.id, file=file)
    return session

session_book.SessionBook.open = recorded
sys.exit(main(sys.argv[2:]))
"""


class Process:
    """A process with a group of its own, that is stopped as a whole; its output is kept in a file."""

    def __init__(self, name: str, command: list[str], folder: Path, env: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=env, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def assert_running(self) -> None:
        assert self._process.poll() is None, f"{self.name} ended:\n{self.output[-5000:]}"

    def wait(self, seconds: float) -> int:
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it as a power cut would: nothing is tidied up."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(15)

    def ask_to_stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)


def call(url: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Exchange JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: HTTP {error.code}: {error.read()[:2000]!r}") from None


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def is_listening(url: str) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), 5).close()
        return True
    return False


def has_execution_api() -> bool:
    """Whether tasks talk to an API server, and DAGs are parsed by a process of their own."""
    return find_spec("airflow.sdk") is not None


class Place:
    """A simulator and an Airflow home, each in processes of its own."""

    def __init__(self, folder: Path, database: Path, env: dict[str, str], dags: Path) -> None:
        self.folder, self.home, self._processes = folder, folder / "home", []
        self.parts: list[Process] = []
        self._token = ""
        self.home.mkdir()
        shutil.copy(database, self.home / "airflow.db")
        # Keys that all processes of one Airflow have to share.
        shutil.copy(database.parent / "airflow.cfg", self.home / "airflow.cfg")
        self.env = env | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(self.home / "logs" / "dag_processor"),
            "AIRFLOW__SCHEDULER__CHILD_PROCESS_LOG_DIRECTORY": str(self.home / "logs" / "scheduler"),
            "INFA_PACKAGES": (folder / "packages").as_uri(),
            # In the home, so that a search for secrets comes by.
            "INFA_STORE": self.store.as_uri(),
            # Executors start their parts by the name "airflow".
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    @property
    def store(self) -> Path:
        """Where backups and audit records go."""
        return self.home / "store"

    def start_simulator(self, job_seconds: float, seed: Path | None = None) -> None:
        ready = self.folder / "ready.json"
        arguments = ["--job-seconds", str(job_seconds), "--ready-file", str(ready)]
        if seed:
            arguments += ["--seed", str(seed)]
        command = [sys.executable, "-c", RECORDING_SIMULATOR, str(self.folder / "sessions"), *arguments]
        simulator = self.start("simulator", command)
        while not ready.exists():
            simulator.assert_running()
            time.sleep(0.05)
        self.orgs = json.loads(ready.read_text())

    def connect_by_environment(self) -> None:
        for name, connection in self.orgs["connections"].items():
            self.env[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)

    def connect_by_database(self) -> None:
        """Store the connections where the UI does; Airflow brings them to tasks and triggers in ways of its own."""
        file = self.folder / "connections.json"
        file.write_text(json.dumps(self.orgs["connections"]))
        done = self.airflow("connections", "connections", "import", str(file))
        assert done.wait(100) == 0, done.output
        # The database is a copy of one that other tests may have put connections of their own into.
        stored = {conn_id for (conn_id,) in self.query("SELECT conn_id FROM connection WHERE conn_type = 'infa'")}
        assert stored >= set(self.orgs["connections"])

    def start(self, name: str, command: list[str]) -> Process:
        self._processes.append(Process(name, command, self.folder, self.env))
        return self._processes[-1]

    def airflow(self, name: str, *arguments: str) -> Process:
        return self.start(name, [sys.executable, "-m", "airflow", *arguments])

    def start_airflow(self) -> None:
        """Start scheduler, triggerer, and what else this version has."""
        api, worker_logs, trigger_logs = free_ports(3)
        self.api = f"http://127.0.0.1:{api}"
        self.env |= {
            "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            # With SQLite a worker of 3.0 can ask to run a task before the scheduler has stored that it may, which fails
            # the task ("previous_state: scheduled"). No code of ours has run by then. And where a busy scheduler hears
            # that a task has deferred when that is to go on already, it takes it for lost, and runs it again.
            "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "6",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{api}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__API__PORT": str(api),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # How soon the end of a task's process is noticed, where Airflow misses the moment.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            # So that a new triggerer soon takes over from one that was killed.
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
        }
        self.parts = [self.airflow("scheduler", "scheduler", "--skip-serve-logs"), self.start_triggerer()]
        if has_execution_api():
            self.parts += [self.airflow(part, part) for part in ("dag-processor", "api-server")]

    def start_triggerer(self, name: str = "triggerer") -> Process:
        return self.airflow(name, "triggerer", "--skip-serve-logs")

    def trigger(self, *dag_ids: str) -> None:
        """Have DAGs run, once each has been read."""
        for dag_id in dag_ids:
            self.wait_until(lambda dag=dag_id: self.query("SELECT 1 FROM serialized_dag WHERE dag_id = ?", dag), 120)
        if has_execution_api():
            for dag_id in dag_ids:
                self.rest(f"dags/{dag_id}/dagRuns", {"logical_date": None}, "POST")
            return
        asked = [self.airflow(f"trigger-{dag_id}", "dags", "trigger", dag_id) for dag_id in dag_ids]
        for each in asked:
            assert each.wait(90) == 0, each.output

    def end(self, dag_id: str, seconds: float = 360) -> str:
        """Wait for the end of a DAG's run, and tell its state."""

        def ended() -> str | None:
            states = self.query("SELECT state FROM dag_run WHERE dag_id = ?", dag_id)
            return states[0][0] if states and states[0][0] in ("success", "failed") else None

        return self.wait_until(ended, seconds)

    def wait_until(self, condition: Callable[[], Any], seconds: float) -> Any:
        """Wait until something holds, and return it; what went on else is in the failure's text."""
        until = time.monotonic() + seconds
        while not (result := condition()):
            for part in self.parts:
                part.assert_running()
            if time.monotonic() > until:
                pytest.fail(self.report())
            time.sleep(0.5)
        return result

    def report(self, dag_id: str = "") -> str:
        """States of all tasks, and the ends of the logs: those of one DAG, else those of Airflow's parts."""
        files = [path for path in self.home.rglob("attempt=*.log*") if dag_id and f"dag_id={dag_id}/" in str(path)]
        files = sorted(files) or [part.log for part in self.parts]
        texts = (f"== {path}\n{path.read_text('utf-8', 'replace')[-4000:]}" for path in files)
        return "\n".join([str(self.query("SELECT dag_id, task_id, map_index, state FROM task_instance")), *texts])

    def rest(self, path: str, body: dict[str, Any] | None = None, method: str = "GET") -> Any:
        """Use Airflow's REST API as a person's browser does."""
        if not self._token:
            self.wait_until(lambda: is_listening(self.api), 120)
            self._token = call(f"{self.api}/auth/token")["access_token"]
        bearer = {"Authorization": f"Bearer {self._token}"}
        return call(f"{self.api}/api/v2/{path}", method, body, bearer)

    def look(self, org: str, what: str) -> Any:
        """What the simulator tells tests."""
        return call(f"{self.orgs['control']}/orgs/{org}/{what}")

    def tell(self, org: str, what: str, body: dict[str, Any], method: str = "PATCH") -> Any:
        """Change something in the simulator: ``assets``, ``faults`` (with POST), or the org's settings."""
        return call(f"{self.orgs['control']}/orgs/{org}/{what}".rstrip("/"), method, body)

    def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True, timeout=30)) as base:
            return base.execute(sql, arguments).fetchall()

    def states(self, dag_id: str) -> dict[tuple[str, int], str]:
        rows = self.query("SELECT task_id, map_index, state FROM task_instance WHERE dag_id = ?", dag_id)
        return {(task, index): state for task, index, state in rows}

    def secrets(self) -> set[str]:
        passwords = {connection["password"] for connection in self.orgs["connections"].values()}
        return passwords | set((self.folder / "sessions").read_text().split())

    def leaks(self) -> list[str]:
        """Where in logs and database a secret stands."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        files += [process.log for process in self._processes if process.name != "simulator"]
        found = []
        for path in files:
            try:
                text = path.read_bytes()
            except FileNotFoundError:  # SQLite's journal comes and goes
                continue
            # At level debug, where 3.0 shows what a task tells its supervisor, it shows what it was told to mask.
            lines = [line for line in text.splitlines() if b"MaskSecret(" not in line]
            content = b"\n".join(lines)
            found += [f"{path}: {secret}" for secret in self.secrets() if secret.encode() in content]
        return found

    def stop(self) -> None:
        # All at once: each takes its time.
        for process in self._processes:
            process.ask_to_stop()
        for process in reversed(self._processes):
            process.stop()
        # Executors give tasks groups of their own. One that is killed is there a moment longer, or has just forked.
        until = time.monotonic() + 15
        while (left := self.left()) and time.monotonic() < until:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def left(self) -> list[int]:
        """Processes that still run in our folder; tasks write their names over their environment."""
        found = []
        for cwd in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if cwd.readlink() == self.folder:
                    found.append(int(cwd.parent.name))
        return found


@contextlib.contextmanager
def placing(folder: Path, database: Path, airflow_env: dict[str, str]) -> Iterator[Callable[..., Place]]:
    """Make a place for processes; everything in it is stopped afterwards."""
    places: list[Place] = []
    # A test run that is ended from outside must come through here as well.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def make(
        dags: Path = EXAMPLES,
        job_seconds: float = 1.0,
        in_database: bool = False,
        seed: Path | None = None,
        **env: str,
    ) -> Place:
        places.append(Place(folder, database, {**airflow_env, **env}, dags))
        places[-1].start_simulator(job_seconds, seed)
        (places[-1].connect_by_database if in_database else places[-1].connect_by_environment)()
        return places[-1]

    try:
        yield make
    finally:
        for each in places:
            each.stop()
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def place(tmp_path: Path, database: Path, airflow_env: dict[str, str]) -> Iterator[Callable[..., Place]]:
    """Make a place for the processes of one test."""
    with placing(tmp_path, database, airflow_env) as make:
        yield make


@pytest.fixture(scope="module")
def shared_place(
    tmp_path_factory: pytest.TempPathFactory, database: Path, airflow_env: dict[str, str]
) -> Iterator[Callable[..., Place]]:
    """Make a place for the processes of all tests of a module."""
    with placing(tmp_path_factory.mktemp("place"), database, airflow_env) as make:
        yield make
