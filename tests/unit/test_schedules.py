"""Schedules: found by name, linked by their id of version 2."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.schedules import Schedule, find_schedule, link_schedule, schedule_of
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import API_BASE, ORG, SESSION_ID, error_body

Mocker = requests_mock.Mocker

V2 = f"{API_BASE}/api/v2"
NIGHTLY = Schedule("015ZHE09000000000002", "nightly")
TASK_ID = "4JzMQBmnQ1lkb2Hp8uq5vQ"
V2_ERROR = {"@type": "error", "code": "APP_1", "description": "No such thing.", "statusCode": 403}


def answer(schedule: Schedule = NIGHTLY) -> dict[str, Any]:
    return {"@type": "schedule", "id": schedule.id, "name": schedule.name, "interval": "Daily"}


def task(schedule_id: str | None = None, **changes: Any) -> dict[str, Any]:
    return {"@type": "mtTask", "id": "015ZHE0Z0000000000F8", "name": "mt", "scheduleId": schedule_id, **changes}


# finding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("nightly", "nightly"),
        ("every night", "every%20night"),
        ("Q1/Q2", "Q1%2FQ2"),
        ("../../user", "..%2F..%2Fuser"),
        ("a?b#c&d=e", "a%3Fb%23c%26d%3De"),
        ("50%", "50%25"),
        ("nächtlich", "n%C3%A4chtlich"),
    ],
)
def test_by_name(wire: Mocker, session: Session, name: str, path: str) -> None:
    wire.get(f"{V2}/schedule/name/{path}", json=answer(Schedule("1", name)))
    assert find_schedule(session, name) == Schedule("1", name)
    sent = wire.request_history[-1]
    assert sent.url == f"{V2}/schedule/name/{path}"
    # Version 2 knows the session under another name.
    assert sent.headers["icSessionId"] == SESSION_ID
    assert "INFA-SESSION-ID" not in sent.headers
    assert sent.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, error_body("V3API_004", "not found")),
        (403, V2_ERROR),
        (400, V2_ERROR),
        (200, []),
        (200, {}),
        (200, {"@type": "schedule", "id": None, "name": "nightly"}),
    ],
)
def test_a_schedule_that_the_org_lacks(wire: Mocker, session: Session, status: int, body: Any) -> None:
    """How IDMC says so is not documented."""
    wire.get(f"{V2}/schedule/name/nightly", status_code=status, json=body)
    with pytest.raises(errors.IdmcNotFoundError, match=f"Org {ORG} has no schedule 'nightly'"):
        find_schedule(session, "nightly")


@pytest.mark.parametrize("status", [302, 403, 404, 503])
def test_an_outage_is_no_missing_schedule(wire: Mocker, session: Session, status: int) -> None:
    wire.get(f"{V2}/schedule/name/nightly", status_code=status, text="<html>")
    with pytest.raises(errors.IdmcUnavailableError):
        find_schedule(session, "nightly")


# of a task --------------------------------------------------------------------------------------------------------


def test_of_a_task(wire: Mocker, session: Session) -> None:
    wire.get(f"{V2}/mttask/frs/{TASK_ID}", json=task(NIGHTLY.id))
    wire.get(f"{V2}/schedule/{NIGHTLY.id}", json=answer())
    assert schedule_of(session, TASK_ID) == NIGHTLY


@pytest.mark.parametrize("nothing", [task(None), task(""), {"@type": "mtTask", "id": "1"}])
def test_of_a_task_without(wire: Mocker, session: Session, nothing: dict[str, Any]) -> None:
    wire.get(f"{V2}/mttask/frs/{TASK_ID}", json=nothing)
    assert schedule_of(session, TASK_ID) is None


@pytest.mark.parametrize("odd", [[], "x", {"scheduleId": 7}])
def test_of_a_task_that_can_not_be_read(wire: Mocker, session: Session, odd: Any) -> None:
    wire.get(f"{V2}/mttask/frs/{TASK_ID}", json=odd)
    with pytest.raises(errors.IdmcAnswerError, match="mapping task"):
        schedule_of(session, TASK_ID)


# linking ----------------------------------------------------------------------------------------------------------


class Task:
    """A mapping task that keeps what it is told, or does not."""

    def __init__(self, wire: Mocker, schedule_id: str | None, *, keeps: bool = True) -> None:
        self.row = task(schedule_id)
        self.keeps = keeps
        wire.get(f"{V2}/mttask/frs/{TASK_ID}", json=lambda request, context: self.row)
        wire.post(f"{V2}/mttask/{self.row['id']}", json=self._update)

    def _update(self, request: Any, context: Any) -> dict[str, Any]:
        self.sent = request
        if self.keeps:
            self.row["scheduleId"] = request.json()["scheduleId"]
        return self.row


@pytest.mark.parametrize("before", [None, "", "another"])
def test_link(wire: Mocker, session: Session, before: str | None) -> None:
    row = Task(wire, before)
    assert link_schedule(session, TASK_ID, NIGHTLY) is True
    assert row.sent.json() == {"@type": "mtTask", "scheduleId": NIGHTLY.id}
    # Without it, all that is not sent would be emptied.
    assert row.sent.headers["Update-Mode"] == "PARTIAL"
    assert row.sent.headers["icSessionId"] == SESSION_ID
    assert row.sent.headers["Content-Type"] == "application/json"


def test_what_is_linked_is_left_alone(wire: Mocker, session: Session) -> None:
    Task(wire, NIGHTLY.id)
    assert link_schedule(session, TASK_ID, NIGHTLY) is False
    assert {r.method for r in wire.request_history if "/mttask/" in r.url} == {"GET"}


def test_an_update_that_changes_nothing_is_no_success(wire: Mocker, session: Session) -> None:
    Task(wire, None, keeps=False)
    with pytest.raises(errors.IdmcVerificationError, match="'mt' is still not linked to schedule 'nightly'"):
        link_schedule(session, TASK_ID, NIGHTLY)


def test_an_update_that_is_refused(wire: Mocker, session: Session) -> None:
    row = Task(wire, None)
    body = {"@type": "error", "code": "MTT_7", "description": "The task is checked out.", "statusCode": 400}
    wire.post(f"{V2}/mttask/{row.row['id']}", status_code=400, json=body)
    with pytest.raises(errors.IdmcRequestError, match=r"MTT_7: The task is checked out\.") as caught:
        link_schedule(session, TASK_ID, NIGHTLY)
    assert caught.value.code == "MTT_7"


def test_a_task_without_an_id(wire: Mocker, session: Session) -> None:
    Task(wire, None).row["id"] = None
    with pytest.raises(errors.IdmcAnswerError, match="'id' of the mapping task"):
        link_schedule(session, TASK_ID, NIGHTLY)


def test_secrets_stay_out_of_messages(wire: Mocker, session: Session) -> None:
    body = V2_ERROR | {"description": f"session {SESSION_ID} is wrong"}
    wire.get(f"{V2}/schedule/name/nightly", status_code=403, json=body)
    with pytest.raises(errors.IdmcNotFoundError) as caught:
        find_schedule(session, "nightly")
    assert SESSION_ID not in str(caught.value)
