"""The audit record of a promotion and its asset events."""

from __future__ import annotations

import json
import re
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    ObjectStoragePath,
)

from airflow_provider_infa.assets import asset_uri
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.approval import AUTOMATIC, approval_of
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcJobFailedError, IdmcStorageError, IdmcUnavailableError
from airflow_provider_infa.idmc.planned import hash_of
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.record import InfaRecordPromotionOperator
from airflow_provider_infa.operators.verify import InfaVerifyImportOperator

#: Where Airflow 2 keeps aliases: only what is there can have events.
ALIASES = "airflow.models.dataset" if find_spec("airflow.sdk") is None else None


def remember_alias(*names):
    """Have Airflow 2 know these aliases, and no others."""
    from airflow.utils.session import create_session

    model = import_module(ALIASES).DatasetAliasModel
    with create_session() as session:
        session.query(model).delete()
        session.add_all([model(name=name) for name in names])


@pytest.fixture(autouse=True)
def alias(request):
    """As a scheduler does that has read the DAG."""
    if ALIASES:
        request.getfixturevalue("database")
        remember_alias("infa_promotions")


def record(plan, **arguments):
    arguments = {"infa_conn_id": "infa_test", **arguments}
    return lambda: InfaRecordPromotionOperator(task_id="record", plan=plan, **arguments)


def events(run):
    """Asset events that the task leaves behind: URI to extra."""
    accessor = run.context["outlet_events"][AssetAlias("infa_promotions")]
    left = getattr(accessor, "asset_alias_events", None)
    if left is None:  # Airflow 2
        return {event["dest_dataset_uri"]: event["extra"] for event in accessor.dataset_alias_events}
    return {event.dest_asset_key.uri: event.extra for event in left}


@pytest.fixture
def plan(promotion, package):
    return promotion.plan(package)


@pytest.fixture
def store(tmp_path):
    return f"file://{tmp_path}/audit"


@pytest.fixture
def job_id(promotion, package, plan):
    return promotion.carry_out(package, plan)


@pytest.fixture
def verified(run, plan, job_id):
    return run(lambda: InfaVerifyImportOperator(task_id="v", infa_conn_id="infa_test", plan=plan, import_job_id=job_id))


def read(uri):
    return json.loads(ObjectStoragePath(uri).read_text())


def test_what_a_record_holds(promotion, run, plan, job_id, verified, store, tmp_path):
    approval = approval_of(plan["hash"], "ada", at="2026-03-02T09:20:00+00:00")
    published = [{"path": "Sales/tf_sales_daily", "type": "TASKFLOW", "state": "SUCCESS", "message": None}]
    linked = [{"path": "Sales/mt_orders", "schedule": "nightly", "linked": True}]
    steps = {"verified": verified, "published": published, "linked": linked}
    given = {"import_job_id": job_id, "approval": approval, **steps}
    backup = f"file://{tmp_path}/backup"
    short = run(record(plan, audit_uri=store + "/", backup_uri=backup, **given))
    folder = tmp_path / "audit" / "promote" / "manual__2026-03-02T09-15-00-00-00" / plan["hash"][:12]
    assert {path.name for path in folder.iterdir()} == {"record.json", f"import-{job_id}.log"}
    assert short["record_uri"] == f"file://{folder}/record.json"
    told = read(short["record_uri"])
    assert (told["version"], told["state"], told["plan_hash"]) == (1, "promoted", plan["hash"])
    assert told["source_org"]["name"] == "ACME_DEV"
    assert told["target_org"] == plan["target_org"]
    assert told["package_sha256"] == plan["package"]["sha256"]
    assert (told["user"], told["approval"], told["backup_uri"]) == ("deployer", approval, backup)
    assert (told["published"], told["linked"], told["rollback"]) == (published, linked, None)
    assert (told["dag_id"], told["run_id"]) == ("promote", run.context["run_id"])
    job = told["import_job"]
    assert (job["id"], job["state"]) == (job_id, "SUCCESSFUL")
    times = [datetime.fromisoformat(job[name]) for name in ("start_time", "end_time")]
    assert times == sorted(times)
    assert abs((datetime.fromisoformat(told["recorded_at"]) - times[1]).total_seconds()) < 60
    assert told["log_uris"] == {"airflow": run.context["ti"].log_url, "idmc": f"file://{folder}/import-{job_id}.log"}
    assert "OIE_006" in (folder / f"import-{job_id}.log").read_text()

    rows = {row["path"]: row for row in told["objects"]}
    assert len(rows) == 11
    new, old = rows["Sales/tf_sales_daily"], rows["Sales/m_orders"]
    assert (new["planned"], new["done"], new["state"], new["old_id"]) == ("create", "created", "SUCCESSFUL", None)
    assert new["new_id"] == promotion.asset("Sales/tf_sales_daily", "TASKFLOW")["id"]
    assert new["source_id"] == promotion.asset("Sales/tf_sales_daily", "TASKFLOW", "dev")["id"]
    assert old["old_id"] == old["new_id"] == promotion.asset("Sales/m_orders", "DTEMPLATE")["id"]
    assert promotion.open_sessions() == 0


