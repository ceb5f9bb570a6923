"""The audit record: what it says about each way a promotion can end."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_infa.idmc.approval import approval_of
from airflow_provider_infa.idmc.models import Job, JobState, ObjectResult
from airflow_provider_infa.idmc.record import record_of, short_form, state_of

from .idmc_doubles import ORG, ORG_ID, USER
from .idmc_plans import plan_of, row

PLAN = plan_of(row("Sales", "Project", "reuse"), row("Sales/m", "DTEMPLATE"), row("Finance/tf", "TASKFLOW", "create"))
APPROVAL = approval_of(PLAN["hash"], "anna", at="2026-03-20T04:00:00Z")
JOB = Job(
    "import-1",
    "promote",
    JobState.WARNING,
    "WARNING",
    "Two of three.",
    "2026-03-20T05:00:00.000Z",
    "2026-03-20T05:01:00.000Z",
    objects=(
        ObjectResult("source-Sales/m", "Sales/m", "DTEMPLATE", JobState.SUCCESSFUL, "OK", "Overwrite existing object"),
        ObjectResult("source-Finance/tf", "Finance/tf", "TASKFLOW", JobState.FAILED, "FAILED", "Out of luck."),
        ObjectResult("unknown", "x", "X", JobState.SUCCESSFUL, "SUCCESSFUL", None),
    ),
)  # fmt: skip
VERIFIED = {
    "import_job_id": "import-1",
    "plan_hash": PLAN["hash"],
    "objects": [
        {"path": "Sales/m", "type": "DTEMPLATE", "new_id": "n1"},
        {"path": "Finance/tf", "type": "PROCESS", "new_id": "n2"},
    ],
}
RESTORED = {
    "undone": "import-1",
    "plan_hash": PLAN["hash"],
    "import_job_id": "import-2",
    "restored": [],
    "created": [],
}
# What Airflow still has of an earlier run: of another import, or of another plan.
STALE_VERIFIED, STALE_RESTORED = VERIFIED | {"import_job_id": "import-0"}, RESTORED | {"undone": "import-0"}
OUTDATED_VERIFIED, OUTDATED_RESTORED = VERIFIED | {"plan_hash": "p1:old"}, RESTORED | {"plan_hash": "p1:old"}
REJECTION = approval_of(PLAN["hash"], "anna", approved=False)
BLOCKED = plan_of(row("AGENTS", "AgentGroup", "blocked"), row("Sales/m", "DTEMPLATE"))
NOTHING: dict[str, Any] = {
    "approval": None,
    "backup_uri": None,
    "import_job_id": None,
    "job": None,
    "published": None,
    "linked": None,
    "verified": None,
    "restored": None,
    "is_complete": True,
}


@pytest.mark.parametrize(
    ("approval", "verified", "restored", "state"),
    [
        (None, VERIFIED, None, "promoted"),
        (None, VERIFIED | {"objects": []}, None, "promoted"),
        (APPROVAL, VERIFIED, None, "promoted"),
        (APPROVAL, None, None, "failed"),
        (None, None, None, "failed"),
        (None, {}, {}, "failed"),
        (APPROVAL, None, RESTORED, "rolled back"),
        # The import was started, so whatever an approver says to it now, something was sent.
        (REJECTION, None, None, "failed"),
        (REJECTION, VERIFIED, None, "promoted"),
        (REJECTION, None, RESTORED, "rolled back"),
        # What Airflow still has of an earlier run says nothing of this import,
        (APPROVAL, STALE_VERIFIED, None, "failed"),
        (APPROVAL, None, STALE_RESTORED, "failed"),
        (APPROVAL, STALE_VERIFIED, STALE_RESTORED, "failed"),
        (APPROVAL, STALE_VERIFIED, RESTORED, "rolled back"),
        (APPROVAL, VERIFIED, STALE_RESTORED, "promoted"),
        # nor of this plan.
        (APPROVAL, OUTDATED_VERIFIED, None, "failed"),
        (APPROVAL, None, OUTDATED_RESTORED, "failed"),
        (APPROVAL, OUTDATED_VERIFIED, OUTDATED_RESTORED, "failed"),
        (APPROVAL, OUTDATED_VERIFIED, RESTORED, "rolled back"),
        (APPROVAL, VERIFIED, OUTDATED_RESTORED, "promoted"),
        # One that does not tell its plan is of none.
        (APPROVAL, {"import_job_id": "import-1"}, {"undone": "import-1", "plan_hash": None}, "failed"),
        # A backup that was brought back by hand undid no import.
        (APPROVAL, None, RESTORED | {"undone": None}, "failed"),
    ],
)
def test_states_of_an_import_that_was_started(approval: Any, verified: Any, restored: Any, state: str) -> None:
    ended = {"approval": approval, "verified": verified, "restored": restored}
    assert state_of(PLAN, "import-1", is_started=True, is_complete=True, **ended) == state


@pytest.mark.parametrize(("restored", "state"), [(None, "failed"), (RESTORED, "rolled back")])
def test_a_good_verdict_is_outdated_by_a_step_that_failed_since(restored: Any, state: str) -> None:
    """Verifying waits for that step, so Airflow still has what it returned before."""
    done = NOTHING | {"import_job_id": "import-1", "job": JOB, "verified": VERIFIED, "restored": restored}
    assert record_of(PLAN, **done)["state"] == "promoted"
    record = record_of(PLAN, **done | {"is_complete": False})
    assert (record["state"], record["rollback"]) == (state, restored)
    assert {o["new_id"] for o in record["objects"]} == {None}


@pytest.mark.parametrize(
    ("words", "state"),
    [
        ([], "promoted"),
        (["SUCCESS", "Successful"], "promoted"),
        (["SUCCESS", "ERROR"], "failed"),
        # What check_published takes for a failure: a warning, and any word that nobody knows.
        (["WARNING"], "failed"),
        (["NOT_FOUND"], "failed"),
        ([""], "failed"),
        ([None], "failed"),
    ],
)
def test_what_was_not_published_was_not_promoted(words: list[Any], state: str) -> None:
    published = [{"path": f"Sales/tf{n}", "type": "TASKFLOW", "state": word} for n, word in enumerate(words)]
    done = NOTHING | {"import_job_id": "import-1", "job": JOB, "verified": VERIFIED, "published": published}
    record = record_of(PLAN, **done)
    assert (record["state"], record["published"]) == (state, published)


def test_what_publishing_does_not_return_is_no_success() -> None:
    done = NOTHING | {"import_job_id": "import-1", "job": JOB, "verified": VERIFIED}
    for returned in ({"path": "Sales/tf", "type": "TASKFLOW"}, "Sales/tf"):
        assert record_of(PLAN, **done | {"published": [returned]})["state"] == "failed"


@pytest.mark.parametrize("job_id", [None, "import-1"])
@pytest.mark.parametrize(
    ("approval", "verified", "restored", "state"),
    [
        (None, None, None, "failed"),
        (APPROVAL, None, None, "failed"),
        (REJECTION, None, None, "rejected"),
        # What passed through a template is a text, and any text is true.
        (APPROVAL | {"approved": "false"}, None, None, "rejected"),
        (APPROVAL | {"approved": "true"}, None, None, "rejected"),
        (REJECTION, STALE_VERIFIED, STALE_RESTORED, "rejected"),
        (REJECTION, OUTDATED_VERIFIED, OUTDATED_RESTORED, "rejected"),
        (APPROVAL, OUTDATED_VERIFIED, OUTDATED_RESTORED, "failed"),
    ],
)
def test_states_without_an_import(approval: Any, verified: Any, restored: Any, state: str, job_id: str | None) -> None:
    """Whether or not the package was uploaded."""
    ended = {"approval": approval, "verified": verified, "restored": restored}
    assert state_of(PLAN, job_id, is_started=False, is_complete=True, **ended) == state


@pytest.mark.parametrize("job_id", [None, "import-2"])
def test_an_import_is_not_judged_by_another(job_id: str | None) -> None:
    """Also if there is none yet: the run failed before its upload."""
    ended = {"approval": APPROVAL, "verified": VERIFIED, "restored": RESTORED}
    for is_started in (True, False):
        assert state_of(PLAN, job_id, is_started=is_started, is_complete=True, **ended) == "failed"


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (None, "rejected"),
        (JobState.NOT_STARTED, "rejected"),
        (JobState.RUNNING, "failed"),
        (JobState.SUCCESSFUL, "failed"),
        (JobState.WARNING, "failed"),
        (JobState.FAILED, "failed"),
    ],
)
def test_rejected_is_only_what_was_not_started(job: JobState | None, state: str) -> None:
    """A record must not say that nothing was sent when something was."""
    told = job and dataclasses.replace(JOB, state=job)
    record = record_of(PLAN, **NOTHING | {"approval": REJECTION, "import_job_id": "import-1", "job": told})
    assert (record["state"], record["approval"]) == (state, REJECTION)


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize(("job", "verified", "state"), [(None, None, "failed"), (JOB, VERIFIED, "promoted")])
def test_an_approval_of_another_plan_is_not_recorded(approved: bool, job: Any, verified: Any, state: str) -> None:
    """The run was planned again: nobody has decided about this plan, for or against it."""
    stale = approval_of("p1:old", "anna", approved=approved)
    done = {"approval": stale, "import_job_id": "import-1", "job": job, "verified": verified}
    record = record_of(PLAN, **NOTHING | done)
    assert (record["state"], record["approval"]) == (state, None)
    assert short_form(record, None)["approved_by"] is None


def test_everything() -> None:
    record = record_of(
        PLAN,
        approval=APPROVAL,
        backup_uri="s3://b/1",
        import_job_id="import-1",
        job=JOB,
        published=[{"path": "Finance/tf", "state": "SUCCESS"}],
        linked=[{"path": "Sales/mt", "schedule": "nightly", "linked": True}],
        verified=VERIFIED,
        restored=None,
        is_complete=True,
        log_uri="s3://b/1/import-import-1.log",
    )
    assert datetime.fromisoformat(record.pop("recorded_at")).tzinfo is not None
    assert record == {
        "version": 1,
        "state": "promoted",
        "plan_hash": PLAN["hash"],
        "source_org": {"id": "fg1dzqDZ1K3lbHp8uq5vQB", "name": "ACME_DEV"},
        "target_org": {"id": ORG_ID, "name": ORG},
        "user": USER,
        "package_sha256": "0" * 64,
        "approval": APPROVAL,
        "backup_uri": "s3://b/1",
        "import_job": {
            "id": "import-1",
            "state": "WARNING",
            "message": "Two of three.",
            "start_time": "2026-03-20T05:00:00.000Z",
            "end_time": "2026-03-20T05:01:00.000Z",
        },
        "objects": [
            {
                "path": "Sales",
                "type": "Project",
                "planned": "reuse",
                "overwrites": False,
                "reason": "Because of Sales.",
                "done": None,
                "state": None,
                "message": None,
                "source_id": "source-Sales",
                "old_id": "target-Sales",
                "new_id": None,
            },
            {
                "path": "Sales/m",
                "type": "DTEMPLATE",
                "planned": "overwrite",
                "overwrites": True,
                "reason": "Because of Sales/m.",
                "done": "overwritten",
                "state": "OK",
                "message": "Overwrite existing object",
                "source_id": "source-Sales/m",
                "old_id": "target-Sales/m",
                "new_id": "n1",
            },
            {
                "path": "Finance/tf",
                "type": "TASKFLOW",
                "planned": "create",
                "overwrites": False,
                "reason": "Because of Finance/tf.",
                "done": None,
                "state": "FAILED",
                "message": "Out of luck.",
                "source_id": "source-Finance/tf",
                "old_id": None,
                # The new id of a namesake of another type is not this one's.
                "new_id": None,
            },
        ],
        "published": [{"path": "Finance/tf", "state": "SUCCESS"}],
        "linked": [{"path": "Sales/mt", "schedule": "nightly", "linked": True}],
        "rollback": None,
        "log_uri": "s3://b/1/import-import-1.log",
    }
    assert json.loads(json.dumps(record)) == record


def test_a_promotion_that_ended_after_its_plan() -> None:
    record = record_of(PLAN, **NOTHING)
    assert (record["state"], record["import_job"], record["published"]) == ("failed", None, [])
    assert {o["done"] for o in record["objects"]} == {None}
    json.dumps(record)


def test_short_form() -> None:
    done = {"approval": APPROVAL, "import_job_id": "import-1", "job": JOB, "verified": VERIFIED}
    record = record_of(PLAN, **NOTHING | done)
    assert short_form(record, "s3://b/record.json") == {
        "state": "promoted",
        "plan_hash": PLAN["hash"],
        "source_org": "ACME_DEV",
        "target_org": ORG,
        "approved_by": "anna",
        "import_job_id": "import-1",
        "package_sha256": "0" * 64,
        "objects": 3,
        "created": 1,
        "overwritten": 1,
        "record_uri": "s3://b/record.json",
    }
    short = short_form(record_of(PLAN, **NOTHING), None)
    assert (short["approved_by"], short["import_job_id"], short["record_uri"]) == (None, None, None)
    # Airflow 2 stores no event with anything nested.
    assert not [value for value in short.values() if isinstance(value, (dict, list))]


def test_a_blocked_plan_is_a_state_of_its_own() -> None:
    """Not failed: nothing was tried."""
    record = record_of(BLOCKED, **NOTHING | {"approval": {"approved": True, "by": "automatic"}})
    assert (record["state"], record["approval"]) == ("blocked", {"approved": True, "by": "automatic"})
    assert record["objects"][0]["reason"] == "Because of AGENTS."
    # What could not be done needs no approver to say no.
    rejection = approval_of(BLOCKED["hash"], "anna", approved=False)
    assert record_of(BLOCKED, **NOTHING | {"approval": rejection})["state"] == "blocked"


def test_an_import_in_spite_of_a_blocked_plan() -> None:
    """With on_blocked="warn"; its own verdict counts."""
    done = NOTHING | {"import_job_id": "import-1", "job": JOB}
    verified, restored = VERIFIED | {"plan_hash": BLOCKED["hash"]}, RESTORED | {"plan_hash": BLOCKED["hash"]}
    assert record_of(BLOCKED, **done | {"verified": verified})["state"] == "promoted"
    record = record_of(BLOCKED, **done | {"restored": restored})
    assert (record["state"], record["rollback"]) == ("rolled back", restored)


@pytest.mark.parametrize(
    ("verified", "restored"), [(STALE_VERIFIED, STALE_RESTORED), (OUTDATED_VERIFIED, OUTDATED_RESTORED)]
)
def test_what_an_earlier_run_left_is_not_recorded(verified: Any, restored: Any) -> None:
    """Its new ids and its rollback belong to another import, or to another plan."""
    stale = {"verified": verified, "restored": restored}
    record = record_of(PLAN, **NOTHING | {"import_job_id": "import-1", "job": JOB} | stale)
    assert (record["state"], record["rollback"]) == ("failed", None)
    assert {o["new_id"] for o in record["objects"]} == {None}


def test_a_rollback_is_recorded() -> None:
    """With nothing of a verdict, whose new ids would be those before the rollback."""
    done = {"import_job_id": "import-1", "job": JOB, "verified": STALE_VERIFIED, "restored": RESTORED}
    record = record_of(PLAN, **NOTHING | done)
    assert (record["state"], record["rollback"]) == ("rolled back", RESTORED)
    assert {o["new_id"] for o in record["objects"]} == {None}
    assert record_of(PLAN, **NOTHING | done | {"verified": VERIFIED})["rollback"] is None


@pytest.mark.parametrize("job", [JOB, None])
def test_a_blocked_plan_that_an_earlier_run_got_past(job: Job | None) -> None:
    """The job id of then is still at hand, with its verdicts, whether or not IDMC has forgotten the job."""
    stale = {"approval": APPROVAL, "verified": VERIFIED, "restored": RESTORED}
    record = record_of(BLOCKED, **NOTHING | {"import_job_id": "import-1", "job": job} | stale)
    assert (record["state"], record["approval"], record["rollback"]) == ("blocked", None, None)
    assert {o["new_id"] for o in record["objects"]} == {None}
    assert record_of(BLOCKED, **NOTHING | stale)["state"] == "blocked"


def test_without_an_import_nothing_was_promoted_or_rolled_back() -> None:
    """A restore by hand names no import, and a record without one must not take it for a rollback."""
    restored = {"undone": None, "plan_hash": PLAN["hash"]}
    verified = {"import_job_id": None, "plan_hash": PLAN["hash"]}
    for verdicts in ({"verified": None, "restored": restored}, {"verified": verified, "restored": None}):
        ended: dict[str, Any] = {"is_started": False, "is_complete": True, "approval": None, **verdicts}
        assert state_of(PLAN, None, **ended) == "failed"
