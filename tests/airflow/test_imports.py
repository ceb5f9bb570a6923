"""Planning, uploading and starting an import, as tasks do it."""

from __future__ import annotations

import inspect
import json
import re
import zipfile

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcJobFailedError,
    IdmcOutcomeUnknownError,
    IdmcPackageError,
    IdmcPlanBlockedError,
    IdmcUnavailableError,
)
from airflow_provider_infa.operators import backup, exports, imports, objects, publish, record, schedules, verify
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.sensors.exports import InfaExportSensor
from airflow_provider_infa.sensors.imports import InfaImportSensor
from airflow_provider_infa.waiting import Stoppable


def plan(**arguments):
    return lambda: InfaPlanImportOperator(task_id="plan", infa_conn_id="infa_test", **arguments)


def upload(**arguments):
    return lambda: InfaUploadPackageOperator(task_id="upload", infa_conn_id="infa_test", **arguments)


def start(**arguments):
    arguments = {"poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaStartImportOperator(task_id="start", infa_conn_id="infa_test", **arguments)


def uploads(promotion):
    return promotion.calls("test", "POST", "/import/package$")


def changes(promotion):
    """Calls that change something in the target org."""
    return promotion.calls("test", "POST", "/import/")


# --- plan -------------------------------------------------------------------------------------------------------------


def test_a_plan_tells_what_an_import_then_does(promotion, run, package):
    result = run(plan(package_uri=f"file://{package}", **promotion.names))
    assert result["counts"] == {"create": 4, "overwrite": 2, "reuse": 3, "map": 2, "blocked": 0}
    actions = {o["source"]["path"]: o["action"] for o in result["objects"]}
    assert actions["Sales/m_orders"] == "overwrite"
    assert actions["DEV_AGENTS"] == "map"
    assert changes(promotion) == []
    assert run.xcom["import_specification"] == result["import_specification"]
    assert run.xcom["package_sha256"] == result["package"]["sha256"]

    job_id = run(upload(package_uri=f"file://{package}", package_sha256=run.xcom["package_sha256"]))
    run(start(import_job_id=job_id, import_specification=run.xcom["import_specification"], wait_for_completion=True))
    done = {row["path"]: row["done"] for row in run.xcom["objects"]}
    expected = {"create": "created", "overwrite": "overwritten", "reuse": "reused", "map": "reused"}
    assert done == {path: expected[action] for path, action in actions.items()}
    # Byte for byte what was shown and approved.
    assert promotion.job(job_id)["specification"]["importSpecification"] == result["import_specification"]


def test_the_package_is_taken_from_storage_or_from_the_org(promotion, run, package, object_store):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    ObjectStoragePath(f"{object_store}/p.zip").write_bytes(package.read_bytes())
    job_id = promotion.export()
    ways = [
        {"package_uri": f"file://{package}"},
        {"package_uri": str(package)},
        {"package_uri": f"{object_store}/p.zip"},
        {"source_conn_id": "infa_dev", "export_job_id": job_id},
        {"source_conn_id": "infa_dev", "export_job_id": job_id, "package_uri": "None"},
    ]
    for way in ways:
        assert run(plan(**way, **promotion.names))["counts"]["create"] == 4
        assert promotion.job(run(upload(**way)))["state"] == "NOT_STARTED"
    assert promotion.open_sessions("dev") == promotion.open_sessions("test") == 0


@pytest.mark.parametrize("way", [
    {}, {"source_conn_id": "infa_dev"}, {"export_job_id": "x"}, {"package_uri": "a", "export_job_id": "x"},
    {"package_uri": "a", "source_conn_id": "infa_dev", "export_job_id": "x"}, {"package_uri": "None"},
])  # fmt: skip
@pytest.mark.parametrize("make", [plan, upload])
def test_a_package_that_is_not_named_properly(sim, run, make, way):
    with pytest.raises(AirflowFailException, match="package_uri, or by source_conn_id together with export_job_id"):
        run(make(**way))


@pytest.mark.parametrize("make", [plan, upload])
def test_a_package_that_is_not_there(sim, run, make, tmp_path):
    with pytest.raises(AirflowFailException, match=r"gone\.zip"):
        run(make(package_uri=f"file://{tmp_path}/gone.zip"))


def test_wishes_in_every_form_that_a_template_can_give_them(promotion, run, package):
    uri = f"file://{package}"
    wishes = {
        **promotion.names,
        "conflict_resolutions": {"MTT": "REUSE"},
        "include_objects": ["Sales/mt_orders", "Sales/m_orders"],
        "projects": {"Sales": "Finance"},
    }
    as_json = {name: json.dumps(value) for name, value in wishes.items()}
    as_python = {name: str(value) for name, value in wishes.items()}
    plain = run(plan(package_uri=uri, **wishes))
    assert run(plan(package_uri=uri, **as_json)) == plain
    assert run(plan(package_uri=uri, **as_python, relax_checksum="False")) == plain
    one = run(plan(package_uri=uri, **{**wishes, "include_objects": ["Sales/m_orders"]}))
    rows = package.with_name("rows.jsonl")
    rows.write_text(json.dumps({"path": "Sales/m_orders", "type": "DTEMPLATE"}))
    (id,) = (row["source"]["id"] for row in one["objects"] if row["source"]["path"] == "Sales/m_orders")
    for chosen in (id, rows.as_uri()):
        assert run(plan(package_uri=uri, **{**wishes, "include_objects": chosen})) == one
    nothing = dict.fromkeys(wishes, "None")
    assert run(plan(package_uri=uri, **nothing, on_blocked="warn")) == run(plan(package_uri=uri, on_blocked="warn"))


@pytest.mark.parametrize("argument", [
    {"default_conflict_resolution": "SKIP"}, {"conflict_resolutions": {"MTT": "SKIP"}}, {"conflict_resolutions": [1]},
    {"runtime_environments": {"DEV_AGENTS": 7}}, {"connections": "ora_dev"}, {"projects": {"Sales": ""}},
    {"include_objects": [7]}, {"on_blocked": "perhaps"}, {"relax_checksum": "perhaps"},
    {"include_objects": ["Sales/gone"]}, {"include_objects": []}, {"include_objects": "[]"},
])  # fmt: skip
def test_wishes_that_cannot_be(promotion, run, package, argument):
    (name,) = argument
    with pytest.raises(AirflowFailException, match=name) as error:
        run(plan(**{"package_uri": f"file://{package}", **promotion.names, **argument}))
    assert isinstance(error.value.__cause__, IdmcInputError)


def test_a_blocked_plan_names_all_that_is_in_the_way(promotion, run, package):
    with pytest.raises(AirflowFailException) as error:
        run(plan(package_uri=f"file://{package}", connections={"ora_dev": "gone", "sf_crm": "gone too"}))
    assert isinstance(error.value.__cause__, IdmcPlanBlockedError)
    message = str(error.value)
    for part in ("DEV_AGENTS", "runtime_environments={", "ora_dev", "'gone'", "sf_crm", "'gone too'", "ACME_TEST"):
        assert part in message
    assert changes(promotion) == []


def test_on_blocked(promotion, run, package):
    with pytest.raises(AirflowSkipException, match="1 objects"):
        run(plan(package_uri=f"file://{package}", on_blocked="skip"))
    # Not carried out, but there to be looked at and recorded.
    assert run.xcom["return_value"]["counts"]["blocked"] == 1
    warned = run(plan(package_uri=f"file://{package}", on_blocked="warn"))
    assert warned["counts"]["blocked"] == 1
    assert {m["name"] for m in warned["missing"]} == {"DEV_AGENTS", "ora_dev"}
    for on_blocked in ("fail", "skip", "warn"):
        assert run(plan(package_uri=f"file://{package}", on_blocked=on_blocked, **promotion.names))["hash"]


def test_the_log_shows_obstacles_first(promotion, run, package, logged):
    run(plan(package_uri=f"file://{package}", on_blocked="warn"))
    text = logged()
    headings = re.findall(r"::group::(\w[\w ]+ \(\d+\))", text)
    assert headings[:2] == ["Blocked (1)", "Overwritten (2)"]
    assert re.search(r"AgentGroup DEV_AGENTS: Org ACME_TEST has no runtime environment of that name", text)
    assert re.search(r"Connection ff_landing: Org ACME_TEST has it", text)


def test_the_hash_changes_with_the_target(promotion, run, package):
    wishes = {"package_uri": f"file://{package}", **promotion.names}
    before = run(plan(**wishes))["hash"]
    assert run(plan(**wishes))["hash"] == before
    promotion.sim.remove_asset("test", "Sales/m_orders", "DTEMPLATE")
    assert run(plan(**wishes))["hash"] != before


# --- upload -----------------------------------------------------------------------------------------------------------


def changed(package, target, changes: dict[str, bytes | None]):
    """A copy of a package with other files in it."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = changes.pop(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in changes.items():
            new.writestr(name, content)
    return target


BROKEN = {
    "cut off": lambda p, t: t.write_bytes(p.read_bytes()[:-200]),
    "no zip": lambda p, t: t.write_text("<html>maintenance</html>"),
    "empty": lambda p, t: t.write_bytes(b""),
    "no manifest": lambda p, t: changed(p, t, {"exportMetadata.v2.json": None}),
    "no checksums": lambda p, t: changed(p, t, {"exportPackage.chksum": None}),
    "changed": lambda p, t: changed(p, t, {"Explore/Sales.Project.json": b"{}"}),
    "added": lambda p, t: changed(p, t, {"Explore/Sales/new.MTT.zip": b"x"}),
    "missing": lambda p, t: changed(p, t, {"Explore/Sales.Project.json": None}),
    "escaping": lambda p, t: changed(p, t, {"../../escaped": b"x"}),
    "bomb": lambda p, t: bomb(p, t),
}


def bomb(package, target):
    changed(package, target, {})
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Explore/bomb", bytes(64 << 20))


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("make", [plan, upload])
def test_a_broken_package_is_refused_before_anything_is_sent(promotion, run, package, tmp_path, make, how):
    broken = tmp_path / "broken.zip"
    BROKEN[how](package, broken)
    with pytest.raises(AirflowFailException, match=r"broken\.zip") as error:
        run(make(package_uri=f"file://{broken}"))
    assert isinstance(error.value.__cause__, IdmcPackageError)
    assert changes(promotion) == []


def test_a_package_that_was_changed_on_purpose(promotion, run, package, tmp_path):
    with zipfile.ZipFile(package) as archive:
        project = json.loads(archive.read("Explore/Sales.Project.json"))
    edited = json.dumps({**project, "description": "edited"}).encode()
    target = changed(package, tmp_path / "edited.zip", {"Explore/Sales.Project.json": edited})
    with pytest.raises(AirflowFailException):
        run(upload(package_uri=f"file://{target}"))
    assert changes(promotion) == []
    job_id = run(upload(package_uri=f"file://{target}", relax_checksum="True"))
    assert promotion.job(job_id)["state"] == "NOT_STARTED"
    (call,) = uploads(promotion)
    assert "relaxChecksum=true" in call["query"]


@pytest.mark.parametrize("nothing", [None, "None", ""])
def test_only_the_planned_package(promotion, run, package, nothing):
    uri = f"file://{package}"
    sha256 = promotion.plan(package)["package"]["sha256"]
    with pytest.raises(AirflowFailException, match="not the planned one"):
        run(upload(package_uri=uri, package_sha256="0" * 64))
    assert uploads(promotion) == []
    assert run(upload(package_uri=uri, package_sha256=sha256.upper()))
    assert run(upload(package_uri=uri, package_sha256=nothing))


@pytest.mark.parametrize("kind", ["drop_after", "maintenance", "throttle", "expire_session"])
def test_a_blip_during_the_upload(promotion, run, package, kind):
    promotion.sim.add_fault("test", {"kind": kind, "method": "POST", "path": "/import/package$", "times": 1})
    job_id = run(upload(package_uri=f"file://{package}"))
    assert promotion.job(job_id)["package_sha256"] == promotion.plan(package)["package"]["sha256"]
    assert len(uploads(promotion)) == 2


# --- start ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def job_id(promotion, package):
    return promotion.upload(package)


@pytest.fixture
def specification(promotion, package):
    return promotion.plan(package)["import_specification"]


def test_a_start_does_not_wait_by_default(promotion, run, job_id, specification):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    assert run(start(import_job_id=job_id, import_specification=specification)) == job_id
    job = promotion.job(job_id)
    assert (job["state"], job["name"]) == ("IN_PROGRESS", "promote-manual__2026-03-02T09-15-00-00-00")
    assert run.xcom == {}


@pytest.mark.parametrize("deferrable", [False, True])
def test_waiting_for_the_end(promotion, run, job_id, specification, deferrable):
    promotion.end_jobs_after_two_looks()
    arguments = {"import_job_id": job_id, "import_specification": specification, "wait_for_completion": True}
    assert run(start(**arguments, deferrable=deferrable)) == job_id
    assert len(run.deferrals) == deferrable
    result = run.xcom["result"]
    assert (result["id"], result["state"], result["failed"]) == (job_id, "SUCCESSFUL", [])
    assert result["counts"] == {
        "objects": 11, "successful": 11, "warning": 0, "failed": 0, "created": 4, "overwritten": 2, "reused": 5,
    }  # fmt: skip
    assert len(run.xcom["objects"]) == 11
    assert promotion.open_sessions() == 0


def test_a_specification_as_text(promotion, run, package, specification):
    for text in (json.dumps(specification), str(specification)):
        job_id = promotion.upload(package)
        run(start(import_job_id=job_id, import_specification=text, name="Release 7", wait_for_completion="True"))
        job = promotion.job(job_id)
        assert job["specification"] == {"name": "Release 7", "importSpecification": specification}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_second_start_attaches(promotion, run, job_id, specification, logged, deferrable):
    promotion.end_jobs_after_two_looks()
    arguments = {"import_job_id": job_id, "import_specification": specification}
    run(start(**arguments))
    run(start(**arguments))
    run(start(**arguments, wait_for_completion=True, deferrable=deferrable))
    run(start(**arguments, wait_for_completion=True, deferrable=deferrable))
    assert promotion.job(job_id)["starts"] == promotion.job(job_id)["start_requests"] == 1
    text = logged()
    assert re.search(r"warning.*already IN_PROGRESS.*not started again", text)
    assert re.search(r"warning.*already SUCCESSFUL.*plan and upload again", text)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "maintenance", "server_error"])
def test_a_start_whose_answer_is_lost_happens_once(promotion, run, job_id, specification, kind):
    fault = {"kind": kind, "method": "POST", "path": "/import/(?!package)", "times": 1}
    promotion.sim.add_fault("test", fault)
    run(start(import_job_id=job_id, import_specification=specification, wait_for_completion=True))
    assert promotion.job(job_id)["starts"] == 1
    assert promotion.job(job_id)["state"] == "SUCCESSFUL"


def test_a_start_that_never_gets_through_is_left_to_a_retry(promotion, run, job_id, specification):
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "POST", "path": "/import/(?!package)"})
    with pytest.raises(IdmcOutcomeUnknownError) as error:
        run(start(import_job_id=job_id, import_specification=specification))
    assert not isinstance(error.value, AirflowFailException)
    promotion.sim.clear_faults()
    run(start(import_job_id=job_id, import_specification=specification, wait_for_completion=True))
    assert promotion.job(job_id)["starts"] == 1


@pytest.mark.parametrize("status", [302, 403, 404])
def test_a_page_of_a_gateway_after_the_start_is_left_to_a_retry(promotion, run, job_id, specification, status):
    """Failing for good would skip the retries and roll back an import that goes well."""
    task = start(import_job_id=job_id, import_specification=specification, wait_for_completion=True)
    fault = {"kind": "maintenance", "status": status, "method": "GET", "path": "/import/", "every": 2, "times": 1}
    promotion.sim.add_fault("test", fault)
    with pytest.raises(IdmcUnavailableError, match=f"HTTP {status}") as error:
        run(task)
    assert not isinstance(error.value, AirflowFailException)
    run(task)
    job = promotion.job(job_id)
    assert (job["starts"], job["state"]) == (1, "SUCCESSFUL")


def test_a_refused_start_fails_for_good(promotion, run, job_id):
    promotion.sim.add_fault("test", {"kind": "deny"})
    with pytest.raises(AirflowFailException, match="MigrationSvc_040") as error:
        run(start(import_job_id=job_id))
    assert error.value.__cause__.request_id in str(error.value)
    assert promotion.job(job_id)["starts"] == 0


@pytest.mark.parametrize("wrong", [
    "7", "[1]", "{", {"defaultConflictResolution": "SKIP"}, {"objectSpecification": {}}, {"includeObjects": "x"},
])  # fmt: skip
def test_a_specification_that_is_none_starts_nothing(promotion, run, job_id, wrong):
    with pytest.raises(AirflowFailException) as error:
        run(start(import_job_id=job_id, import_specification=wrong))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert promotion.job(job_id)["start_requests"] == 0


@pytest.mark.parametrize("missing", ["", "None", None, "0123456789abcdefABCDEF"])
def test_a_job_that_is_not_there(promotion, run, missing):
    with pytest.raises(AirflowFailException, match="import"):
        run(start(import_job_id=missing))
    assert promotion.sim.jobs("test") == []
    assert missing or changes(promotion) == []


@pytest.mark.parametrize("argument", [
    {"poll_interval": 0}, {"poll_interval": "-1"}, {"timeout": "0"}, {"timeout": "long"},
    {"wait_for_completion": "perhaps"}, {"fail_on_warning": "perhaps"},
])  # fmt: skip
def test_a_bad_argument_is_refused_before_anything_starts(promotion, run, job_id, argument):
    with pytest.raises(AirflowFailException, match=next(iter(argument))):
        run(start(**{"import_job_id": job_id, "wait_for_completion": True, **argument}))
    assert promotion.job(job_id)["start_requests"] == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_import_fails_with_an_exception_of_its_own(promotion, run, job_id, specification, logged, deferrable):
    promotion.end_jobs_after_two_looks()
    fault = {"kind": "fail_objects", "paths": ["Sales/mt_orders"], "message": "No space left, says the simulator."}
    promotion.sim.add_fault("test", fault)
    arguments = {"import_job_id": job_id, "import_specification": specification, "wait_for_completion": True}
    with pytest.raises(IdmcJobFailedError) as error:
        run(start(**arguments, deferrable=deferrable))
    message = str(error.value)
    for part in (job_id, "ACME_TEST", "MTT Sales/mt_orders", "No space left"):
        assert part in message
    assert {row["path"] for row in run.xcom["objects"] if row["state"] == "FAILED"} >= {"Sales/mt_orders"}
    # The job's own log, in the log of the task.
    text = logged()
    assert f"Log of import job {job_id}" in text
    assert "OIE_006" in text
    assert promotion.open_sessions() == 0


def test_a_success_with_failed_objects_is_a_failure(promotion, run, job_id, specification):
    promotion.sim.change_settings("test", partial_state="SUCCESSFUL")
    promotion.sim.add_fault("test", {"kind": "fail_objects", "paths": ["Sales/mt_orders"]})
    arguments = {"import_job_id": job_id, "import_specification": specification, "wait_for_completion": True}
    with pytest.raises(IdmcJobFailedError, match="Sales/mt_orders"):
        run(start(**arguments))


def test_a_missing_runtime_environment_is_explained(promotion, run, job_id):
    with pytest.raises(IdmcJobFailedError) as error:
        run(start(import_job_id=job_id, wait_for_completion=True))
    assert "OIE_008" in str(error.value)
    assert "runtime_environments={'DEV_AGENTS'" in str(error.value)


# --- all operators and sensors ----------------------------------------------------------------------------------------

TASKS = [
    objects.InfaListObjectsOperator,
    objects.InfaLookupObjectsOperator,
    exports.InfaExportOperator,
    exports.InfaDownloadPackageOperator,
    imports.InfaPlanImportOperator,
    imports.InfaUploadPackageOperator,
    imports.InfaStartImportOperator,
    backup.InfaBackupOperator,
    backup.InfaRestoreOperator,
    publish.InfaPublishOperator,
    schedules.InfaLinkScheduleOperator,
    verify.InfaVerifyImportOperator,
    record.InfaRecordPromotionOperator,
    InfaExportSensor,
    InfaImportSensor,
]


#: These always wait.
WAITING = (backup.InfaBackupOperator, backup.InfaRestoreOperator)


def arguments_of(task) -> dict[str, inspect.Parameter]:
    """What our classes, not Airflow's, take."""
    ours = [c for c in task.__mro__ if c.__module__.startswith("airflow_provider_infa.")]
    parameters = {n: p for c in ours for n, p in inspect.signature(c.__init__).parameters.items()}
    left_out = {"self", "kwargs", "args", *(["wait_for_completion"] if task in WAITING else [])}
    return {n: p for n, p in parameters.items() if n not in left_out}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_template_fields_are_the_arguments(task):
    names = set(arguments_of(task)) - {"deferrable"}
    if task in (InfaExportSensor, InfaImportSensor):
        names.remove("poke_interval")  # every sensor's, and a number when the task is made
    fields = [name for name in task.template_fields if name != "wait_for_completion" or task not in WAITING]
    assert sorted(fields) == sorted(names)
    assert set(task.template_fields_renderers) <= names


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_arguments_are_kept_untouched(task):
    # What is changed in the constructor is changed before templates are rendered.
    given = {name: f"{{{{ params.{name} }}}}" for name in task.template_fields if name in arguments_of(task)}
    made = task(task_id="t", **given)
    assert {name: getattr(made, name) for name in given} == given


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_every_argument_is_documented(task):
    for name in arguments_of(task):
        assert f":param {name}:" in task.__doc__ or name == "poke_interval"
    assert ":return:" in task.__doc__


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_every_task_can_be_stopped(task):
    # Before anything of Airflow's, whose method does nothing.
    assert next(c for c in task.__mro__ if "on_kill" in vars(c)) is Stoppable


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_the_default_connection(task):
    required = {n: "x" for n, p in arguments_of(task).items() if p.default is inspect.Parameter.empty}
    assert task(task_id="t", **required).infa_conn_id == "infa_default"
