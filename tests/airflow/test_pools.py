"""The pools of promotions, which the scheduler makes when a run starts."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from importlib.metadata import entry_points
from itertools import count

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator, task_group

from airflow_provider_infa.pools import InfaPlugin, PoolMaker, pool_name
from airflow_provider_infa.promotion import promote

NUMBERS = count()


def promoting(*conn_ids, **arguments):
    with DAG("d", schedule=None) as dag:
        for number, conn_id in enumerate(conn_ids):
            promote(f"p{number}", source_conn_id="infa_dev", target_conn_id=conn_id, objects=["x"], **arguments)
    return dag


@pytest.fixture
def pools(database):
    """The pools that there are, and how to make one; those of other tests are gone."""
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    def read():
        with create_session() as session:
            return {
                pool.pool: (pool.slots, pool.include_deferred)
                for pool in session.query(Pool)
                if pool.pool != "default_pool"
            }

    with create_session() as session:
        session.query(Pool).filter(Pool.pool != "default_pool").delete()
    return read


@pytest.fixture
def start(serialised, pools, logged):
    """Have a run start as the scheduler does: it tells the listeners, in a session that they must not commit."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.sqlalchemy import prohibit_commit

    now = datetime.now(timezone.utc)
    # The logical date is called otherwise in Airflow 2, which knows of no run_after.
    times = {"logical_date": now, "run_after": now} if hasattr(DagRun, "run_after") else {"execution_date": now}

    def run(dag, runs=1):
        known = serialised(dag) if dag else None
        with create_session() as session, prohibit_commit(session) as guard:
            started = [
                DagRun(dag_id=f"d{number}", run_id=f"r{number}", run_type="manual", state="running", **times)
                for number in (next(NUMBERS) for _ in range(runs))
            ]
            session.add_all(started)
            session.flush()
            for dag_run in started:
                dag_run.dag = known
                dag_run.notify_dagrun_state_changed(msg="started")
            guard.commit()
        # Airflow only logs it; but after a statement that failed, only SQLite lets the session go on.
        assert "calling listener" not in logged()

    return run


def test_the_plugin_is_what_airflow_looks_for():
    (found,) = [e for e in entry_points(group="airflow.plugins") if e.dist.name == "airflow-provider-infa"]
    assert found.load() is InfaPlugin
    assert [type(listener) for listener in InfaPlugin.listeners] == [PoolMaker]


@pytest.mark.parametrize(("conn_id", "name"), [
    ("infa_prod", "infa_promotions_infa_prod"), (None, "infa_promotions"), ("", "infa_promotions"),
])  # fmt: skip
def test_names(conn_id, name):
    assert pool_name(conn_id) == name


def test_a_missing_pool_is_made_once(start, pools):
    dag = promoting("infa_test", backup_uri="s3://b", rollback="on_failure")
    start(dag)
    # An import that is deferred is under way.
    assert pools() == {"infa_promotions_infa_test": (1, True)}
    start(dag)
    start(promoting("infa_test"))
    assert pools() == {"infa_promotions_infa_test": (1, True)}


def test_runs_that_start_in_one_go_make_it_once(start, pools):
    # The scheduler's session does not flush by itself and is committed once, after all of them.
    start(promoting("infa_test"), runs=2)
    assert pools() == {"infa_promotions_infa_test": (1, True)}


def test_every_org_has_its_own(start, pools):
    start(promoting("infa_test", "infa_prod"))
    assert pools() == {"infa_promotions_infa_test": (1, True), "infa_promotions_infa_prod": (1, True)}


def test_a_mapped_promotion(start, pools):
    with DAG("d", schedule=None) as dag:

        @task_group
        def to_one(target_conn_id):
            promote("p", source_conn_id="infa_dev", target_conn_id=target_conn_id, objects=["x"])

        to_one.expand(target_conn_id=["infa_test", "infa_prod"])
    start(dag)
    assert pools() == {"infa_promotions": (1, True)}


def test_a_pool_that_is_there_stays_as_it_is(start, pools):
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Pool(pool="infa_promotions_infa_test", slots=3, description="ours", include_deferred=False))
    start(promoting("infa_test", "infa_prod"))
    assert pools() == {"infa_promotions_infa_test": (3, False), "infa_promotions_infa_prod": (1, True)}


def test_another_scheduler_is_faster(start, pools):
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen = []

    def make(connection, cursor, statement, *_):
        if not seen and re.match(r"INSERT\b.*\bslot_pool\b", statement):
            seen.append(statement)
            values = "('infa_promotions_infa_test', 1, 'theirs', 1)"
            cursor.execute(f"INSERT INTO slot_pool (pool, slots, description, include_deferred) VALUES {values}")

    event.listen(Engine, "before_cursor_execute", make)
    try:
        start(promoting("infa_test"))
    finally:
        event.remove(Engine, "before_cursor_execute", make)
    assert seen
    assert pools() == {"infa_promotions_infa_test": (1, True)}


def test_other_dags_are_none_of_its_business(start, pools):
    with DAG("d", schedule=None) as dag:
        BaseOperator(task_id="t")
        BaseOperator(task_id="u", pool="somebody_elses")
    start(dag)
    start(promoting("infa_test", pool="ours"))
    start(None)
    assert pools() == {}


def test_a_run_that_is_in_no_session(pools, serialised):
    from airflow.models.dagrun import DagRun

    # As other callers of the listener may have it: nothing can be made, and nothing breaks.
    dag_run = DagRun(dag_id="d", run_id="r")
    dag_run.dag = serialised(promoting("infa_test"))
    PoolMaker().on_dag_run_running(dag_run, "started")
    assert pools() == {}
