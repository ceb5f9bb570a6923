"""Whole promotions on a real Airflow: scheduler, triggerer, and what else the version has, against simulated orgs."""

from __future__ import annotations

import json
import re
import time
from copy import deepcopy
from datetime import datetime, timedelta
from importlib.util import find_spec
from urllib.parse import quote

import pytest
import yaml

from airflow_provider_infa.simulator import seed as seeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: Whether people can approve in the Airflow UI: the function for that came with Airflow 3.1.
PEOPLE = bool(find_spec("airflow.sdk")) and bool(find_spec("airflow.sdk.execution_time.hitl"))
#: Who approves: a person where that is possible, else the DAG itself.
APPROVAL = True if PEOPLE else "automatic"

#: States of a task that waits for a person.
WAITING = ("deferred", "awaiting_input")

#: Each promotion goes into orgs of its own, so that one Airflow serves them all without one disturbing another.
DAGS = f"""
import os
from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, Asset, task, task_group

from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.promotion import promote

STORE = os.environ["INFA_STORE"]
APPROVAL = {APPROVAL!r}
TEST = {{"runtime_environments": {{"DEV_AGENTS": "TEST_AGENTS"}}, "connections": {{"ora_dev": "ora_test"}}}}
PROD = {{"runtime_environments": {{"DEV_AGENTS": "PROD_AGENTS"}}, "connections": {{"ora_dev": "ora_prod"}}}}
ON = {{
    "backup_uri": STORE + "/backup",
    "audit_uri": STORE + "/audit",
    "rollback": "on_failure",
    "publish": True,
    "poll_interval": 3.0,
    "timeout": 240.0,
}}
SAVED = {{"backup_uri": STORE + "/backup", "poll_interval": 3.0}}


def listed(org, tag):
    return InfaListObjectsOperator(task_id=f"list_{{org}}", infa_conn_id=f"infa_{{org}}", tag=tag).output


@task
def then():
    return "done"


def into(org, tag="release-1", tries=None, **more):
    with DAG(f"into_{{org}}", schedule=None, default_args=tries or {{}}):
        release = promote(
            "release",
            source_conn_id="infa_dev",
            target_conn_id=f"infa_{{org}}",
            objects=listed("dev", tag),
            **TEST,
            **{{**ON, **more}},
        )
        release >> then()


into("test", approval=APPROVAL, schedules={{"Sales/mt_orders": "nightly"}})
into("unwanted", approval=APPROVAL)
into("moving", approval=APPROVAL)
into("broken")
into("unpublished", tag="service-1", tries={{"retries": 1}})
into("killed")

SALES = Asset("infa://ACME_TEST/Sales")

with DAG("after_sales", schedule=[SALES], start_date=datetime(2026, 1, 1)):

    @task
    def read(**context):
        if "triggering_asset_events" in context:
            events = context["triggering_asset_events"][SALES]
        else:
            events = context["triggering_dataset_events"][SALES.uri]
        return [event.extra for event in events]

    read()

for tag in ("release-1", "release-2"):
    with DAG(f"shared_{{tag}}", schedule=None):
        promote(
            "release",
            source_conn_id="infa_dev",
            target_conn_id="infa_shared",
            objects=listed("dev", tag),
            **TEST,
            **SAVED,
        )

with DAG("chain", schedule=None):
    to_first = promote(
        "to_first", source_conn_id="infa_dev", target_conn_id="infa_first", objects=listed("dev", "release-1"),
        **TEST, **ON,
    )
    again = InfaListObjectsOperator(task_id="list_first", infa_conn_id="infa_first", tag="release-1")
    to_last = promote(
        "to_last", source_conn_id="infa_first", target_conn_id="infa_last", objects=again.output,
        runtime_environments={{"TEST_AGENTS": "PROD_AGENTS"}}, connections={{"ora_test": "ora_prod"}}, **ON,
    )
    to_first >> again
    to_last >> then()

with DAG("many", schedule=None):

    @task_group
    def to_org(target_conn_id, runtime_environments, connections, objects):
        promote(
            "release", source_conn_id="infa_dev", target_conn_id=target_conn_id, objects=objects,
            runtime_environments=runtime_environments, connections=connections, **ON,
        )

    to_org.partial(objects=listed("dev", "release-1")).expand_kwargs(
        [{{"target_conn_id": "infa_many_test", **TEST}}, {{"target_conn_id": "infa_many_prod", **PROD}}]
    )
"""

