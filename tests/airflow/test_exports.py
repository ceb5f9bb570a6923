"""Exporting and fetching the package, as tasks do it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_infa import storage
from airflow_provider_infa.idmc.errors import (
    IdmcInputError,
    IdmcJobFailedError,
    IdmcNotFoundError,
    IdmcPackageError,
    IdmcUnavailableError,
)
from airflow_provider_infa.operators import exports as module
from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.objects import InfaListObjectsOperator


def export(**arguments):
    arguments = {"poll_interval": 0.05, "deferrable": False, **arguments}
    return lambda: InfaExportOperator(task_id="export", infa_conn_id="infa_dev", **arguments)


def download(**arguments):
    return lambda: InfaDownloadPackageOperator(task_id="download", infa_conn_id="infa_dev", **arguments)


def starts(promotion):
    return promotion.calls("dev", "POST", "/export$")


def exported(promotion, job_id: str) -> set[str]:
    return {row["id"] for row in promotion.job(job_id, "dev")["objects"]}


@pytest.mark.parametrize("deferrable", [False, True])
def test_result_and_xcom(sim, promotion, run, deferrable):
    promotion.end_jobs_after_two_looks("dev")
    job_id = run(export(objects=promotion.ids(), deferrable=deferrable))
    assert len(run.deferrals) == deferrable
    assert run.xcom["result"] == {
        "id": job_id,
        "name": "promote-manual__2026-03-02T09-15-00-00-00",
        "state": "SUCCESSFUL",
        "message": "Export completed successfully",
        "counts": {
            "objects": 11, "successful": 11, "warning": 0, "failed": 0, "created": 0, "overwritten": 0, "reused": 0,
        },
        "failed": [],
    }  # fmt: skip
    assert {row["path"] for row in run.xcom["objects"]} >= {"Sales", "Sales/Staging", "Sales/m_orders", "ora_dev"}
    assert {row["state"] for row in run.xcom["objects"]} == {"SUCCESSFUL"}
    assert len(starts(promotion)) == 1
    assert promotion.open_sessions("dev") == 0


def test_objects_in_every_form(sim, promotion, run, tmp_path):
    ids = promotion.ids()
    rows = [{"id": id} for id in ids]
    paths = [{"path": a["path"], "type": a["type"]} for a in sim.assets("dev") if a["id"] in ids]
    uri = f"file://{tmp_path}/rows.jsonl"
    listing = InfaListObjectsOperator(task_id="list", infa_conn_id="infa_dev", tag="release-1", output_uri=uri)
    assert run(lambda: listing) == uri
    for objects in (ids, rows, paths, json.dumps(ids), str(rows), uri, [*rows[:2], *ids[2:]], ids + ids):
        job_id = run(export(objects=objects, include_dependencies="False", include_tags="False"))
        assert exported(promotion, job_id) == set(ids)
    body = starts(promotion)[-1]["body"]
    assert [o["id"] for o in body["objects"]] == ids
    one = run(export(objects=ids[0], include_dependencies=False))
    assert exported(promotion, one) == {ids[0]}


@pytest.mark.parametrize("objects", [[], "[]", "None", None, ""])
def test_nothing_to_export_skips_or_succeeds_without_an_export(promotion, run, objects):
    with pytest.raises(AirflowSkipException, match="Nothing to promote"):
        run(export(objects=objects))
    assert run(export(objects=objects, on_empty="succeed")) is None
    assert starts(promotion) == []


def test_an_empty_file_is_nothing_to_export(promotion, run, tmp_path):
    uri = f"file://{tmp_path}/rows.jsonl"
    listing = InfaListObjectsOperator(task_id="list", infa_conn_id="infa_dev", tag="nobody", output_uri=uri)
    assert run(lambda: listing) == uri
    with pytest.raises(AirflowSkipException):
        run(export(objects=uri))
    assert starts(promotion) == []


@pytest.mark.parametrize("flag", [True, False, "True", "False"])
def test_dependencies_and_tags(promotion, run, flag):
    job_id = run(export(objects=promotion.ids(), include_dependencies=flag, include_tags=flag))
    (start,) = starts(promotion)
    assert {o["includeDependencies"] for o in start["body"]["objects"]} == {str(flag) == "True"}
    assert ("includeTagInformation=true" in start["query"]) == (str(flag) == "True")
    assert len(exported(promotion, job_id)) == (11 if str(flag) == "True" else 5)


def test_a_name_of_ones_own(promotion, run):
    job_id = run(export(objects=promotion.ids(), name="Release 7"))
    assert promotion.job(job_id, "dev")["name"] == "Release 7"


def test_without_waiting(sim, promotion, run):
    sim.add_fault("dev", {"kind": "never_end"})
    job_id = run(export(objects=promotion.ids(), wait_for_completion="False"))
    assert promotion.job(job_id, "dev")["state"] == "IN_PROGRESS"
    assert run.xcom == {}


@pytest.mark.parametrize("interval", [0, -1, "0", "often", None])
@pytest.mark.parametrize("name", ["poll_interval", "timeout"])
def test_an_interval_that_is_none_is_refused_before_anything_starts(promotion, run, name, interval):
    with pytest.raises(AirflowFailException, match=name) as error:
        run(export(objects=promotion.ids(), **{name: interval}))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert starts(promotion) == []


@pytest.mark.parametrize("argument", [
    {"wait_for_completion": "perhaps"}, {"fail_on_warning": "perhaps"}, {"include_tags": "perhaps"},
    {"include_dependencies": "perhaps"}, {"on_empty": "perhaps"},
])  # fmt: skip
def test_a_bad_flag_is_refused_before_anything_starts(promotion, run, argument):
    with pytest.raises(AirflowFailException, match=next(iter(argument))):
        run(export(objects=promotion.ids(), **argument))
    assert starts(promotion) == []


def test_rendered_numbers(sim, promotion, run):
    sim.change_settings("dev", job_seconds=0.2)
    assert run(export(objects=promotion.ids(), poll_interval="0.05", timeout="10"))


def test_what_is_missing_is_named(promotion, run):
    with pytest.raises(AirflowFailException, match="Sales/gone") as error:
        run(export(objects=[{"path": "Sales/gone", "type": "MTT"}]))
    assert isinstance(error.value.__cause__, IdmcNotFoundError)
    assert starts(promotion) == []


def test_more_than_is_recommended_is_warned_about(promotion, run, monkeypatch, logged):
    monkeypatch.setattr(module, "RECOMMENDED_OBJECTS", 2)
    run(export(objects=promotion.ids()))
    assert re.search(r"warning.*recommends at most 2", logged())


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_export_fails_with_an_exception_of_its_own(sim, promotion, run, logged, deferrable):
    promotion.end_jobs_after_two_looks("dev")
    sim.add_fault("dev", {"kind": "fail_job", "message": "Out of disk, says the simulator."})
    with pytest.raises(IdmcJobFailedError) as error:
        run(export(objects=promotion.ids(), deferrable=deferrable))
    assert "Out of disk" in str(error.value)
    assert "ACME_DEV" in str(error.value)
    job = sim.jobs("dev")[0]
    assert job["id"] in str(error.value)
    assert f"Log of export job {job['id']}" in logged()
    assert promotion.open_sessions("dev") == 0


def test_a_lost_answer_of_the_start_costs_at_most_a_second_export(sim, promotion, run):
    sim.add_fault("dev", {"kind": "drop_after", "method": "POST", "path": "/export$", "times": 1})
    job_id = run(export(objects=promotion.ids()))
    assert promotion.job(job_id, "dev")["state"] == "SUCCESSFUL"
    assert len(starts(promotion)) == 2


def test_a_refused_start_fails_for_good(sim, promotion, run):
    sim.add_fault("dev", {"kind": "deny", "method": "POST", "path": "/export$"})
    with pytest.raises(AirflowFailException) as error:
        run(export(objects=promotion.ids()))
    assert error.value.__cause__.status == 403
    assert error.value.__cause__.request_id in str(error.value)


# --- download ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file://{tmp_path}/new", "{tmp_path}/new", "{object_store}"])
def test_download(promotion, run, tmp_path, object_store, place):
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    job_id = promotion.export()
    uri = place.format(tmp_path=tmp_path, object_store=object_store) + "/release 1.zip"
    assert run(download(export_job_id=job_id, package_uri=uri)) == uri
    content = ObjectStoragePath(uri).read_bytes()
    assert run.xcom == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert run.xcom["sha256"] == promotion.job(job_id, "dev")["package_sha256"]
    if (tmp_path / "new").exists():
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["release 1.zip"]


def test_a_download_replaces_the_file(promotion, run, tmp_path):
    (tmp_path / "p.zip").write_bytes(b"old")
    run(download(export_job_id=promotion.export(), package_uri=f"file://{tmp_path}/p.zip"))
    assert (tmp_path / "p.zip").read_bytes()[:2] == b"PK"


def test_a_download_that_is_cut_off_is_repeated(sim, promotion, run, tmp_path):
    job_id = promotion.export()
    sim.add_fault("dev", {"kind": "truncate", "times": 2})
    run(download(export_job_id=job_id, package_uri=f"file://{tmp_path}/p.zip"))
    assert run.xcom["sha256"] == promotion.job(job_id, "dev")["package_sha256"]
    assert len(promotion.calls("dev", "GET", "/package$")) == 3


def test_a_download_that_never_gets_through_leaves_what_was_there(sim, promotion, run, tmp_path):
    job_id = promotion.export()
    (tmp_path / "p.zip").write_bytes(b"old")
    sim.add_fault("dev", {"kind": "truncate"})
    with pytest.raises(IdmcUnavailableError):
        run(download(export_job_id=job_id, package_uri=f"file://{tmp_path}/p.zip"))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("p.zip", b"old")]


def test_an_export_of_another_org_is_not_there(sim, promotion, run, tmp_path):
    job_id = promotion.export()
    with pytest.raises(AirflowFailException) as error:
        run(
            lambda: InfaDownloadPackageOperator(
                task_id="d", infa_conn_id="infa_test", export_job_id=job_id, package_uri=f"{tmp_path}/p.zip"
            )
        )
    assert error.value.__cause__.status == 404
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", [{"export_job_id": ""}, {"package_uri": ""}, {"export_job_id": None}])
def test_a_download_without_names(promotion, run, tmp_path, argument):
    good = {"export_job_id": promotion.export(), "package_uri": f"{tmp_path}/p.zip"}
    with pytest.raises(AirflowFailException):
        run(download(**{**good, **argument}))
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_none_is_not_stored(sim, promotion, run, tmp_path, monkeypatch):
    job_id = promotion.export()

    def refuse(path: Path):
        raise IdmcPackageError("damaged")

    monkeypatch.setattr(module, "read_package", refuse)
    with pytest.raises(AirflowFailException, match="damaged"):
        run(download(export_job_id=job_id, package_uri=f"{tmp_path}/p.zip"))
    assert not list(tmp_path.iterdir())


def test_two_that_write_one_file_do_not_mix(tmp_path, monkeypatch):
    # A lost worker's try and its retry, in two containers that give their only process the same id.
    monkeypatch.setattr("os.getpid", lambda: 1)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("first")
    second.write_text("second")
    target = tmp_path / "there" / "package.zip"
    copyfile = shutil.copyfile

    def interrupted(source, part):
        copyfile(source, part)
        if source == first:
            storage.publish(second, target.as_uri())

    monkeypatch.setattr(storage.shutil, "copyfile", interrupted)
    storage.publish(first, target.as_uri())
    assert target.read_text() == "first"
    assert list(target.parent.iterdir()) == [target]