def test_the_short_form(run, plan, job_id, verified, store):
    approval = approval_of(plan["hash"], "ada")
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified, approval=approval))
    assert short.pop("record_uri").startswith(store)
    assert short == {
        "state": "promoted",
        "plan_hash": plan["hash"],
        "source_org": "ACME_DEV",
        "target_org": "ACME_TEST",
        "approved_by": "ada",
        "import_job_id": job_id,
        "package_sha256": plan["package"]["sha256"],
        "objects": 11,
        "created": 4,
        "overwritten": 2,
    }


@pytest.mark.parametrize("write", [lambda value: value, json.dumps, str], ids=["plain", "json", "python"])
def test_everything_may_be_text(run, plan, job_id, verified, store, write):
    given = {
        "approval": write(approval_of(plan["hash"], AUTOMATIC)),
        "verified": write(verified),
        "published": write([]),
        "linked": write([]),
        "restored": "None",
        "backup_uri": "None",
    }
    short = run(record(write(plan), audit_uri=store, import_job_id=job_id, **given))
    assert (short["state"], short["approved_by"]) == ("promoted", AUTOMATIC)
    told = read(short["record_uri"])
    assert (told["backup_uri"], told["rollback"], told["published"]) == (None, None, [])


def test_any_storage_will_do(run, plan, job_id, verified, object_store):
    short = run(record(plan, audit_uri=f"{object_store}/audit", import_job_id=job_id, verified=verified))
    assert short["record_uri"].startswith(f"{object_store}/audit/promote/")
    told = read(short["record_uri"])
    assert "OIE_006" in ObjectStoragePath(told["log_uris"]["idmc"]).read_text()


@pytest.mark.parametrize("nowhere", [None, "None", ""])
def test_without_a_place_nothing_is_stored(run, plan, job_id, verified, tmp_path, nowhere):
    before = set(tmp_path.rglob("*"))
    short = run(record(plan, audit_uri=nowhere, import_job_id=job_id, verified=verified))
    assert (short["state"], short["record_uri"]) == ("promoted", None)
    assert set(tmp_path.rglob("*")) == before
    # The next promotion is scheduled all the same.
    assert events(run) == {"infa://ACME_TEST/Sales": short}


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_rejected_promotion(run, plan, store, tmp_path):
    approval = approval_of(plan["hash"], "ada", approved=False)
    short = run(record(plan, audit_uri=store, approval=approval, import_job_id=None))
    assert (short["state"], short["approved_by"], short["import_job_id"]) == ("rejected", None, None)
    told = read(short["record_uri"])
    assert (told["approval"], told["import_job"], told["log_uris"]["idmc"]) == (approval, None, None)
    assert {(row["done"], row["state"], row["new_id"]) for row in told["objects"]} == {(None, None, None)}
    assert [path.name for path in (tmp_path / "audit").rglob("*") if path.is_file()] == ["record.json"]
    assert events(run) == {}


def rejected_again(promotion, plan, package):
    """Another plan of the same run, what a person decided about it, and what tasks that were skipped still have."""
    another = promotion.plan(package, include_objects=["Sales/m_orders"])
    assert another["hash"] != plan["hash"]
    published = [{"path": "Sales/tf_sales_daily", "type": "TASKFLOW", "state": "SUCCESS", "message": None}]
    linked = [{"path": "Sales/mt_orders", "schedule": "nightly", "linked": True}]
    left = {"published": published, "linked": linked, "backup_uri": "s3://b/x"}
    return another, left | {"approval": approval_of(another["hash"], "ada", approved=False)}


