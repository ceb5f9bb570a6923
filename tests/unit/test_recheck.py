"""Whether the target still is what a plan assumed: everything that matters is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.wishes import Wishes

from .idmc_doubles import ORG, ORG_ID, USER, V3, Target
from .idmc_packages import Packed, package_of
from .idmc_plans import plan_of, row

Mocker = requests_mock.Mocker

SALES = Packed("Sales", "Project")
FOLDER = Packed("Sales/In", "Folder")
AGENTS = Packed("DEV_AGENTS", "AgentGroup")
ORACLE = Packed("ora_dev", "Connection", ("DEV_AGENTS",))
SALESFORCE = Packed("sf", "Connection")
MAPPING = Packed("Sales/m_orders", "DTEMPLATE", ("ora_dev", "sf"))
TASK = Packed("Sales/In/mt_orders", "MTT", ("DEV_AGENTS", "Sales/m_orders"))
KEPT = Packed("Sales/mt_kept", "MTT")
MOVED = Packed("Sales/mt_moved", "MTT")
NEW = Packed("Sales/tf_new", "TASKFLOW")
NEW_CONNECTION = Packed("ff_new", "Connection")
PACKAGE = package_of(
    SALES, FOLDER, AGENTS, ORACLE, SALESFORCE, MAPPING, TASK, KEPT, MOVED, NEW, NEW_CONNECTION, sha256="5" * 64
)
WISHES = Wishes(
    runtime_environments={"DEV_AGENTS": "TEST_AGENTS"},
    connections={"ora_dev": "ora_test"},
    conflict_resolutions={KEPT.path: "REUSE", MOVED.path: {"targetObjectId": "target-Archive/mt_old"}},
)
#: Two containers, three things mapped by name, one mapped by id, one kept, two overwritten; two will be created.
THERE = [
    ("Sales", "Project"),
    ("Sales/In", "Folder"),
    ("TEST_AGENTS", "AgentGroup"),
    ("ora_test", "Connection"),
    ("sf", "Connection"),
    ("Sales/m_orders", "DTEMPLATE"),
    ("Sales/In/mt_orders", "MTT"),
    ("Sales/mt_kept", "MTT"),
    ("Archive/mt_old", "MTT"),
]
OVERWRITTEN = ("Sales/m_orders", "Sales/In/mt_orders", "Archive/mt_old")
JANUARY, MARCH = "2026-01-20T06:00:12Z", "2026-03-01T13:37:00Z"


@pytest.fixture
def target(wire: Mocker) -> Target:
    target = Target(wire, *THERE)
    target.states = {path: {"updatedBy": USER, "updateTime": JANUARY} for path, _ in THERE}
    target.controlled = []
    target.control("Sales/m_orders", "DTEMPLATE", checkedOutBy=USER, checkedOutTime=JANUARY)
    return target


@pytest.fixture
def plan(target: Target, session: Session) -> dict[str, Any]:
    made = plan_import(session, PACKAGE, WISHES)
    made.check()
    assert made.counts == {"create": 2, "overwrite": 2, "reuse": 4, "map": 3, "blocked": 0}
    return check_plan(made.to_json())


def outdated(session: Session, plan: dict[str, Any]) -> list[str]:
    """The lines of the error, without the first."""
    with pytest.raises(errors.IdmcPlanOutdatedError) as caught:
        check_target(session, plan)
    head, *lines = str(caught.value).splitlines()
    assert f"Org {ORG} has changed since the plan {plan['hash'][:12]} was made" in head
    assert "not started" in head
    return [line.strip() for line in lines]


def hash_now(session: Session) -> str:
    return str(plan_import(session, PACKAGE, WISHES).to_json()["hash"])


# what does not matter ---------------------------------------------------------------------------------------------


def test_nothing_changed(target: Target, session: Session, plan: dict[str, Any]) -> None:
    check_target(session, plan)


def edit_by_somebody(path: str) -> Callable[[Target], None]:
    return lambda target: target.states.update({path: {"updatedBy": "carla", "updateTime": MARCH}})


def add(path: str, type: str) -> Callable[[Target], None]:
    return lambda target: target.ids.update({(path, type.upper()): f"new-{path}"})


HARMLESS: dict[str, Callable[[Target], None]] = {
    "a project was edited": edit_by_somebody("Sales"),
    "a runtime environment was edited": edit_by_somebody("TEST_AGENTS"),
    "a mapped connection was edited": edit_by_somebody("ora_test"),
    "a connection of the same name was edited": edit_by_somebody("sf"),
    "a kept asset was edited": edit_by_somebody("Sales/mt_kept"),
    "a kept asset was checked out": lambda t: t.control("Sales/mt_kept", "MTT", checkedOutBy="carla"),
    "something else came": add("Sales/mt_other", "MTT"),
    "a namesake of another type came": add(NEW.path, "PROCESS"),
    "a project of the connection's name came": add(NEW_CONNECTION.path, "Project"),
    "an overwritten asset was described": lambda t: t.states["Sales/m_orders"].update(description="new"),
    "the promoting user checked it out again": lambda t: t.controlled[0]["sourceControl"].update(checkedOutTime=MARCH),
    "it left source control": lambda t: t.controlled.clear(),
    "something else was checked out": lambda t: t.controlled.append(
        {"id": "x", "path": "X/y", "type": "MTT", "sourceControl": {"checkedOutBy": "carla"}}
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=list(HARMLESS))
def test_what_does_not_matter(
    target: Target, session: Session, plan: dict[str, Any], change: Callable[[Target], None]
) -> None:
    change(target)
    check_target(session, plan)
    # ... nor does it for the plan made again.
    assert hash_now(session) == plan["hash"]


# what matters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "type"), THERE)
def test_something_is_gone(target: Target, session: Session, plan: dict[str, Any], path: str, type: str) -> None:
    del target.ids[(path, type.upper())]
    (line,) = outdated(session, plan)
    assert line.upper().startswith(f"{type} {path}:".upper())
    assert line.endswith("is no longer there.")
    assert hash_now(session) != plan["hash"]


@pytest.mark.parametrize(("path", "type"), THERE)
def test_something_else_is_in_its_place(
    target: Target, session: Session, plan: dict[str, Any], path: str, type: str
) -> None:
    target.ids[(path, type.upper())] = "another"
    (line,) = outdated(session, plan)
    assert f"its id was target-{path}, and is now another." in line


@pytest.mark.parametrize("o", [NEW, NEW_CONNECTION], ids=lambda o: o.type)
def test_something_came_where_something_was_to_be_created(
    target: Target, session: Session, plan: dict[str, Any], o: Packed
) -> None:
    add(o.path, o.type)(target)
    target.states[o.path] = {"updatedBy": "carla", "updateTime": MARCH}
    (line,) = outdated(session, plan)
    assert line.endswith(f"{o.path}: it was missing, and is there now, last changed by carla at {MARCH}.")
    assert hash_now(session) != plan["hash"]


@pytest.mark.parametrize("path", OVERWRITTEN)
@pytest.mark.parametrize("user", ["carla", USER])
def test_what_is_overwritten_was_edited(
    target: Target, session: Session, plan: dict[str, Any], path: str, user: str
) -> None:
    """Also by the promoting user: that is another promotion, or the same one a second time."""
    target.states[path] = {"updatedBy": user, "updateTime": MARCH}
    (line,) = outdated(session, plan)
    assert line.endswith(f"{path}: {user} changed it at {MARCH}; the plan knew it as of {JANUARY}.")
    assert hash_now(session) != plan["hash"]


def test_an_edit_that_leaves_the_time_as_it_was(target: Target, session: Session, plan: dict[str, Any]) -> None:
    """IDMC tells whole seconds."""
    target.states["Sales/m_orders"] = {"updatedBy": "carla", "updateTime": JANUARY}
    assert len(outdated(session, plan)) == 1


@pytest.mark.parametrize("path", OVERWRITTEN[1:])
@pytest.mark.parametrize(("state", "words"), [({"checkedOutBy": "carla"}, "carla has it"), ({}, "not checked out")])
def test_what_is_overwritten_can_not_be_any_more(
    target: Target, session: Session, plan: dict[str, Any], path: str, state: dict[str, Any], words: str
) -> None:
    """A check-out changes no time."""
    target.control(path, "MTT", **state)
    (line,) = outdated(session, plan)
    assert words in line
    assert hash_now(session) != plan["hash"]


def test_the_promoting_user_lost_the_check_out(target: Target, session: Session, plan: dict[str, Any]) -> None:
    target.controlled[0]["sourceControl"]["checkedOutBy"] = None
    (line,) = outdated(session, plan)
    assert "not checked out" in line


def test_what_drift_blocks_is_looked_at_as_well(target: Target, session: Session) -> None:
    """With on_blocked="warn" it is overwritten."""
    path = "Sales/In/mt_orders"
    target.states[path] = {"updatedBy": "carla", "updateTime": JANUARY}
    plan = check_plan(plan_import(session, PACKAGE, replace(WISHES, block_on_drift=True)).to_json())
    assert plan["counts"]["blocked"] == 1
    check_target(session, plan)
    target.states[path] = {"updatedBy": "carla", "updateTime": MARCH}
    (line,) = outdated(session, plan)
    assert line.endswith(f"{path}: carla changed it at {MARCH}; the plan knew it as of {JANUARY}.")
    target.control(path, "MTT", checkedOutBy="carla")
    target.states[path] = {"updatedBy": "carla", "updateTime": JANUARY}
    assert "carla has it checked out" in outdated(session, plan)[0]
    del target.ids[(path, "MTT")]
    assert outdated(session, plan) == [f"MTT {path}: it was to be overwritten, and is no longer there."]


def test_everything_is_named_at_once(target: Target, session: Session, plan: dict[str, Any]) -> None:
    target.ids = {}
    assert len(outdated(session, plan)) == len(THERE)


def test_many_differences_are_counted(wire: Mocker, session: Session) -> None:
    Target(wire)
    lines = outdated(session, plan_of(*[row(f"Sales/mt_{n}") for n in range(53)]))
    assert len(lines) == 51
    assert lines[-1] == "... and 3 more"


# whose org --------------------------------------------------------------------------------------------------------


def test_another_org(wire: Mocker, session: Session) -> None:
    plan = plan_of(row("Sales/mt"), target_org={"id": "p" * 22, "name": "ACME_PROD"})
    with pytest.raises(errors.IdmcWrongOrgError, match=rf"ACME_PROD \(p+\).*{ORG} \({ORG_ID}\). Nothing was started"):
        check_target(session, plan)
    assert len(wire.request_history) == 1


def test_an_org_that_was_renamed_is_the_same(wire: Mocker, session: Session) -> None:
    Target(wire)
    check_target(session, plan_of(row("Sales/mt", action="create"), target_org={"id": ORG_ID, "name": "OLD_NAME"}))


# how it is asked --------------------------------------------------------------------------------------------------


def test_a_thousand_objects_take_a_handful_of_calls(wire: Mocker, session: Session) -> None:
    rows = [row(f"Sales/mt_{n}", target={"updated_by": None, "update_time": None}) for n in range(1000)]
    target = Target(wire, *[(r["target"]["path"], "MTT") for r in rows])
    check_target(session, plan_of(*rows))
    assert target.calls == [200] * 5
    assert len(wire.request_history) == 7  # with the login, and the listing of what is source controlled


def test_nothing_to_overwrite_asks_nothing_about_source_control(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales/kept", "MTT"))
    check_target(session, plan_of(row("Sales/mt", action="create"), row("Sales/kept", action="reuse")))
    assert [r.path.rpartition("/")[2] for r in wire.request_history] == ["login", "lookup"]


@pytest.mark.parametrize("status", [403, 503])
def test_an_org_that_does_not_answer_is_no_org_that_did_not_change(wire: Mocker, session: Session, status: int) -> None:
    wire.post(f"{V3}/lookup", status_code=status, json={})
    with pytest.raises((errors.IdmcPermissionError, errors.IdmcUnavailableError)):
        check_target(session, plan_of(row("Sales/mt", action="create")))


def test_names_of_any_kind(wire: Mocker, session: Session) -> None:
    path = "Größe & 'so'/m \"x\" <b>"
    target = Target(wire, (path, "MTT"))
    target.states[path] = {"updatedBy": USER, "updateTime": JANUARY}
    check_target(session, plan_of(row(path)))
    del target.ids[(path, "MTT")]
    assert outdated(session, plan_of(row(path))) == [f"MTT {path}: it was to be overwritten, and is no longer there."]
