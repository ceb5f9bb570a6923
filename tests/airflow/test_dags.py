"""The example DAGs: they load without a network, and run to success against the simulator."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "example_dags"
FILES = sorted(EXAMPLES.glob("*.py"))


def dag_ids(file: Path) -> list[str]:
    return re.findall(r'\b(?:DAG|dag)\(\s*(?:dag_id=)?"([\w.-]+)"', file.read_text())


DAGS = [pytest.param(file, dag_id, id=dag_id) for file in FILES for dag_id in dag_ids(file)]


@pytest.fixture
def offline(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a DAG file connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def load(file: Path):
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(dag_folder=str(file))
    assert bag.import_errors == {}
    return bag.dags


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_loads_without_network(offline, file):
    dags = load(file)
    # Else the runs below leave one out.
    assert sorted(dags) == sorted(dag_ids(file))
    for dag in dags.values():
        assert dag.tasks
        assert dag.doc_md
        assert "infa" in dag.tags
        # No date of its own, or a fixed one: a DAG file must mean the same whenever it is parsed.
        assert dag.start_date is None or dag.start_date.year == 2026


def test_there_are_examples():
    assert "promote_minimal" in [dag_id for file in FILES for dag_id in dag_ids(file)]
    assert len(DAGS) == len({param.id for param in DAGS}) >= len(FILES)


def run(place, dag_id: str, date: str) -> None:
    process = place.airflow(f"{dag_id}_{date}", "dags", "test", dag_id, date)
    # A trigger that raises makes dag.test() of Airflow 2 loop without end.
    assert process.wait(200) == 0, process.output[-8000:]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
@pytest.mark.parametrize(("file", "dag_id"), DAGS)
def test_an_example_runs(place, file, dag_id, deferrable):
    here = place(job_seconds=4.0 if deferrable else 0.0, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE=str(deferrable))
    run(here, dag_id, "2026-06-01")
    assert here.query("SELECT state FROM dag_run WHERE dag_id = ?", dag_id) == [("success",)]
    states = here.states(dag_id)
    # There is nothing to roll back.
    assert {task: state for task, state in states.items() if state != "success"} == {
        task: "skipped" for task in states if task[0].endswith(".restore")
    }
    jobs = [job for org in ("dev", "test", "prod") for job in here.look(org, "jobs")]
    assert {job["kind"] for job in jobs} >= {"export", "import"}
    # Each import once, whatever was retried.
    assert [job["starts"] for job in jobs] == [1] * len(jobs)
    assert {job["state"] for job in jobs} <= {"SUCCESSFUL", "SUCCESS"}
    for org in ("dev", "test", "prod"):
        sessions = here.look(org, "sessions")
        assert (sessions["open"], sessions["failed_logins"], sessions["expired"]) == (0, 0, 0), org
    assert here.secrets()
    assert here.leaks() == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_connections_of_the_database_are_found_in_triggers_too(place):
    here = place(in_database=True, job_seconds=4.0, AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE="True")
    run(here, "promote_minimal", "2026-06-01")
    assert set(here.states("promote_minimal").values()) == {"success"}
    assert here.leaks() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_changed_is_a_skipped_run(place):
    here = place()
    run(here, "promote_changed", "2026-06-01")
    before = len(here.look("test", "jobs"))
    run(here, "promote_changed", "2026-06-02")
    states = here.query(
        "SELECT task_id, state FROM task_instance WHERE run_id = (SELECT run_id FROM dag_run ORDER BY id DESC LIMIT 1)"
    )
    assert dict(states)["list_changed"] == "success"
    assert {state for task, state in states if task != "list_changed"} == {"skipped"}
    assert len(here.look("test", "jobs")) == before == 1