def test_a_rejection_after_an_import_of_another_plan(promotion, run, package, plan, job_id, verified, store):
    another, left = rejected_again(promotion, plan, package)
    restored = {"undone": job_id, "plan_hash": plan["hash"], "import_job_id": "x", "restored": [], "created": []}
    given = {**left, "import_job_id": job_id, "verified": verified, "restored": restored}
    short = run(record(another, audit_uri=store, **given))
    assert (short["state"], short["import_job_id"]) == ("rejected", None)
    told = read(short["record_uri"])
    assert (told["import_job"], told["published"], told["linked"]) == (None, [], [])
    assert (told["backup_uri"], told["rollback"]) == (None, None)
    assert {(row["done"], row["state"], row["new_id"]) for row in told["objects"]} == {(None, None, None)}
    assert told["log_uris"]["idmc"] is None
    assert told["approval"]["approved"] is False
    assert events(run) == {}


@pytest.mark.parametrize("name", [None, "by-hand", "by-hand-plan-x"])
def test_a_rejection_of_what_was_imported_does_not_undo_it(promotion, run, package, plan, store, name):
    """Also where nobody tells for which plan the import was: a record must not say that nothing was sent."""
    another, left = rejected_again(promotion, plan, package)
    left["backup_uri"] = None
    job_id = promotion.carry_out(package, another, name=name)
    short = run(record(another, audit_uri=store, import_job_id=job_id, **left))
    assert (short["state"], short["import_job_id"]) == ("failed", job_id)
    told = read(short["record_uri"])
    assert (told["published"], told["linked"]) == (left["published"], left["linked"])
    assert "overwritten" in {row["done"] for row in told["objects"]}


def test_a_promotion_that_stopped_before_the_start(promotion, run, package, plan, store):
    # The package is uploaded, but its job was not started: there is no log.
    job_id = promotion.upload(package)
    short = run(record(plan, audit_uri=store, import_job_id=job_id))
    assert (short["state"], short["import_job_id"]) == ("failed", job_id)
    told = read(short["record_uri"])
    assert (told["import_job"]["state"], told["import_job"]["end_time"]) == ("NOT_STARTED", None)
    assert told["log_uris"]["idmc"] is None
    assert events(run) == {}


@pytest.mark.parametrize("rollback", [False, True])
def test_a_failed_promotion(promotion, run, package, plan, store, tmp_path, rollback):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **arguments))
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"], "message": "Full disk."})
    job_id = promotion.carry_out(package, plan)
    promotion.sim.clear_faults()
    restored = None
    if rollback:
        restored = run(
            lambda: InfaRestoreOperator(
                task_id="r", backup_uri=backup, import_job_id=job_id, plan=plan, rollback=True, **arguments
            )
        )
    short = run(record(plan, audit_uri=store, backup_uri=backup, import_job_id=job_id, restored=restored))
    assert short["state"] == ("rolled back" if rollback else "failed")
    told = read(short["record_uri"])
    assert (told["rollback"], told["backup_uri"]) == (restored, backup)
    assert told["import_job"]["state"] == "FAILED"
    (row,) = [row for row in told["objects"] if row["path"] == "Sales/mt_orders"]
    assert (row["state"], row["done"], row["message"]) == ("FAILED", None, "Full disk.")
    # Record and backup of one promotion lie side by side.
    names = {"backup.json", "package.zip", "record.json", f"import-{job_id}.log"}
    names |= {"restored.json"} if rollback else set()
    assert {path.name for path in (tmp_path / "audit").rglob("*.*") if path.is_file()} == names
    assert short["record_uri"].rpartition("/")[0] == backup
    # Nothing was promoted, so nothing is to be scheduled by it.
    assert events(run) == {}


def test_the_record_of_an_earlier_import_of_the_same_plan_is_kept(
    promotion, run, package, plan, job_id, verified, store
):
    """As when upload alone is cleared: the second job is refused, and the first one stays what changed the org."""
    first = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    told = read(first["record_uri"])
    second = run(record(plan, audit_uri=store, import_job_id=promotion.upload(package)))
    assert second["record_uri"] == first["record_uri"]
    assert read(first["record_uri"])["state"] != "promoted"
    assert read(first["record_uri"].replace("record.json", f"record-{job_id}.json")) == told


