"""A retry goes on with the job that an earlier try started before its worker was lost (Airflow 3.3 or newer)."""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import version

import pytest
from aiohttp import web
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_infa import waiting
from airflow_provider_infa.attaching import KEY
from airflow_provider_infa.idmc.errors import IdmcJobFailedError, IdmcUnavailableError
from airflow_provider_infa.operators import jobs as job_module
from airflow_provider_infa.operators import publish as publish_module
from airflow_provider_infa.operators.backup import InfaBackupOperator
from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.simulator import gate

AIRFLOW = tuple(map(int, version("apache-airflow").split(".")[:2]))
#: Whether this Airflow keeps state of a task over its tries.
HAS_STORE = AIRFLOW >= (3, 3)
#: Airflow 3.0 fails a task whose process is killed, whatever its retries (apache/airflow#55753).
RETRIES_KILLED = AIRFLOW != (3, 0)


class Store:
    """Airflow's task state store, as far as its documentation goes: JSON under keys, no None."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def get(self, key, default=None):
        return json.loads(self.kept[key]) if key in self.kept else default

    def set(self, key, value, *, retention=None):
        assert value is not None
        self.kept[key] = json.dumps(value, allow_nan=False)


class LostWorker(BaseException):
    """The process is gone: nothing in it can catch that."""


@pytest.fixture
def store(run):
    run.context["task_state_store"] = Store()
    return run.context["task_state_store"]


@pytest.fixture
def lose_worker(monkeypatch):
    """Have the worker vanish as soon as it waits for its so-manieth job, once."""

    def lose(at: int = 1) -> None:
        waits = 0
        real = waiting.wait_for_job

        def wait(*args, **kwargs):
            nonlocal waits
            waits += 1
            if waits == at:
                raise LostWorker
            return real(*args, **kwargs)

        for module in (job_module, publish_module):
            monkeypatch.setattr(module, "wait_for_job", wait)

    return lose


def export(**arguments):
    arguments = {"poll_interval": 0.05, "deferrable": False, "infa_conn_id": "infa_dev", **arguments}
    return lambda: InfaExportOperator(task_id="export", **arguments)


def starts(promotion, org="dev"):
    return promotion.calls(org, "POST", "/export$")


def lost(run, make):
    with pytest.raises(LostWorker):
        run(make)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retried_export_goes_on_with_the_live_job(sim, promotion, run, store, lose_worker, logged, deferrable):
    promotion.end_jobs_after_two_looks("dev")
    lose_worker()
    task = export(objects=promotion.ids(), deferrable=deferrable)
    lost(run, task)
    (job,) = sim.jobs("dev")
    assert job["state"] == "IN_PROGRESS"
    assert run(task) == job["id"]
    assert run.xcom["result"]["state"] == "SUCCESSFUL"
    assert len(starts(promotion)) == 1
    assert f"An earlier try of this task started export job {job['id']} for this: going on with it." in logged()


def test_an_export_that_ended_well_meanwhile_serves_too(sim, promotion, run, store, lose_worker):
    lose_worker()
    task = export(objects=promotion.ids())
    lost(run, task)
    (job,) = sim.jobs("dev")
    assert job["state"] == "SUCCESSFUL"
    assert [run(task), run(task)] == [job["id"]] * 2
    assert len(starts(promotion)) == 1


def test_without_waiting_as_well(promotion, run, store):
    task = export(objects=promotion.ids(), wait_for_completion=False)
    assert run(task) == run(task)
    assert len(starts(promotion)) == 1


def test_a_failed_export_is_started_again(sim, promotion, run, store):
    sim.add_fault("dev", {"kind": "fail_job", "times": 1})
    task = export(objects=promotion.ids())
    with pytest.raises(IdmcJobFailedError):
        run(task)
    job_id = run(task)
    assert [job["state"] for job in sim.jobs("dev")] == ["FAILED", "SUCCESSFUL"]
    # The second one is what further tries go on with.
    assert run(task) == job_id == sim.jobs("dev")[1]["id"]


def test_a_job_that_the_org_no_longer_has_is_started_again(sim, promotion, run, store):
    task = export(objects=promotion.ids())
    run(task)
    ((name, _),) = store.get(KEY).items()
    store.set(KEY, {name: "0123456789abcdefABCDEF"})
    job_id = run(task)
    assert store.get(KEY) == {name: job_id}
    assert len(starts(promotion)) == 2


@pytest.mark.parametrize(
    "other", [{"include_tags": False}, {"include_dependencies": False}, {"objects": "first"}], ids=str
)
def test_another_request_is_another_job(promotion, run, store, other):
    ids = promotion.ids()
    first = run(export(objects=ids))
    arguments = {"objects": ids, **other}
    if other == {"objects": "first"}:
        arguments["objects"] = ids[:1]
    second = run(export(**arguments))
    assert second != first
    # Both are kept: a task that exports in several calls finds each of them again.
    assert [run(export(objects=ids)), run(export(**arguments))] == [first, second]
    assert len(starts(promotion)) == 2


def test_the_name_and_the_wait_make_no_difference(promotion, run, store):
    first = run(export(objects=promotion.ids()))
    assert run(export(objects=promotion.ids(), name="another", timeout=5, poll_interval=0.1)) == first


def test_a_cleared_task_starts_another(promotion, run, store):
    task = export(objects=promotion.ids())
    first = run(task)
    run.context["ti"].max_tries += 1
    second = run(task)
    assert second != first
    assert run(task) == second


def test_another_connection_is_another_job_even_to_the_same_org(sim, promotion, run, store, connect):
    connect("infa_dev_too", sim.connections["infa_dev"])
    first = run(export(objects=promotion.ids()))
    assert run(export(objects=promotion.ids(), infa_conn_id="infa_dev_too")) != first


def test_a_job_of_another_org_is_not_gone_on_with(sim, promotion, run, store, package):
    promotion.carry_out(package)
    ids = [promotion.asset("Sales/m_orders", "DTEMPLATE")["id"]]
    run(export(objects=promotion.ids()))
    job_id = run(export(objects=ids, infa_conn_id="infa_test"))
    assert promotion.job(job_id, "test")["kind"] == "export"


def test_without_a_store_each_try_starts_one(promotion, run, lose_worker):
    assert "task_state_store" not in run.context
    lose_worker()
    task = export(objects=promotion.ids())
    lost(run, task)
    run(task)
    assert len(starts(promotion)) == 2


def test_a_job_that_may_not_be_asked_for_is_not_gone_on_with(sim, promotion, run, store):
    # Nobody knows what IDMC answers about a job that it has forgotten.
    task = export(objects=promotion.ids())
    run(task)
    sim.add_fault("dev", {"kind": "deny", "method": "GET", "path": "/export/", "times": 1})
    run(task)
    assert len(starts(promotion)) == 2


def test_the_org_that_can_not_be_asked_about_the_job_starts_none(sim, promotion, run, store):
    task = export(objects=promotion.ids())
    run(task)
    sim.add_fault("dev", {"kind": "maintenance", "method": "GET", "path": "/export/"})
    with pytest.raises(Exception, match="503"):
        run(task)
    assert len(starts(promotion)) == 1


@pytest.mark.parametrize("status", [302, 404])
def test_a_page_of_a_gateway_tells_nothing_of_the_job(sim, promotion, run, store, status):
    task = export(objects=promotion.ids())
    job_id = run(task)
    sim.add_fault("dev", {"kind": "maintenance", "status": status, "method": "GET", "path": "/export/", "times": 1})
    # Left to the retries of the task: no AirflowFailException.
    with pytest.raises(IdmcUnavailableError, match=f"HTTP {status}"):
        run(task)
    assert run(task) == job_id
    assert len(starts(promotion)) == 1


def test_an_answer_that_tells_of_no_job_starts_none(sim, promotion, run, store, monkeypatch):
    task = export(objects=promotion.ids())
    run(task)
    monkeypatch.setattr(gate, "_instead", lambda fault: web.json_response({"status": "maintenance"}))
    sim.add_fault("dev", {"kind": "maintenance", "method": "GET", "path": "/export/", "times": 1})
    with pytest.raises(AirflowFailException):
        run(task)
    assert len(starts(promotion)) == 1


def test_nothing_but_ids_is_kept(sim, promotion, run, store):
    job_id = run(export(objects=promotion.ids()))
    assert list(store.kept) == [KEY]
    assert re.fullmatch(rf'{{"[0-9a-f]{{64}}": "{job_id}"}}', store.kept[KEY])


# --- publishing and backups -------------------------------------------------------------------------------------------

#: In the order in which they have to be published; the taskflow goes in a call of its own.
ROWS = [
    {"path": "Service/sc_tickets", "type": "AI_SERVICE_CONNECTOR"},
    {"path": "Service/ac_tickets", "type": "AI_CONNECTION"},
    {"path": "Service/p_open_ticket", "type": "PROCESS"},
    {"path": "Service/tf_open_tickets", "type": "TASKFLOW"},
]


def publish(deferrable=False):
    arguments = {"objects": ROWS, "poll_interval": 0.05, "deferrable": deferrable}
    return lambda: InfaPublishOperator(task_id="publish", infa_conn_id="infa_test", **arguments)


def publications(promotion):
    return [call["body"]["data"]["attributes"]["assetPaths"] for call in promotion.calls("test", "POST", "/publish$")]


@pytest.fixture
def service(promotion, tmp_path):
    promotion.carry_out(promotion.package(tmp_path / "service.zip", "service-1"))


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_retried_publication_goes_on_with_what_runs(promotion, run, store, lose_worker, service, at, deferrable):
    promotion.end_jobs_after_two_looks()
    task = publish(deferrable=deferrable)
    # A deferred task that goes on is a new process; at the second call it has seen the end of the first.
    lose_worker(at)
    lost(run, task)
    assert len(publications(promotion)) == at
    rows = run(task)
    assert [row["path"] for row in rows] == [row["path"] for row in ROWS]
    # What was over is published again: an import may have replaced it since.
    assert len(publications(promotion)) == 1 + at
    assert {asset["path"] for asset in promotion.sim.assets("test") if asset["published"]} >= {r["path"] for r in ROWS}


def test_a_failed_publication_is_repeated(promotion, run, store, service):
    promotion.sim.add_fault("test", {"kind": "fail_job", "times": 1})
    task = publish()
    with pytest.raises((IdmcJobFailedError, AirflowFailException)):
        run(task)
    failed = publications(promotion)
    run(task)
    assert publications(promotion)[len(failed)] == failed[0]
    assert {asset["path"] for asset in promotion.sim.assets("test") if asset["published"]} >= {r["path"] for r in ROWS}


def test_a_retried_backup_goes_on_with_its_export(promotion, run, store, lose_worker, package, tmp_path):
    promotion.carry_out(package)
    plan = promotion.plan(package)
    promotion.end_jobs_after_two_looks()
    lose_worker()
    arguments = {"plan": plan, "backup_uri": f"file://{tmp_path}/b", "poll_interval": 0.05, "deferrable": False}

    def task():
        return InfaBackupOperator(task_id="backup", infa_conn_id="infa_test", **arguments)

    lost(run, task)
    uri = run(task)
    assert uri.startswith(f"file://{tmp_path}/b/promote/")
    assert len(starts(promotion, "test")) == 1


# --- on real Airflow --------------------------------------------------------------------------------------------------

#: The first try fails when its job has been started; each try tells its job.
DAG = """
from datetime import timedelta
from pathlib import Path
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_infa.operators.exports import InfaExportOperator

