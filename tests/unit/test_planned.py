"""A plan as data: its hash, and plans that were changed by hand."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterator
from typing import Any

import pytest
import requests_mock
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import ACTIONS, VERSION, check_plan, hash_of
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.wishes import Wishes

from .idmc_doubles import API_BASE, ORG, Target
from .idmc_packages import Packed, package_of
from .idmc_plans import plan_of, row

Mocker = requests_mock.Mocker

PLAN = plan_of(
    row("Sales", "Project", "reuse"),
    row("ora", "Connection", "map", target={"path": "ora_test"}),
    row("Sales/m", "DTEMPLATE"),
    row("Sales/mt", "MTT", drift="Changed by carla."),
    row("Sales/tf", "TASKFLOW", "create"),
    import_specification={
        "defaultConflictResolution": "OVERWRITE",
        "includeObjects": ["a", "b"],
        "objectSpecification": [{"sourceObjectId": "source-ora", "targetObjectId": "target-ora"}],
    },
    missing=[{"type": "Connection", "name": "x", "reason": "r", "argument": "a"}],
    schedules={"Sales/mt": "nightly"},
    unscheduled=["Sales/tf"],
    warnings=["w"],
)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all plain values in a plan."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from leaves(inner, (*path, n))
    else:
        yield path


def changed(plan: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    plan = copy.deepcopy(plan)
    inner: Any = plan
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return plan


def matters(path: tuple[Any, ...]) -> bool:
    """Whether a value is sent, or assumed of the target."""
    if path[:1] == ("objects",):
        overwrites = PLAN["objects"][path[1]]["overwrites"]
        state = overwrites and path[2:] in (("target", "updated_by"), ("target", "update_time"))
        identity = len(path) == 4 and path[3] in ("id", "path", "type")
        return state or identity or path[2:] in (("action",), ("overwrites",))
    return path[0] in ("import_specification", "schedules") or path in (("package", "sha256"), ("target_org", "id"))


def test_a_plan_is_accepted_as_it_is() -> None:
    assert check_plan(PLAN) == PLAN
    assert check_plan(json.loads(json.dumps(PLAN))) == PLAN


def test_a_copy_is_returned() -> None:
    assert check_plan(PLAN) is not PLAN


@pytest.mark.parametrize("path", [p for p in leaves(PLAN) if matters(p)], ids=lambda p: ".".join(map(str, p)))
def test_a_change_by_hand_is_found(path: tuple[Any, ...]) -> None:
    value: Any = PLAN
    for step in path:
        value = value[step]
    other = (not value) if isinstance(value, bool) else f"{value}x"
    with pytest.raises(IdmcInputError, match="changed after it was made"):
        check_plan(changed(PLAN, path, other))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("objects",), []),
        (("objects",), PLAN["objects"][:-1]),
        (("objects",), PLAN["objects"][::-1]),
        (("objects",), [*PLAN["objects"], PLAN["objects"][0]]),
        (("import_specification",), {}),
        (("import_specification", "objectSpecification"), []),
        (("import_specification", "more"), None),
        (("objects", 3, "target", "update_time"), None),
        (("schedules",), {}),
        (("schedules",), {"Sales/mt2": "nightly"}),
        (("hash",), "0" * 64),
        (("hash",), PLAN["hash"].upper()),
        (("hash",), None),
    ],
    ids=str,
)
def test_larger_changes_are_found(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(IdmcInputError, match="changed after it was made"):
        check_plan(changed(PLAN, path, value))


@pytest.mark.parametrize(
    "path",
    [p for p in leaves(PLAN) if not matters(p) and p not in (("version",), ("hash",))],
    ids=lambda p: ".".join(map(str, p)),
)
def test_words_do_not_change_the_hash(path: tuple[Any, ...]) -> None:
    assert hash_of(changed(PLAN, path, "other words")) == PLAN["hash"]


def test_the_order_of_keys_does_not_change_the_hash() -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(inner) for inner in value] if isinstance(value, list) else value

    assert hash_of(turned(PLAN)) == PLAN["hash"]


@pytest.mark.parametrize("version", [0, 2, None, "1", 99])
def test_a_plan_of_another_version(version: Any) -> None:
    """Said before the hash, which such a plan may make otherwise."""
    with pytest.raises(IdmcInputError, match=rf"has version {version!r}, this is version {VERSION}: plan again"):
        check_plan({**PLAN, "version": version, "hash": "another"})


def test_a_plan_without_a_version() -> None:
    with pytest.raises(IdmcInputError, match="version None"):
        check_plan({key: value for key, value in PLAN.items() if key != "version"})


@pytest.mark.parametrize(
    "value", [None, [], "plan", 7, {}, {"hash": "x"}, {"objects": [], "import_specification": {}}, PLAN["objects"]]
)
def test_what_is_no_plan(value: Any) -> None:
    with pytest.raises(IdmcInputError, match=r"plan must be what InfaPlanImportOperator returns: plan\.output"):
        check_plan(value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("package",), None),
        (("package",), {}),
        (("package",), "x"),
        (("target_org",), []),
        (("objects",), None),
        (("objects",), 7),
        (("objects",), {"a": 1}),
        (("objects",), "text"),
        (("objects", 0), None),
        (("objects", 0), {}),
        (("objects", 0, "target"), None),
        (("objects", 0, "source"), "x"),
        (("schedules",), {"Sales/mt": {1}}),
        (("import_specification",), {"x": {1, 2}}),
        (("import_specification",), {1: 2, "a": 3}),
    ],
    ids=str,
)
def test_a_plan_that_is_damaged(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(IdmcInputError, match=r"damaged.*plan again"):
        check_plan(changed(PLAN, path, value))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.text(alphabet=string.printable + "äß€\u202e\u2028", min_size=1, max_size=12)
ROWS = st.lists(st.tuples(NAMES, st.sampled_from(["MTT", "Connection"]), st.sampled_from(ACTIONS)), max_size=5)


@settings(max_examples=150)
@given(ROWS, st.dictionaries(st.text(max_size=6), JSON, max_size=3))
def test_a_hash_survives_being_stored(rows: list[tuple[str, str, str]], specification: dict[str, Any]) -> None:
    """XCom stores JSON; what comes back must be the plan that was made."""
    plan = plan_of(*[row(*r) for r in rows], import_specification=specification)
    for stored in (json.dumps(plan), json.dumps(plan, ensure_ascii=False), json.dumps(plan, sort_keys=True, indent=2)):
        assert check_plan(json.loads(stored))["hash"] == plan["hash"]


@settings(max_examples=150)
@given(ROWS, ROWS)
def test_different_promises_have_different_hashes(
    one: list[tuple[str, str, str]], other: list[tuple[str, str, str]]
) -> None:
    """No two lists of paths, types and actions can be written so that they hash alike."""
    plans = [plan_of(*[row(*r) for r in rows]) for rows in (one, other)]
    assert (plans[0]["hash"] == plans[1]["hash"]) == (one == other)


# made from a real plan --------------------------------------------------------------------------------------------


def test_what_people_have_to_do_by_hand(wire: Mocker, session: Session) -> None:
    """Schedules and passwords do not travel."""
    objects = [
        Packed("Sales", "Project"),
        Packed("DEV_AGENTS", "AgentGroup"),
        Packed("ora", "Connection"),
        Packed("sf", "Connection"),
        Packed("Sales/new", "MTT"),
        Packed("Sales/old", "DSS"),
        Packed("Sales/kept", "mtt"),
        Packed("Sales/m", "DTEMPLATE"),
        Packed("Sales/w", "WORKFLOW"),
    ]
    there = [o for o in objects if o.path in ("Sales", "DEV_AGENTS", "sf", "Sales/old", "Sales/kept")]
    Target(wire, *[(o.path, o.type) for o in there])
    wishes = Wishes(projects={"Sales": "Sales"}, conflict_resolutions={"Sales/kept": "REUSE"})
    plan = plan_import(session, package_of(*objects), wishes).to_json()
    assert plan["unscheduled"] == ["Sales/new", "Sales/old", "Sales/w"]
    assert plan["without_password"] == ["ora"]
    assert check_plan(json.loads(json.dumps(plan))) == plan


def test_schedules_are_part_of_the_promise(wire: Mocker, session: Session) -> None:
    """Those of tasks that arrive; a name that the org lacks is found now, not after the import."""
    agents = Packed("AGENTS", "AgentGroup")
    objects = [Packed("Sales", "Project"), Packed("Sales/new", "MTT"), Packed("Sales/kept", "MTT"), agents]
    Target(wire, ("Sales", "Project"), ("Sales/kept", "MTT"), (agents.path, agents.type))
    wire.get(f"{API_BASE}/api/v2/schedule/name/nightly", json={"id": "1", "name": "nightly"})
    wire.get(f"{API_BASE}/api/v2/schedule/name/nigthly", status_code=404, json={"@type": "error", "code": "X"})

    def plan(**schedules: str) -> dict[str, Any]:
        paths = {f"Sales/{name}": schedule for name, schedule in schedules.items()}
        wishes = Wishes(schedules=paths, conflict_resolutions={"Sales/kept": "REUSE"})
        return plan_import(session, package_of(*objects), wishes).to_json()

    without, made = plan(), plan(new="nightly", kept="nightly", other="nigthly")
    assert (without["schedules"], without["unscheduled"]) == ({}, ["Sales/new"])
    assert (made["schedules"], made["unscheduled"]) == ({"Sales/new": "nightly"}, [])
    assert made["hash"] != without["hash"]
    (warning,) = made["warnings"]
    assert "Sales/kept, Sales/other" in warning
    with pytest.raises(IdmcNotFoundError, match=f"Org {ORG} has no schedule 'nigthly'"):
        plan(new="nigthly")
