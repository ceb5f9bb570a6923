"""Exports: start, watch, fetch."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcInputError, IdmcNotFoundError
from airflow_provider_infa.idmc.exports import download_package, get_export, get_export_log, start_export
from airflow_provider_infa.idmc.models import JobState
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import V3, Clock, error_body, new_session

Mocker = requests_mock.Mocker

JOB = "9SczgYW6zyufJkDB6Uaduz"
#: The answer that infapy captured, other names.
STARTED: dict[str, Any] = {
    "id": JOB,
    "createTime": "2026-01-26T09:06:38.898Z",
    "updateTime": "2026-01-26T09:06:38.898Z",
    "name": "release-12",
    "startTime": "2026-01-26T09:06:38.803Z",
    "endTime": None,
    "status": {"state": "IN_PROGRESS", "message": "In Progress"},
    "objects": None,
}


def test_start(wire: Mocker, session: Session) -> None:
    wire.post(f"{V3}/export", json=STARTED)
    job = start_export(session, ["a", "b", "a"], name="release-12")
    assert (job.id, job.name, job.state, job.objects) == (JOB, "release-12", JobState.RUNNING, None)
    request = wire.request_history[-1]
    assert request.url == f"{V3}/export?includeTagInformation=true"
    assert request.json() == {
        "name": "release-12",
        "objects": [{"id": "a", "includeDependencies": True}, {"id": "b", "includeDependencies": True}],
    }


def test_start_without_anything_optional(wire: Mocker, session: Session) -> None:
    wire.post(f"{V3}/export", json=STARTED)
    start_export(session, ["a"], include_dependencies=False, include_tags=False)
    request = wire.request_history[-1]
    assert request.url == f"{V3}/export"
    # The body is checked against a schema: no name is no field, and includeDependencies stands with each object.
    assert request.json() == {"objects": [{"id": "a", "includeDependencies": False}]}


def test_start_of_nothing(wire: Mocker, session: Session) -> None:
    with pytest.raises(IdmcInputError, match="no objects"):
        start_export(session, [])
    assert not wire.request_history


@pytest.mark.parametrize(("configured", "expected"), [(120.0, 300.0), (900.0, 900.0)])
def test_start_waits_long_for_its_answer(wire: Mocker, clock: Clock, configured: float, expected: float) -> None:
    """Big exports were seen to take more than a minute before the first header."""
    wire.post(f"{V3}/export", json=STARTED)
    start_export(new_session(clock, read_timeout=configured), ["a"])
    assert wire.request_history[-1].timeout[1] == expected


def test_start_is_repeated_when_its_answer_is_lost(wire: Mocker, session: Session) -> None:
    wire.post(f"{V3}/export", [{"status_code": 503, "text": "<html>"}, {"json": STARTED}])
    assert start_export(session, ["a"]).id == JOB


def test_start_that_is_not_answered_with_a_job(wire: Mocker, session: Session) -> None:
    wire.post(f"{V3}/export", json={"id": JOB})
    with pytest.raises(IdmcAnswerError, match="the export job"):
        start_export(session, ["a"])


def test_get(wire: Mocker, session: Session) -> None:
    entry = {"id": "o", "name": "mt", "path": "/Sales", "type": "MTT", "status": {"state": "SUCCESSFUL"}}
    wire.get(f"{V3}/export/{JOB}", json=STARTED)
    wire.get(f"{V3}/export/{JOB}?expand=objects", json=STARTED | {"objects": [entry]})
    assert get_export(session, JOB).objects is None
    assert wire.request_history[-1].url == f"{V3}/export/{JOB}"
    objects = get_export(session, JOB, expand_objects=True).objects
    assert objects is not None
    assert [(o.id, o.path, o.type, o.state) for o in objects] == [("o", "Sales/mt", "MTT", JobState.SUCCESSFUL)]


def test_get_of_a_job_that_is_not_there(wire: Mocker, session: Session) -> None:
    wire.get(f"{V3}/export/{JOB}", status_code=404, json=error_body("X", "The export job was not found."))
    with pytest.raises(IdmcNotFoundError, match="was not found"):
        get_export(session, JOB)


def test_log(wire: Mocker, session: Session) -> None:
    wire.get(f"{V3}/export/{JOB}/log", text="> OIE_002 INFO Starting export operation.\n")
    assert get_export_log(session, JOB) == "> OIE_002 INFO Starting export operation.\n"


def test_download(wire: Mocker, session: Session, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", "y")
    wire.get(f"{V3}/export/{JOB}/package", content=buffer.getvalue())
    got = download_package(session, JOB, tmp_path / "p.zip")
    assert got.size == len(buffer.getvalue())
    assert (tmp_path / "p.zip").read_bytes() == buffer.getvalue()


@pytest.mark.parametrize("job_id", ["", None, 7])
def test_ids_that_are_none(wire: Mocker, session: Session, tmp_path: Path, job_id: Any) -> None:
    for call in (
        lambda: get_export(session, job_id),
        lambda: get_export_log(session, job_id),
        lambda: download_package(session, job_id, tmp_path / "p.zip"),
    ):
        with pytest.raises(IdmcInputError, match="export job id"):
            call()
    assert not wire.request_history


def test_ids_can_not_change_the_path(wire: Mocker, session: Session) -> None:
    wire.get(requests_mock.ANY, json=STARTED)
    get_export(session, "../objects?q=x#")
    assert wire.request_history[-1].url == f"{V3}/export/..%2Fobjects%3Fq%3Dx%23"
