"""Planning as a task: release manifests, drift, the source org, orgs that are mixed up."""

from __future__ import annotations

import re

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError, IdmcPlanBlockedError, IdmcWrongOrgError
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.operators.backup import InfaBackupOperator, InfaRestoreOperator
from airflow_provider_infa.operators.imports import InfaPlanImportOperator, InfaStartImportOperator

MANIFEST = """\
version: 1
name: Release 1
include: ["Sales/*"]
default_conflict_resolution: REUSE
conflict_resolutions:
  MTT: OVERWRITE
targets:
  ACME_TEST:
    runtime_environments: {DEV_AGENTS: TEST_AGENTS}
    connections: {ora_dev: ora_test}
    projects: {Sales: Finance}
  ACME_PROD:
    runtime_environments: {DEV_AGENTS: PROD_AGENTS}
"""
#: The same as arguments.
ARGUMENTS = {
    "default_conflict_resolution": "REUSE",
    "conflict_resolutions": {"MTT": "OVERWRITE"},
    "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"},
    "connections": {"ora_dev": "ora_test"},
    "projects": {"Sales": "Finance"},
}


def plan(**arguments):
    return lambda: InfaPlanImportOperator(task_id="plan", **{"infa_conn_id": "infa_test", **arguments})


@pytest.fixture
def uri(package):
    return f"file://{package}"


