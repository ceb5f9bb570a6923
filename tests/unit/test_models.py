"""The words of the API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.idmc.errors import IdmcAnswerError
from airflow_provider_infa.idmc.models import Asset, Job, JobState, ObjectResult, Reference, full_path, same_type

RUNNING, SUCCESSFUL, WARNING, FAILED = (
    JobState.RUNNING,
    JobState.SUCCESSFUL,
    JobState.WARNING,
    JobState.FAILED,
)


@pytest.mark.parametrize(
    ("word", "running", "ended"),
    [
        # word, state without endTime, state with endTime
        ("NOT_STARTED", JobState.NOT_STARTED, JobState.NOT_STARTED),
        ("QUEUED", RUNNING, RUNNING),
        ("STARTING", RUNNING, RUNNING),
        ("IN_PROGRESS", RUNNING, RUNNING),
        ("In Progress", RUNNING, RUNNING),
        ("IN PROGRESS", RUNNING, RUNNING),
        ("SUCCESSFUL", SUCCESSFUL, SUCCESSFUL),
        ("SUCCESS", SUCCESSFUL, SUCCESSFUL),
        ("Success", SUCCESSFUL, SUCCESSFUL),
        ("COMPLETED", SUCCESSFUL, SUCCESSFUL),
        ("WARNING", WARNING, WARNING),
        ("WARNINGS", WARNING, WARNING),
        ("FAILED", FAILED, FAILED),
        ("Failed", FAILED, FAILED),
        ("ERROR", FAILED, FAILED),
        ("CANCELLED", FAILED, FAILED),
        (" FAILED ", FAILED, FAILED),
        # Nobody knows these: the endTime decides.
        ("PAUSED", RUNNING, FAILED),
        ("SUCCESSFULLY_FAILED", RUNNING, FAILED),
        ("", RUNNING, FAILED),
    ],
)
def test_state_words(word: str, running: JobState, ended: JobState) -> None:
    assert JobState.of(word, ended=False) is running
    assert JobState.of(word, ended=True) is ended


@given(st.text(), st.booleans())
def test_no_made_up_word_is_success(word: str, ended: bool) -> None:
    if word.strip().upper() not in ("SUCCESSFUL", "SUCCESS", "COMPLETED"):
        assert JobState.of(word, ended=ended) is not SUCCESSFUL


def test_ends() -> None:
    assert {state for state in JobState if state.is_end} == {SUCCESSFUL, WARNING, FAILED}


@pytest.mark.parametrize(
    ("parent", "name", "path"),
    [
        ("/Sales", "mt_load", "Sales/mt_load"),
        ("/Sales/Orders", "mt_load", "Sales/Orders/mt_load"),
        ("/Explore/Sales", "mt_load", "Sales/mt_load"),
        ("/Explore/Sales/Ord ers", "mt_ü", "Sales/Ord ers/mt_ü"),
        ("/Explore", "Sales", "Sales"),
        ("/", "Sales", "Sales"),
        ("/SYS", "ora dev", "ora dev"),
        (None, "ora_dev", "ora_dev"),
        ("", "ora_dev", "ora_dev"),
        # Only the first part is a root; projects may bear these names too.
        ("/Explore/Explore/SYS", "x", "Explore/SYS/x"),
        ("/Explorers", "x", "Explorers/x"),
        ("Sales/", "x", "Sales/x"),
    ],
)
def test_full_path(parent: str | None, name: str, path: str) -> None:
    assert full_path(parent, name) == path


def test_same_type() -> None:
    assert same_type("AgentGroup", "AGENTGROUP")
    assert same_type("project", "Project")
    assert not same_type("MTT", "DTEMPLATE")


ASSET: dict[str, Any] = {
    "id": "4JzMQBmn5YWbX1CCECivWK",
    "path": "Sales/mt_orders",
    "type": "MTT",
    "description": "",
    "updatedBy": "deployer",
    "updateTime": "2026-01-26T11:09:48Z",
    "tags": ["rel-12"],
    "sourceControl": {"hash": "abc"},
    "customAttributes": None,
}


def test_asset() -> None:
    asset = Asset.from_wire(ASSET | {"fieldOfTheFuture": 1})
    assert asset.row() == {"id": "4JzMQBmn5YWbX1CCECivWK", "path": "Sales/mt_orders", "type": "MTT"}
    assert asset.row(full=True) == {
        "id": "4JzMQBmn5YWbX1CCECivWK",
        "path": "Sales/mt_orders",
        "type": "MTT",
        "description": "",
        "updated_by": "deployer",
        "update_time": "2026-01-26T11:09:48Z",
        "tags": ["rel-12"],
        "source_control": {"hash": "abc"},
        "custom_attributes": None,
    }


def test_asset_of_lookup_has_fewer_fields() -> None:
    asset = Asset.from_wire({"id": "i", "path": "PROD_RUNTIME", "type": "AgentGroup", "description": None})
    assert (asset.description, asset.tags, asset.source_control) == (None, (), None)


@pytest.mark.parametrize("lacking", ["id", "path", "type"])
@pytest.mark.parametrize("value", [None, 7])
def test_asset_without_its_identity(lacking: str, value: object) -> None:
    with pytest.raises(IdmcAnswerError, match=f"'{lacking}' of an object"):
        Asset.from_wire(ASSET | {lacking: value})


@pytest.mark.parametrize("data", [None, [], "x"])
def test_what_is_no_object(data: object) -> None:
    for read in (Asset.from_wire, Reference.from_wire, ObjectResult.from_wire, Job.from_wire):
        with pytest.raises(IdmcAnswerError):
            read(data)


def test_reference() -> None:
    reference = Reference.from_wire(
        {
            "id": "r",
            "appContextId": "01AU220B000000000002",
            "path": "FF",
            "documentType": "SAAS_CONNECTION",
            "description": None,
            "lastUpdatedTime": "2021-09-25T07:12:53Z",
        }
    )
    assert (reference.id, reference.path, reference.document_type) == ("r", "FF", "SAAS_CONNECTION")
    assert Reference.from_wire({"id": "r", "appContextId": None}).app_context_id is None
    with pytest.raises(IdmcAnswerError, match="'id'"):
        Reference.from_wire({"path": "FF"})


def imported(name: str, state: str, message: str | None = None, **changes: Any) -> dict[str, Any]:
    """An entry of an import job's objects."""
    source = {"id": f"id-{name}", "name": name, "path": "/Sales", "type": "MTT", "description": ""}
    target = {"id": None, "name": name, "path": "/Vertrieb", "type": "MTT", "description": None, "status": None}
    return {"sourceObject": source, "targetObject": target, "status": {"state": state, "message": message}} | changes


