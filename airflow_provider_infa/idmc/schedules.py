"""
Schedules, which no export carries: which one a mapping task has, and linking one by its name.

Sources: Informatica's pages "Mapping tasks", "Update modes" and "Schedules" of REST API version 2; that a task is
linked by a partial update of ``scheduleId``, which takes the schedule's id of version 2, is known from public scripts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_provider_infa.idmc.answers import expect, member, optional
from airflow_provider_infa.idmc.errors import (
    IdmcAnswerError,
    IdmcNotFoundError,
    IdmcPermissionError,
    IdmcRequestError,
    IdmcVerificationError,
)
from airflow_provider_infa.idmc.session import Api, Session


@dataclass(frozen=True)
class Schedule:
    """A schedule. :param id: Id in API version 2, which tasks refer to. :param name: Name, unique in its org."""

    id: str
    name: str


def find_schedule(session: Session, name: str) -> Schedule:
    """
    Find a schedule by its name.

    :param session: Session with the org.
    :param name: Name.
    :raises IdmcNotFoundError: If the org has none of that name.
    """
    try:
        answer = session.get_json(f"/schedule/name/{quote(name, safe='')}", api=Api.V2)
        return _schedule(answer)
    except (IdmcNotFoundError, IdmcPermissionError, IdmcRequestError, IdmcAnswerError) as error:
        # What a missing name answers is not documented; for connections it was seen to be HTTP 403.
        raise IdmcNotFoundError(f"Org {session.login().org_name} has no schedule {name!r} ({error}).") from None


def schedule_of(session: Session, task_id: str) -> Schedule | None:
    """
    The schedule of a mapping task, if it has one.

    :param session: Session with the org.
    :param task_id: Federated id of the task.
    """
    schedule_id = optional(_task(session, task_id), "scheduleId", str, "the mapping task")
    if not schedule_id:
        return None
    return _schedule(session.get_json(f"/schedule/{quote(schedule_id, safe='')}", api=Api.V2))


def link_schedule(session: Session, task_id: str, schedule: Schedule) -> bool:
    """
    Have a mapping task run by a schedule.

    :param session: Session with the org.
    :param task_id: Federated id of the task.
    :param schedule: The schedule.
    :return: Whether that changed anything.
    :raises IdmcVerificationError: If IDMC took the update, and the task still has another schedule.
    """
    task = _task(session, task_id)
    if task.get("scheduleId") == schedule.id:
        return False
    id = member(task, "id", str, "the mapping task")
    body = {"@type": "mtTask", "scheduleId": schedule.id}
    session.post_json(f"/mttask/{quote(id, safe='')}", body, api=Api.V2, headers={"Update-Mode": "PARTIAL"})
    if _task(session, task_id).get("scheduleId") != schedule.id:
        raise IdmcVerificationError(
            f"IDMC took the update, but {task.get('name')!r} is still not linked to schedule {schedule.name!r}. "
            "Link it in the task's page."
        )
    return True


def _task(session: Session, task_id: str) -> dict[str, Any]:
    path = f"/mttask/frs/{quote(task_id, safe='')}"
    return expect(session.get_json(path, api=Api.V2), dict, "the mapping task")


def _schedule(answer: Any) -> Schedule:
    what = "the schedule"
    data = expect(answer, dict, what)
    return Schedule(member(data, "id", str, what), member(data, "name", str, what))
