"""
Pools that keep promotions into one org apart.

A task whose pool does not exist waits for ever, and neither a DAG file nor a task can make a pool in Airflow 3. The
scheduler can, so it is told to by a listener when a run with such a task starts.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)

#: Beginning of the names of pools that are made.
PREFIX = "infa_promotions"


def pool_name(conn_id: str | None) -> str:
    """
    Name of the pool for an org.

    :param conn_id: Connection of the org; None if it is not known when the DAG is parsed, as in a mapped group.
    """
    return f"{PREFIX}_{conn_id}" if conn_id else PREFIX


class PoolMaker:
    """Makes missing pools with one slot; existing ones stay as they are."""

    @hookimpl
    def on_dag_run_running(self, dag_run: DagRun, msg: str) -> None:  # noqa: ARG002 (names are Airflow's)
        """Called in the scheduler when a run starts, in the scheduler's own database session."""
        dag: Any = dag_run.dag
        wanted = {task.pool for task in dag.tasks if task.pool.startswith(PREFIX)} if dag else set()
        if wanted:
            _make(wanted, dag_run)


def _make(names: set[str], dag_run: DagRun) -> None:
    # Imported here, because plugins are loaded by every process of Airflow, and most have no use for a database.
    from airflow.models.pool import Pool
    from sqlalchemy import select
    from sqlalchemy.orm import object_session

    session = object_session(dag_run)
    if session is None:
        return
    present = set(session.scalars(select(Pool.pool).where(Pool.pool.in_(names))))
    for name in sorted(names - present):
        log.info("Making pool %s, so that only one promotion at a time runs into its org.", name)
        # A deferred import is under way, so it has to count.
        values = {"pool": name, "slots": 1, "description": "One promotion at a time", "include_deferred": True}
        session.execute(_insert(session.get_bind().dialect.name, Pool).values(values))


def _insert(dialect: str, table: Any) -> Any:
    """
    An insert that leaves alone what is there already.

    Runs that start at once, or in two schedulers, want the same pool, and an error in this session ends the scheduler;
    nor can it be caught, as Airflow forbids savepoints there.
    """
    if dialect == "mysql":
        return import_module("sqlalchemy").insert(table).prefix_with("IGNORE")
    return import_module(f"sqlalchemy.dialects.{dialect}").insert(table).on_conflict_do_nothing()


class InfaPlugin(AirflowPlugin):
    """What this provider adds to Airflow's scheduler."""

    name = "infa"
    listeners = [PoolMaker()]
