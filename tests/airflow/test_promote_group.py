"""The task group that promotes: its tasks and edges, what it refuses, and what Airflow makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, BaseOperator, task_group

from airflow_provider_infa.idmc.approval import AUTOMATIC
from airflow_provider_infa.idmc.errors import IdmcJobFailedError
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.promotion import FIRST, promote

ORGS = {"source_conn_id": "infa_dev", "target_conn_id": "infa_test"}
OBJECTS = [{"path": "Sales/m_orders", "type": "DTEMPLATE"}]
ALL = {
    "objects": OBJECTS,
    "approval": AUTOMATIC,
    "backup_uri": "s3://releases/backup",
    "rollback": "on_failure",
    "publish": True,
    "schedules": {"Sales/mt_orders": "nightly"},
}


def made(**arguments):
    """A DAG with one group, p."""
    with DAG("d", schedule=None) as dag:
        promote("p", **{**ORGS, **arguments})
    return dag


def tasks(dag, prefix="p."):
    return [task.task_id.removeprefix(prefix) for task in dag.tasks]


def before(dag, task_id):
    return {id.removeprefix("p.") for id in dag.get_task(f"p.{task_id}").upstream_task_ids}


def total_weight(task):
    """What the scheduler goes by, which other tasks may add to."""
    return task.weight_rule.get_weight(SimpleNamespace(task=task))


# --- tasks and edges --------------------------------------------------------------------------------------------------

OPTIONS = {
    "the least": ({"objects": OBJECTS}, "export plan upload start_import wait verify record"),
    "manifest": (
        {"manifest": "release.yaml"},
        "list_objects export plan upload start_import wait link_schedules verify record",
    ),
    "objects and manifest": (
        {"objects": OBJECTS, "manifest": "release.yaml"},
        "export plan upload start_import wait link_schedules verify record",
    ),
    "package": (
        {"package_uri": "s3://p.zip", "source_conn_id": None},
        "plan upload start_import wait verify record",
    ),
    "automatic approval": (
        {"objects": OBJECTS, "approval": AUTOMATIC},
        "export plan upload start_import wait verify record",
    ),
    "backup": (
        {"objects": OBJECTS, "backup_uri": "s3://b"},
        "export plan backup upload start_import wait verify record",
    ),
    "rollback": (
        {"objects": OBJECTS, "backup_uri": "s3://b", "rollback": "on_failure"},
        "export plan backup upload start_import wait verify restore record",
    ),
    "publish": ({"objects": OBJECTS, "publish": True}, "export plan upload start_import wait publish verify record"),
    "schedules": (
        {"objects": OBJECTS, "schedules": {}},
        "export plan upload start_import wait link_schedules verify record",
    ),
    "everything": (
        ALL,
        "export plan backup upload start_import wait publish link_schedules verify restore record",
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_tasks_and_their_order(option):
    arguments, names = OPTIONS[option]
    dag = made(**arguments)
    assert tasks(dag) == names.split()
    # One step after the other.
    steps = [name for name in names.split() if name not in ("restore", "record")]
    for earlier, later in pairwise(steps):
        assert earlier in before(dag, later)
    order = {name: place for place, name in enumerate(steps)}
    for step in steps:
        assert all(order[name] < order[step] for name in before(dag, step))
    assert "verify" in before(dag, "record")


def test_the_end_runs_whatever_happened_and_is_waited_for_by_nobody():
    dag = made(**ALL)
    for name in ("restore", "record"):
        task = dag.get_task(f"p.{name}")
        assert task.is_teardown
        assert task.trigger_rule == "all_done_setup_success"
        # How the run ends is for the promotion to say, not for its aftermath.
        assert not task.on_failure_fail_dagrun
    assert {"backup", "upload", "verify"} <= before(dag, "restore")
    assert {"backup", "publish", "link_schedules", "upload", "verify", "restore"} <= before(dag, "record")
    assert {task.task_id for task in dag.task_group.get_leaves()} == {"p.verify"}
    assert {task.trigger_rule for task in dag.tasks if not task.is_teardown} == {"all_success"}


def test_two_groups_one_after_the_other():
    with DAG("d", schedule=None) as dag:
        to_test = promote("to_test", **ORGS, **ALL)
        to_prod = promote("to_prod", **{**ORGS, "target_conn_id": "infa_prod"}, **{**ALL, "objects": OBJECTS})
        done = BaseOperator(task_id="done")
        to_test >> to_prod >> done
    # What follows waits for the verified end, and not for what cleans up.
    assert dag.get_task("to_prod.export").upstream_task_ids == {"to_test.verify"}
    assert done.upstream_task_ids == {"to_prod.verify"}
    assert len(dag.tasks) == 2 * len(tasks(made(**ALL))) + 1


def test_outputs_of_other_tasks_come_first():
    with DAG("d", schedule=None) as dag:
        release = InfaListObjectsOperator(task_id="release", infa_conn_id="infa_dev", tag="release-1")
        promote("p", **ORGS, objects=release.output)
    assert dag.get_task("p.export").upstream_task_ids == {"release"}


# --- arguments --------------------------------------------------------------------------------------------------------


def test_everything_arrives_where_it_belongs():
    mappings = {"runtime_environments": {"a": "b"}, "connections": {"c": "d"}, "projects": {"e": "f"}}
    rules = {
        "default_conflict_resolution": "REUSE",
        "conflict_resolutions": {"MTT": "OVERWRITE"},
        "include_objects": ["Sales/m_orders"],
        "on_drift": "block",
    }
    dag = made(**ALL, **mappings, **rules, manifest="r.yaml", include_dependencies=False, include_tags=False)
    task = {name: dag.get_task(f"p.{name}") for name in tasks(dag)}
    plan = task["plan"]
    assert {name: getattr(plan, name) for name in (*mappings, *rules)} == {**mappings, **rules}
    assert (plan.source_conn_id, plan.manifest, plan.package_uri) == ("infa_dev", "r.yaml", None)
    export = task["export"]
    assert (export.include_dependencies, export.include_tags, export.objects) == (False, False, OBJECTS)
    assert {name for name, each in task.items() if each.infa_conn_id == "infa_dev"} == {"export"}
    assert {each.infa_conn_id for each in task.values()} == {"infa_dev", "infa_test"}
    assert task["backup"].backup_uri == task["record"].audit_uri == "s3://releases/backup"
    # What is approved with the plan is what is linked.
    assert plan.schedules == {"Sales/mt_orders": "nightly"}
    # And nothing of an import that was rolled back is published, linked or verified.
    for name in ("publish", "link_schedules", "verify"):
        assert {"plan", "upload", "backup"} <= before(dag, name)
        assert {"plan", "import_job_id", "backup_uri"} <= set(task[name].template_fields)
    # The next task tells how the import went; this one holds the pool.
    start = task["start_import"]
    assert (start.wait_for_completion, start.fail_on_failure) == (True, False)
    # After one of these was cleared alone, nothing is started.
    assert (start.plan, start.backup_uri) == (plan.output, task["backup"].output)
    assert start.package_sha256 == task["upload"].output["package_sha256"]
    assert task["restore"].rollback is True


def test_records_may_go_elsewhere():
    assert made(objects=OBJECTS, audit_uri="s3://a").get_task("p.record").audit_uri == "s3://a"
    assert made(**ALL, audit_uri="s3://a").get_task("p.record").audit_uri == "s3://a"
    assert made(objects=OBJECTS).get_task("p.record").audit_uri is None


def test_a_package_that_is_there_is_taken_as_it_is():
    dag = made(package_uri="s3://p.zip")
    for name in ("plan", "upload"):
        task = dag.get_task(f"p.{name}")
        assert (task.package_uri, task.export_job_id) == ("s3://p.zip", None)
    # To name what it refers to without holding it.
    assert dag.get_task("p.plan").source_conn_id == "infa_dev"


@pytest.mark.parametrize("deferrable", [None, False, True])
def test_waiting(deferrable):
    dag = made(**ALL, poll_interval=7.0, timeout=77.0, deferrable=deferrable)
    waiting = [dag.get_task(f"p.{name}") for name in ("export", "backup", "start_import", "publish", "restore")]
    assert {(task.poll_interval, task.timeout) for task in waiting} == {(7.0, 77.0)}
    sensor = dag.get_task("p.wait")
    assert sensor.timeout == 77.0
    assert {task.deferrable for task in [*waiting, sensor]} == {bool(deferrable)}


@pytest.mark.parametrize("strict", [None, True, False])
def test_a_warning_may_be_a_success(strict):
    dag = made(**ALL, **({} if strict is None else {"fail_on_warning": strict}))
    given = {name: dag.get_task(f"p.{name}").fail_on_warning for name in ("export", "wait", "backup", "restore")}
    # A backup that lacks something is none, and half a rollback neither.
    assert given == {"export": strict is not False, "wait": strict is not False, "backup": True, "restore": True}


@pytest.fixture
def step(promotion, package):
    """A task of a group for an import that is over, to be run by itself."""
    plan = promotion.plan(package)
    job_id = promotion.carry_out(package, plan)

    def make(name, **arguments):
        task = made(objects=OBJECTS, **arguments).get_task(f"p.{name}")
        task.import_job_id, task.plan = job_id, plan
        return lambda: task

    make.job_id = job_id
    return make


def test_an_import_that_ends_with_a_warning(promotion, step, run):
    # The simulator warns only where an object failed.
    (job,) = [job for job in promotion.sim._orgs["test"].jobs if job.id == step.job_id]
    job.state, job.message = "WARNING", "Completed with warnings."
    with pytest.raises(IdmcJobFailedError, match="Set fail_on_warning=False"):
        run(step("wait"))
    assert run(step("wait", fail_on_warning=False))["state"] == "WARNING"
    assert run(step("verify", fail_on_warning=False))["import_job_id"] == step.job_id


@pytest.mark.parametrize("strict", [True, False])
def test_an_object_that_failed_is_no_mere_warning(promotion, run, request, strict):
    promotion.sim.change_settings("test", partial_state="WARNING")
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"], "message": "Full disk."})
    step = request.getfixturevalue("step")
    with pytest.raises(IdmcJobFailedError, match=r"ended WARNING.*\n  MTT Sales/mt_orders: FAILED: Full disk\.$"):
        run(step("wait", fail_on_warning=strict))
    # And should somebody mark that as a success:
    with pytest.raises(AirflowFailException, match="MTT Sales/mt_orders: planned to overwrite, but it is as it was"):
        run(step("verify", fail_on_warning=strict))


def test_pools():
    default = made(**ALL)
    alone = {task.task_id: task.pool for task in default.tasks if task.pool != "default_pool"}
    assert alone == {"p.start_import": "infa_promotions_infa_test", "p.restore": "infa_promotions_infa_test"}
    # A rollback goes before the imports that wait for their turn.
    assert default.get_task("p.restore").priority_weight == FIRST > default.get_task("p.start_import").priority_weight
    own = made(**ALL, pool="ours")
    assert {task.pool for task in own.tasks} == {"default_pool", "ours"}
    with DAG("d", schedule=None) as dag:
        conn_id = InfaListObjectsOperator(task_id="which").output
        promote("p", source_conn_id="infa_dev", target_conn_id=conn_id, objects=OBJECTS)
    assert dag.get_task("p.start_import").pool == "infa_promotions"
    templated = made(**{**ALL, "target_conn_id": "{{ params.org }}"})
    assert {task.pool for task in templated.tasks} == {"default_pool", "infa_promotions"}


@pytest.mark.parametrize("where", ["before", "behind"])
def test_a_rollback_goes_before_the_imports_that_wait(serialised, where):
    with DAG("d", schedule=None) as dag:
        group = promote("p", **ORGS, **ALL)
        other = promote("other", **ORGS, **ALL)
        other >> group if where == "before" else group >> other
    tasks = {task.task_id: task for task in serialised(dag).tasks}
    weight = {name: total_weight(task) for name, task in tasks.items()}
    assert weight["p.restore"] > weight["p.start_import"]
    assert weight["p.restore"] > weight["other.start_import"]


BAD = {
    "objects and package": ({"objects": OBJECTS, "package_uri": "p"}, "objects and package_uri exclude each other"),
    "nothing": ({}, "nothing to promote: give objects, a manifest or a package_uri"),
    "no source": ({"objects": OBJECTS, "source_conn_id": None}, "source_conn_id is missing: name the connection"),
    "no source for a manifest": ({"manifest": "r.yaml", "source_conn_id": None}, "source_conn_id is missing"),
    "approval": ({"objects": OBJECTS, "approval": "perhaps"}, "approval must be True, False or 'automatic'"),
    "approval as a number": ({"objects": OBJECTS, "approval": 1}, "approval must be True, False or 'automatic', not 1"),
    "rollback": ({"objects": OBJECTS, "backup_uri": "b", "rollback": True}, "rollback must be 'on_failure' or None"),
    "rollback without backup": ({"objects": OBJECTS, "rollback": "on_failure"}, "set backup_uri as well"),
}


@pytest.mark.parametrize("how", BAD)
def test_contradictions_are_refused_when_the_dag_is_parsed(how):
    arguments, words = BAD[how]
    with DAG("d", schedule=None) as dag, pytest.raises(ValueError, match=words):
        promote("p", **{**ORGS, **arguments})
    # Nothing is left half made.
    assert dag.tasks == []


@pytest.mark.parametrize("rollback", [None, "on_failure"])
@pytest.mark.parametrize("timeout", [None, timedelta(hours=1)])
def test_airflow_ends_a_run_that_takes_too_long_without_a_rollback(timeout, rollback):
    with DAG("d", schedule=None, dagrun_timeout=timeout), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        promote("p", **ORGS, objects=OBJECTS, backup_uri="s3://b", rollback=rollback)
    told = [str(each.message) for each in caught if "dagrun_timeout" in str(each.message)]
    said = "DAG 'd': after dagrun_timeout, Airflow runs neither the rollback nor the record."
    assert told == ([f"{said} Use promote(timeout=...) instead."] if timeout and rollback else [])


# --- mapped -----------------------------------------------------------------------------------------------------------

TARGETS = [
    {"target_conn_id": "infa_test", "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"}},
    {"target_conn_id": "infa_prod", "runtime_environments": {"DEV_AGENTS": "PROD_AGENTS"}},
]


def mapped():
    with DAG("m", schedule=None) as dag:

        @task_group
        def to_one(target_conn_id, runtime_environments):
            promote(
                "p",
                source_conn_id="infa_dev",
                target_conn_id=target_conn_id,
                runtime_environments=runtime_environments,
                **ALL,
            )

        to_one.expand_kwargs(TARGETS)
    return dag


def test_a_mapped_group():
    dag = mapped()
    assert tasks(dag, "to_one.p.") == tasks(made(**ALL))
    # One pool for all, as nobody knows the orgs when the DAG is parsed.
    assert {task.pool for task in dag.tasks} == {"default_pool", "infa_promotions"}
    group = dag.task_group.children["to_one"]
    assert [type(task).__name__ for task in group.iter_mapped_task_groups()] == ["MappedTaskGroup"]
    for name in ("plan", "start_import", "restore"):
        assert "infa_conn_id" in dag.get_task(f"to_one.p.{name}").template_fields


@pytest.mark.parametrize("option", [*OPTIONS, "mapped"])
def test_the_dag_survives_the_way_to_the_scheduler(serialised, option):
    dag = mapped() if option == "mapped" else made(**OPTIONS[option][0])
    read = serialised(dag)
    assert {task.task_id: (task.pool, task.upstream_task_ids) for task in read.tasks} == {
        task.task_id: (task.pool, task.upstream_task_ids) for task in dag.tasks
    }
    assert {task.task_id for task in read.tasks if task.is_teardown} == {
        task.task_id for task in dag.tasks if task.is_teardown
    }
    (record,) = [task for task in read.tasks if task.task_id.endswith(".record")]
    assert [outlet.name for outlet in record.outlets] == ["infa_promotions"]


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_dag_file_pays_for_no_library_of_ours():
    code = (
        "import json, sys\n"
        "from airflow.providers.common.compat.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, TaskGroup\n"
        "from airflow.providers.common.compat.sdk import Asset, AssetAlias, AirflowPlugin, conf\n"
        "Asset, AssetAlias, AirflowPlugin, BaseHook, BaseSensorOperator, TaskGroup, conf\n"
        "from airflow.listeners import hookimpl\n"
        # What Airflow loads for any task is not ours.
        "with DAG('other', schedule=None):\n"
        "    BaseOperator(task_id='other')\n"
        "before = set(sys.modules)\n"
        "from airflow_provider_infa.promotion import promote\n"
        "with DAG('d', schedule=None):\n"
        f"    promote('p', **{ {**ORGS, **ALL, 'manifest': 'release.yaml'}!r})\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    new = set(json.loads(done.stdout.strip().splitlines()[-1]))
    tops = {name.partition(".")[0] for name in new}
    heavy = {
        "requests", "urllib3", "aiohttp", "httpx", "yaml", "jsonschema", "fsspec", "sqlalchemy", "javaproperties",
        "requests_toolbelt",
    }  # fmt: skip
    assert tops & heavy == set()
    ours = {name for name in new if name.startswith("airflow_provider_infa")}
    assert "airflow_provider_infa.promotion" in ours
    assert not [name for name in ours if "simulator" in name]
    assert len(new - ours) < 60, sorted(new - ours)