TEST_ORGS = ("unwanted", "moving", "broken", "unpublished", "shared", "first", "many_test", "killed")
PROD_ORGS = ("last", "many_prod")


@pytest.fixture(scope="module")
def here(shared_place, tmp_path_factory):
    """One Airflow for all promotions of this file, and an org of its own for each."""
    folder = tmp_path_factory.mktemp("promotions")
    seed = deepcopy(dict(seeds.load(None)))
    for like, keys in (("test", TEST_ORGS), ("prod", PROD_ORGS)):
        seed["orgs"] |= {key: {**seed["orgs"][like], "name": f"ACME_{key.upper()}"} for key in keys}
    (folder / "seed.yaml").write_text(yaml.safe_dump(seed))
    dags = folder / "dags"
    dags.mkdir()
    (dags / "promotions.py").write_text(DAGS)
    # Airflow 2 has SQLite run one task at a time, each in an interpreter of its own, unless it is told not to check.
    parallel = {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1"}
    here = shared_place(dags, job_seconds=2.0, in_database=True, seed=folder / "seed.yaml", **parallel)
    here.start_airflow()
    yield here
    here.stop()
    assert here.left() == []


@pytest.fixture(scope="module")
def failing(here):
    """Two promotions that fail, side by side; returns what their orgs held before."""
    before = {org: here.look(org, "state") for org in ("broken", "unpublished")}
    here.tell("broken", "faults", {"kind": "fail_objects", "paths": ["Sales/tf_sales_daily"], "times": 1}, "POST")
    fault = {"kind": "fail_publish", "paths": ["Service/g_open_ticket"], "message": "No such screen."}
    here.tell("unpublished", "faults", fault, "POST")
    here.trigger("into_broken", "into_unpublished")
    return before


@pytest.fixture(scope="module")
def several(here):
    """Two DAGs that promote to several orgs, side by side."""
    here.trigger("chain", "many")


@pytest.fixture(autouse=True)
def no_leaks(here):
    """Nothing secret in logs, XComs, triggers or files, and no session that stays open."""
    yield
    assert here.secrets()
    assert here.leaks() == []


def states(here, dag_id: str, group: str = "release") -> dict[str, str]:
    """State of each task of a promotion."""
    found = here.states(dag_id)
    return {task.removeprefix(f"{group}."): state for (task, _), state in found.items() if task.startswith(group)}


def of(here, org: str, kind: str) -> list[dict]:
    return [job for job in here.look(org, "jobs") if job["kind"] == kind]


def sent(here, org: str) -> list[str]:
    """What went to an org that changes it, or prepares to."""
    calls = [f"{r['method']} {r['path']}" for r in here.look(org, "requests") if r["method"] not in ("GET", "HEAD")]
    return [call for call in calls if not re.search(r"/(login|logout|lookup)$", call)]


def asset(here, org: str, path: str) -> dict:
    return next(each for each in here.look(org, "assets") if each["path"] == path)


def without(state: list[dict], paths: list[str]) -> list[dict]:
    return [row for row in state if row["path"] not in paths]


def xcom(here, dag_id: str, task_id: str, key: str = "return_value"):
    sql = "SELECT value FROM xcom WHERE dag_id = ? AND task_id = ? AND key = ?"
    value = json.loads(here.query(sql, dag_id, task_id, key)[0][0])
    return json.loads(value) if isinstance(value, str) else value


def run_id(here, dag_id: str) -> str:
    return here.query("SELECT run_id FROM dag_run WHERE dag_id = ?", dag_id)[0][0]


def record(here, dag_id: str) -> dict:
    """The audit record of the only promotion of a DAG."""
    (file,) = (here.store / "audit" / dag_id).glob("*/*/record.json")
    found = json.loads(file.read_text())
    assert found["plan_hash"].startswith(file.parent.name)
    return found


def backup(here, dag_id: str) -> dict:
    """The backup of the only promotion of a DAG."""
    (file,) = (here.store / "backup" / dag_id).glob("*/*/backup.json")
    assert (file.parent / "package.zip").stat().st_size
    return json.loads(file.read_text())


def log(here, dag_id: str, task_id: str) -> str:
    files = [path for path in here.home.rglob("attempt=*.log") if f"dag_id={dag_id}/" in str(path)]
    return "\n".join(path.read_text() for path in sorted(files) if f"task_id={task_id}/" in str(path))


def assert_closed(here, *orgs: str) -> None:
    """A trigger logs out in the background, after its event."""
    for org in orgs:
        here.wait_until(lambda org=org: here.look(org, "sessions")["open"] == 0, 15)
        assert here.look(org, "sessions")["failed_logins"] == 0


def form(here, dag_id: str, run: str = "") -> tuple[dict, str]:
    """Wait until a person is asked, and return what they see and where they answer."""
    task = f"dags/{dag_id}/dagRuns/{quote(run or run_id(here, dag_id), safe='')}/taskInstances/release.approve"
    here.wait_until(lambda: here.rest(task)["state"] in WAITING, 120)
    path = f"{task}/-1/hitlDetails"
    return here.rest(path), path


def answer(here, path: str, option: str) -> None:
    """Answer a form until Airflow goes on."""

    def decided() -> bool:
        now = here.rest(path)
        state = now["task_instance"]["state"]
        if state in WAITING and not now["response_received"]:
            # Reading takes a while; and Airflow 3.3 takes a task that goes on too soon for a lost one, and asks again.
            time.sleep(3)
            here.rest(path, {"chosen_options": [option], "params_input": {}}, "PATCH")
        return state in ("success", "skipped")

    here.wait_until(decided, 120)


def decide(here, dag_id: str, option: str) -> None:
    """Answer the form as a person does, who sees the plan in it."""
    shown, path = form(here, dag_id)
    # The person decides before anything is sent, or even saved.
    org = dag_id.removeprefix("into_")
    assert (here.look(org, "jobs"), sent(here, org)) == ([], [])
    plan = xcom(here, dag_id, "release.plan")
    assert plan["target_org"]["name"] in shown["subject"]
    assert plan["hash"] in shown["body"]
    for row in plan["objects"]:
        if row["action"] in ("create", "overwrite"):
            assert re.sub(r"([_#])", r"\\\1", row["target"]["path"]) in shown["body"]
    answer(here, path, option)


def test_a_promotion_with_everything_switched_on(here):
    here.trigger("into_test")
    if PEOPLE:
        decide(here, "into_test", "Approve")
    assert here.end("into_test") == "success", here.report("into_test")

    steps = ["export", "plan", "backup", "upload", "start_import", "wait", "link_schedules", "publish", "verify"]
    steps += ["record"] + ["approve"] * PEOPLE
    assert states(here, "into_test") == dict.fromkeys(steps, "success") | {"restore": "skipped"}
    assert here.states("into_test")["then", -1] == "success"
    # Where Airflow itself has lost a task and runs it again, it is saved and published again; imported it never is.
    exports, (job,) = of(here, "test", "export"), of(here, "test", "import")
    assert (job["state"], job["starts"], job["start_requests"]) == ("SUCCESSFUL", 1, 1)
    assert {job["state"] for job in of(here, "test", "publish")} == {"SUCCESS"}
    # What was sent is what the form showed.
    plan = xcom(here, "into_test", "release.plan")
    assert job["specification"]["importSpecification"] == plan["import_specification"]
    assert job["package_sha256"] == plan["package"]["sha256"]
    for path in ("Sales/m_orders", "Sales/mt_orders", "Sales/tf_sales_daily"):
        assert asset(here, "test", path)["definition"] == asset(here, "dev", path)["definition"]
    assert asset(here, "test", "Sales/mt_orders")["schedule"] == "nightly"
    assert asset(here, "test", "Sales/tf_sales_daily")["published"]

    # Saved was what has been overwritten, and nothing else.
    overwritten = ["Sales/m_orders", "Sales/mt_orders"]
    saved = backup(here, "into_test")
    assert sorted(row["path"] for row in saved["objects"]) == overwritten
    for export in exports:
        assert sorted(row["name"] for row in export["objects"]) == ["m_orders", "mt_orders"]
    assert saved["plan_hash"] == plan["hash"]

    found = record(here, "into_test")
    assert found["state"] == "promoted"
    assert found["plan_hash"] == plan["hash"]
    assert (found["source_org"]["name"], found["target_org"]["name"]) == ("ACME_DEV", "ACME_TEST")
    assert found["approval"]["approved"]
    assert found["approval"]["by"] == ("Anonymous" if PEOPLE else "automatic")
    if PEOPLE:
        assert found["approval"]["plan_hash"] == plan["hash"]
        assert datetime.fromisoformat(found["approval"]["at"]) < datetime.fromisoformat(found["recorded_at"])
    assert found["package_sha256"] == job["package_sha256"]
    assert (found["import_job"]["id"], found["import_job"]["state"]) == (job["id"], "SUCCESSFUL")
    assert (here.store / "backup").as_uri() in found["backup_uri"]
    assert found["rollback"] is None
    ids = {(each["path"], each["type"]): each["id"] for each in here.look("test", "assets")}
    rows = {row["path"]: row for row in found["objects"] if row["planned"] in ("create", "overwrite")}
    assert {path for path, row in rows.items() if row["planned"] == "overwrite"} == set(overwritten)
    assert len(rows) > len(overwritten)
    for row in rows.values():
        assert row["new_id"] == ids[row["path"], row["type"]]
        assert row["old_id"] == (row["new_id"] if row["planned"] == "overwrite" else None)
        assert (row["state"], row["done"]) == (
            "SUCCESSFUL",
            "overwritten" if row["planned"] == "overwrite" else "created",
        )
    assert [(row["path"], row["state"]) for row in found["published"]] == [("Sales/tf_sales_daily", "SUCCESS")]
    assert "OIE_006" in (here.store / found["log_uris"]["idmc"].removeprefix(here.store.as_uri() + "/")).read_text()

    # The next DAG is run by the promotion, and reads what it was.
    assert here.end("after_sales") == "success", here.report("after_sales")
    (short,) = xcom(here, "after_sales", "read")
    assert short == xcom(here, "into_test", "release.record")
    assert (short["state"], short["plan_hash"], short["import_job_id"]) == ("promoted", plan["hash"], job["id"])
    assert short["record_uri"].endswith("/record.json")
    assert_closed(here, "dev", "test")


if PEOPLE:

    @pytest.mark.everywhere
    def test_a_rejected_promotion(here):
        before = here.look("unwanted", "state")
        here.trigger("into_unwanted")
        decide(here, "into_unwanted", "Reject")
        assert here.end("into_unwanted") == "success", here.report("into_unwanted")
        done = {"export": "success", "plan": "success", "record": "success"}
        skipped = ["approve", "backup", "upload", "start_import", "wait", "publish", "verify", "restore"]
        assert states(here, "into_unwanted") == dict.fromkeys(skipped, "skipped") | done
        assert here.states("into_unwanted")["then", -1] == "skipped"
        assert (here.look("unwanted", "jobs"), sent(here, "unwanted")) == ([], [])
        assert here.look("unwanted", "state") == before
        found = record(here, "into_unwanted")
        assert (found["state"], found["approval"]["approved"], found["import_job"]) == ("rejected", False, None)
        plan = xcom(here, "into_unwanted", "release.plan")
        assert found["approval"]["plan_hash"] == found["plan_hash"] == plan["hash"]
        # Nothing is announced, so nothing is run by it.
        uris = [uri for (uri,) in here.query("SELECT uri FROM asset")]
        assert not any("ACME_UNWANTED" in uri for uri in uris)
        assert_closed(here, "unwanted")


def a_run_asks_about_one_plan(here, dag_id: str, approved: str) -> None:
    """After a plan was approved in vain, clear its run: nobody can approve the next plan in the form of the first."""
    org, run = dag_id.removeprefix("into_"), run_id(here, dag_id)
    before = here.look(org, "state"), sent(here, org)
    path = f"dags/{dag_id}/dagRuns/{quote(run, safe='')}/taskInstances/release.approve/-1/hitlDetails"

    def clear(task: str) -> str:
        """Clear from a task on, and return what is planned then."""
        body = {"dry_run": False, "only_failed": False, "include_downstream": True, "dag_run_id": run}
        here.rest(f"dags/{dag_id}/clearTaskInstances", {**body, "task_ids": [task]}, "POST")
        assert here.end(dag_id) == "failed", here.report(dag_id)
        assert states(here, dag_id)["approve"] == "failed"
        for step in ("backup", "upload", "start_import", "wait", "verify"):
            assert states(here, dag_id)[step] == "upstream_failed"
        return xcom(here, dag_id, "release.plan")["hash"]

    planned = clear("release.plan")
    assert planned != approved
    told = f"Plan {planned} can't be approved in this run: its form still shows plan {approved}"
    assert told in log(here, dag_id, "release.approve")
    # The form can still be answered, and that leads to nothing, also when the task is cleared once more.
    shown = here.rest(path)
    assert approved in shown["body"]
    assert planned not in shown["body"]
    here.rest(path, {"chosen_options": ["Approve"], "params_input": {}}, "PATCH")
    assert clear("release.approve") == planned
    assert (here.look(org, "state"), sent(here, org)) == before

    new = here.rest(f"dags/{dag_id}/dagRuns", {"logical_date": None}, "POST")["dag_run_id"]
    shown, path = form(here, dag_id, new)
    assert approved not in shown["body"]
    answer(here, path, "Approve")
    ended = f"dags/{dag_id}/dagRuns/{quote(new, safe='')}"
    here.wait_until(lambda: here.rest(ended)["state"] in ("success", "failed"), 240)
    assert here.rest(ended)["state"] == "success", here.report(dag_id)
    assert [job["state"] for job in of(here, org, "import")] == ["NOT_STARTED", "SUCCESSFUL"]


def test_the_target_changes_after_the_approval(here):
    # While the backup is being made, somebody works in the org.
    here.tell("moving", "", {"export_seconds": 10.0})
    here.trigger("into_moving")
    if PEOPLE:
        decide(here, "into_moving", "Approve")
    here.wait_until(lambda: of(here, "moving", "export"), 120)
    here.tell("moving", "assets", {"path": "Sales/m_orders", "type": "DTEMPLATE", "updated_by": "dora"})
    before = here.look("moving", "state")
    assert of(here, "moving", "export")[0]["state"] == "IN_PROGRESS"
    assert here.end("into_moving") == "failed", here.report("into_moving")

    expected = {"start_import": "failed", "restore": "skipped", "record": "success"}
    assert {step: state for step, state in states(here, "into_moving").items() if step in expected} == expected
    assert {states(here, "into_moving")[step] for step in ("wait", "publish", "verify")} == {"upstream_failed"}
    assert here.states("into_moving")["then", -1] == "upstream_failed"
    text = log(here, "into_moving", "release.start_import")
    assert "Sales/m_orders: dora changed it at" in text
    assert "ACME_MOVING has changed since the plan" in text
    (job,) = of(here, "moving", "import")
    assert (job["state"], job["starts"], job["start_requests"]) == ("NOT_STARTED", 0, 0)
    assert here.look("moving", "state") == before
    found = record(here, "into_moving")
    assert (found["state"], found["rollback"], found["approval"]["approved"]) == ("failed", None, True)
    if PEOPLE:
        a_run_asks_about_one_plan(here, "into_moving", found["plan_hash"])
    assert_closed(here, "moving")


def test_an_import_that_fails_half_way_is_rolled_back(here, failing):
    before = failing["broken"]
    assert here.end("into_broken") == "failed", here.report("into_broken")

    found = states(here, "into_broken")
    done = ["export", "plan", "backup", "upload", "start_import", "restore", "record"]
    assert {step: found[step] for step in done} == dict.fromkeys(done, "success")
    assert (found["wait"], found["publish"], found["verify"]) == ("failed", "upstream_failed", "upstream_failed")
    assert here.states("into_broken")["then", -1] == "upstream_failed"
    failed, restored = of(here, "broken", "import")
    assert (failed["state"], restored["state"]) == ("FAILED", "SUCCESSFUL")
    assert (failed["starts"], restored["starts"]) == (1, 1)
    # Something had been overwritten indeed.
    assert any(row["status"]["message"] == "Overwrite existing object" for row in failed["objects"])

    report = record(here, "into_broken")
    assert report["state"] == "rolled back"
    assert report["rollback"]["import_job_id"] == restored["id"]
    assert [row["path"] for row in report["rollback"]["restored"]] == ["Sales/m_orders", "Sales/mt_orders"]
    new = [row["path"] for row in report["rollback"]["created"]]
    assert "Sales/Staging/mt load customers" in new
    assert not set(new) & {row["path"] for row in before}
    assert without(here.look("broken", "state"), new) == before
    (row,) = [row for row in report["objects"] if row["path"] == "Sales/tf_sales_daily"]
    assert (row["state"], row["message"]) == ("FAILED", "Internal error while importing the object.")
    assert_closed(here, "broken")


def test_one_asset_that_cannot_be_published_rolls_all_back(here, failing):
    before = failing["unpublished"]
    assert len([row["path"] for row in before if row["published"]]) == 3
    assert here.end("into_unpublished") == "failed", here.report("into_unpublished")

    found = states(here, "into_unpublished")
    assert {found[step] for step in ("wait", "restore", "record")} == {"success"}
    assert (found["publish"], found["verify"]) == ("failed", "upstream_failed")
    results = [
        (row["path"], row["state"], row["message"])
        for row in xcom(here, "into_unpublished", "release.publish", "assets")
    ]
    assert [(path, state) for path, state, _ in results] == [
        ("Service/sc_tickets", "SUCCESS"),
        ("Service/ac_tickets", "SUCCESS"),
        ("Service/p_open_ticket", "SUCCESS"),
        ("Service/g_open_ticket", "ERROR"),
        ("Service/tf_open_tickets", "SUCCESS"),
    ]
    assert results[3][2] == "No such screen."
    text = log(here, "into_unpublished", "release.publish")
    assert "1 of 5 assets were not published in org ACME_UNPUBLISHED" in text
    assert "GUIDE Service/g_open_ticket: ERROR: No such screen." in text
    # Published were the CAI assets, then the taskflow, in two tries; and by the rollback, what was published before.
    assert len(of(here, "unpublished", "publish")) >= 5
    report = record(here, "into_unpublished")
    assert report["state"] == "rolled back"
    old = ["Service/ac_tickets", "Service/p_open_ticket", "Service/sc_tickets"]
    assert sorted(row["path"] for row in report["rollback"]["published"]) == old
    new = [row["path"] for row in report["rollback"]["created"]]
    assert sorted(new) == ["Service/g_open_ticket", "Service/tf_open_tickets"]
    assert without(here.look("unpublished", "state"), new) == before
    assert_closed(here, "unpublished")


def test_two_promotions_into_one_org_do_not_overlap(here):
    seconds = 12.0
    here.tell("shared", "", {"import_seconds": seconds})
    dag_ids = ("shared_release-1", "shared_release-2")
    here.trigger(*dag_ids)
    for dag_id in dag_ids:
        assert here.end(dag_id) == "success", here.report(dag_id)
    pools = "SELECT slots, include_deferred FROM slot_pool WHERE pool = 'infa_promotions_infa_shared'"
    assert here.query(pools) == [(1, 1)]
    jobs = of(here, "shared", "import")
    assert [(job["state"], job["starts"]) for job in jobs] == [("SUCCESSFUL", 1)] * 2
    first, second = sorted(moment(job["start_time"]) for job in jobs)
    over = first + timedelta(seconds=seconds)
    assert second >= over
    # The second one was ready long before, and waited.
    uploads = [moment(r["time"]) for r in here.look("shared", "requests") if r["path"].endswith("/import/package")]
    assert len(uploads) == 2
    assert max(uploads) < over
    assert_closed(here, "shared")


def test_chained_from_dev_through_test_to_prod(here, several):
    assert here.end("chain") == "success", here.report("chain")
    assert here.states("chain")["then", -1] == "success"
    for group in ("to_first", "to_last"):
        found = states(here, "chain", group)
        assert found.pop("restore") == "skipped"
        assert set(found.values()) == {"success"}
    for org in ("first", "last"):
        assert [(job["state"], job["starts"]) for job in of(here, org, "import")] == [("SUCCESSFUL", 1)]
        assert asset(here, org, "Sales/tf_sales_daily")["published"]
    assert asset(here, "last", "Sales/mt_orders")["definition"] == asset(here, "dev", "Sales/mt_orders")["definition"]
    # The first had something to save, the last was empty.
    files = sorted(path.name for path in here.store.glob("*/chain/*/*/*"))
    logs = sorted(f"import-{job['id']}.log" for org in ("first", "last") for job in of(here, org, "import"))
    assert files == ["backup.json", *logs, "package.zip", *["record.json"] * 2]
    assert_closed(here, "dev", "first", "last")


def test_mapped_to_many_orgs(here, several):
    assert here.end("many") == "success", here.report("many")
    found = {task: state for task, state in here.states("many").items() if task[0] != "list_dev"}
    assert {index for _, index in found} == {0, 1}
    assert {state for (task, _), state in found.items() if task.endswith(".restore")} == {"skipped"}
    assert {state for (task, _), state in found.items() if not task.endswith(".restore")} == {"success"}
    records = [json.loads(file.read_text()) for file in (here.store / "audit" / "many").rglob("record.json")]
    assert sorted(each["target_org"]["name"] for each in records) == ["ACME_MANY_PROD", "ACME_MANY_TEST"]
    assert {each["state"] for each in records} == {"promoted"}
    for org in ("many_test", "many_prod"):
        (job,) = of(here, org, "import")
        assert (job["state"], job["starts"]) == ("SUCCESSFUL", 1)
        (its,) = [each for each in records if each["import_job"]["id"] == job["id"]]
        assert its["target_org"]["name"] == f"ACME_{org.upper()}"
        assert asset(here, org, "Sales/tf_sales_daily")["published"]
    assert here.query("SELECT slots FROM slot_pool WHERE pool = 'infa_promotions'") == [(1,)]
    assert_closed(here, "dev", "many_test", "many_prod")


def test_a_triggerer_that_is_killed_is_replaced(here):
    here.tell("killed", "", {"import_seconds": 20.0})
    here.trigger("into_killed")
    waits = """SELECT 1 FROM task_instance ti JOIN "trigger" t ON t.id = ti.trigger_id
        WHERE ti.dag_id = 'into_killed' AND ti.task_id = 'release.start_import' AND t.triggerer_id IS NOT NULL"""
    here.wait_until(lambda: here.query(waits), 120)
    assert [job["state"] for job in of(here, "killed", "import")] == ["IN_PROGRESS"]
    triggerer = next(part for part in here.parts if part.name == "triggerer")
    here.parts.remove(triggerer)
    triggerer.kill()
    here.parts.append(here.start_triggerer("triggerer-2"))
    assert here.end("into_killed") == "success", here.report("into_killed")
    found = states(here, "into_killed")
    assert found.pop("restore") == "skipped"
    assert set(found.values()) == {"success"}
    (job,) = of(here, "killed", "import")
    assert (job["state"], job["starts"], job["start_requests"]) == ("SUCCESSFUL", 1, 1)
    assert record(here, "into_killed")["state"] == "promoted"
    # The one that was killed could not log out.
    here.wait_until(lambda: here.look("killed", "sessions")["open"] <= 1, 15)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