def test_the_log_of_an_earlier_import_of_the_same_plan_is_kept(promotion, run, package, plan, store):
    logs = {}
    for fails in (True, False):
        if fails:
            promotion.sim.add_fault("test", {"kind": "fail_job", "method": "POST", "path": "/import/(?!package)"})
        job_id = promotion.carry_out(package, plan)
        promotion.sim.clear_faults()
        told = read(run(record(plan, audit_uri=store, import_job_id=job_id))["record_uri"])
        assert told["import_job"]["id"] == job_id
        uri = told["log_uris"]["idmc"]
        logs[uri] = ObjectStoragePath(uri).read_text()
    # Each record goes on pointing at the log of its own import.
    assert [text.rpartition("Status: ")[2].strip() for text in logs.values()] == ["FAILED", "SUCCESSFUL"]
    assert {uri: ObjectStoragePath(uri).read_text() for uri in logs} == logs


def test_a_rollback_that_had_nothing_to_restore(run, plan, job_id, store):
    restored = {"backup_uri": None, "undone": job_id, "import_job_id": None, "restored": [], "created": [{"path": "x"}]}
    restored["plan_hash"] = plan["hash"]
    short = run(record(plan, audit_uri=store, import_job_id=job_id, restored=restored))
    assert short["state"] == "rolled back"
    assert read(short["record_uri"])["rollback"] == restored


@pytest.mark.parametrize("undone", [False, True])
def test_an_old_verdict_is_not_believed(promotion, run, package, plan, verified, store, undone):
    # The tasks of a run were cleared: Airflow still has what verifying returned the first time.
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"]})
    job_id = promotion.carry_out(package, plan)
    report = {"undone": job_id, "plan_hash": plan["hash"], "import_job_id": "x", "restored": []}
    restored = report if undone else None
    given = {"import_job_id": job_id, "verified": verified, "restored": restored}
    short = run(record(plan, audit_uri=store, **given))
    assert (short["state"], short["import_job_id"]) == ("rolled back" if undone else "failed", job_id)
    told = read(short["record_uri"])
    assert {row["new_id"] for row in told["objects"]} == {None}
    assert told["rollback"] == restored
    assert events(run) == {}


def test_an_old_rollback_is_not_believed(promotion, run, package, plan, job_id, store):
    old = {"undone": job_id, "plan_hash": plan["hash"], "import_job_id": "x", "restored": []}
    again = promotion.carry_out(package, plan)
    short = run(record(plan, audit_uri=store, import_job_id=again, restored=old))
    assert short["state"] == "failed"
    assert read(short["record_uri"])["rollback"] is None
    # And what went well after it did go well.
    verdict = {"import_job_id": again, "plan_hash": plan["hash"], "objects": []}
    short = run(record(plan, audit_uri=store, import_job_id=again, verified=verdict, restored=old))
    assert short["state"] == "promoted"
    assert read(short["record_uri"])["rollback"] is None


@pytest.mark.parametrize("what", ["verified", "restored"])
def test_what_is_said_of_another_plan_is_not_believed(run, plan, job_id, store, what):
    # The plan task alone was cleared: the import job is the same, and so is what was returned the first time.
    said = {"import_job_id": job_id, "undone": job_id, "plan_hash": "0" * 64, "objects": []}
    short = run(record(plan, audit_uri=store, import_job_id=job_id, **{what: said}))
    assert short["state"] == "failed"
    assert events(run) == {}


@pytest.mark.parametrize("approved", [False, True])
def test_an_approval_of_another_plan_is_none(run, plan, store, approved):
    approval = approval_of("0" * 64, "ada", approved=approved)
    short = run(record(plan, audit_uri=store, approval=approval))
    assert (short["state"], short["approved_by"]) == ("failed", None)
    assert read(short["record_uri"])["approval"] is None


def publish(plan):
    arguments = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False}
    return lambda: InfaPublishOperator(task_id="p", plan=plan, **arguments)


@pytest.fixture
def left(promotion, run, plan, job_id):
    """What a failed publication left behind: what its output is for the task that records."""
    fault = {"kind": "fail_publish", "paths": ["Sales/tf_sales_daily"], "message": "No agent runs."}
    promotion.sim.add_fault("test", fault)
    with pytest.raises(IdmcJobFailedError):
        run(publish(plan))
    return run.xcom["return_value"]