@pytest.fixture
def manifest(tmp_path):
    def write(text=MANIFEST, name="release.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


# --- manifest ---------------------------------------------------------------------------------------------------------


def test_a_manifest_says_what_arguments_could(promotion, run, uri, manifest, object_store):
    expected = run(plan(package_uri=uri, **ARGUMENTS))
    assert expected["counts"] == {"create": 6, "overwrite": 0, "reuse": 2, "map": 3, "blocked": 0}
    path = manifest()
    ObjectStoragePath(f"{object_store}/release.yaml").write_text(MANIFEST)
    for where in (path, f"file://{path}", f"{object_store}/release.yaml"):
        assert run(plan(package_uri=uri, manifest=where)) == expected
    assert run(plan(package_uri=uri, manifest=None, **ARGUMENTS)) == expected


@pytest.mark.parametrize("nothing", ["", "None"])
def test_a_manifest_that_renders_to_nothing(promotion, run, uri, nothing):
    # Planning without it would import everything by the default rules.
    with pytest.raises(AirflowFailException, match="manifest is empty") as error:
        run(plan(package_uri=uri, manifest=nothing, **ARGUMENTS))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert run.xcom == {}


def test_arguments_win_over_the_manifest(promotion, run, uri, manifest):
    path = manifest(MANIFEST.replace("ora_test", "gone").replace("{Sales: Finance}", "{}"))
    given = {
        "default_conflict_resolution": "OVERWRITE",
        "conflict_resolutions": {"MTT": "REUSE"},
        "connections": {"ora_dev": "ora_test"},
    }
    result = run(plan(package_uri=uri, manifest=path, **given))
    actions = {row["source"]["path"]: row["action"] for row in result["objects"]}
    assert (actions["Sales/m_orders"], actions["Sales/mt_orders"]) == ("overwrite", "reuse")
    # What is not given stays as the manifest has it.
    assert (actions["ora_dev"], actions["DEV_AGENTS"]) == ("map", "map")


def test_every_org_has_its_own_names(promotion, run, uri, manifest):
    result = run(plan(package_uri=uri, manifest=manifest(), infa_conn_id="infa_prod"))
    (row,) = [row for row in result["objects"] if row["source"]["path"] == "DEV_AGENTS"]
    assert (row["action"], row["target"]["path"]) == ("map", "PROD_AGENTS")
    assert result["target_org"]["name"] == "ACME_PROD"


BAD = {
    "unknown key": ("version: 1\ninclude: [a]\ntarget: {}\n", r"line 3: the manifest has the unknown key 'target'"),
    "unknown key of an org": (
        "version: 1\ninclude: [a]\ntargets:\n  ACME_TEST:\n    agents: {}\n",
        r"line 5: targets\.ACME_TEST has the unknown key 'agents'",
    ),
    "unknown choice": ("version: 1\ninclude: [a]\ndefault_conflict_resolution: SKIP\n", "line 3: .*SKIP"),
    "another org": (MANIFEST.replace("ACME_TEST", "ACME_QA"), "'ACME_QA', 'ACME_PROD', not org 'ACME_TEST'"),
    "no YAML": ("version: [", "no YAML"),
    "empty": ("", "release"),
    "twice": ("version: 1\ninclude: [a]\ninclude: [b]\n", "line 3: 'include' occurs twice"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_manifest_that_is_none(promotion, run, uri, manifest, how):
    text, words = BAD[how]
    path = manifest(text)
    with pytest.raises(AirflowFailException, match=words) as error:
        run(plan(package_uri=uri, manifest=path))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert "release.yaml" in str(error.value)


def test_a_manifest_that_is_not_there(promotion, run, uri, tmp_path):
    with pytest.raises(AirflowFailException, match=r"gone\.yaml") as error:
        run(plan(package_uri=uri, manifest=f"{tmp_path}/gone.yaml"))
    assert isinstance(error.value.__cause__, IdmcNotFoundError)


# --- drift ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def drifted(promotion):
    promotion.sim.edit_asset("test", "Sales/m_orders", "DTEMPLATE", updated_by="carla")
    # Nothing happens to this one.
    promotion.sim.edit_asset("test", "ff_landing", "Connection", updated_by="carla")


@pytest.mark.parametrize("arguments", [{}, {"on_drift": "show"}])
def test_what_others_changed_is_shown(drifted, promotion, run, uri, logged, arguments):
    result = run(plan(package_uri=uri, **promotion.names, **arguments))
    assert result["drift"] == ["Sales/m_orders"]
    assert result["counts"]["overwrite"] == 2
    (row,) = [row for row in result["objects"] if row["drift"]]
    assert re.fullmatch(r"Last changed there by carla at 20\S+Z, not by deployer\.", row["drift"])
    assert row["drift"] in logged()
    assert "Last changed there by someone else: Sales/m\\_orders" in run.xcom["markdown"]


def test_what_others_changed_blocks_on_demand(drifted, promotion, run, uri):
    arguments = {"package_uri": uri, **promotion.names, "on_drift": "block"}
    with pytest.raises(AirflowFailException) as error:
        run(plan(**arguments))
    assert isinstance(error.value.__cause__, IdmcPlanBlockedError)
    for part in ("Sales/m_orders", "carla", "on_drift='show'", "REUSE", "1 of 11"):
        assert part in str(error.value)
    # The way out that it names.
    assert run(plan(**arguments, conflict_resolutions={"Sales/m_orders": "REUSE"}))["counts"]["blocked"] == 0


def test_what_drift_blocks_is_saved_and_checked_by_those_who_go_on(drifted, promotion, run, uri, package, tmp_path):
    """The import overwrites it, as the specification says."""
    arguments = {"package_uri": uri, **promotion.names, "on_drift": "block", "on_blocked": "warn"}
    made = run(plan(**arguments))
    assert made["counts"]["blocked"] == 1
    (row,) = [row for row in made["objects"] if row["action"] == "blocked"]
    assert (row["target"]["path"], row["overwrites"]) == ("Sales/m_orders", True)
    waiting = {"infa_conn_id": "infa_test", "poll_interval": 0.05, "deferrable": False, "plan": made}
    before = promotion.asset("Sales/m_orders", "DTEMPLATE")["definition"]
    backup = run(lambda: InfaBackupOperator(task_id="b", backup_uri=f"file://{tmp_path}/backup", **waiting))
    job_id = promotion.upload(package)
    promotion.sim.edit_asset(
        "test", "Sales/m_orders", "DTEMPLATE", updated_by="carla", update_time="2026-03-01T09:00:00Z"
    )
    start = {"import_job_id": job_id, "wait_for_completion": True, **waiting}
    with pytest.raises(AirflowFailException, match="Sales/m_orders: carla changed it at 2026-03-01T09:00:00Z"):
        run(lambda: InfaStartImportOperator(task_id="s", **start))
    promotion.sim.edit_asset(
        "test", "Sales/m_orders", "DTEMPLATE", updated_by="carla", update_time=row["target"]["update_time"]
    )
    run(lambda: InfaStartImportOperator(task_id="s", **start))
    assert promotion.asset("Sales/m_orders", "DTEMPLATE")["definition"] != before
    run(lambda: InfaRestoreOperator(task_id="r", backup_uri=backup, import_job_id=job_id, force=True, **waiting))
    assert promotion.asset("Sales/m_orders", "DTEMPLATE")["definition"] == before


def test_without_drift_there_is_nothing_to_block(promotion, run, uri):
    assert run(plan(package_uri=uri, **promotion.names, on_drift="block"))["drift"] == []
    with pytest.raises(AirflowFailException, match="on_drift must be one of show, block"):
        run(plan(package_uri=uri, **promotion.names, on_drift="perhaps"))


# --- the source org ---------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(promotion, tmp_path):
    """A package of the taskflow only, without what it needs."""
    taskflow = promotion.asset("Sales/tf_sales_daily", "TASKFLOW", "dev")
    with InfaHook("infa_dev") as hook:
        job = hook.start_export([taskflow["id"]], include_dependencies=False)
        return f"file://{hook.download_export_package(job.id, tmp_path / 'alone.zip').path}"


def test_a_stored_package_and_its_source_org(promotion, run, alone):
    result = run(plan(package_uri=alone, on_blocked="warn"))
    # Without the source org nobody knows how things are called.
    assert result["counts"]["blocked"] == 0
    assert any("Set source_conn_id" in warning for warning in result["warnings"])
    result = run(plan(package_uri=alone, source_conn_id="infa_dev", on_blocked="warn"))
    blocked = {row["source"]["path"]: row["reason"] for row in result["objects"] if row["action"] == "blocked"}
    # The mapping task of Staging and all that this one needs in turn; what test has is no obstacle.
    assert "Sales/Staging/mt load customers" in blocked
    assert "Sales/mt_orders" not in blocked
    assert "needed by Sales/tf_sales_daily" in blocked["Sales/Staging/mt load customers"]
    with pytest.raises(AirflowFailException, match="include_dependencies=True"):
        run(plan(package_uri=alone, source_conn_id="infa_dev"))
    assert promotion.open_sessions("dev") == promotion.open_sessions("test") == 0


def test_a_whole_package_is_planned_alike_with_and_without_its_source(promotion, run, uri):
    with_source = run(plan(package_uri=uri, source_conn_id="infa_dev", **promotion.names))
    assert with_source == run(plan(package_uri=uri, **promotion.names))


# --- schedules --------------------------------------------------------------------------------------------------------


def test_the_plan_announces_schedules(promotion, run, uri, manifest):
    plain = run(plan(package_uri=uri, **promotion.names))
    assert plain["schedules"] == {}
    assert set(plain["unscheduled"]) == {"Sales/mt_orders", "Sales/Staging/mt load customers"}
    schedules = {"Sales/mt_orders": "hourly", "Support/mt_tickets": "nightly"}
    result = run(plan(package_uri=uri, **promotion.names, schedules=schedules))
    assert result["schedules"] == {"Sales/mt_orders": "hourly"}
    assert result["unscheduled"] == ["Sales/Staging/mt load customers"]
    assert any("Support/mt_tickets" in warning for warning in result["warnings"])
    # Another promise is another plan.
    assert result["hash"] != plain["hash"]
    assert "Get a schedule after the import: Sales/mt\\_orders (hourly)" in run.xcom["markdown"]
    text = MANIFEST.replace("projects: {Sales: Finance}", "schedules: {Sales/mt_orders: hourly}")
    assert run(plan(package_uri=uri, manifest=manifest(text)))["schedules"] == {"Sales/mt_orders": "hourly"}


def test_a_schedule_that_the_org_does_not_have(promotion, run, uri):
    with pytest.raises(AirflowFailException, match="Org ACME_TEST has no schedule 'weekly'"):
        run(plan(package_uri=uri, **promotion.names, schedules={"Sales/mt_orders": "weekly"}))


# --- wrong orgs -------------------------------------------------------------------------------------------------------

WRONG = {
    "back where it came from": ({"infa_conn_id": "infa_dev"}, r"of org ACME_DEV would be imported into the same org"),
    "source is target": ({"source_conn_id": "infa_test"}, r"Both connections lead to org ACME_TEST"),
    "from elsewhere": ({"source_conn_id": "infa_prod"}, r"of org ACME_DEV does not come from org ACME_PROD"),
}


@pytest.mark.parametrize("how", WRONG)
def test_orgs_that_are_mixed_up(promotion, run, uri, how):
    arguments, words = WRONG[how]
    with pytest.raises(AirflowFailException, match=words) as error:
        run(plan(package_uri=uri, **promotion.names, **arguments))
    assert isinstance(error.value.__cause__, IdmcWrongOrgError)
    assert run.xcom == {}


def test_the_connection_may_say_where_it_has_to_lead(promotion, run, uri, change_connection):
    for expected in ("ACME_TEST", promotion.sim.orgs()["test"]["id"]):
        change_connection(expected_org=expected)
        assert run(plan(package_uri=uri, **promotion.names))["target_org"]["name"] == "ACME_TEST"


@pytest.mark.parametrize("conn_id", ["infa_test", "infa_dev"])
def test_a_login_that_leads_elsewhere_is_refused(promotion, run, uri, change_connection, conn_id):
    change_connection(conn_id, expected_org="ACME_PROD")
    org, name = conn_id.removeprefix("infa_"), f"ACME_{conn_id.removeprefix('infa_').upper()}"
    promotion.sim.clear_requests()
    with pytest.raises(AirflowFailException, match="ACME_PROD") as error:
        run(plan(package_uri=uri, source_conn_id="infa_dev", **promotion.names))
    assert isinstance(error.value.__cause__, IdmcWrongOrgError)
    assert name in str(error.value)
    # Not a single question, and no session left behind.
    assert {r["path"].rpartition("/")[2] for r in promotion.sim.requests(org)} == {"login", "logout"}
    assert promotion.open_sessions(org) == 0


# --- XComs ------------------------------------------------------------------------------------------------------------


def test_xcoms(promotion, run, uri):
    result = run(plan(package_uri=uri, **promotion.names))
    assert run.xcom == {
        "import_specification": result["import_specification"],
        "package_sha256": result["package"]["sha256"],
        "hash": result["hash"],
        "markdown": markdown(result),
        "return_value": result,
    }
    text = run.xcom["markdown"]
    assert text.startswith("**ACME\\_DEV → ACME\\_TEST**, 11 objects, as deployer.")
    assert "**Overwritten** (2)" in text
    assert result["hash"] in text
