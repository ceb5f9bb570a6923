"""Releases and orgs of unusual shape: what is planned is what happens, and a rollback brings it back."""

from __future__ import annotations

import pytest

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.imports import InfaPlanImportOperator
from airflow_provider_infa.operators.publish import InfaPublishOperator
from airflow_provider_infa.operators.verify import InfaVerifyImportOperator

TARGET = {"infa_conn_id": "infa_test"}
WAITING = {"poll_interval": 0.05, "deferrable": False}


def mapping(path, revision, **more):
    return {"path": path, "type": "DTEMPLATE", "definition": {"revision": revision}, **more}


def rows(plan):
    return [(row["source"]["path"], row["target"]["path"], row["action"]) for row in plan["objects"]]


@pytest.fixture
def planned(run, tmp_path):
    """Plan the release, with some wishes."""

    def plan(promotion, **wishes):
        path = promotion.package(tmp_path / "release.zip")
        plan = run(lambda: InfaPlanImportOperator(task_id="plan", package_uri=str(path), **wishes, **TARGET))
        return path, plan

    return plan


@pytest.fixture
def promoted(run, tmp_path):
    """Carry a plan out, with backup and verification, and roll it back; the revisions by path after each."""

    def promote(promotion, path, plan):
        def revisions():
            return {a["path"]: a["definition"]["revision"] for a in promotion.sim.assets("test") if a["definition"]}

        store = f"file://{tmp_path}/store"
        backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **WAITING, **TARGET))
        job_id = promotion.carry_out(path, plan)
        given = {"plan": plan, "import_job_id": job_id, "backup_uri": backup, **TARGET}
        run(lambda: InfaVerifyImportOperator(task_id="v", **given))
        after = revisions()
        run(lambda: InfaRestoreOperator(task_id="r", rollback=True, **WAITING, **given))
        return after, revisions()

    return promote


def test_a_folder_stays_where_it_is_while_its_project_goes_elsewhere(between, planned, promoted):
    old = {"Sales/Common/m": "1", "QA/Common/m": "carla's", "QA/m": "1"}
    promotion = between(
        [mapping("Sales/Common/m", "2"), mapping("Sales/m", "2")],
        [mapping(path, revision) for path, revision in old.items()],
    )
    path, plan = planned(promotion, projects={"Sales": "QA", "Sales/Common": "Sales/Common"})
    assert {("Sales/Common/m", "Sales/Common/m", "overwrite"), ("Sales/m", "QA/m", "overwrite")} <= set(rows(plan))
    after, restored = promoted(promotion, path, plan)
    assert after == {"Sales/Common/m": "2", "QA/Common/m": "carla's", "QA/m": "2"}
    assert restored == old


def test_a_folder_that_shall_stay_must_be_there(between, planned):
    promotion = between([mapping("Sales/Common/m", "2")], [mapping("QA/x", "1")])
    with pytest.raises(Exception, match=r"Sales/Common.*which org ACME_TEST does not have"):
        planned(promotion, projects={"Sales": "QA", "Sales/Common": "Sales/Common"})


def test_verifying_sees_what_went_elsewhere(between, planned, run):
    promotion = between([mapping("Sales/m", "2")], [mapping("Sales/m", "1"), mapping("QA/m", "1")])
    path, plan = planned(promotion)
    specification = {**plan["import_specification"]}
    source = next(row["source"]["id"] for row in plan["objects"] if row["source"]["type"] == "Project")
    target = next(asset["id"] for asset in promotion.sim.assets("test") if asset["path"] == "QA")
    specification["objectSpecification"] = [{"sourceObjectId": source, "targetObjectId": target}]
    job_id = promotion.start(promotion.upload(path), specification)
    with pytest.raises(Exception, match=r"DTEMPLATE Sales/m: planned to overwrite, but .* was overwritten as QA/m"):
        run(lambda: InfaVerifyImportOperator(task_id="v", plan=plan, import_job_id=job_id, **TARGET))


def test_folders_that_become_one(between, planned, promoted):
    promotion = between(
        [mapping("DE/Staging/m_de", "2"), mapping("FR/Staging/m_fr", "2"), mapping("FR/m", "2")],
        [mapping("Sales/m", "1")],
    )
    path, plan = planned(promotion, projects={"DE": "Sales", "FR": "Sales"})
    folders = [row for row in rows(plan) if row[1] == "Sales/Staging"]
    assert [action for _, _, action in folders] == ["create", "reuse"]
    after, restored = promoted(promotion, path, plan)
    assert after == {"Sales/m": "2", "Sales/Staging/m_de": "2", "Sales/Staging/m_fr": "2"}
    assert restored == {"Sales/m": "1", "Sales/Staging/m_de": "2", "Sales/Staging/m_fr": "2"}


def test_a_project_that_another_one_is_mapped_to_is_not_taken_for_made(between, planned):
    """Nothing in the specification would lead there."""
    promotion = between([mapping("A/m", "2"), mapping("B/n", "2")], [mapping("C/x", "1")])
    with pytest.raises(Exception, match="projects maps it to 'B', which org ACME_TEST does not have"):
        planned(promotion, projects={"A": "B"})