def test_a_publication_that_failed_is_on_record(run, plan, job_id, left, store):
    short = run(record(plan, audit_uri=store, import_job_id=job_id, published=left))
    assert short["state"] == "failed"
    (row,) = read(short["record_uri"])["published"]
    assert (row["path"], row["type"], row["message"]) == ("Sales/tf_sales_daily", "TASKFLOW", "No agent runs.")
    assert row["state"] != "SUCCESS"


def test_a_publication_that_fails_after_a_good_run_is_no_promotion(promotion, run, plan, job_id, verified, left, store):
    """As when publishing is cleared: what verifying returned before it still stands, for this plan and this import."""
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified, published=left))
    assert short["state"] == "failed"
    told = read(short["record_uri"])
    assert {row["new_id"] for row in told["objects"]} == {None}
    assert events(run) == {}
    promotion.sim.clear_faults()
    published = run(publish(plan))
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified, published=published))
    assert short["state"] == "promoted"
    assert events(run) == {"infa://ACME_TEST/Sales": short}


@pytest.mark.parametrize("nothing", [None, "None"])
@pytest.mark.parametrize("step", ["published", "linked"])
def test_a_step_that_came_to_nothing_after_a_good_run_is_no_promotion(
    run, plan, job_id, verified, store, logged, step, nothing
):
    """As when it is cleared and fails before it can return anything: its output is given, and there is none."""
    given = {"audit_uri": store, "import_job_id": job_id, "verified": verified}

    def rendered():
        task = record(plan, **given, **{step: "{{ the output of the step }}"})()
        setattr(task, step, nothing)
        return task

    assert run(rendered)["state"] == "failed"
    assert events(run) == {}
    assert f"What verifying returned does not count: {step} came to nothing." in logged()
    # Nothing at all is returned where there is nothing to do, and None given where there is no such step.
    assert run(record(plan, **given, **{step: []}))["state"] == "promoted"
    assert run(record(plan, **given, **{step: None}))["state"] == "promoted"


# --- asset events -----------------------------------------------------------------------------------------------------


def test_there_is_an_event_for_each_project_that_changed(promotion, run, tmp_path, store):
    ids = promotion.ids("release-1") + promotion.ids("release-2")
    with InfaHook("infa_dev") as hook:
        package = hook.download_export_package(promotion.export(ids), tmp_path / "both.zip").path
    plan = promotion.plan(package)
    job_id = promotion.carry_out(package, plan)
    verified = run(
        lambda: InfaVerifyImportOperator(task_id="v", infa_conn_id="infa_test", plan=plan, import_job_id=job_id)
    )
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    assert events(run) == {"infa://ACME_TEST/Sales": short, "infa://ACME_TEST/Finance": short}


def test_projects_whose_assets_stay_as_they_are_have_no_event(promotion, run, package):
    plan = promotion.plan(package, default_conflict_resolution="REUSE", include_objects=["Sales/m_orders"])
    job_id = promotion.carry_out(package, plan)
    verified = {"import_job_id": job_id, "plan_hash": plan["hash"], "objects": []}
    assert run(record(plan, import_job_id=job_id, verified=verified))["state"] == "promoted"
    assert events(run) == {}


def test_the_project_is_the_one_where_things_landed(promotion, run, package):
    plan = promotion.plan(package, projects={"Sales": "Finance"})
    job_id = promotion.carry_out(package, plan)
    verified = {"import_job_id": job_id, "plan_hash": plan["hash"], "objects": []}
    short = run(record(plan, import_job_id=job_id, verified=verified))
    assert events(run) == {"infa://ACME_TEST/Finance": short}


@pytest.mark.parametrize(
    ("org", "project"), [("GCS IICS", "Verkäufe 2026"), ("a@b:c", "Fin & Co #1?"), ("ACME_TEST", "Sales")]
)
def test_dags_can_be_scheduled_by_names_of_any_kind(promotion, run, plan, package, org, project):
    job_id = promotion.carry_out(package, plan, name="by-hand")
    plan["target_org"]["name"] = org
    for row in plan["objects"]:
        row["target"]["path"] = row["target"]["path"].replace("Sales/", f"{project}/")
    plan["hash"] = hash_of(plan)
    verified = {"import_job_id": job_id, "plan_hash": plan["hash"], "objects": []}
    run(record(plan, import_job_id=job_id, verified=verified))
    assert list(events(run)) == [Asset(asset_uri(org, project)).uri]


