"""Which assets of the target an import must not overwrite, and what the plan says about them."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.models import Asset
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import Plan
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.source_control import obstacle, source_controlled
from airflow_provider_infa.idmc.wishes import Wishes

from .idmc_doubles import ORG, USER, V3, Target, error_body
from .idmc_packages import Packed, package_of

Mocker = requests_mock.Mocker

SALES = Packed("Sales", "Project")
MAPPING = Packed("Sales/m_orders", "DTEMPLATE")
TASK = Packed("Sales/In/mt_orders", "MTT", ("Sales/m_orders",))
FOLDER = Packed("Sales/In", "Folder")
PACKAGE = package_of(SALES, FOLDER, MAPPING, TASK)
SAME = [(o.path, o.type) for o in (SALES, FOLDER, MAPPING, TASK)]
OBJECTS = f"{V3}/objects"


def asset(path: str, **state: Any) -> Asset:
    return Asset(f"target-{path}", path, "MTT", source_control=state or None)


def queries(wire: Mocker) -> list[str]:
    return [
        parse_qs(urlsplit(r.url).query).get("q", [""])[0] for r in wire.request_history if r.path.endswith("/objects")
    ]


# obstacle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"sourceControlled": False},
        {"sourceControlled": False, "checkedOutBy": "carla"},
        {"sourceControlled": True, "checkedOutBy": USER},
        {"checkedOutBy": USER},
        {"checkedOutBy": None, "hash": "4f1c"},
        {"sourceControlled": None, "checkedOutBy": None},
        {"lastCheckinBy": "carla", "checkedOutBy": ""},
    ],
)
def test_no_obstacle(state: dict[str, Any]) -> None:
    assert obstacle(asset("Sales/mt", **state), USER) is None


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"sourceControlled": True}, "not checked out"),
        ({"sourceControlled": True, "checkedOutBy": None}, "not checked out"),
        ({"sourceControlled": True, "checkedOutBy": "carla"}, "carla has it checked out there, and"),
        (
            {"checkedOutBy": "carla", "checkedOutTime": "2026-03-01T13:37:00Z"},
            "carla .* since 2026-03-01T13:37:00Z, and",
        ),
        # Not the same user: IDMC compares what it stores.
        ({"sourceControlled": True, "checkedOutBy": USER.upper()}, f"{USER.upper()} has it"),
    ],
)
def test_obstacles(state: dict[str, Any], words: str) -> None:
    reason = obstacle(asset("Sales/mt", **state), USER)
    assert reason is not None
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(reason)


# how it is asked --------------------------------------------------------------------------------------------------


def test_nothing_is_asked_about_nothing(wire: Mocker, session: Session) -> None:
    assert source_controlled(session, []) == {}
    assert not wire.request_history


def listing(*rows: dict[str, Any], count: int | None = None) -> dict[str, Any]:
    return {"count": len(rows) if count is None else count, "objects": list(rows)}


def entry(path: str, **state: Any) -> dict[str, Any]:
    return {"id": f"target-{path}", "path": path, "type": "MTT", "sourceControl": state or None}


def test_one_call_if_the_org_filters(wire: Mocker, session: Session) -> None:
    wire.get(
        OBJECTS, json=listing(entry("Sales/other", sourceControlled=True), entry("Sales/mt", checkedOutBy="carla"))
    )
    found = source_controlled(session, [asset("Sales/mt"), asset("Sales/mt2")])
    assert {id: a.source_control for id, a in found.items()} == {"target-Sales/mt": {"checkedOutBy": "carla"}}
    assert queries(wire) == ["sourceControl.sourceControlled==true"]


def test_no_further_page_once_all_are_found(wire: Mocker, session: Session) -> None:
    page = [entry(f"Sales/x{n}", sourceControlled=True) for n in range(199)]
    wire.get(OBJECTS, json=listing(entry("Sales/mt", checkedOutBy="carla"), *page, count=4000))
    source_controlled(session, [asset("Sales/mt")])
    assert len(queries(wire)) == 1


@pytest.mark.parametrize("status", [400, 422])
def test_an_org_that_refuses_the_filter(wire: Mocker, session: Session, status: int) -> None:
    """Then each container is listed, once."""

    def respond(request: Any, context: Any) -> dict[str, Any]:
        q = parse_qs(urlsplit(request.url).query)["q"][0]
        if q.startswith("sourceControl"):
            context.status_code = status
            return error_body("V3API_003", "Unknown field sourceControl.sourceControlled")
        return listing(entry("Sales/mt", checkedOutBy="carla")) if q == "location=='Sales'" else listing()

    wire.get(OBJECTS, json=respond)
    assets = [asset("Sales/mt"), asset("Sales/In/mt"), asset("Sales/mt2")]
    found = source_controlled(session, assets)
    assert {a.path: obstacle(a, USER) for a in found.values()} == {
        "Sales/mt": "carla has it checked out there, and IDMC does not overwrite it."
    }
    assert queries(wire)[1:] == ["location=='Sales'", "location=='Sales/In'"]


def test_a_container_that_can_not_be_listed_is_told(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the org's refusal nor a name that no filter can hold ends the plan, as the import may still succeed."""

    def respond(request: Any, context: Any) -> dict[str, Any]:
        q = parse_qs(urlsplit(request.url).query)["q"][0]
        context.status_code = 200 if q == "location=='Sales'" else 400
        return listing(entry("Sales/mt", checkedOutBy="carla")) if q == "location=='Sales'" else error_body("X", "no")

    wire.get(OBJECTS, json=respond)
    assets = [asset("Hidden/mt"), asset("""Q"uo'te/mt"""), asset("Sales/mt")]
    with caplog.at_level(logging.WARNING):
        assert set(source_controlled(session, assets)) == {"target-Sales/mt"}
    assert "'Hidden' are checked out is not known" in caplog.text
    assert """Q"uo\\'te""" in caplog.text