def job_answer(state: str, objects: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "id": "9SczgYW6zyufJkDB6Uaduz",
        "createTime": "2026-01-26T09:06:39.000Z",
        "updateTime": "2026-01-26T09:06:39.000Z",
        "name": "release-12",
        "startTime": "2026-01-26T09:06:39.000Z",
        "endTime": "2026-01-26T09:06:42.000Z",
        "status": {"state": state, "message": "as IDMC says"},
        "objects": objects,
    } | changes


def test_result_of_an_import() -> None:
    result = ObjectResult.from_wire(imported("mt_load", "SUCCESSFUL", "Create object"))
    assert result.row() == {
        "id": "id-mt_load",
        "path": "Sales/mt_load",
        "type": "MTT",
        "state": "SUCCESSFUL",
        "message": "Create object",
        "done": "created",
        "target_path": "Vertrieb/mt_load",
    }


def test_result_of_an_export() -> None:
    status = {"state": "SUCCESSFUL", "message": None}
    connection = {"id": "c", "name": "ora_dev", "path": None, "type": "Connection", "status": status}
    project = {"id": "p", "name": "Sales", "path": "/", "type": "Project", "status": status}
    results = [ObjectResult.from_wire(entry) for entry in (connection, project)]
    assert [(r.path, r.target_path, r.done) for r in results] == [("ora_dev", None, None), ("Sales", None, None)]


@pytest.mark.parametrize(
    ("state", "message", "done"),
    [
        ("SUCCESSFUL", "Create object", "created"),
        ("SUCCESSFUL", "Overwrite existing object", "overwritten"),
        ("SUCCESSFUL", "Reuse existing object", "reused"),
        ("SUCCESSFUL", " create OBJECT ", "created"),
        ("SUCCESSFUL", "Something else", None),
        ("SUCCESSFUL", None, None),
        ("FAILED", "Create object", None),
    ],
)
def test_done(state: str, message: str | None, done: str | None) -> None:
    assert ObjectResult.from_wire(imported("x", state, message)).done == done


