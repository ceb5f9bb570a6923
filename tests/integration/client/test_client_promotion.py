"""A promotion from dev to test with plain client calls, in all weathers."""

from __future__ import annotations

import hashlib
import logging
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.exports import download_package, get_export_log, start_export
from airflow_provider_infa.idmc.imports import get_import_log, start_import, upload_package
from airflow_provider_infa.idmc.jobs import check_outcome, get_job, wait
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import Job, JobKind
from airflow_provider_infa.idmc.objects import list_objects, references
from airflow_provider_infa.idmc.package import read_package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import Plan
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.idmc.wishes import Wishes
from airflow_provider_infa.simulator import Simulator

Connect = Callable[..., Session]

RELEASE = {
    "Sales/m_orders",
    "Sales/mt_orders",
    "Sales/Staging/m load customers",
    "Sales/Staging/mt load customers",
    "Sales/tf_sales_daily",
}
WISHES: dict[str, Any] = {
    "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"},
    "connections": {"ora_dev": "ora_test"},
}


def quick(seconds: float) -> None:
    time.sleep(seconds / 100)


def finished(session: Session, kind: JobKind, job_id: str) -> Job:
    wait(session, kind, job_id, deadline=time.time() + 20, poll_interval=5, sleep=quick)
    return get_job(session, kind, job_id, expand_objects=True)


@dataclass
class Promotion:
    """What a promotion left behind for the test to look at."""

    package: Path
    sha256: str
    plan: Plan
    import_id: str
    job: Job


def promote(dev: Session, target: Session, folder: Path, **wishes: Any) -> Promotion:
    """List, export, download, verify, plan, upload, start, wait: as the operators do it."""
    ids = [asset.id for asset in list_objects(dev, tag="release-1")]
    exported = finished(dev, JobKind.EXPORT, start_export(dev, ids, name="release-1").id)
    check_outcome(exported, JobKind.EXPORT, "ACME_DEV", fail_on_warning=True, log_text="")
    download = download_package(dev, exported.id, folder / "release-1.zip")
    package = read_package(download.path)
    plan = plan_import(target, package, Wishes(**(WISHES | wishes)))
    plan.check()
    import_id = upload_package(target, download.path)
    start_import(target, import_id, name="to test", import_specification=plan.import_specification, sleep=quick)
    job = finished(target, JobKind.IMPORT, import_id)
    return Promotion(download.path, download.sha256, plan, import_id, job)


def content(simulator: Simulator, org: str) -> dict[str, dict[str, Any]]:
    """What an org holds, by path and type."""
    return {f"{row['path']}:{row['type']}": row for row in simulator.assets(org)}


def check_started_once(simulator: Simulator, promotion: Promotion) -> dict[str, Any]:
    """Check that the org's only import ran once, and return it."""
    (job,) = [job for job in simulator.jobs("test") if job["id"] == promotion.import_id]
    assert job["starts"] == 1
    assert sum(other["starts"] for other in simulator.jobs("test")) == 1
    return job


def check_package(simulator: Simulator, promotion: Promotion) -> None:
    """Check that what arrived in test is byte for byte what dev exported."""
    (exported,) = [job for job in simulator.jobs("dev") if job["package_sha256"] == promotion.sha256]
    assert exported["state"] == "SUCCESSFUL"
    assert promotion.sha256 == hashlib.sha256(promotion.package.read_bytes()).hexdigest()
    (imported,) = [job for job in simulator.jobs("test") if job["id"] == promotion.import_id]
    assert imported["package_sha256"] == promotion.sha256


def check_closed(simulator: Simulator, *sessions: Session) -> None:
    for session in sessions:
        session.close()
    for org in ("dev", "test"):
        counts = simulator.sessions(org)
        assert counts["open"] == 0
        assert counts["failed_logins"] == 0
        assert counts["logins"] == counts["logouts"] + counts["expired"]


def check_arrived(before: dict[str, Any], after: dict[str, Any], dev: dict[str, Any]) -> None:
    """Check that the release is in test, mapped to what test has, and nothing else changed."""
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert {key.rpartition(":")[0] for key in changed} == RELEASE | {"Sales/Staging"}
    for key in changed - {"Sales/Staging:Folder"}:
        there, here = after[key], dev[key]
        assert there["definition"] == here["definition"]
        assert there["tags"] == here["tags"]
        assert there["updated_by"] == "deployer"
        assert there["id"] != here["id"]
        if key in before:
            assert there["id"] == before[key]["id"]
        mapped = {"DEV_AGENTS": "TEST_AGENTS", "ora_dev": "ora_test"}
        assert {u["path"] for u in there["uses"]} == {mapped.get(u["path"], u["path"]) for u in here["uses"]}


