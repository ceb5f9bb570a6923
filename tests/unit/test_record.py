"""The audit record: what it says about each way a promotion can end."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.idmc.approval import approval_of
from airflow_provider_infa.idmc.models import Job, JobState, ObjectResult
from airflow_provider_infa.idmc.record import asset_uris, record_of, short_form, state_of

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
    "objects": [
        {"path": "Sales/m", "type": "DTEMPLATE", "new_id": "n1"},
        {"path": "Finance/tf", "type": "PROCESS", "new_id": "n2"},
    ],
}
RESTORED = {"undone": "import-1", "import_job_id": "import-2", "restored": [], "created": []}
STALE_VERIFIED, STALE_RESTORED = VERIFIED | {"import_job_id": "import-0"}, RESTORED | {"undone": "import-0"}
NOTHING: dict[str, Any] = {
    "approval": None,
    "backup_uri": None,
    "import_job_id": None,
    "job": None,
    "published": None,
    "verified": None,
    "restored": None,
}


@pytest.mark.parametrize(
    ("approval", "verified", "restored", "state"),
    [
        (None, {"import_job_id": "import-1"}, None, "promoted"),
        (None, {"import_job_id": "import-1", "objects": []}, None, "promoted"),
        (APPROVAL, VERIFIED, None, "promoted"),
        (APPROVAL, None, None, "failed"),
        (None, None, None, "failed"),
        (None, {}, {}, "failed"),
        (APPROVAL, None, RESTORED, "rolled back"),
        (approval_of("h", "anna", approved=False), None, None, "rejected"),
        # Nothing was sent, whatever else is at hand.
        (approval_of("h", "anna", approved=False), VERIFIED, RESTORED, "rejected"),
        (approval_of("h", "anna") | {"approved": "false"}, None, None, "rejected"),
        # What Airflow still has of an earlier run says nothing of this import.
        (APPROVAL, STALE_VERIFIED, None, "failed"),
        (APPROVAL, None, STALE_RESTORED, "failed"),
        (APPROVAL, STALE_VERIFIED, STALE_RESTORED, "failed"),
        (APPROVAL, STALE_VERIFIED, RESTORED, "rolled back"),
        (APPROVAL, VERIFIED, STALE_RESTORED, "promoted"),
        # A backup that was brought back by hand undid no import.
        (APPROVAL, None, RESTORED | {"undone": None}, "failed"),
    ],
)
def test_states(approval: Any, verified: Any, restored: Any, state: str) -> None:
    assert state_of(approval, "import-1", verified, restored) == state


@pytest.mark.parametrize("job_id", [None, "import-2"])
def test_an_import_is_not_judged_by_another(job_id: str | None) -> None:
    """Also if there is none yet: the run failed before its upload."""
    assert state_of(APPROVAL, job_id, VERIFIED, RESTORED) == "failed"


def test_everything() -> None:
    record = record_of(
        PLAN,
        approval=APPROVAL,
        backup_uri="s3://b/1",
        import_job_id="import-1",
        job=JOB,
        published=[{"path": "Finance/tf", "state": "SUCCESS"}],
        verified=VERIFIED,
        restored=None,
        log_uri="s3://b/1/import.log",
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
        "rollback": None,
        "log_uri": "s3://b/1/import.log",
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


def test_assets_of_what_changed() -> None:
    plan = plan_of(
        row("Kept", "Project", "reuse"),
        row("Kept/mt", "MTT", "reuse"),
        row("ora", "Connection", "create"),
        row("New", "Project", "create"),
        row("Sales/m", "DTEMPLATE"),
        row("Sales/In/mt", "MTT", "create"),
        row("Blocked/mt", "MTT", "blocked"),
        row("Archive/mt", "MTT", "map", overwrites=True),
        row("Fin & Co/tf", "TASKFLOW", "create"),
    )
    assert list(asset_uris(plan)) == [
        f"infa://{ORG}/Sales",
        f"infa://{ORG}/Archive",
        f"infa://{ORG}/Fin%20%26%20Co",
    ]


@given(st.text(min_size=1, max_size=10).filter(lambda t: "/" not in t), st.text(min_size=1, max_size=10))
def test_names_stay_in_their_place_in_the_uri(project: str, org: str) -> None:
    plan = plan_of(row(f"{project}/mt"), target_org={"id": "x", "name": org})
    (uri,) = asset_uris(plan)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.query, parts.fragment) == ("infa", "", "")
    assert (unquote(parts.netloc), unquote(parts.path)) == (org, f"/{project}")


def test_a_blocked_plan_is_a_state_of_its_own() -> None:
    """Not failed: nothing was tried. An import that ran in spite of it (on_blocked="warn") is judged as any other."""
    blocked = plan_of(row("AGENTS", "AgentGroup", "blocked"), row("Sales/m", "DTEMPLATE"))
    record = record_of(blocked, **NOTHING | {"approval": {"approved": True, "by": "automatic"}})
    assert record["state"] == "blocked"
    assert record["objects"][0]["reason"] == "Because of AGENTS."
    assert record_of(blocked, **NOTHING | {"import_job_id": "import-1", "job": JOB})["state"] == "failed"


def test_what_an_earlier_run_left_is_not_recorded() -> None:
    """Its new ids and its rollback belong to another import."""
    stale = {"verified": STALE_VERIFIED, "restored": STALE_RESTORED}
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


def test_a_blocked_plan_that_an_earlier_run_got_past() -> None:
    """The job id of then is still at hand, and IDMC has forgotten the job."""
    blocked = plan_of(row("AGENTS", "AgentGroup", "blocked"))
    stale = {"verified": VERIFIED, "restored": RESTORED}
    assert record_of(blocked, **NOTHING | stale)["state"] == "blocked"
