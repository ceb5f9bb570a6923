"""
Deferred task instances in Airflow's database, made through Airflow's own models. Used by ``waits``.

Reads one JSON object: ``connections`` by id, ``triggers`` with ``classpath`` and ``kwargs`` in the order in which the
triggerer shall get them, ``dag_id``, and ``at``, the time at which the rows are to be there.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from typing import Any

from airflow.models import Connection, DagModel, DagRun, TaskInstance, Trigger
from airflow.models.dag_version import DagVersion
from airflow.models.dagbundle import DagBundleModel
from airflow.models.serialized_dag import SerializedDagModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization, LazyDeserializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

BUNDLE = "benchmark"


def main() -> None:
    """Make the rows."""
    wanted: dict[str, Any] = json.load(sys.stdin)
    with DAG(wanted["dag_id"], schedule=None) as dag:
        EmptyOperator(task_id="wait")
    serialized = LazyDeserializedDAG.from_dag(dag)
    task = DagSerialization.from_dict(serialized.data).get_task("wait")
    with create_session() as session:
        if session.get(DagBundleModel, BUNDLE) is None:
            session.add(DagBundleModel(name=BUNDLE))
            session.flush()
        limits = {"max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0, "has_task_concurrency_limits": False}
        session.add(DagModel(dag_id=dag.dag_id, bundle_name=BUNDLE, **limits))
        session.flush()
        SerializedDagModel.write_dag(serialized, bundle_name=BUNDLE, session=session)
        session.flush()
        version = session.scalars(select(DagVersion).where(DagVersion.dag_id == dag.dag_id)).one()
        for conn_id, fields in wanted["connections"].items():
            extra = json.dumps(fields["extra"]) if "extra" in fields else None
            session.add(Connection(conn_id=conn_id, **{**fields, "extra": extra}))
        now = version.created_at
        run = DagRun(
            dag_id=dag.dag_id,
            run_id="benchmark",
            run_after=now,
            start_date=now,
            state=DagRunState.RUNNING,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
        )
        run.created_dag_version_id = version.id
        session.add(run)
        # SQLite has one writer, and the triggerer must not wait for us until the rows are due.
        session.commit()
        rows = []
        for index, each in enumerate(wanted["triggers"]):
            # The triggerer takes the oldest first.
            created = now + timedelta(microseconds=index)
            instance = TaskInstance(task, version.id, run.run_id, TaskInstanceState.DEFERRED, index)
            instance.start_date, instance.next_method = now, "execute_complete"
            rows.append((instance, Trigger(each["classpath"], each["kwargs"], created)))
        time.sleep(max(0.0, wanted["at"] - time.time()))
        for instance, trigger in rows:
            instance.trigger = trigger
            session.add(instance)


if __name__ == "__main__":
    main()