def check_kept_its_promise(promotion: Promotion) -> None:
    """Check object by object that the import did what the plan said."""
    said = {o.source.id: (o.action, o.target_path) for o in promotion.plan.objects}
    words = {"create": "created", "overwrite": "overwritten", "reuse": "reused", "map": "reused"}
    did = {o.id: (o.done, o.target_path) for o in promotion.job.objects or ()}
    assert did == {id: (words[action], path) for id, (action, path) in said.items()}


# all well ---------------------------------------------------------------------------------------------------------


def test_all_well(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    before, source = content(simulator, "test"), content(simulator, "dev")
    dev, target = connect("dev"), connect("test")
    promotion = promote(dev, target, tmp_path)
    assert promotion.plan.counts == {"create": 4, "overwrite": 2, "reuse": 3, "map": 2, "blocked": 0}
    assert promotion.job.summary()["counts"] == {
        "objects": 11,
        "successful": 11,
        "warning": 0,
        "failed": 0,
        "created": 4,
        "overwritten": 2,
        "reused": 5,
    }
    check_outcome(promotion.job, JobKind.IMPORT, "ACME_TEST", fail_on_warning=True, log_text="")
    job = check_started_once(simulator, promotion)
    assert job["start_requests"] == 1
    # Byte for byte what was planned.
    assert job["specification"] == {"name": "to test", "importSpecification": promotion.plan.import_specification}
    check_kept_its_promise(promotion)
    check_arrived(before, content(simulator, "test"), source)
    check_package(simulator, promotion)
    assert "OIE_006" in get_import_log(target, promotion.import_id)
    check_closed(simulator, dev, target)
    assert simulator.sessions("dev")["logins"] == simulator.sessions("test")["logins"] == 1
    assert content(simulator, "dev") == source


def test_starting_again_attaches(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """A task that is retried or cleared asks first, also in another process."""
    promotion = promote(connect("dev"), connect("test"), tmp_path)
    job, is_new = start_import(connect("test"), promotion.import_id, import_specification={"includeObjects": []})
    assert (job.word, is_new) == ("SUCCESSFUL", False)
    assert check_started_once(simulator, promotion)["start_requests"] == 1


def test_a_plan_that_can_not_succeed_uploads_nothing(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    before = content(simulator, "test")
    with pytest.raises(errors.IdmcPlanBlockedError, match=r"runtime_environments=\{'DEV_AGENTS'"):
        promote(connect("dev"), connect("test"), tmp_path, runtime_environments={})
    assert simulator.jobs("test") == []
    assert content(simulator, "test") == before


@pytest.mark.parametrize("missing", ["omit", "error"])
def test_both_answers_to_a_lookup_of_what_is_missing(
    simulator: Simulator, connect: Connect, tmp_path: Path, missing: str
) -> None:
    simulator.change_settings("test", lookup_missing=missing)
    promotion = promote(connect("dev"), connect("test"), tmp_path)
    assert promotion.plan.counts == {"create": 4, "overwrite": 2, "reuse": 3, "map": 2, "blocked": 0}
    check_kept_its_promise(promotion)


def test_jwt_sessions(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """Their sessions end at a fixed time, here in the middle of the import."""
    for org in ("dev", "test"):
        simulator.change_settings(org, session_kind="jwt", idle_timeout=0.2)
    simulator.change_settings("test", import_seconds=0.4)
    dev, target = connect("dev"), connect("test")
    promotion = promote(dev, target, tmp_path)
    assert simulator.sessions("test")["logins"] > 1
    check_started_once(simulator, promotion)
    check_package(simulator, promotion)


def test_project_mapping_puts_assets_where_the_plan_says(
    simulator: Simulator, connect: Connect, tmp_path: Path
) -> None:
    promotion = promote(connect("dev"), connect("test"), tmp_path, projects={"Sales": "Finance"})
    check_kept_its_promise(promotion)
    after = content(simulator, "test")
    assert "Finance/mt_orders:MTT" in after
    assert "Finance/Staging/mt load customers:MTT" in after
    assert "Sales/Staging:Folder" not in after


def test_reuse_leaves_what_is_there(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    before = content(simulator, "test")
    promotion = promote(connect("dev"), connect("test"), tmp_path, default_conflict_resolution="REUSE")
    check_kept_its_promise(promotion)
    after = content(simulator, "test")
    assert all(after[key] == value for key, value in before.items())
    assert "Sales/tf_sales_daily:TASKFLOW" in after


def test_conflict_rule_for_one_object(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    before = content(simulator, "test")
    rules = {"Sales/m_orders": "REUSE"}
    promotion = promote(connect("dev"), connect("test"), tmp_path, conflict_resolutions=rules)
    check_kept_its_promise(promotion)
    after = content(simulator, "test")
    assert after["Sales/m_orders:DTEMPLATE"] == before["Sales/m_orders:DTEMPLATE"]
    assert after["Sales/mt_orders:MTT"] != before["Sales/mt_orders:MTT"]


@pytest.mark.parametrize(
    "include",
    [
        ["Sales/m_orders"],
        ["Sales/m_orders", "Sales/mt_orders"],
        ["Sales/Staging"],
        ["Sales"],
        [{"path": "Sales/mt_orders", "type": "mtt"}],
    ],
)
def test_include_objects(simulator: Simulator, connect: Connect, tmp_path: Path, include: list[Any]) -> None:
    """What the plan says of the objects that come along is what happens."""
    promotion = promote(connect("dev"), connect("test"), tmp_path, include_objects=include)
    said = {o.source.path: o.action for o in promotion.plan.objects}
    words = {"created": "create", "overwritten": "overwrite"}
    changed = {o.path: words[o.done] for o in promotion.job.objects or () if o.done in words}
    assert changed == {path: action for path, action in said.items() if action in ("create", "overwrite")}


# faults -----------------------------------------------------------------------------------------------------------


def test_everything_goes_wrong_once(
    simulator: Simulator, connect: Connect, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before, source = content(simulator, "test"), content(simulator, "dev")
    for org in ("dev", "test"):
        simulator.add_fault(org, {"kind": "throttle", "times": 2, "path": "/objects|/lookup"})
        simulator.add_fault(org, {"kind": "maintenance", "times": 2, "path": "/login$|/package$"})
        simulator.add_fault(org, {"kind": "maintenance", "times": 1, "status": 200, "path": "/(export|import)/[^/]+$"})
        simulator.add_fault(org, {"kind": "drop_before", "times": 2, "path": "/export$|/import/|/lookup$"})
    simulator.add_fault("dev", {"kind": "throttle", "times": 1, "status": 400, "text": True, "path": "/export$"})
    simulator.add_fault("dev", {"kind": "truncate", "times": 2, "part": 0.6})
    simulator.add_fault("test", {"kind": "drop_after", "times": 1, "method": "POST", "path": "/import/(?!package)"})
    for org in ("dev", "test"):
        simulator.add_fault(org, {"kind": "expire_session", "every": 3})
    dev, target = connect("dev"), connect("test")
    with caplog.at_level(logging.DEBUG):
        promotion = promote(dev, target, tmp_path)
    for org in ("dev", "test"):
        assert [fault for fault in simulator.faults(org) if not fault["struck"]] == []
        assert simulator.sessions(org)["logins"] > 1
    check_started_once(simulator, promotion)
    check_kept_its_promise(promotion)
    check_arrived(before, content(simulator, "test"), source)
    check_package(simulator, promotion)
    assert "not-a-secret" not in caplog.text
    simulator.clear_faults()
    check_closed(simulator, dev, target)


def test_sessions_expire_on_every_third_call(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    for org in ("dev", "test"):
        simulator.add_fault(org, {"kind": "expire_session", "every": 3})
    dev, target = connect("dev"), connect("test")
    promotion = promote(dev, target, tmp_path)
    assert check_started_once(simulator, promotion)["start_requests"] <= 2
    check_kept_its_promise(promotion)
    check_package(simulator, promotion)
    for org in ("dev", "test"):
        # One new login for each time, and none besides.
        (fault,) = simulator.faults(org)
        assert fault["struck"] >= 1
        assert fault["struck"] <= simulator.sessions(org)["logins"] <= fault["struck"] + 1
    simulator.clear_faults()
    check_closed(simulator, dev, target)


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        ({"kind": "drop_after"}, True),
        ({"kind": "drop_before"}, False),
        ({"kind": "maintenance"}, False),
        ({"kind": "maintenance", "status": 200}, False),
        ({"kind": "server_error"}, False),
        ({"kind": "truncate"}, True),
        ({"kind": "expire_session"}, False),
        ({"kind": "throttle", "retry_after": 1}, False),
    ],
    ids=lambda value: "-".join(str(v) for v in value.values()) if isinstance(value, dict) else None,
)
def test_the_answer_to_the_start_is_lost(
    simulator: Simulator, connect: Connect, tmp_path: Path, fault: dict[str, Any], arrives: bool
) -> None:
    start = {"method": "POST", "path": r"/import/(?!package)[^/]+$"}
    simulator.add_fault("test", fault | start | {"times": 1})
    promotion = promote(connect("dev"), connect("test"), tmp_path)
    assert simulator.faults("test")[0]["struck"] == 1
    check_started_once(simulator, promotion)
    # A start that arrived is not sent again; the others are.
    sent = [r for r in simulator.requests("test") if r["method"] == "POST" and r["path"].endswith(promotion.import_id)]
    assert len(sent) == (1 if arrives else 2)
    check_kept_its_promise(promotion)


def test_the_answer_to_the_start_is_lost_while_the_job_runs_long(
    simulator: Simulator, connect: Connect, tmp_path: Path
) -> None:
    simulator.change_settings("test", import_seconds=0.5)
    simulator.add_fault("test", {"kind": "drop_after", "method": "POST", "path": r"/import/(?!package)[^/]+$"})
    promotion = promote(connect("dev"), connect("test"), tmp_path)
    assert check_started_once(simulator, promotion)["start_requests"] == 1


def test_two_workers_start_the_same_job(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """Whoever comes second attaches or is refused; the job runs once."""
    simulator.change_settings("test", import_seconds=0.3)
    promotion = promote(connect("dev"), connect("test"), tmp_path)
    import_id = upload_package(connect("test"), promotion.package)
    sessions = [connect("test") for _ in range(4)]

    def start(session: Session) -> bool:
        try:
            _, is_new = start_import(
                session, import_id, import_specification=promotion.plan.import_specification, sleep=quick
            )
        except errors.IdmcConflictError:
            return False
        return is_new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(start, sessions)) == 1
    (job,) = [job for job in simulator.jobs("test") if job["id"] == import_id]
    assert job["starts"] == 1


def test_downloads_that_never_arrive_whole(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    simulator.add_fault("dev", {"kind": "truncate"})
    dev = connect("dev")
    job = start_export(dev, [asset.id for asset in list_objects(dev, tag="release-1")])
    finished(dev, JobKind.EXPORT, job.id)
    with pytest.raises((errors.IdmcUnavailableError, errors.IdmcPackageError)):
        download_package(connect("dev", retry_timeout=0.0), job.id, tmp_path / "p.zip")
    assert not zipfile.is_zipfile(tmp_path / "p.zip")


def test_a_long_outage_is_an_error_that_says_so(simulator: Simulator, connect: Connect) -> None:
    simulator.add_fault("dev", {"kind": "maintenance"})
    with pytest.raises(errors.IdmcUnavailableError, match="HTTP 503: Service Unavailable") as caught:
        list(list_objects(connect("dev", retry_timeout=0.01)))
    assert caught.value.transient


def test_wrong_password_does_not_lock_the_account(simulator: Simulator, connect: Connect) -> None:
    session = connect("dev", password="a wrong one")
    with ThreadPoolExecutor(8) as pool:
        raised = [pool.submit(lambda: list(list_objects(session))).exception() for _ in range(20)]
    assert {type(error) for error in raised} == {errors.IdmcAuthenticationError}
    counts = simulator.sessions("dev")
    assert (counts["failed_logins"], counts["locked"]) == (1, [])


def test_a_locked_account_is_named(simulator: Simulator, connect: Connect) -> None:
    simulator.change_settings("dev", max_login_attempts=0)
    with pytest.raises(errors.IdmcAuthenticationError, match=r"IDS_086.*administrator"):
        connect("dev").login()


# imports that fail ------------------------------------------------------------------------------------------------


def failure(target: Session, promotion: Promotion) -> str:
    log_text = get_import_log(target, promotion.import_id)
    with pytest.raises(errors.IdmcJobFailedError) as caught:
        check_outcome(promotion.job, JobKind.IMPORT, "ACME_TEST", fail_on_warning=False, log_text=log_text)
    return str(caught.value)


def test_the_whole_import_fails(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    before = content(simulator, "test")
    simulator.add_fault("test", {"kind": "fail_job", "method": "POST", "path": r"/import/(?!package)[^/]+$"})
    dev, target = connect("dev"), connect("test")
    promotion = promote(dev, target, tmp_path)
    assert "ended FAILED: Internal error" in failure(target, promotion)
    assert check_started_once(simulator, promotion)["start_requests"] == 1
    assert content(simulator, "test") == before
    check_package(simulator, promotion)
    check_closed(simulator, dev, target)


@pytest.mark.parametrize("state", ["FAILED", "WARNING", "SUCCESSFUL"])
def test_some_objects_fail(simulator: Simulator, connect: Connect, tmp_path: Path, state: str) -> None:
    """Whatever the job calls itself: an object that failed makes it a failure, and is named."""
    before = content(simulator, "test")
    simulator.change_settings("test", partial_state=state)
    simulator.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"], "message": "Out of luck."})
    dev, target = connect("dev"), connect("test")
    promotion = promote(dev, target, tmp_path)
    assert promotion.job.word == state
    text = failure(target, promotion)
    assert f"ended {state}" in text
    assert "MTT Sales/mt_orders: FAILED: Out of luck." in text
    assert [o.path for o in promotion.job.failed] == ["Sales/mt_orders"]
    assert promotion.job.summary()["counts"]["failed"] == 1
    check_started_once(simulator, promotion)
    after = content(simulator, "test")
    assert after["Sales/mt_orders:MTT"] == before["Sales/mt_orders:MTT"]
    assert after["Sales/m_orders:DTEMPLATE"] != before["Sales/m_orders:DTEMPLATE"]
    check_package(simulator, promotion)
    check_closed(simulator, dev, target)


def test_missing_dependencies_are_explained(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """Somebody takes the connection away between the plan and the start."""
    dev, target = connect("dev"), connect("test")
    ids = [asset.id for asset in list_objects(dev, tag="release-1")]
    exported = finished(dev, JobKind.EXPORT, start_export(dev, ids).id)
    package = download_package(dev, exported.id, tmp_path / "p.zip").path
    import_id = upload_package(target, package)
    # No mapping at all: the runtime environment of dev is not known in test.
    start_import(target, import_id, sleep=quick)
    job = finished(target, JobKind.IMPORT, import_id)
    with pytest.raises(errors.IdmcJobFailedError) as caught:
        check_outcome(
            job, JobKind.IMPORT, "ACME_TEST", fail_on_warning=True, log_text=get_import_log(target, import_id)
        )
    text = str(caught.value)
    assert "needs 'DEV_AGENTS', which org ACME_TEST does not have" in text
    assert "runtime_environments={'DEV_AGENTS': '<name in ACME_TEST>'}" in text


def test_an_asset_that_is_not_checked_out(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    """The plan says so; and what it says would have happened."""
    dev, target = connect("dev"), connect("test")
    exported = finished(dev, JobKind.EXPORT, start_export(dev, [a.id for a in list_objects(dev, tag="release-1")]).id)
    package = read_package(download_package(dev, exported.id, tmp_path / "p.zip").path)
    before = plan_import(target, package, Wishes(**WISHES))
    simulator.edit_asset("test", "Sales/m_orders", "DTEMPLATE", checked_out_by=None)
    plan = plan_import(target, package, Wishes(**WISHES))
    with pytest.raises(errors.IdmcPlanBlockedError, match=r"Sales/m_orders: .*not checked out.*have it checked out"):
        plan.check()
    import_id = upload_package(target, package.path)
    start_import(target, import_id, import_specification=before.import_specification, sleep=quick)
    job = finished(target, JobKind.IMPORT, import_id)
    assert [(o.path, o.word) for o in job.failed] == [("Sales/m_orders", "FAILED")]


def test_a_job_that_never_ends(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    simulator.add_fault("dev", {"kind": "never_end", "method": "POST", "path": "/export$"})
    dev = connect("dev")
    job = start_export(dev, [asset.id for asset in list_objects(dev, tag="release-1")])
    with pytest.raises(errors.IdmcTimeoutError, match=f"{job.id} was still IN_PROGRESS"):
        wait(dev, JobKind.EXPORT, job.id, deadline=time.time() + 0.2, poll_interval=0.05)
    assert "Starting export" in get_export_log(dev, job.id)


def test_no_privilege(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    simulator.add_fault("test", {"kind": "deny"})
    with pytest.raises(errors.IdmcPermissionError, match=r"MigrationSvc_040.*ACME_TEST|ACME_TEST.*MigrationSvc_040"):
        promote(connect("dev"), connect("test"), tmp_path)
    assert sum(job["starts"] for job in simulator.jobs("test")) == 0


def test_a_package_that_was_changed_on_the_way(simulator: Simulator, connect: Connect, tmp_path: Path) -> None:
    dev, target = connect("dev"), connect("test")
    exported = finished(dev, JobKind.EXPORT, start_export(dev, [a.id for a in list_objects(dev, tag="release-1")]).id)
    download = download_package(dev, exported.id, tmp_path / "p.zip")
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(download.path) as old, zipfile.ZipFile(changed, "w") as new:
        for info in old.infolist():
            new.writestr(
                info, old.read(info) + (b" " if info.filename.endswith("tf_sales_daily.TASKFLOW.xml") else b"")
            )
    with pytest.raises(errors.IdmcPackageError, match="tf_sales_daily"):
        read_package(changed)
    with pytest.raises((errors.IdmcPackageError, errors.IdmcRequestError), match="checksum"):
        upload_package(target, changed)
    assert upload_package(target, changed, relax_checksum=True)


# finding things ---------------------------------------------------------------------------------------------------


def test_lists(connect: Connect) -> None:
    dev = connect("dev")
    assert {a.path for a in list_objects(dev, tag="release-1")} == RELEASE
    assert {a.path for a in list_objects(dev, location="Finance/Abschlüsse", types="MTT")} == {
        "Finance/Abschlüsse/mt_jahresabschluß"
    }
    assert {a.type for a in list_objects(dev, types=["MTT", "TASKFLOW"], tag="release-1")} == {"MTT", "TASKFLOW"}
    march = {"updated_after": "2026-03-10T00:00:00Z", "updated_before": "2026-03-11T08:15:00+00:00"}
    assert {a.path for a in list_objects(dev, **march)} == {"Finance/mplt_currency", "Finance/m_ledger"}
    assert {a.updated_by for a in list_objects(dev, updated_by="bjoern")} == {"bjoern"}
    assert len(list(list_objects(dev, limit=3))) == 3


def test_lookups_and_references(connect: Connect) -> None:
    dev = connect("dev")
    name = "Sales/mt_R&D 'pilot'"
    found = lookup(
        dev,
        [
            {"path": name, "type": "MTT"},
            {"path": "ora_dev", "type": "CONNECTION"},
            {"path": "DEV_AGENTS", "type": "AgentGroup"},
            {"path": "Sales", "type": "PROJECT"},
            {"path": "Finance/Abschlüsse", "type": "Folder"},
            {"path": "nowhere", "type": "MTT"},
        ],
        ignore_missing=True,
    )
    assert [a and a.path for a in found] == [name, "ora_dev", "DEV_AGENTS", "Sales", "Finance/Abschlüsse", None]
    assert found[0] is not None
    assert found[1] is not None
    assert {r.path for r in references(dev, found[0].id)} >= {"ora_dev", "ff_landing"}
    assert found[0].id in {r.id for r in references(dev, found[1].id, "usedBy")}


def large_org() -> dict[str, Any]:
    assets = [{"path": f"P/mt_{n:04}", "type": "MTT", "tags": ["all"]} for n in range(1001)]
    return {"orgs": {"dev": {"projects": ["P"], "runtime_environments": ["A"], "assets": assets}}}


def test_a_large_org() -> None:
    with Simulator(large_org(), passwords="not-a-secret") as simulator:
        connection = simulator.connections["infa_dev"]
        with Session(Settings(connection["host"], connection["login"], connection["password"])) as session:
            rows = list(list_objects(session, types="MTT", tag="all"))
            assert len(rows) == 1001
            assert {row.path for row in rows} == {f"P/mt_{n:04}" for n in range(1001)}
            found = lookup(session, [{"path": row.path, "type": row.type} for row in rows])
            assert [a and a.id for a in found] == [row.id for row in rows]
        calls = [request["path"].rpartition("/")[2] for request in simulator.requests("dev")]
        assert calls.count("objects") == 6
        assert calls.count("lookup") == 6
        assert calls.count("login") == calls.count("logout") == 1
