"""Publishing: what is called, in which order, and how the many shapes of answers are read."""

from __future__ import annotations

from typing import Any

import pytest
import requests_mock
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.jobs import get_job, get_log
from airflow_provider_infa.idmc.models import Job, JobKind, JobState
from airflow_provider_infa.idmc.publish import (
    LIMIT,
    PUBLISHABLE,
    batches,
    get_publish,
    is_publishable,
    object_of,
    start_publish,
)
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import API_BASE, SESSION_ID, Clock, error_body, new_session

Mocker = requests_mock.Mocker

HOST = API_BASE.removesuffix("/saas")
TASKFLOWS = f"{HOST}/active-bpel/asset/v1/publish"
CAI = f"{HOST.replace('usw5.', 'usw5-cai.')}/active-bpel/asset/v1/publish"
JSON_API = "application/vnd.api+json"
TF = "Explore/Sales/tf_orders.TASKFLOW.xml"
PROCESS = "Explore/Service/p_open.PROCESS.xml"
JOB = "690465325825028096"


def row(path: str, type: str) -> dict[str, str]:
    return {"path": path, "type": type}


def answer(state: str, *, end: bool = False, id: Any = JOB, **attributes: Any) -> dict[str, Any]:
    """As Informatica's page "Publish" prints it."""
    shown = {
        "jobState": state,
        "jobStatusDetail": {},
        "startedBy": "deployer",
        "startDate": "2022-03-21T07:42:42.000+0000",
        "totalCount": 1,
        "processedCount": 0,
        **attributes,
    }
    if end:
        shown["endDate"] = "2022-03-21T07:45:42.000+0000"
    data = {"type": "publish", "attributes": shown} | ({"id": id} if id is not None else {})
    return {
        "data": data,
        "links": {"self": f"http://evil.example/{JOB}", "status": f"http://evil.example/{JOB}/Status"},
    }


def item(state: str, path: str = TF, **more: Any) -> dict[str, Any]:
    return {"itemIndex": 0, "itemGUID": "g", "itemState": state, "itemStatusDetail": "", "assetPath": path, **more}


# batches ----------------------------------------------------------------------------------------------------------


def test_what_others_are_built_on_comes_first_and_taskflows_go_alone() -> None:
    rows = [
        row("S/tf_b", "TASKFLOW"),
        row("S/guide", "GUIDE"),
        row("S/p_b", "PROCESS"),
        row("S/ac", "AI_CONNECTION"),
        row("S/p_a", "process"),
        row("S/sc", "AI_SERVICE_CONNECTOR"),
        row("S/old", "AI_CONNECTOR"),
        row("S/tf_a", "Taskflow"),
    ]
    assert batches(rows) == [
        (
            JobKind.PUBLISH_CAI,
            [
                "Explore/S/sc.AI_SERVICE_CONNECTOR.xml",
                "Explore/S/ac.AI_CONNECTION.xml",
                "Explore/S/old.AI_CONNECTOR.xml",
                "Explore/S/p_b.PROCESS.xml",
                "Explore/S/p_a.PROCESS.xml",
                "Explore/S/guide.GUIDE.xml",
            ],
        ),
        (JobKind.PUBLISH, ["Explore/S/tf_b.TASKFLOW.xml", "Explore/S/tf_a.TASKFLOW.xml"]),
    ]


@pytest.mark.parametrize("path", ["Sales/tf", "Explore/tf"])
def test_a_project_may_be_called_explore(path: str) -> None:
    assert batches([row(path, "TASKFLOW")]) == [(JobKind.PUBLISH, [f"Explore/{path}.TASKFLOW.xml"])]


@pytest.mark.parametrize(
    ("number", "sizes"), [(0, []), (1, [1]), (199, [199]), (200, [199, 1]), (398, [199, 199]), (399, [199, 199, 1])]
)
def test_no_call_has_more_than_199(number: int, sizes: list[int]) -> None:
    calls = batches(row(f"S/tf_{n:03}", "TASKFLOW") for n in range(number))
    assert [len(paths) for _, paths in calls] == sizes
    assert [path for _, paths in calls for path in paths] == [
        f"Explore/S/tf_{n:03}.TASKFLOW.xml" for n in range(number)
    ]


@given(st.lists(st.tuples(st.sampled_from([*PUBLISHABLE, "guide"]), st.integers(0, 600)), max_size=700))
def test_nothing_is_lost_mixed_or_out_of_order(rows: list[tuple[str, int]]) -> None:
    calls = batches(row(f"S/x{n}", type) for type, n in rows)
    flat = [object_of(path) for _, paths in calls for path in paths]
    assert len(flat) == len(set(flat))
    assert set(flat) == {(f"S/x{n}", type.upper()) for type, n in rows}
    assert [PUBLISHABLE.index(type) for _, type in flat] == sorted(PUBLISHABLE.index(type) for _, type in flat)
    for kind, paths in calls:
        assert 0 < len(paths) <= LIMIT
        assert {path.endswith(".TASKFLOW.xml") for path in paths} == {kind is JobKind.PUBLISH}