class Interrupted(InfaExportOperator):
    def start(self, context, hook, name):
        job_id = super().start(context, hook, name)
        with Path({told!r}).open("a") as file:
            print(job_id, file=file)
        if len(Path({told!r}).read_text().split()) < 2:
            {accident}
        return job_id

with DAG("{dag_id}", schedule=None):
    Interrupted(
        task_id="export", infa_conn_id="infa_dev", objects={ids!r}, poll_interval=0.5,
        retries=3, retry_delay=timedelta(seconds=1),
    )
"""


@pytest.fixture
def written(tmp_path):
    """Write the DAG, and tell the ids of the jobs that its tries went on with."""

    def write(dag_id: str, ids, accident: str):
        told = tmp_path / "told"
        (tmp_path / "dags").mkdir()
        text = DAG.format(dag_id=dag_id, told=str(told), ids=ids, accident=accident)
        (tmp_path / "dags" / f"{dag_id}.py").write_text(text)
        return lambda: told.read_text().split()

    return write


@pytest.mark.slow
def test_the_store_of_dags_test(airflow, database, promotion, written, tmp_path):
    jobs = written("attach_in_process", promotion.ids(), "raise RuntimeError('interrupted by the tests')")
    connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
    airflow("dags test attach_in_process", AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path / "dags"), **connections)
    tries = jobs()
    assert len(tries) == 2
    assert len(set(tries)) == len(starts(promotion)) == (1 if HAS_STORE else 2)


@pytest.mark.everywhere
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_worker_and_a_cleared_task(place, tmp_path, written):
    here = place(tmp_path / "dags", 3, in_database=True)
    ids = [asset["id"] for asset in here.look("dev", "assets") if "release-1" in asset["tags"]]
    jobs = written("attach", ids, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    here.start_airflow()
    here.trigger("attach")
    assert here.end("attach") == ("success" if RETRIES_KILLED else "failed"), here.report("attach")
    tries = jobs()
    assert len(tries) >= (2 if RETRIES_KILLED else 1)
    assert len(set(tries)) == len(here.look("dev", "jobs")) == (1 if HAS_STORE else len(tries)), here.report("attach")
    if AIRFLOW >= (3, 0):  # Airflow 2 would ask for a password
        whole = {"dry_run": False, "only_failed": False, "task_ids": ["export"]}
        here.rest("dags/attach/clearTaskInstances", whole, "POST")
        here.wait_until(lambda: len(jobs()) > len(tries), 120)
        assert here.end("attach") == "success", here.report("attach")
        assert jobs()[-1] not in tries