@pytest.mark.parametrize("status", [403, 503])
def test_other_failures_are_failures(wire: Mocker, session: Session, status: int) -> None:
    wire.get(OBJECTS, status_code=status, json=error_body("X", "no"))
    with pytest.raises((errors.IdmcPermissionError, errors.IdmcUnavailableError)):
        source_controlled(session, [asset("Sales/mt")])


# in the plan ------------------------------------------------------------------------------------------------------


def make(session: Session, **wishes: Any) -> Plan:
    return plan_import(session, PACKAGE, Wishes(**wishes))


def action(plan: Plan, o: Packed) -> str:
    (found,) = [p for p in plan.objects if p.source.id == o.id]
    return found.action


def test_checked_out_by_somebody_else_blocks(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME).control(TASK.path, "MTT", checkedOutBy="carla", checkedOutTime="2026-03-01T13:37:00Z")
    plan = make(session)
    assert (action(plan, TASK), action(plan, MAPPING)) == ("blocked", "overwrite")
    with pytest.raises(errors.IdmcPlanBlockedError) as caught:
        plan.check()
    text = str(caught.value)
    assert "carla has it checked out there since 2026-03-01T13:37:00Z" in text
    assert f"REUSE for {TASK.path!r} in conflict_resolutions, or have it checked out by {USER}." in text
    # What is blocked does not arrive.
    assert plan.to_json()["unscheduled"] == []


def test_the_way_out_that_the_message_names(wire: Mocker, session: Session) -> None:
    target = Target(wire, *SAME)
    target.control(TASK.path, "MTT", checkedOutBy="carla")
    plan = make(session, conflict_resolutions={TASK.path: "REUSE"})
    assert action(plan, TASK) == "reuse"
    plan.check()
    target.controlled[0]["sourceControl"]["checkedOutBy"] = USER
    plan = make(session)
    assert action(plan, TASK) == "overwrite"
    plan.check()


def test_what_is_left_alone_may_be_checked_out(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME).control(TASK.path, "MTT", checkedOutBy="carla")
    plan = make(session, default_conflict_resolution="REUSE")
    assert not plan.blocked
    assert queries(wire) == []