@pytest.mark.parametrize(
    "bad",
    [row("S/mt", "MTT"), row("S/po", "PROCESS_OBJECT"), row("S/x", ""), {"path": "S/x"}, row("", "TASKFLOW"), {}],
)
def test_what_can_not_be_published_is_named(bad: dict[str, str]) -> None:
    with pytest.raises(errors.IdmcInputError, match="can't be published") as caught:
        batches([row("S/tf", "TASKFLOW"), bad])
    assert bad.get("path", "") in str(caught.value)


@pytest.mark.parametrize(
    ("type", "expected"),
    [*[(type, True) for type in PUBLISHABLE], ("taskflow", True), ("Guide", True), ("MTT", False), ("", False)],
)
def test_is_publishable(type: str, expected: bool) -> None:
    assert is_publishable(type) is expected


@pytest.mark.parametrize(
    ("asset_path", "expected"),
    [
        (TF, ("Sales/tf_orders", "TASKFLOW")),
        ("/Explore/Sales/tf.TASKFLOW.xml", ("Sales/tf", "TASKFLOW")),
        ("Sales/tf.v1.2.TASKFLOW.xml", ("Sales/tf.v1.2", "TASKFLOW")),
        ("Explore/A.B/C d/ü'&.PROCESS.xml", ("A.B/C d/ü'&", "PROCESS")),
        ("Explore/Sales/tf.xml.TASKFLOW.xml", ("Sales/tf.xml", "TASKFLOW")),
        ("tf_without_anything", ("tf_without_anything", "")),
    ],
)
def test_object_of(asset_path: str, expected: tuple[str, str]) -> None:
    assert object_of(asset_path) == expected


# the start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "url"), [(JobKind.PUBLISH, TASKFLOWS), (JobKind.PUBLISH_CAI, CAI)])
def test_start_over_the_wire(wire: Mocker, session: Session, kind: JobKind, url: str) -> None:
    wire.post(url, status_code=202, json=answer("NOT_STARTED", assetPaths=[TF]))
    job = start_publish(session, kind, [TF, "Explore/S/mt_R&D 'pilot' <b>.TASKFLOW.xml"])
    sent = wire.request_history[-1]
    assert sent.json() == {
        "data": {
            "type": "publish",
            "attributes": {"assetPaths": [TF, "Explore/S/mt_R&D 'pilot' <b>.TASKFLOW.xml"]},
        }
    }
    # Without the second, IDMC answers RESTEASY003635.
    assert (sent.headers["Content-Type"], sent.headers["Accept"]) == (JSON_API, JSON_API)
    assert sent.headers["INFA-SESSION-ID"] == SESSION_ID
    assert (job.id, job.state, job.start_time) == (JOB, JobState.NOT_STARTED, "2022-03-21T07:42:42.000+0000")


def test_the_host_of_application_integration_can_be_set(wire: Mocker, clock: Clock) -> None:
    with new_session(clock, cai_url="https://cai.corp.example") as session:
        wire.post("https://cai.corp.example/active-bpel/asset/v1/publish", json=answer("NOT_STARTED"))
        wire.post(TASKFLOWS, json=answer("NOT_STARTED"))
        start_publish(session, JobKind.PUBLISH_CAI, [PROCESS])
        start_publish(session, JobKind.PUBLISH, [TF])


@pytest.mark.parametrize("number", [0, 200])
def test_a_call_of_the_wrong_size_is_not_sent(wire: Mocker, session: Session, number: int) -> None:
    with pytest.raises(errors.IdmcInputError, match=f"1 to 199 assets, not {number}"):
        start_publish(session, JobKind.PUBLISH, [TF] * number)
    assert not wire.request_history


def test_a_start_whose_answer_is_lost_is_repeated(wire: Mocker, session: Session) -> None:
    wire.post(TASKFLOWS, [{"status_code": 503, "text": "<html>"}, {"json": answer("NOT_STARTED")}])
    assert start_publish(session, JobKind.PUBLISH, [TF]).id == JOB