def test_an_alias_that_no_scheduler_has_seen(run, plan, job_id, verified, store):
    if ALIASES:
        remember_alias("another")
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    assert short["state"] == "promoted"
    # Airflow 2 can't store such an event, and would fail the task.
    assert events(run) == ({} if ALIASES else {"infa://ACME_TEST/Sales": short})


def test_the_outlet_is_an_alias(sim):
    task = InfaRecordPromotionOperator(task_id="r", plan=None)
    assert [type(outlet) for outlet in task.outlets] == [AssetAlias]
    assert task.outlets[0].name == "infa_promotions"


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, "None", ""])
def test_without_a_plan_there_was_no_promotion(sim, run, store, tmp_path, nothing):
    with pytest.raises(AirflowSkipException, match="Nothing was planned"):
        run(record(nothing, audit_uri=store))
    assert not (tmp_path / "audit").exists()
    assert events(run) == {}


def test_a_retry_writes_the_same_record_again(run, plan, job_id, verified, store):
    first = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    told = read(first["record_uri"])
    again = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    assert again == first
    assert {**read(again["record_uri"]), "recorded_at": None} == {**told, "recorded_at": None}


@pytest.mark.parametrize(("argument", "words"), [
    ({"plan": {"x": 1}}, "InfaPlanImportOperator"), ({"approval": "{"}, "approval is neither"),
    ({"verified": "["}, "verified is neither"), ({"restored": [1]}, "restored must be"),
])  # fmt: skip
def test_bad_arguments(run, plan, store, argument, words):
    given = {"plan": plan, **argument}
    with pytest.raises(AirflowFailException, match=words) as error:
        run(record(given.pop("plan"), audit_uri=store, **given))
    assert isinstance(error.value.__cause__, IdmcInputError)


def test_a_place_that_cannot_be_written(run, plan, store, tmp_path):
    (tmp_path / "audit").write_text("a file where a folder should be")
    rejected = {"audit_uri": store, "approval": approval_of(plan["hash"], "ada", approved=False)}
    with pytest.raises(IdmcStorageError, match=rf"'{store}/promote/.*/record\.json' can't be written") as error:
        run(record(plan, **rejected))
    # A retry may find it mended.
    assert not isinstance(error.value, AirflowFailException)
    (tmp_path / "audit").unlink()
    assert read(run(record(plan, **rejected))["record_uri"])["state"] == "rejected"


@pytest.mark.parametrize("kind", ["deny", "expire_session"])
def test_a_log_that_cannot_be_had(promotion, run, plan, job_id, verified, store, logged, kind):
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/log$"})
    with pytest.raises(IdmcUnavailableError):
        run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    assert events(run) == {}
    promotion.sim.clear_faults()
    # A retry has no better chance here, and the record is worth more than the log.
    promotion.sim.add_fault("test", {"kind": kind, "method": "GET", "path": "/log$"})
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    assert short["state"] == "promoted"
    assert read(short["record_uri"])["log_uris"]["idmc"] is None
    assert f"This is not part of the record: GET /public/core/v3/import/{job_id}/log" in logged()


def test_a_job_whose_state_cannot_be_asked_for(promotion, run, plan, package, store):
    # Of an uploaded job that was not started, some orgs may know nothing.
    job_id = promotion.upload(package)
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": f"/import/{job_id}$"})
    short = run(record(plan, audit_uri=store, import_job_id=job_id))
    assert (short["state"], short["import_job_id"]) == ("failed", None)


def test_no_secrets_and_a_word_in_the_log(promotion, run, plan, job_id, verified, store, tmp_path, logged):
    short = run(record(plan, audit_uri=store, import_job_id=job_id, verified=verified))
    text = logged()
    assert f"Promotion into org ACME_TEST: promoted. {short['record_uri']}" in text
    secrets = [connection["password"] for connection in promotion.sim.connections.values()]
    files = [path.read_text() for path in (tmp_path / "audit").rglob("*.*") if path.is_file()]
    assert len(files) == 2
    for content in (text, json.dumps(short), *files):
        assert not [secret for secret in secrets if secret in content]
        assert not re.search(r"INFA-SESSION-ID|sessionId|password", content, re.I)
