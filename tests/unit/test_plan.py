"""What an import would do, and the specification that does exactly that."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcPlanBlockedError
from airflow_provider_infa.idmc.imports import check_specification
from airflow_provider_infa.idmc.package import Package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import Plan, PlannedObject
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.wishes import Wishes

from .idmc_doubles import ORG, ORG_ID, V3, Target
from .idmc_packages import Packed, package_of

Mocker = requests_mock.Mocker

SALES = Packed("Sales", "Project")
STAGING = Packed("Sales/Staging", "Folder")
RUNTIME = Packed("DEV_AGENTS", "AgentGroup")
ORACLE = Packed("ora_dev", "Connection", ("DEV_AGENTS",))
MAPPING = Packed("Sales/m_orders", "DTEMPLATE", ("ora_dev",))
TASK = Packed("Sales/mt_orders", "MTT", ("DEV_AGENTS", "Sales/m_orders", "ora_dev"))
STAGED = Packed("Sales/Staging/mt_customers", "MTT", ("DEV_AGENTS",))
EVERYTHING = (SALES, STAGING, RUNTIME, ORACLE, MAPPING, TASK, STAGED)
PACKAGE = package_of(*EVERYTHING)

#: What the package needs of a target that knows everything by the same name.
SAME = [(o.path, o.type) for o in EVERYTHING]


def make(session: Session, package: Package = PACKAGE, **wishes: Any) -> Plan:
    plan = plan_import(session, package, Wishes(**wishes))
    check_specification(plan.import_specification)
    json.dumps(plan.to_json())
    return plan


def planned(plan: Plan, o: Packed) -> PlannedObject:
    (found,) = [p for p in plan.objects if p.source.id == o.id]
    return found


def entries(plan: Plan) -> dict[str, dict[str, Any]]:
    """The specification's entries by source id, without it."""
    listed = plan.import_specification.get("objectSpecification", [])
    found = {e["sourceObjectId"]: {k: v for k, v in e.items() if k != "sourceObjectId"} for e in listed}
    assert len(found) == len(listed)
    return found


# actions ----------------------------------------------------------------------------------------------------------


def test_everything_exists(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session)
    assert plan.counts == {"create": 0, "overwrite": 3, "reuse": 4, "map": 0, "blocked": 0}
    assert {p.source.path for p in plan.objects if p.action == "overwrite"} == {MAPPING.path, TASK.path, STAGED.path}
    assert plan.import_specification == {"defaultConflictResolution": "OVERWRITE"}
    assert planned(plan, TASK).row() == {
        "source": {"id": TASK.id, "path": "Sales/mt_orders", "type": "MTT"},
        "target": {
            "id": "target-Sales/mt_orders",
            "path": "Sales/mt_orders",
            "type": "MTT",
            "updated_by": None,
            "update_time": None,
        },
        "action": "overwrite",
        "overwrites": True,
        "reason": f"Org {ORG} has it, and default_conflict_resolution says OVERWRITE.",
        "drift": None,
    }
    assert plan.missing == ()
    plan.check()


def test_an_empty_target_with_a_runtime_environment(wire: Mocker, session: Session) -> None:
    Target(wire, ("DEV_AGENTS", "AgentGroup"))
    plan = make(session)
    assert plan.counts == {"create": 6, "overwrite": 0, "reuse": 1, "map": 0, "blocked": 0}
    assert planned(plan, TASK).target_id is None
    assert "password" in planned(plan, ORACLE).reason
    # A connection that will be created is no obstacle, but what a user wants to know.
    assert [p.source.path for p in plan.missing] == ["ora_dev"]
    plan.check()


def test_reuse_by_default(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, default_conflict_resolution="REUSE")
    assert plan.counts["reuse"] == len(EVERYTHING)
    assert plan.import_specification == {"defaultConflictResolution": "REUSE"}
    assert "default_conflict_resolution says REUSE" in planned(plan, TASK).reason