def test_what_an_asset_is_mapped_to_may_not(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME, ("Archive/mt_old", "MTT")).control("Archive/mt_old", "MTT", checkedOutBy="carla")
    rule = {"targetObjectId": "target-Archive/mt_old"}
    assert action(make(session, conflict_resolutions={TASK.path: rule}), TASK) == "blocked"
    rule["conflictResolution"] = "REUSE"
    assert action(make(session, conflict_resolutions={TASK.path: rule}), TASK) == "map"


# drift ------------------------------------------------------------------------------------------------------------


def test_drift_is_shown(wire: Mocker, session: Session) -> None:
    target = Target(wire, *SAME)
    target.states = {
        TASK.path: {"updatedBy": "carla", "updateTime": "2026-03-01T13:37:00Z"},
        MAPPING.path: {"updatedBy": USER, "updateTime": "2026-03-01T13:37:00Z"},
        "Sales": {"updatedBy": "carla", "updateTime": "2026-03-01T13:37:00Z"},
    }
    plan = make(session)
    plan.check()
    data = plan.to_json()
    assert data["drift"] == [TASK.path]
    (row,) = [row for row in data["objects"] if row["drift"]]
    assert row["drift"] == f"Last changed there by carla at 2026-03-01T13:37:00Z, not by {USER}."
    assert (row["action"], row["target"]["updated_by"]) == ("overwrite", "carla")


def test_drift_blocks_if_asked(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME).states = {TASK.path: {"updatedBy": "carla", "updateTime": "2026-03-01T13:37:00Z"}}
    plan = make(session, block_on_drift=True)
    assert (action(plan, TASK), action(plan, MAPPING)) == ("blocked", "overwrite")
    with pytest.raises(errors.IdmcPlanBlockedError, match=r"by carla at .*on_drift='show', or REUSE"):
        plan.check()
    assert not make(session, block_on_drift=True, default_conflict_resolution="REUSE").blocked


@pytest.mark.parametrize("rule", [{}, {"targetObjectId": "target-Archive/mt_old"}])
def test_what_drift_blocks_would_be_overwritten_all_the_same(
    wire: Mocker, session: Session, rule: dict[str, str]
) -> None:
    """What is sent says so: in spite of the block, a backup and the look before the start have to know of it."""
    target = Target(wire, *SAME, ("Archive/mt_old", "MTT"))
    rules: dict[str, Any] = {"conflict_resolutions": {TASK.path: rule}} if rule else {}
    path = "Archive/mt_old" if rule else TASK.path
    target.states = {path: {"updatedBy": "carla", "updateTime": "2026-03-01T13:37:00Z"}}
    shown, blocked = (make(session, block_on_drift=block, **rules).to_json() for block in (False, True))
    assert blocked["import_specification"] == shown["import_specification"]
    (row,) = [row for row in blocked["objects"] if row["action"] == "blocked"]
    assert (row["overwrites"], row["target"]["path"]) == (True, path)
    assert row["reason"] == f"{row['drift']} The import would overwrite it."
    assert blocked["unscheduled"] == shown["unscheduled"] == [path]
    # The hash knows who changed it last, and when.
    target.states[path]["updateTime"] = "2026-03-01T13:38:00Z"
    assert make(session, block_on_drift=True, **rules).to_json()["hash"] != blocked["hash"]


def test_an_org_that_does_not_say_who_changed_it(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    assert make(session, block_on_drift=True).to_json()["drift"] == []


def test_checked_out_wins_over_drift(wire: Mocker, session: Session) -> None:
    target = Target(wire, *SAME)
    target.states = {TASK.path: {"updatedBy": "carla", "updateTime": "2026-03-01T13:37:00Z"}}
    target.control(TASK.path, "MTT", checkedOutBy="carla")
    plan = make(session, block_on_drift=True)
    (blocked,) = plan.blocked
    assert "checked out" in blocked.reason
    assert "carla" in (blocked.drift or "")
    # IDMC refuses to.
    assert not blocked.overwrites
    assert plan.org_name == ORG