def test_result_without_a_status() -> None:
    assert ObjectResult.from_wire(imported("x", "") | {"status": None}).state is RUNNING
    assert ObjectResult.from_wire({"name": "x", "status": {"state": "ODD", "message": None}}).state is FAILED


def test_job() -> None:
    job = Job.from_wire(job_answer("SUCCESSFUL"))
    assert (job.id, job.name, job.state, job.word, job.message) == (
        "9SczgYW6zyufJkDB6Uaduz",
        "release-12",
        SUCCESSFUL,
        "SUCCESSFUL",
        "as IDMC says",
    )
    assert job.objects is None
    assert job.end_time == "2026-01-26T09:06:42.000Z"


def test_running_job_with_an_end_before_its_start() -> None:
    """As the documentation's own example of a start shows it."""
    assert Job.from_wire(job_answer("IN_PROGRESS")).state is RUNNING


def test_unknown_word() -> None:
    assert Job.from_wire(job_answer("PAUSED")).state is FAILED
    assert Job.from_wire(job_answer("PAUSED")).word == "PAUSED"
    assert Job.from_wire(job_answer("PAUSED", endTime=None)).state is RUNNING


@pytest.mark.parametrize("changes", [{"id": None}, {"status": None}, {"status": {"state": None}}, {"status": "OK"}])
def test_job_that_can_not_be_read(changes: dict[str, Any]) -> None:
    with pytest.raises(IdmcAnswerError, match="the import job"):
        Job.from_wire(job_answer("SUCCESSFUL", **changes), "the import job")


@pytest.mark.parametrize(
    ("job", "objects", "outcome"),
    [
        ("SUCCESSFUL", ["SUCCESSFUL", "SUCCESSFUL"], SUCCESSFUL),
        ("SUCCESSFUL", ["SUCCESSFUL", "FAILED"], FAILED),
        ("SUCCESSFUL", ["SUCCESSFUL", "WHO_KNOWS"], FAILED),
        ("SUCCESSFUL", [], SUCCESSFUL),
        ("SUCCESSFUL", None, SUCCESSFUL),
        ("WARNING", ["SUCCESSFUL"], WARNING),
        ("WARNING", ["CANCELLED"], FAILED),
        ("FAILED", ["SUCCESSFUL"], FAILED),
        ("IN_PROGRESS", ["FAILED"], RUNNING),
    ],
)
def test_outcome(job: str, objects: list[str] | None, outcome: JobState) -> None:
    entries = None if objects is None else [imported(str(n), word) for n, word in enumerate(objects)]
    assert Job.from_wire(job_answer(job, entries)).outcome is outcome


def test_summary() -> None:
    entries = [
        imported("a", "SUCCESSFUL", "Create object"),
        imported("b", "SUCCESSFUL", "Overwrite existing object"),
        imported("c", "SUCCESSFUL", "Reuse existing object"),
        imported("d", "SUCCESSFUL", "Reuse existing object"),
        imported("e", "WARNING", "Hm"),
        imported("f", "FAILED", "No"),
    ]
    assert Job.from_wire(job_answer("SUCCESSFUL", entries)).summary() == {
        "id": "9SczgYW6zyufJkDB6Uaduz",
        "name": "release-12",
        "state": "SUCCESSFUL",
        "message": "as IDMC says",
        "counts": {
            "objects": 6,
            "successful": 4,
            "warning": 1,
            "failed": 1,
            "created": 1,
            "overwritten": 1,
            "reused": 2,
        },
        "failed": [
            {
                "id": "id-f",
                "path": "Sales/f",
                "type": "MTT",
                "state": "FAILED",
                "message": "No",
                "done": None,
                "target_path": "Vertrieb/f",
            }
        ],
    }


def test_summary_has_the_same_keys_whatever_happened() -> None:
    full = Job.from_wire(job_answer("SUCCESSFUL", [imported("a", "FAILED")])).summary()
    for answer in (job_answer("FAILED"), job_answer("X", []), {"id": "i", "status": {"state": "IN_PROGRESS"}}):
        summary = Job.from_wire(answer).summary()
        assert summary.keys() == full.keys()
        assert summary["counts"].keys() == full["counts"].keys()
        assert summary["failed"] == []
