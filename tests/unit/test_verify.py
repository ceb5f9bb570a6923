"""After an import: every kind of difference between the plan and the org."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.models import Job, JobState, ObjectResult
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.verify import verify_import

from .idmc_doubles import ORG, USER, V3, Target
from .idmc_plans import BEFORE, plan_of, row

Mocker = requests_mock.Mocker

AFTER = "2026-03-20T05:00:00Z"
WORDS = {"created": "Create object", "overwritten": "Overwrite existing object", "reused": "Reuse existing object"}
ROWS = [
    row("Sales", "Project", "reuse"),
    row("ora_test", "Connection", "map"),
    row("Sales/m", "DTEMPLATE"),
    row("Archive/mt", "MTT", "map", overwrites=True),
    row("Sales/tf", "TASKFLOW", "create"),
]
PLAN = plan_of(*ROWS)
DONE = {
    "Sales": "reused",
    "ora_test": "reused",
    "Sales/m": "overwritten",
    "Archive/mt": "overwritten",
    "Sales/tf": "created",
}


def job_of(done: dict[str, str] | None, state: JobState = JobState.SUCCESSFUL) -> Job:
    """An import job that says what it did, by path; None says nothing of any object."""
    results = None
    if done is not None:
        results = tuple(
            ObjectResult(f"source-{path}", path, "X", state, state.name, WORDS.get(word, word))
            for path, word in done.items()
        )
    return Job("job", None, state, state.name, objects=results)


@pytest.fixture
def target(wire: Mocker) -> Target:
    """The org after an import that did everything."""
    target = Target(wire, *[(r["target"]["path"], r["target"]["type"]) for r in ROWS])
    target.states = {path: {"updatedBy": USER, "updateTime": BEFORE} for path in ("Sales", "ora_test")}
    target.states |= {path: {"updatedBy": USER, "updateTime": AFTER} for path in DONE.keys() - target.states.keys()}
    target.ids[("Sales/tf", "TASKFLOW")] = "new-id"
    return target


def differences(session: Session, job: Job, plan: dict[str, Any] = PLAN) -> list[str]:
    with pytest.raises(errors.IdmcVerificationError) as caught:
        verify_import(session, plan, job)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(f"Org {ORG} does not hold what the plan said; ")
    assert head.endswith(f"of {len(plan['objects'])} objects differ:")
    return [line.strip() for line in lines]


def test_all_as_planned(target: Target, session: Session) -> None:
    assert verify_import(session, PLAN, job_of(DONE)) == [
        {
            "path": r["target"]["path"],
            "type": r["target"]["type"],
            "action": r["action"],
            "done": DONE[r["target"]["path"]],
            "source_id": r["source"]["id"],
            "old_id": r["target"]["id"],
            "new_id": r["target"]["id"] or "new-id",
        }
        for r in ROWS
    ]
    assert target.calls == [5]


def test_a_job_that_tells_nothing_of_its_objects(target: Target, session: Session) -> None:
    """Then the org alone has to show it."""
    rows = verify_import(session, PLAN, job_of(None))
    assert {r["done"] for r in rows} == {None}
    assert rows[-1]["new_id"] == "new-id"


@pytest.mark.parametrize("path", DONE)
def test_something_is_not_there(target: Target, session: Session, path: str) -> None:
    (key,) = [key for key in target.ids if key[0] == path]
    del target.ids[key]
    (line,) = differences(session, job_of(DONE))
    assert line.endswith(f"{path}: planned to {plan_action(path)}, but it is not there.")


def plan_action(path: str) -> str:
    return str(next(r["action"] for r in ROWS if r["target"]["path"] == path))


@pytest.mark.parametrize("path", [path for path in DONE if path != "Sales/tf"])
def test_something_else_is_there(target: Target, session: Session, path: str) -> None:
    (key,) = [key for key in target.ids if key[0] == path]
    target.ids[key] = "another"
    (line,) = differences(session, job_of(DONE))
    assert line.endswith(f"its id was target-{path}, and is now another: it is another object.")


@pytest.mark.parametrize("path", ["Sales/m", "Archive/mt"])
@pytest.mark.parametrize("done", [None, {}, DONE | {"Sales/m": "?", "Archive/mt": "?"}])
def test_something_was_not_overwritten(
    target: Target, session: Session, path: str, done: dict[str, str] | None
) -> None:
    target.states[path] = {"updatedBy": USER, "updateTime": BEFORE}
    (line,) = differences(session, job_of(done))
    assert line.endswith(f"but it is as it was: last changed by {USER} at {BEFORE}.")


def test_idmc_says_that_it_overwrote_within_the_same_second(target: Target, session: Session) -> None:
    target.states["Sales/m"] = {"updatedBy": USER, "updateTime": BEFORE}
    assert verify_import(session, PLAN, job_of(DONE))


@pytest.mark.parametrize(
    ("path", "done"),
    [
        ("Sales", "created"),
        ("Sales", "overwritten"),
        ("Sales/m", "created"),
        ("Sales/m", "reused"),
        ("Sales/tf", "overwritten"),
        ("Sales/tf", "reused"),
    ],
)
def test_idmc_did_something_else(target: Target, session: Session, path: str, done: str) -> None:
    (line,) = differences(session, job_of(DONE | {path: done}))
    assert line.endswith(f"{path}: planned to {plan_action(path)}, but IDMC says that it was {done}.")


def test_an_object_that_failed(target: Target, session: Session) -> None:
    """What a failed object says of itself counts for nothing."""
    target.states["Sales/m"] = {"updatedBy": USER, "updateTime": BEFORE}
    lines = differences(session, job_of(DONE, JobState.FAILED))
    assert lines == [
        f"DTEMPLATE Sales/m: planned to overwrite, but it is as it was: last changed by {USER} at {BEFORE}."
    ]


def test_what_was_reused_may_have_been_edited_meanwhile(target: Target, session: Session) -> None:
    target.states["Sales"] = target.states["ora_test"] = {"updatedBy": "carla", "updateTime": AFTER}
    assert verify_import(session, PLAN, job_of(DONE))


def test_what_was_blocked_is_nothing_to_verify(wire: Mocker, session: Session) -> None:
    Target(wire)
    (found,) = verify_import(session, plan_of(row("Sales/mt", action="blocked")), job_of({}))
    assert (found["done"], found["new_id"]) == (None, None)


def test_everything_is_named_at_once(wire: Mocker, session: Session) -> None:
    Target(wire)
    assert len(differences(session, job_of(DONE))) == len(ROWS)
    many = plan_of(*[row(f"Sales/mt_{n}") for n in range(52)])
    lines = differences(session, job_of({}), many)
    assert (len(lines), lines[-1]) == (51, "... and 2 more")


def test_an_org_that_does_not_answer(wire: Mocker, session: Session) -> None:
    wire.post(f"{V3}/lookup", status_code=503, text="<html>")
    with pytest.raises(errors.IdmcUnavailableError):
        verify_import(session, PLAN, job_of(DONE))


def test_names_of_any_kind(wire: Mocker, session: Session) -> None:
    path = "Größe & 'so'/m \"x\" <b>"
    Target(wire, (path, "MTT")).states[path] = {"updatedBy": USER, "updateTime": AFTER}
    (found,) = verify_import(session, plan_of(row(path)), job_of({path: "overwritten"}))
    assert (found["path"], found["new_id"]) == (path, f"target-{path}")
