"""Imports: upload, exactly one start, the specification."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc.errors import (
    IdmcAnswerError,
    IdmcConflictError,
    IdmcInputError,
    IdmcNotFoundError,
    IdmcOutcomeUnknownError,
    IdmcPackageError,
    IdmcPermissionError,
    IdmcRequestError,
)
from airflow_provider_infa.idmc.imports import (
    check_specification,
    get_import,
    get_import_log,
    start_import,
    upload_package,
)
from airflow_provider_infa.idmc.models import JobState
from airflow_provider_infa.idmc.policy import SETTLE_DELAYS, START_TRIES
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import LOGIN, V3, Clock, error_body, login_answer, new_session

Mocker = requests_mock.Mocker

JOB = "8bSlx81r2GSlX417G9XNsq"
URL = f"{V3}/import/{JOB}"
HTML = {"status_code": 503, "text": "<html><h1>Maintenance</h1></html>"}


def answer(state: str) -> dict[str, Any]:
    return {
        "id": JOB,
        "createTime": "2026-01-26T11:08:30.000Z",
        "updateTime": "2026-01-26T11:08:46.183Z",
        "name": "release-12",
        "startTime": None if state == "NOT_STARTED" else "2026-01-26T11:08:46.079Z",
        "endTime": None,
        "status": {"state": state, "message": None},
        "objects": None,
        "sourceOrgId": "fg1dzqDZ1K3lbHp8uq5vQB",
        "checksumValid": True,
    }


# upload -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "release-12.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("exportMetadata.v2.json", "{}")
    return path


def uploaded(**changes: Any) -> dict[str, Any]:
    return {"jobId": JOB, "jobStatus": {"state": "NOT_STARTED", "message": None}, "checksumValid": True} | changes


class Uploads:
    """Takes uploads and keeps their bodies."""

    def __init__(self, wire: Mocker, *answers: tuple[int, Any]) -> None:
        self.bodies: list[bytes] = []
        self._answers = list(answers)
        wire.post(f"{V3}/import/package", json=self._respond)

    def _respond(self, request: Any, context: Any) -> Any:
        self.bodies.append(request.body.read())
        context.status_code, body = self._answers.pop(0)
        return body


def test_upload(wire: Mocker, session: Session, package: Path) -> None:
    uploads = Uploads(wire, (200, uploaded()))
    assert upload_package(session, package) == JOB
    request = wire.request_history[-1]
    assert request.url == f"{V3}/import/package"
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert uploads.bodies[0].count(b"Content-Disposition") == 1
    assert b'name="package"; filename="release-12.zip"' in uploads.bodies[0]
    assert package.read_bytes() in uploads.bodies[0]


def test_upload_relaxed(wire: Mocker, session: Session, package: Path) -> None:
    Uploads(wire, (201, uploaded(checksumValid=False)))
    assert upload_package(session, package, relax_checksum=True) == JOB
    assert wire.request_history[-1].url == f"{V3}/import/package?relaxChecksum=true"


def test_upload_with_an_invalid_checksum(wire: Mocker, session: Session, package: Path) -> None:
    Uploads(wire, (200, uploaded(checksumValid=False)))
    with pytest.raises(IdmcPackageError, match=r"release-12\.zip.*relax_checksum=True") as caught:
        upload_package(session, package)
    assert JOB in str(caught.value)


@pytest.mark.parametrize("valid", [None, True])
def test_upload_that_tells_nothing_of_the_checksum(
    wire: Mocker, session: Session, package: Path, valid: bool | None
) -> None:
    Uploads(wire, (200, uploaded(checksumValid=valid)))
    assert upload_package(session, package) == JOB


def test_upload_is_repeated(wire: Mocker, session: Session, package: Path, clock: Clock) -> None:
    uploads = Uploads(wire, (503, None), (429, error_body("X", "Too many requests.")), (200, uploaded()))
    assert upload_package(session, package) == JOB
    assert len(clock.sleeps) == 2
    assert all(package.read_bytes() in body for body in uploads.bodies)


@pytest.mark.parametrize("body", [{}, {"jobId": None}, [], {"jobId": 7}])
def test_upload_without_a_job(wire: Mocker, session: Session, package: Path, body: Any) -> None:
    Uploads(wire, (200, body))
    with pytest.raises(IdmcAnswerError, match="the upload"):
        upload_package(session, package)


def test_upload_refused(wire: Mocker, session: Session, package: Path) -> None:
    Uploads(wire, (400, error_body("MigrationSvc_072", "Changed content.")))
    with pytest.raises(IdmcRequestError, match="only as they were exported"):
        upload_package(session, package)


# start ------------------------------------------------------------------------------------------------------------


class ImportJob:
    """One import job at IDMC: its state, and what becomes of each start that arrives.

    :param starts: for each start, what the caller sees: an answer for requests-mock, or None for a good one; and
        whether the job runs from then on.
    """

    def __init__(self, wire: Mocker, *starts: tuple[dict[str, Any] | None, bool], state: str = "NOT_STARTED") -> None:
        self.state = state
        self.log: list[str] = []
        self.bodies: list[Any] = []
        self.ran = 0
        self.moves_after: int | None = None
        self._starts = list(starts)
        wire.get(URL, json=self._ask)
        wire.post(URL, text=self._start)

    def _ask(self, request: Any, context: Any) -> dict[str, Any]:
        self.log.append("ask")
        if self.moves_after is not None:
            self.moves_after -= 1
            if self.moves_after == 0:
                self._run()
        return answer(self.state)

    def _run(self) -> None:
        self.ran += 1
        self.state = "IN_PROGRESS"

    def _start(self, request: Any, context: Any) -> str:
        self.log.append("start")
        self.bodies.append(request.json())
        seen, runs = self._starts.pop(0)
        if runs:
            self._run()
        if seen is None:
            return json.dumps(answer("IN_PROGRESS"))
        context.status_code = seen.get("status_code", 200)
        return json.dumps(seen["json"]) if "json" in seen else seen["text"]


def test_start_asks_first(wire: Mocker, session: Session, clock: Clock) -> None:
    remote = ImportJob(wire, (None, True))
    job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert (job.id, job.state, is_new) == (JOB, JobState.RUNNING, True)
    assert remote.log == ["ask", "start"]
    assert re.fullmatch(r"job-\d{13}", remote.bodies[0].pop("name"))
    assert remote.bodies == [{}]
    assert clock.sleeps == []


def test_start_sends_what_was_planned(wire: Mocker, session: Session) -> None:
    remote = ImportJob(wire, (None, True))
    specification = {
        "defaultConflictResolution": "REUSE",
        "includeObjects": ["a"],
        "objectSpecification": [
            {
                "sourceObjectId": "a",
                "conflictResolution": "OVERWRITE",
                "additionalProviderFlags": [{"key": "mapping_conflict_existing", "value": "RETAIN"}],
                "someFlagNobodyNames": True,
            },
            {"sourceObjectId": "b", "targetObjectId": "c"},
        ],
    }
    start_import(session, JOB, name="release-12-qa", import_specification=specification)
    assert remote.bodies == [{"name": "release-12-qa", "importSpecification": specification}]
    assert wire.request_history[-1].url == URL


@pytest.mark.parametrize("specification", [None, {}])
def test_start_without_a_specification(wire: Mocker, session: Session, specification: dict[str, Any] | None) -> None:
    remote = ImportJob(wire, (None, True))
    start_import(session, JOB, name="x", import_specification=specification)
    assert remote.bodies == [{"name": "x"}]


@pytest.mark.parametrize("state", ["IN_PROGRESS", "QUEUED", "SUCCESSFUL", "FAILED", "WARNING"])
def test_a_job_that_is_started_already_is_left_alone(wire: Mocker, session: Session, state: str) -> None:
    remote = ImportJob(wire, state=state)
    job, is_new = start_import(session, JOB)
    assert (job.word, is_new) == (state, False)
    assert remote.log == ["ask"]


LOST = {
    "503 page": HTML,
    "502": {"status_code": 502, "text": ""},
    "500": {"status_code": 500, "json": error_body("X", "Oops.")},
    "200 page": {"text": "<html>Sign in</html>"},
    "200 empty": {"text": ""},
    "cut JSON": {"text": '{"id": "8bSl'},
}
#: Nobody recorded what some starts are answered with; what holds no job tells nothing of the outcome either.
ODD = {"no job in it": {"json": {}}, "null": {"json": None}, "only its id": {"json": {"id": JOB}}}


@pytest.mark.parametrize("lost", [*LOST.values(), *ODD.values()], ids=[*LOST, *ODD])
def test_a_lost_answer_to_a_start_that_arrived(
    wire: Mocker, session: Session, clock: Clock, lost: dict[str, Any]
) -> None:
    remote = ImportJob(wire, (lost, True))
    job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert (job.state, is_new) == (JobState.RUNNING, True)
    assert remote.log == ["ask", "start", "ask"]
    assert remote.ran == 1


@pytest.mark.parametrize("lost", LOST.values(), ids=list(LOST))
def test_a_lost_answer_to_a_start_that_did_not_arrive(
    wire: Mocker, session: Session, clock: Clock, caplog: pytest.LogCaptureFixture, lost: dict[str, Any]
) -> None:
    remote = ImportJob(wire, (lost, False), (None, True))
    with caplog.at_level(logging.WARNING):
        job, is_new = start_import(session, JOB, import_specification={"includeObjects": ["a"]}, sleep=clock.sleep)
    assert (job.state, is_new) == (JobState.RUNNING, True)
    assert remote.log == ["ask", "start", *["ask"] * len(SETTLE_DELAYS), "start"]
    assert remote.ran == 1
    assert remote.bodies[0] == remote.bodies[1]
    assert f"state of import job {JOB}" in caplog.text


def test_a_start_that_is_still_on_its_way(wire: Mocker, session: Session, clock: Clock) -> None:
    """The first looks after a lost answer find the job not started: that proves nothing yet."""
    remote = ImportJob(wire, (HTML, False))
    remote.moves_after = 1 + len(SETTLE_DELAYS)
    start_import(session, JOB, sleep=clock.sleep)
    assert remote.log.count("start") == 1
    assert remote.ran == 1
    assert sum(clock.sleeps) >= 5


def test_a_start_that_is_refused_after_a_lost_one_that_arrived_late(
    wire: Mocker, session: Session, clock: Clock
) -> None:
    remote = ImportJob(wire, (HTML, False), ({"status_code": 409, "json": error_body("X", "Already started.")}, True))
    job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert (job.state, is_new) == (JobState.RUNNING, True)
    assert remote.log[-1] == "ask"


def test_a_start_that_is_refused_after_a_lost_one_that_did_not_arrive(
    wire: Mocker, session: Session, clock: Clock
) -> None:
    ImportJob(wire, (HTML, False), ({"status_code": 400, "json": error_body("X_9", "Bad.")}, False))
    # Perhaps because the first one is only slow to arrive: a retry of the task has to ask once more.
    with pytest.raises(IdmcOutcomeUnknownError, match="Bad") as caught:
        start_import(session, JOB, sleep=clock.sleep)
    assert caught.value.code == "X_9"
    assert caught.value.transient


def test_starts_that_never_leave_a_trace(wire: Mocker, session: Session, clock: Clock) -> None:
    remote = ImportJob(wire, *[(HTML, False)] * START_TRIES)
    with pytest.raises(IdmcOutcomeUnknownError, match=f"whether import job {JOB} was started") as caught:
        start_import(session, JOB, sleep=clock.sleep)
    assert caught.value.transient
    assert remote.log.count("start") == START_TRIES
    assert remote.ran == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, IdmcRequestError), (403, IdmcPermissionError), (404, IdmcNotFoundError), (409, IdmcConflictError)],
)
def test_refused_starts_are_final(
    wire: Mocker, session: Session, clock: Clock, status: int, kind: type[Exception]
) -> None:
    refusal = {"status_code": status, "json": error_body("MigrationSvc_040", "User does not have permissions.")}
    remote = ImportJob(wire, (refusal, False))
    with pytest.raises(kind, match="Designer role"):
        start_import(session, JOB, sleep=clock.sleep)
    # After a conflict it may be another worker that started it.
    assert remote.log == ["ask", "start"] + ["ask"] * (status == 409)
    assert clock.sleeps == []


def test_a_start_that_another_worker_was_quicker_with(wire: Mocker, session: Session, clock: Clock) -> None:
    remote = ImportJob(wire, ({"status_code": 409, "json": error_body("X", "Already started.")}, True))
    job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert (job.state, is_new) == (JobState.RUNNING, False)
    assert remote.ran == 1


@pytest.mark.parametrize("status", [400, 404])
def test_an_org_that_does_not_tell_the_state_of_a_job_that_is_not_started(
    wire: Mocker, session: Session, clock: Clock, status: int
) -> None:
    wire.get(URL, status_code=status, json=error_body("MigrationSvc_011", "Job has not been started."))
    wire.post(URL, json=answer("IN_PROGRESS"))
    _, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert is_new
    assert [r.method for r in wire.request_history][1:] == ["GET", "POST"]


@pytest.mark.parametrize("status", [200, 302, 400, 403, 404, 408])
@pytest.mark.parametrize("text", ["<html>default backend</html>", "no such page", '{"status": "maintenance"}', ""])
def test_a_gateway_that_knows_no_job_does_not_have_it_started(
    wire: Mocker, session: Session, clock: Clock, status: int, text: str
) -> None:
    """Seen of load balancers and ingresses: their pages have the status of an answer, and tell nothing of the job."""
    wire.get(URL, status_code=status, text=text)
    wire.post(URL, json=answer("IN_PROGRESS"))
    with pytest.raises(IdmcOutcomeUnknownError, match=f"import job {JOB} is started could not be found out"):
        start_import(session, JOB, sleep=clock.sleep)
    assert "POST" not in [r.method for r in wire.request_history if r.url == URL]


def test_a_request_timeout_tells_nothing_whatever_comes_with_it(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, status_code=408, json=error_body("X", "Took too long."))
    wire.post(URL, json=answer("IN_PROGRESS"))
    with pytest.raises(IdmcOutcomeUnknownError, match="could not be found out"):
        start_import(session, JOB, sleep=clock.sleep)
    assert "POST" not in [r.method for r in wire.request_history if r.url == URL]


@pytest.mark.parametrize(
    ("status", "page"),
    [(302, ""), (403, "<html>blocked</html>"), (404, "no such page"), (200, '{"status": "maintenance"}'), (200, "[]")],
)
@pytest.mark.parametrize("pages", [1, len(SETTLE_DELAYS) - 1, 1000])
def test_a_gateway_that_answers_after_a_lost_start(
    wire: Mocker, session: Session, clock: Clock, status: int, page: str, pages: int
) -> None:
    """Asked again as long as a start may be on its way; never sent a second time meanwhile."""
    left = [pages]

    def ask(request: Any, context: Any) -> str:
        if not [r for r in wire.request_history if (r.method, r.url) == ("POST", URL)]:
            return json.dumps(answer("NOT_STARTED"))
        left[0] -= 1
        if left[0] < 0:
            return json.dumps(answer("IN_PROGRESS"))
        context.status_code = status
        return page

    wire.get(URL, text=ask)
    wire.post(URL, **HTML)
    if pages < len(SETTLE_DELAYS):
        _, is_new = start_import(session, JOB, sleep=clock.sleep)
        assert is_new
    else:
        with pytest.raises(IdmcOutcomeUnknownError, match="A start was sent, and its answer was lost"):
            start_import(session, JOB, sleep=clock.sleep)
    assert [r.method for r in wire.request_history if r.url == URL].count("POST") == 1


def test_a_login_that_is_redirected_after_a_lost_start(wire: Mocker, session: Session, clock: Clock) -> None:
    """Anywhere else the Host may be wrong, and the task fails for good; here the import may be running."""
    wire.post(LOGIN, [{"json": login_answer()}, {"status_code": 302}])
    wire.get(URL, [{"json": answer("NOT_STARTED")}, {"status_code": 401, "json": {}}])
    wire.post(URL, **HTML)
    with pytest.raises(IdmcOutcomeUnknownError, match=r"its answer was lost.*HTTP 302"):
        start_import(session, JOB, sleep=clock.sleep)


@pytest.mark.parametrize(("configured", "expected"), [(30.0, 300.0), (900.0, 900.0)])
def test_a_start_waits_long_for_its_answer(wire: Mocker, clock: Clock, configured: float, expected: float) -> None:
    """Cut off earlier, IDMC may still take it in, and be sent another."""
    ImportJob(wire, (None, True))
    start_import(new_session(clock, read_timeout=configured), JOB, sleep=clock.sleep)
    assert wire.request_history[-1].timeout[1] == expected


def test_throttled_and_expired_starts_are_repeated(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.post(LOGIN, [{"json": login_answer("one")}, {"json": login_answer("two")}])
    throttled = {"status_code": 429, "json": error_body("X", "Too many requests.")}
    remote = ImportJob(wire, (throttled, False), ({"status_code": 401, "json": {}}, False), (None, True))
    _, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert is_new
    assert remote.log == ["ask", "start", "start", "start"]
    assert remote.ran == 1


def test_a_start_is_not_sent_when_the_state_can_not_be_had(wire: Mocker, clock: Clock) -> None:
    wire.get(URL, **HTML)
    wire.post(URL, json=answer("IN_PROGRESS"))
    with pytest.raises(IdmcOutcomeUnknownError, match=r"could not be found out.*HTTP 503"):
        start_import(new_session(clock, retry_timeout=30.0), JOB, sleep=clock.sleep)
    assert not [r for r in wire.request_history if (r.method, r.url) == ("POST", URL)]


def test_a_lost_start_after_which_idmc_is_gone(wire: Mocker, clock: Clock) -> None:
    """Nobody knows: the error says that trying again can help, and that asks first."""
    remote = ImportJob(wire, (HTML, True))
    session = new_session(clock, retry_timeout=30.0)
    wire.get(URL, [{"json": answer("NOT_STARTED")}, HTML])
    began = clock.now
    with pytest.raises(IdmcOutcomeUnknownError, match="A start was sent, and its answer was lost") as caught:
        start_import(session, JOB, sleep=clock.sleep, clock=clock)
    assert caught.value.transient
    # As long as the start may be on its way, and not a whole outage for each look.
    assert sum(SETTLE_DELAYS) < clock.now - began < sum(SETTLE_DELAYS) + 30.0
    wire.get(URL, json=answer("IN_PROGRESS"))
    job, is_new = start_import(session, JOB, sleep=clock.sleep)
    assert (job.word, is_new) == ("IN_PROGRESS", False)
    assert remote.ran == 1


def test_a_bad_specification_is_found_before_anything_is_sent(wire: Mocker, session: Session) -> None:
    with pytest.raises(IdmcInputError):
        start_import(session, JOB, import_specification={"defaultConflictResolution": "MERGE"})
    assert not wire.request_history


@pytest.mark.parametrize("job_id", ["", None])
def test_ids_that_are_none(wire: Mocker, session: Session, job_id: Any) -> None:
    with pytest.raises(IdmcInputError, match="import job id"):
        start_import(session, job_id)
    assert not wire.request_history


def test_get_and_log(wire: Mocker, session: Session) -> None:
    wire.get(f"{URL}?expand=objects", json=answer("SUCCESSFUL") | {"objects": []})
    wire.get(f"{URL}/log", text="> OIE_002 INFO\n")
    assert get_import(session, JOB, expand_objects=True).objects == ()
    assert get_import_log(session, JOB) == "> OIE_002 INFO\n"


# specification ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "specification",
    [
        None,
        {},
        {"defaultConflictResolution": "OVERWRITE"},
        {"defaultConflictResolution": None, "includeObjects": None, "objectSpecification": None},
        {"includeObjects": []},
        {"objectSpecification": [{"sourceObjectId": "a", "anything": {"else": 1}}], "fieldOfTheFuture": 1},
    ],
)
def test_good_specifications(specification: Any) -> None:
    check_specification(specification)


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ("x", "must be an object, not str"),
        ([], "must be an object, not list"),
        ({"defaultConflictResolution": "overwrite"}, "defaultConflictResolution must be .*'overwrite'"),
        ({"defaultConflictResolution": True}, "defaultConflictResolution"),
        ({"includeObjects": "a"}, "includeObjects must be a list of ids"),
        ({"includeObjects": [{"id": "a"}]}, "includeObjects must be a list of ids"),
        ({"objectSpecification": {}}, "objectSpecification must be a list"),
        ({"objectSpecification": ["a"]}, "needs a sourceObjectId.*'a'"),
        ({"objectSpecification": [{"targetObjectId": "b"}]}, "needs a sourceObjectId.*'b'"),
        ({"objectSpecification": [{"sourceObjectId": ""}]}, "needs a sourceObjectId"),
        (
            {"objectSpecification": [{"sourceObjectId": "a", "conflictResolution": "KEEP"}]},
            "conflictResolution of object a must be .*'KEEP'",
        ),
    ],
)
def test_bad_specifications(specification: Any, words: str) -> None:
    with pytest.raises(IdmcInputError, match=words):
        check_specification(specification)