def test_a_start_that_is_refused(wire: Mocker, session: Session) -> None:
    wire.post(TASKFLOWS, status_code=400, json=error_body("BAD", "assetPaths has more than 199 entries"))
    with pytest.raises(errors.IdmcRequestError, match="more than 199"):
        start_publish(session, JobKind.PUBLISH, [TF])


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"data": None},
        {"data": {}},
        {"data": {"id": JOB}},
        {"data": {"id": JOB, "attributes": {}}},
        answer("NOT_STARTED", id=None),
        answer("NOT_STARTED", id=""),
        answer("NOT_STARTED", id=690465325825028096),
        {"data": {"id": JOB, "attributes": {"jobState": 7}}},
    ],
)
def test_a_start_that_tells_no_job(wire: Mocker, session: Session, body: Any) -> None:
    wire.post(TASKFLOWS, json=body)
    with pytest.raises(errors.IdmcAnswerError, match="publish job"):
        start_publish(session, JobKind.PUBLISH, [TF])


# the state --------------------------------------------------------------------------------------------------------


def state(wire: Mocker, session: Session, status: Any, full: Any = None, kind: JobKind = JobKind.PUBLISH) -> Job:
    """The job with its assets, where the two calls answer so."""
    base = TASKFLOWS if kind is JobKind.PUBLISH else CAI
    wire.get(f"{base}/{JOB}/Status", json=status)
    if full is not None:
        wire.get(f"{base}/{JOB}", json=full)
    return get_publish(session, kind, JOB, expand_objects=True)


@pytest.mark.parametrize("kind", [JobKind.PUBLISH, JobKind.PUBLISH_CAI])
def test_assets_in_the_status(wire: Mocker, session: Session, kind: JobKind) -> None:
    """As real answers have them: no second call."""
    status = answer("WARNING", end=True, itemDetail=[item("SUCCESS"), item("NOT_FOUND", PROCESS, itemGUID=None)])
    job = state(wire, session, status, kind=kind)
    assert [(o.path, o.type, o.state, o.word) for o in job.objects or ()] == [
        ("Sales/tf_orders", "TASKFLOW", JobState.SUCCESSFUL, "SUCCESS"),
        ("Service/p_open", "PROCESS", JobState.FAILED, "NOT_FOUND"),
    ]
    assert job.outcome is JobState.FAILED
    assert wire.request_history[-1].headers["Accept"] == JSON_API
    assert wire.request_history[-1].url.endswith(f"/{JOB}/Status")


@pytest.mark.parametrize("nothing", [{}, {"itemDetail": None}, {"itemDetail": []}, {"jobStatusDetail": None}])
def test_assets_in_the_full_answer(wire: Mocker, session: Session, nothing: dict[str, Any]) -> None:
    """As the documentation has them; an empty list in the status tells no more than none."""
    full = answer("SUCCESS", end=True, itemDetail=[item("SUCCESS")])
    job = state(wire, session, answer("SUCCESS", end=True, **nothing), full)
    assert [o.path for o in job.objects or ()] == ["Sales/tf_orders"]


def test_assets_in_the_status_detail(wire: Mocker, session: Session) -> None:
    job = state(wire, session, answer("SUCCESS", end=True, jobStatusDetail={"itemDetail": [item("SUCCESS")]}))
    assert [o.path for o in job.objects or ()] == ["Sales/tf_orders"]


def test_assets_nowhere(wire: Mocker, session: Session) -> None:
    job = state(wire, session, answer("FAILED", end=True), answer("FAILED", end=True))
    assert (job.state, job.objects or ()) == (JobState.FAILED, ())


def test_the_state_alone_takes_one_call(wire: Mocker, session: Session) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=answer("IN_PROGRESS"))
    assert get_job(session, JobKind.PUBLISH, JOB).state is JobState.RUNNING
    assert len(wire.request_history) == 2  # with the login


def test_the_links_of_an_answer_are_not_followed(wire: Mocker, session: Session) -> None:
    state(wire, session, answer("SUCCESS", end=True), answer("SUCCESS", end=True))
    assert "evil.example" not in "".join(r.url for r in wire.request_history)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("NOT_STARTED", JobState.NOT_STARTED),
        ("IN_PROGRESS", JobState.RUNNING),
        ("PROCESSING", JobState.RUNNING),
        ("SUCCESS", JobState.SUCCESSFUL),
        ("COMPLETED", JobState.SUCCESSFUL),
        ("WARNING", JobState.WARNING),
        ("FAILED", JobState.FAILED),
        ("ERROR", JobState.FAILED),
    ],
)
def test_the_words_of_jobs(wire: Mocker, session: Session, word: str, expected: JobState) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=answer(word))
    job = get_publish(session, JobKind.PUBLISH, JOB)
    assert (job.state, job.word) == (expected, word)


def test_a_word_that_nobody_knows(wire: Mocker, session: Session) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", [{"json": answer("BAFFLED")}, {"json": answer("BAFFLED", end=True)}])
    assert get_publish(session, JobKind.PUBLISH, JOB).state is JobState.RUNNING
    assert get_publish(session, JobKind.PUBLISH, JOB).state is JobState.FAILED