@pytest.mark.parametrize("value", ["overwrite", "KEEP", "x"])
def test_unknown_default(wire: Mocker, session: Session, value: str) -> None:
    with pytest.raises(IdmcInputError, match=f"default_conflict_resolution must be .*{value}"):
        make(session, default_conflict_resolution=value)


def test_only_the_type_and_path_together_make_an_object_the_same(wire: Mocker, session: Session) -> None:
    Target(wire, ("DEV_AGENTS", "AgentGroup"), ("Sales/mt_orders", "DSS"), ("Sales/m_orders", "MTT"))
    plan = make(session)
    assert planned(plan, TASK).action == planned(plan, MAPPING).action == "create"


def test_missing_runtime_environment_blocks(wire: Mocker, session: Session) -> None:
    Target(wire)
    plan = make(session)
    blocked = planned(plan, RUNTIME)
    assert blocked.action == "blocked"
    assert "ora_dev, Sales/mt_orders, Sales/Staging/mt_customers" in blocked.reason
    with pytest.raises(IdmcPlanBlockedError) as caught:
        plan.check()
    text = str(caught.value)
    assert ORG in text
    assert "runtime_environments={'DEV_AGENTS': '<name in ACME_TEST>'}" in text


def test_many_users_are_counted(wire: Mocker, session: Session) -> None:
    Target(wire)
    tasks = [Packed(f"Sales/mt_{n}", "MTT", ("DEV_AGENTS",)) for n in range(5)]
    reason = planned(make(session, package_of(SALES, RUNTIME, *tasks)), RUNTIME).reason
    assert "needed by Sales/mt_0, Sales/mt_1, Sales/mt_2 and 2 more" in reason


# mappings ---------------------------------------------------------------------------------------------------------


def test_names_are_mapped_to_ids(wire: Mocker, session: Session) -> None:
    Target(wire, ("PROD_AGENTS", "AgentGroup"), ("ora_prod", "Connection"), ("Sales", "Project"))
    plan = make(session, runtime_environments={"DEV_AGENTS": "PROD_AGENTS"}, connections={"ora_dev": "ora_prod"})
    assert entries(plan) == {
        RUNTIME.id: {"targetObjectId": "target-PROD_AGENTS"},
        ORACLE.id: {"targetObjectId": "target-ora_prod"},
    }
    assert planned(plan, RUNTIME).row()["target"] == {
        "id": "target-PROD_AGENTS",
        "path": "PROD_AGENTS",
        "type": "AGENTGROUP",
        "updated_by": None,
        "update_time": None,
    }
    assert "runtime_environments maps it to 'PROD_AGENTS'" in planned(plan, RUNTIME).reason
    assert plan.counts["map"] == 2
    plan.check()