def test_what_is_mapped_but_not_included_is_left_alone(between, planned, promoted):
    promotion = between(
        [mapping("S/m", "2"), {"path": "S/mt", "type": "MTT", "uses": ["S/m"], "definition": {"revision": "2"}}],
        [mapping("S/m_prod", "1"), {"path": "S/mt", "type": "MTT", "definition": {"revision": "1"}}],
    )
    rule = {"S/m": {"targetObjectId": promotion.asset("S/m_prod", "DTEMPLATE")["id"]}}
    path, plan = planned(promotion, include_objects=["S/mt"], conflict_resolutions=rule)
    assert [row["target"]["path"] for row in plan["objects"] if row["overwrites"]] == ["S/mt"]
    after, restored = promoted(promotion, path, plan)
    assert after == {"S/m_prod": "1", "S/mt": "2"}
    assert restored == {"S/m_prod": "1", "S/mt": "1"}


@pytest.mark.parametrize("project", ["Explore", "Explorer"])
def test_a_project_may_have_any_name(between, planned, promoted, project):
    promotion = between([mapping(f"{project}/m", "2")], [mapping(f"{project}/m", "1")])
    path, plan = planned(promotion)
    assert (f"{project}/m", f"{project}/m", "overwrite") in rows(plan)
    assert promoted(promotion, path, plan) == ({f"{project}/m": "2"}, {f"{project}/m": "1"})


@pytest.mark.parametrize("type", ["TASKFLOW", "PROCESS"])
@pytest.mark.parametrize(("caller", "called"), [("a", "b"), ("b", "a"), ("x", "q"), ("m", "n")])
def test_what_others_call_is_published_first(between, planned, run, type, caller, called):
    promotion = between(
        [{"path": f"S/{called}", "type": type}, {"path": f"S/{caller}", "type": type, "uses": [f"S/{called}"]}], []
    )
    path, plan = planned(promotion)
    job_id = promotion.carry_out(path, plan)
    published = run(lambda: InfaPublishOperator(task_id="p", plan=plan, import_job_id=job_id, **WAITING, **TARGET))
    assert [row["path"] for row in published] == [f"S/{called}", f"S/{caller}"]
    assert len(promotion.calls("test", "POST", "/publish$")) == 1


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_failed_is_published_again_as_long_as_that_helps(between, run, deferrable):
    """Whatever the order: nobody knows it of what is in the org."""
    chain = ["a", "b", "c"]
    promotion = between([], [
        {"path": f"S/{name}", "type": "TASKFLOW", "uses": [f"S/{used}" for used in chain[n + 1 : n + 2]]}
        for n, name in enumerate(chain)
    ])  # fmt: skip
    if deferrable:
        promotion.end_jobs_after_two_looks()
    objects = [{"path": f"S/{name}", "type": "TASKFLOW"} for name in chain]
    waiting = {**WAITING, "deferrable": deferrable}
    published = run(lambda: InfaPublishOperator(task_id="p", objects=objects, **waiting, **TARGET))
    assert [(row["path"], row["state"]) for row in published] == [(f"S/{name}", "SUCCESS") for name in chain]
    sent = [call["body"]["data"]["attributes"]["assetPaths"] for call in promotion.calls("test", "POST", "/publish$")]
    assert sent == [[f"Explore/S/{name}.TASKFLOW.xml" for name in chain[:n]] for n in (3, 2, 1)]
    assert len(run.deferrals) == 3 * deferrable


def test_a_rollback_publishes_again_what_was_published(between, planned, run, tmp_path):
    def taskflows(revision):
        more = {"type": "TASKFLOW", "published": True, "definition": {"revision": revision}}
        return [{"path": "S/b_sub", **more}, {"path": "S/a_main", "uses": ["S/b_sub"], **more}]

    promotion = between(taskflows("2"), taskflows("1"))
    path, plan = planned(promotion)
    store = f"file://{tmp_path}/store"
    backup = run(lambda: InfaBackupOperator(task_id="b", plan=plan, backup_uri=store, **WAITING, **TARGET))
    job_id = promotion.carry_out(path, plan)
    given = {"plan": plan, "import_job_id": job_id, "backup_uri": backup, **TARGET}
    run(lambda: InfaRestoreOperator(task_id="r", rollback=True, **WAITING, **given))
    there = [a for a in promotion.sim.assets("test") if a["type"] == "TASKFLOW"]
    assert {a["path"]: (a["definition"]["revision"], a["published"]) for a in there} == {
        "S/a_main": ("1", True),
        "S/b_sub": ("1", True),
    }


def test_a_project_that_nobody_has_is_named(between, run, tmp_path):
    promotion = between([mapping("New/Folder/m", "2")], [])
    with InfaHook("infa_dev") as hook:
        job = hook.start_export(promotion.ids(), include_dependencies=False)
        path = hook.download_export_package(job.id, tmp_path / "release.zip").path
    plan = run(lambda: InfaPlanImportOperator(task_id="plan", package_uri=str(path), **TARGET))
    told = "Neither the package nor org ACME_TEST has New/Folder: the import creates that, or fails."
    assert told in plan["warnings"]