@pytest.mark.parametrize(
    "word", ["NOT_FOUND", "BAD_REQUEST", "UNSUPPORTED", "ERROR", "FAILED", "IN_PROGRESS", "", None]
)
def test_an_asset_that_is_not_published_is_no_success(wire: Mocker, session: Session, word: str | None) -> None:
    """Also one that is still IN_PROGRESS when the job is over."""
    job = state(wire, session, answer("SUCCESS", end=True, itemDetail=[item(word)]))  # type: ignore[arg-type]
    (result,) = job.objects or ()
    assert result.state is not JobState.SUCCESSFUL
    assert result.word == (word or "")


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ("", None),
        (None, None),
        ({}, None),
        ([], None),
        ("  It can't be.  ", "It can't be."),
        ({"message": "It can't be."}, "It can't be."),
        ({"errors": [{"code": "X1", "text": "One."}, "Two."]}, "X1; One.; Two."),
        (["One.", None, "Two."], "One.; Two."),
    ],
)
def test_details_of_any_shape(wire: Mocker, session: Session, detail: Any, message: str | None) -> None:
    job = state(wire, session, answer("ERROR", end=True, itemDetail=[item("ERROR", itemStatusDetail=detail)]))
    (result,) = job.objects or ()
    assert result.message == message


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"message": "The server is busy."}, "The server is busy."),
        ("The server is busy.", "The server is busy."),
        (["The server", "is busy."], "The server; is busy."),
        # Counts are no message: "3; 1" tells nobody anything.
        ({"itemStateSummary": {"SUCCESS": 3, "ERROR": 1}}, "SUCCESS: 3; ERROR: 1"),
    ],
)
def test_what_a_job_says(wire: Mocker, session: Session, detail: Any, message: str) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=answer("FAILED", end=True, jobStatusDetail=detail))
    assert get_publish(session, JobKind.PUBLISH, JOB).message == message


@pytest.mark.parametrize("body", [{"data": {"attributes": {}}}, {"data": {"attributes": {"jobState": None}}}, "x"])
def test_a_state_that_can_not_be_read(wire: Mocker, session: Session, body: Any) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=body)
    with pytest.raises(errors.IdmcAnswerError):
        get_publish(session, JobKind.PUBLISH, JOB)


@pytest.mark.parametrize("entry", [None, "x", {}, {"itemState": "SUCCESS"}, item("SUCCESS", path=None)])  # type: ignore[arg-type]
def test_an_asset_that_can_not_be_read(wire: Mocker, session: Session, entry: Any) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=answer("SUCCESS", itemDetail=[entry]))
    with pytest.raises(errors.IdmcAnswerError, match="asset of the publish job"):
        get_publish(session, JobKind.PUBLISH, JOB)


def test_a_job_that_does_not_repeat_its_id(wire: Mocker, session: Session) -> None:
    wire.get(f"{TASKFLOWS}/{JOB}/Status", json=answer("SUCCESS", id=None))
    assert get_publish(session, JobKind.PUBLISH, JOB).id == JOB


def test_a_job_id_stays_in_its_place(wire: Mocker, session: Session) -> None:
    wire.get(f"{TASKFLOWS}/..%2F1%3Fx/Status", json=answer("SUCCESS"))
    get_publish(session, JobKind.PUBLISH, "../1?x")
    with pytest.raises(errors.IdmcInputError, match="job id"):
        get_job(session, JobKind.PUBLISH_CAI, "")


def test_publish_jobs_have_no_log(wire: Mocker, session: Session) -> None:
    assert get_log(session, JobKind.PUBLISH, JOB) == get_log(session, JobKind.PUBLISH_CAI, JOB) == ""
    assert not wire.request_history


@pytest.mark.parametrize("kind", [JobKind.PUBLISH, JobKind.PUBLISH_CAI])
def test_secrets_stay_out_of_messages(wire: Mocker, session: Session, kind: JobKind) -> None:
    url = TASKFLOWS if kind is JobKind.PUBLISH else CAI
    wire.get(f"{url}/{JOB}/Status", status_code=400, text=f"<p>no such session: {SESSION_ID}</p>")
    with pytest.raises(errors.IdmcError) as caught:
        get_publish(session, kind, JOB)
    assert SESSION_ID not in str(caught.value)
    assert "no such session" in str(caught.value)


def test_a_session_that_ends_meanwhile(wire: Mocker, session: Session) -> None:
    wire.get(f"{CAI}/{JOB}/Status", [{"status_code": 401, "json": {}}, {"json": answer("SUCCESS")}])
    assert get_publish(session, JobKind.PUBLISH_CAI, JOB).state is JobState.SUCCESSFUL
    assert sum(r.url.endswith("/login") for r in wire.request_history) == 2