def test_a_mapping_to_the_same_name_needs_no_entry(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(
        session,
        runtime_environments={"DEV_AGENTS": "DEV_AGENTS"},
        connections={"ora_dev": "ora_dev"},
        projects={"Sales": "Sales"},
    )
    assert entries(plan) == {}
    assert plan.counts["map"] == 0


def test_the_mapped_name_wins_over_the_same_name(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME, ("ora_other", "Connection"))
    plan = make(session, connections={"ora_dev": "ora_other"})
    assert entries(plan) == {ORACLE.id: {"targetObjectId": "target-ora_other"}}


def test_everything_missing_is_named_at_once(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales", "Project"))
    plan = make(
        session,
        runtime_environments={"DEV_AGENTS": "PROD_AGENT"},
        connections={"ora_dev": "ora_prod"},
        projects={"Sales/Staging": "Landing"},
    )
    assert {p.source.path for p in plan.blocked} == {"DEV_AGENTS", "ora_dev", "Sales/Staging"}
    with pytest.raises(IdmcPlanBlockedError) as caught:
        plan.check()
    lines = str(caught.value).splitlines()
    assert "3 of 7 objects are blocked" in lines[0]
    for name, wanted, argument in [
        ("DEV_AGENTS", "'PROD_AGENT'", "runtime_environments={'DEV_AGENTS': "),
        ("ora_dev", "'ora_prod'", "connections={'ora_dev': "),
        ("Sales/Staging", "'Landing'", "projects={'Sales/Staging': "),
    ]:
        (line,) = [line for line in lines if f" {name}: " in line]
        assert wanted in line
        assert f"Set {argument}" in line
    assert plan.to_json()["missing"][0].keys() == {"type", "name", "reason", "argument"}
    assert {row["name"] for row in plan.to_json()["missing"]} == {"DEV_AGENTS", "ora_dev", "Sales/Staging"}


def test_project_mapping_moves_what_lies_in_it(wire: Mocker, session: Session) -> None:
    Target(wire, ("Vertrieb", "Project"), ("DEV_AGENTS", "AgentGroup"), ("Vertrieb/mt_orders", "MTT"))
    plan = make(session, projects={"Sales": "Vertrieb"})
    assert {p.source.path: (p.action, p.target_path) for p in plan.objects} == {
        "Sales": ("map", "Vertrieb"),
        "Sales/Staging": ("create", "Vertrieb/Staging"),
        "DEV_AGENTS": ("reuse", "DEV_AGENTS"),
        "ora_dev": ("create", "ora_dev"),
        "Sales/m_orders": ("create", "Vertrieb/m_orders"),
        "Sales/mt_orders": ("overwrite", "Vertrieb/mt_orders"),
        "Sales/Staging/mt_customers": ("create", "Vertrieb/Staging/mt_customers"),
    }
    assert entries(plan) == {SALES.id: {"targetObjectId": "target-Vertrieb"}}


def test_the_longest_mapped_container_decides(wire: Mocker, session: Session) -> None:
    Target(wire, ("Vertrieb", "Project"), ("Landing/In", "Folder"), ("DEV_AGENTS", "AgentGroup"))
    plan = make(session, projects={"Sales": "Vertrieb", "Sales/Staging": "Landing/In"})
    assert planned(plan, STAGED).target_path == "Landing/In/mt_customers"
    assert planned(plan, TASK).target_path == "Vertrieb/mt_orders"
    assert entries(plan) == {
        SALES.id: {"targetObjectId": "target-Vertrieb"},
        STAGING.id: {"targetObjectId": "target-Landing/In"},
    }


def test_a_folder_can_become_a_project_and_a_project_a_folder(wire: Mocker, session: Session) -> None:
    Target(wire, ("Landing", "Project"), ("All/Sales", "Folder"), ("DEV_AGENTS", "AgentGroup"))
    plan = make(session, projects={"Sales": "All/Sales", "Sales/Staging": "Landing"})
    assert plan.counts["map"] == 2
    assert planned(plan, TASK).target_path == "All/Sales/mt_orders"
    assert planned(plan, STAGED).target_path == "Landing/mt_customers"


def test_project_mapping_is_no_mapping_of_what_begins_alike(wire: Mocker, session: Session) -> None:
    other = Packed("SalesOld", "Project")
    task = Packed("SalesOld/mt", "MTT")
    connection = Packed("Sales", "Connection")
    Target(wire, ("Vertrieb", "Project"))
    plan = make(session, package_of(SALES, other, task, connection), projects={"Sales": "Vertrieb"})
    assert planned(plan, task).target_path == "SalesOld/mt"
    # A connection bears the bare name of a project here.
    assert planned(plan, connection).target_path == "Sales"
    assert list(entries(plan)) == [SALES.id]


def test_a_project_mapping_that_nothing_would_carry_out(wire: Mocker, session: Session) -> None:
    """The package holds no object for the project, so the specification can't map it: IDMC would put the task into
    Sales whatever the plan says.
    """
    Target(wire, ("Vertrieb", "Project"))
    package = package_of(Packed("Sales/mt", "MTT"))
    with pytest.raises(IdmcInputError, match="projects maps 'Sales'"):
        make(session, package, projects={"Sales": "Vertrieb"})
    # A table of mappings may name more than this package holds.
    assert make(session, package, projects={"HR": "Vertrieb"}).objects[0].target_path == "Sales/mt"


# conflict rules ---------------------------------------------------------------------------------------------------


def test_rules_by_id_path_and_type(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(
        session,
        conflict_resolutions={TASK.id: "REUSE", "Sales/m_orders": "REUSE", "mtt": "OVERWRITE"},
        default_conflict_resolution="REUSE",
    )
    assert entries(plan) == {
        TASK.id: {"conflictResolution": "REUSE"},
        MAPPING.id: {"conflictResolution": "REUSE"},
        STAGED.id: {"conflictResolution": "OVERWRITE"},
    }
    assert [planned(plan, o).action for o in (TASK, MAPPING, STAGED)] == ["reuse", "reuse", "overwrite"]
    assert "conflict_resolutions says OVERWRITE" in planned(plan, STAGED).reason


def test_a_rule_for_a_type_fits_in_any_case(wire: Mocker, session: Session) -> None:
    odd = Packed("Sales/mt_odd", "Mtt")
    Target(wire, *SAME)
    plan = make(session, package_of(*EVERYTHING, odd), conflict_resolutions={"MTT": "REUSE"})
    assert set(entries(plan)) == {TASK.id, STAGED.id, odd.id}


def test_the_id_wins_over_the_path_and_the_path_over_the_type(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, conflict_resolutions={"MTT": "OVERWRITE", TASK.path: "OVERWRITE", TASK.id: "REUSE"})
    assert entries(plan)[TASK.id] == {"conflictResolution": "REUSE"}
    plan = make(session, conflict_resolutions={"MTT": "OVERWRITE", TASK.path: "REUSE"})
    assert entries(plan)[TASK.id] == {"conflictResolution": "REUSE"}


def test_fields_pass_through(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    flags = [{"key": "mapping_conflict_existing", "value": "RETAIN"}]
    rule = {"conflictResolution": "OVERWRITE", "additionalProviderFlags": flags, "mergeTagsSomehow": True}
    plan = make(session, conflict_resolutions={"MTT": rule})
    assert entries(plan) == {TASK.id: rule, STAGED.id: rule}


def test_fields_pass_through_for_what_will_be_created(wire: Mocker, session: Session) -> None:
    Target(wire, ("DEV_AGENTS", "AgentGroup"))
    flags = [{"key": "mapping_conflict_new", "value": "RESET"}]
    plan = make(session, conflict_resolutions={TASK.path: {"additionalProviderFlags": flags}})
    assert planned(plan, TASK).action == "create"
    assert entries(plan) == {TASK.id: {"additionalProviderFlags": flags}}


def test_a_rule_without_a_resolution_leaves_the_default(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, conflict_resolutions={TASK.path: {"mergeTagsSomehow": True}})
    assert planned(plan, TASK).action == "overwrite"
    assert "default_conflict_resolution" in planned(plan, TASK).reason


def test_a_rule_can_not_become_one_for_another_object(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    rule = {"sourceObjectId": MAPPING.id, "conflictResolution": "REUSE"}
    with pytest.raises(IdmcInputError, match="sourceObjectId"):
        make(session, conflict_resolutions={TASK.path: rule})


def test_target_object_id(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME, ("Archive/mt_old", "MTT"))
    plan = make(session, conflict_resolutions={TASK.path: {"targetObjectId": "target-Archive/mt_old"}})
    assert planned(plan, TASK).action == "map"
    assert planned(plan, TASK).target_path == "Archive/mt_old"
    assert entries(plan) == {TASK.id: {"targetObjectId": "target-Archive/mt_old"}}


def test_target_object_id_that_the_target_does_not_have(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, conflict_resolutions={TASK.path: {"targetObjectId": "nowhere"}})
    assert planned(plan, TASK).action == "blocked"
    with pytest.raises(IdmcPlanBlockedError, match=r"'nowhere'.*\n?.*targetObjectId in conflict_resolutions"):
        plan.check()


@pytest.mark.parametrize(
    ("key", "argument"),
    [
        (ORACLE.path, "connections"),
        (ORACLE.id, "connections"),
        ("Connection", "connections"),
        ("CONNECTION", "connections"),
        (RUNTIME.path, "runtime_environments"),
        ("AgentGroup", "runtime_environments"),
        (SALES.path, "projects"),
        (STAGING.path, "projects"),
        ("Project", "projects"),
        ("FOLDER", "projects"),
    ],
)
def test_rules_for_what_idmc_never_overwrites_are_refused(
    wire: Mocker, session: Session, key: str, argument: str
) -> None:
    Target(wire, *SAME)
    with pytest.raises(IdmcInputError, match=f"assets only. Map it with {argument}"):
        make(session, conflict_resolutions={key: "OVERWRITE"})


@pytest.mark.parametrize("key", ["Sales/mt_ordres", "Other/mt_orders", "x" * 22])
def test_rules_for_what_is_not_there_are_refused(wire: Mocker, session: Session, key: str) -> None:
    Target(wire, *SAME)
    with pytest.raises(IdmcInputError, match=f"conflict_resolutions names '{key}'"):
        make(session, conflict_resolutions={key: "REUSE"})


def test_a_rule_for_a_type_that_did_not_come_along_is_none(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    assert entries(make(session, conflict_resolutions={"TASKFLOW": "REUSE"})) == {}


@pytest.mark.parametrize("rule", [None, 5, True, ["OVERWRITE"], [{"conflictResolution": "OVERWRITE"}]])
def test_rules_that_are_none_are_refused(wire: Mocker, session: Session, rule: Any) -> None:
    Target(wire, *SAME)
    with pytest.raises(IdmcInputError, match=r"^conflict_resolutions\['MTT'\] must be OVERWRITE, REUSE or a") as error:
        make(session, conflict_resolutions={"MTT": rule})
    assert f"not {rule!r}." in str(error.value)


@pytest.mark.parametrize("value", [None, "", [], {}])
@pytest.mark.parametrize("field", ["conflictResolution", "targetObjectId", "additionalProviderFlags"])
@pytest.mark.parametrize("key", [TASK.id, TASK.path, "MTT", "TASKFLOW"])
def test_fields_without_a_value_are_refused(wire: Mocker, session: Session, key: str, field: str, value: Any) -> None:
    """IDMC would get a null, and the plan promise something; also for a type that did not come along this time."""
    Target(wire, *SAME)
    with pytest.raises(IdmcInputError, match=re.escape(f"conflict_resolutions['{key}']")) as error:
        make(session, conflict_resolutions={key: {"mergeTags": True, field: value}})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("flag", [{"key": None}, {"key": ["a"]}, {"value": "RESET"}, "a"])
def test_provider_flags_without_a_name_are_refused(wire: Mocker, session: Session, flag: Any) -> None:
    Target(wire, *SAME)
    with pytest.raises(IdmcInputError, match=r"conflict_resolutions\['MTT'\] must be a mapping, or a list of key and"):
        make(session, conflict_resolutions={"MTT": {"additionalProviderFlags": [flag]}})


@pytest.mark.parametrize("rule", ["KEEP", "reuse", {"conflictResolution": "MERGE"}])
def test_unknown_resolutions_are_refused(wire: Mocker, session: Session, rule: Any) -> None:
    with pytest.raises(IdmcInputError, match=r"conflict_resolutions\['MTT'\]"):
        make(session, conflict_resolutions={"MTT": rule})


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("conflictResolutoin", "conflictResolution"),
        ("conflictresolution", "conflictResolution"),
        ("conflict_resolution", "conflictResolution"),
        ("targetObjectID", "targetObjectId"),
        ("target_object_id", "targetObjectId"),
        ("additionalProviderFlag", "additionalProviderFlags"),
        ("additional_provider_flags", "additionalProviderFlags"),
    ],
)
@pytest.mark.parametrize("key", [TASK.id, TASK.path, "MTT", "TASKFLOW"])
def test_fields_that_look_like_a_slip_are_refused(
    wire: Mocker, session: Session, key: str, field: str, meant: str
) -> None:
    """IDMC would not mind it, and overwrite what should be kept; also for a type that did not come along this time."""
    Target(wire, *SAME)
    words = re.escape(f"conflict_resolutions['{key}'] has the unknown field '{field}': '{meant}'?")
    with pytest.raises(IdmcInputError, match=f"^{words}$"):
        make(session, conflict_resolutions={key: {field: "REUSE"}})
    with pytest.raises(IdmcInputError, match=f"^{words}$"):
        make(session, conflict_resolutions={key: {"conflictResolution": "OVERWRITE", field: "REUSE"}})


@pytest.mark.parametrize("field", ["mergeTags", "overwriteExistingTags", "resolveConflictsLater", "description", "id"])
def test_fields_that_look_like_none_pass_through(wire: Mocker, session: Session, field: str) -> None:
    Target(wire, *SAME)
    assert entries(make(session, conflict_resolutions={TASK.path: {field: "x"}})) == {TASK.id: {field: "x"}}


# include_objects --------------------------------------------------------------------------------------------------


def included(plan: Plan) -> set[str]:
    return {p.source.path for p in plan.objects}


@pytest.mark.parametrize(
    "item",
    [
        MAPPING.id,
        MAPPING.path,
        {"id": MAPPING.id},
        {"id": MAPPING.id, "path": "elsewhere", "type": "X"},
        {"path": MAPPING.path, "type": "dtemplate"},
        {"path": MAPPING.path},
    ],
)
def test_include_an_asset(wire: Mocker, session: Session, item: Any) -> None:
    Target(wire, *SAME)
    plan = make(session, include_objects=[item])
    assert plan.import_specification["includeObjects"] == [MAPPING.id]
    # What it needs comes along: its connection, that one's runtime environment, its project.
    assert included(plan) == {"Sales/m_orders", "ora_dev", "DEV_AGENTS", "Sales"}


def test_what_comes_along_is_reused_if_the_target_has_it(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, include_objects=[TASK.path], conflict_resolutions={"DTEMPLATE": "OVERWRITE"})
    assert planned(plan, TASK).action == "overwrite"
    assert planned(plan, MAPPING).action == "reuse"
    assert "include_objects does not name it" in planned(plan, MAPPING).reason
    assert entries(plan) == {}


def test_an_included_asset_does_not_bring_the_assets_that_it_needs(wire: Mocker, session: Session) -> None:
    """IDMC brings missing dependents of projects only (Informatica's page "Starting an import job")."""
    Target(wire, *[pair for pair in SAME if pair[0] != MAPPING.path])
    plan = make(session, include_objects=[TASK.path])
    assert planned(plan, MAPPING).action == "blocked"
    with pytest.raises(IdmcPlanBlockedError, match="include_objects to name 'Sales/m_orders' too"):
        plan.check()
    both = make(session, include_objects=[TASK.path, MAPPING.path])
    assert planned(both, MAPPING).action == "create"
    both.check()


def test_an_included_project_brings_what_it_needs_from_elsewhere(wire: Mocker, session: Session) -> None:
    shared, applet = Packed("Shared", "Project"), Packed("Shared/mplt", "DMAPPLET")
    task = Packed("Sales/mt_shared", "MTT", ("Shared/mplt",))
    package = package_of(*EVERYTHING, task, shared, applet)
    target = Target(wire, *SAME)
    plan = make(session, package, include_objects=["Sales"])
    assert planned(plan, applet).action == planned(plan, shared).action == "create"
    target.ids[(applet.path, applet.type)] = "there"
    assert planned(make(session, package, include_objects=["Sales"]), applet).action == "reuse"


def test_include_a_folder(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, include_objects=["Sales/Staging"])
    assert plan.import_specification["includeObjects"] == [STAGING.id]
    assert included(plan) == {"Sales/Staging", "Sales/Staging/mt_customers", "DEV_AGENTS", "Sales"}
    assert planned(plan, STAGED).action == "overwrite"


def test_include_a_project(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    other = [Packed("SalesOld", "Project"), Packed("SalesOld/mt", "MTT")]
    plan = make(session, package_of(*EVERYTHING, *other), include_objects=["Sales"])
    assert plan.import_specification["includeObjects"] == [SALES.id]
    assert included(plan) == {o.path for o in EVERYTHING}
    assert plan.counts["overwrite"] == 3


def test_include_rows_and_repeated_ones(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    rows = [{"path": TASK.path, "type": "MTT"}, TASK.id, {"id": STAGED.id}, STAGED.path]
    plan = make(session, include_objects=rows)
    assert plan.import_specification["includeObjects"] == [TASK.id, STAGED.id]


def test_what_is_not_included_does_not_block(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales", "Project"))
    alone = Packed("Sales/mplt", "DMAPPLET")
    plan = make(session, package_of(*EVERYTHING, alone), include_objects=[alone.path])
    assert included(plan) == {"Sales/mplt", "Sales"}
    plan.check()


def test_unknown_included_objects_are_refused_all_at_once(wire: Mocker, session: Session) -> None:
    with pytest.raises(IdmcInputError) as caught:
        make(
            session,
            include_objects=["Sales/nope", TASK.path, "x" * 22, {"path": TASK.path, "type": "DSS"}, {"type": "MTT"}],
        )
    text = str(caught.value)
    assert "'Sales/nope'" in text
    assert f"'{'x' * 22}'" in text
    assert text.count(repr(TASK.path)) == 1
    assert "{'type': 'MTT'}" in text


def test_nothing_is_asked_when_a_wish_can_not_be_met(wire: Mocker, session: Session) -> None:
    with pytest.raises(IdmcInputError):
        make(session, include_objects=["Sales/nope"])
    assert not wire.request_history


# collisions -------------------------------------------------------------------------------------------------------


def test_two_assets_must_not_land_in_one_place(wire: Mocker, session: Session) -> None:
    hr, same = Packed("HR", "Project"), Packed("HR/mt_orders", "MTT")
    Target(wire, *SAME, ("All", "Project"))
    plan = make(session, package_of(*EVERYTHING, hr, same), projects={"Sales": "All", "HR": "All"})
    assert {p.source.path for p in plan.blocked} == {"Sales/mt_orders", "HR/mt_orders"}
    with pytest.raises(IdmcPlanBlockedError, match=r"'All/mt_orders'.*projects"):
        plan.check()


def test_assets_of_different_types_may_share_a_name(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    twin = Packed("Sales/mt_orders", "DSS")
    assert not make(session, package_of(*EVERYTHING, twin)).blocked


def test_several_connections_may_become_one(wire: Mocker, session: Session) -> None:
    second = Packed("ora_dev2", "Connection")
    Target(wire, ("ora", "Connection"))
    plan = make(session, package_of(ORACLE, second), connections={"ora_dev": "ora", "ora_dev2": "ora"})
    assert plan.counts["map"] == 2


def test_two_assets_must_not_be_mapped_to_one_id(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME, ("Archive/mt_old", "MTT"))
    rule = {"targetObjectId": "target-Archive/mt_old"}
    plan = make(session, conflict_resolutions={TASK.path: rule, STAGED.path: rule})
    assert {p.source.path for p in plan.blocked} == {TASK.path, STAGED.path}
    with pytest.raises(IdmcPlanBlockedError):
        plan.check()


def test_an_asset_must_not_be_mapped_onto_where_another_lands(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session, conflict_resolutions={STAGED.path: {"targetObjectId": f"target-{TASK.path}"}})
    assert {p.source.path for p in plan.blocked} == {TASK.path, STAGED.path}


# the plan as a whole ----------------------------------------------------------------------------------------------


def test_plan_as_json(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = json.loads(json.dumps(make(session).to_json()))
    assert plan["version"] == 1
    assert plan["target_org"] == {"id": ORG_ID, "name": ORG}
    assert plan["package"] == {
        "sha256": "0" * 64,
        "size": 4711,
        "name": "release-12",
        "source_org_id": "fg1dzqDZ1K3lbHp8uq5vQB",
        "source_org_name": "ACME_DEV",
    }
    assert [row["source"]["id"] for row in plan["objects"]] == [o.id for o in EVERYTHING]
    assert sum(plan["counts"].values()) == len(plan["objects"])
    assert len(plan["hash"]) == 64
    assert plan["missing"] == []


def test_hash_is_stable(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    first = make(session, conflict_resolutions={"MTT": {"b": 1, "a": 2}}).to_json()["hash"]
    again = make(session, conflict_resolutions={"MTT": {"a": 2, "b": 1}}).to_json()["hash"]
    assert first == again


def test_hash_changes_with_what_is_sent_and_what_was_found(wire: Mocker, session: Session) -> None:
    target = Target(wire, *SAME, ("ora_other", "Connection"))
    hashes = [
        make(session).to_json()["hash"],
        make(session, default_conflict_resolution="REUSE").to_json()["hash"],
        make(session, conflict_resolutions={TASK.path: "REUSE"}).to_json()["hash"],
        make(session, conflict_resolutions={TASK.path: "OVERWRITE"}).to_json()["hash"],
        make(session, include_objects=[TASK.path]).to_json()["hash"],
        make(session, connections={"ora_dev": "ora_other"}).to_json()["hash"],
        make(session, dataclasses.replace(PACKAGE, sha256="1" * 64)).to_json()["hash"],
    ]
    plan = make(session)
    hashes.append(dataclasses.replace(plan, org_id="another").to_json()["hash"])
    target.ids[(TASK.path, TASK.type)] = "recreated meanwhile"
    hashes.append(make(session).to_json()["hash"])
    del target.ids[(TASK.path, TASK.type)]
    hashes.append(make(session).to_json()["hash"])
    assert len(set(hashes)) == len(hashes)


def test_hash_does_not_depend_on_words(wire: Mocker, session: Session) -> None:
    Target(wire, *SAME)
    plan = make(session)
    reworded = [dataclasses.replace(p, reason="other words") for p in plan.objects]
    assert dataclasses.replace(plan, objects=tuple(reworded)).to_json()["hash"] == plan.to_json()["hash"]


@pytest.mark.parametrize("known", [True, False])
def test_a_thousand_objects_take_a_handful_of_calls(wire: Mocker, session: Session, known: bool) -> None:
    tasks = [Packed(f"Sales/mt_{n}", "MTT", ("DEV_AGENTS",)) for n in range(998)]
    target = Target(wire, ("DEV_AGENTS", "AgentGroup"), *([(t.path, "MTT") for t in tasks] if known else []))
    plan = make(session, package_of(SALES, RUNTIME, *tasks))
    assert plan.counts["overwrite" if known else "create"] == 998 + (0 if known else 1)
    assert target.calls == [200] * 5
    # ... one login, and one question for what is source controlled if anything would be overwritten.
    assert len(wire.request_history) == 6 + known


def test_an_org_that_answers_missing_objects_with_an_error(wire: Mocker, session: Session) -> None:
    target = Target(wire, *SAME[2:])

    def respond(request: Any, context: Any) -> dict[str, Any]:
        answer = target._respond(request, context)
        if len(answer["objects"]) < len(request.json()["objects"]):
            context.status_code = 404
            return {"error": {"code": "V3API_004", "message": "The object was not found.", "requestId": "r"}}
        return answer

    wire.post(f"{V3}/lookup", json=respond)
    plan = make(session)
    assert {p.source.path for p in plan.objects if p.action == "create"} == {"Sales", "Sales/Staging"}
    assert plan.counts["overwrite"] == 3


def test_a_new_connection_without_its_runtime_environment_is_blocked(wire: Mocker, session: Session) -> None:
    """IDMC would create the connection and end with OIE_008."""
    Target(wire)
    plan = plan_import(session, package_of(ORACLE), Wishes())
    assert any("refers to 1 objects that it does not hold" in warning for warning in plan.warnings)


def test_a_folder_that_becomes_a_project_is_planned_as_one(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales", "Project"), ("DEV_AGENTS", "AgentGroup"))
    plan = make(session, package_of(SALES, STAGING, RUNTIME, STAGED), projects={"Sales/Staging": "Landing"})
    assert planned(plan, STAGING).row()["target"]["type"] == "Project"
