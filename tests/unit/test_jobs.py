"""Waiting for jobs, and telling success from failure."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests_mock

from airflow_provider_infa.idmc.errors import IdmcJobFailedError, IdmcTimeoutError, IdmcUnavailableError
from airflow_provider_infa.idmc.jobs import (
    SHOWN,
    JobKind,
    check_outcome,
    explain,
    job_path,
    mapping_argument,
    still_running,
    wait,
)
from airflow_provider_infa.idmc.models import Job
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import ORG, V3, Clock, new_session

Mocker = requests_mock.Mocker

JOB = "8bSlx81r2GSlX417G9XNsq"
URL = f"{V3}/import/{JOB}"


def answer(state: str, objects: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    status = {"state": state, "message": "as IDMC says"}
    return {"id": JOB, "name": "release-12", "endTime": None, "status": status, "objects": objects} | changes


def failed(name: str, state: str = "FAILED", message: str | None = "Broken.") -> dict[str, Any]:
    source = {"id": f"id-{name}", "name": name, "path": "/Sales", "type": "MTT"}
    return {"sourceObject": source, "targetObject": None, "status": {"state": state, "message": message}}


def wait_for(session: Session, clock: Clock, *, deadline: float, poll_interval: float = 10.0) -> Job:
    return wait(
        session,
        JobKind.IMPORT,
        JOB,
        deadline=deadline,
        poll_interval=poll_interval,
        clock=clock,
        sleep=clock.sleep,
    )


# wait -------------------------------------------------------------------------------------------------------------


def test_wait_looks_first(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, json=answer("SUCCESSFUL"))
    assert wait_for(session, clock, deadline=clock.now + 100).word == "SUCCESSFUL"
    assert clock.sleeps == []


@pytest.mark.parametrize("end", ["SUCCESSFUL", "WARNING", "FAILED", "CANCELLED"])
def test_wait_until_the_end(wire: Mocker, session: Session, clock: Clock, end: str) -> None:
    words = ["NOT_STARTED", "QUEUED", "IN_PROGRESS", "PAUSED", *["IN_PROGRESS"] * 10, end]
    wire.get(URL, [{"json": answer(word)} for word in words])
    assert wait_for(session, clock, deadline=clock.now + 1000).word == end
    assert len(clock.sleeps) == len(words) - 1
    assert clock.sleeps[0] < 1.2
    assert clock.sleeps[-1] == pytest.approx(10.0, rel=0.11)


def test_unknown_word_with_an_end(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, json=answer("PAUSED", endTime="2026-01-26T09:06:42.000Z"))
    assert wait_for(session, clock, deadline=clock.now + 100).state.is_end


def test_deadline(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, json=answer("IN_PROGRESS"))
    deadline = clock.now + 60
    with pytest.raises(IdmcTimeoutError, match=f"import job {JOB} was still IN_PROGRESS") as caught:
        wait_for(session, clock, deadline=deadline)
    assert clock.now == pytest.approx(deadline)
    assert "no call to cancel" in str(caught.value)
    assert caught.value.transient


def test_deadline_that_has_passed_still_takes_one_look(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, [{"json": answer("IN_PROGRESS")}, {"json": answer("SUCCESSFUL")}])
    with pytest.raises(IdmcTimeoutError):
        wait_for(session, clock, deadline=clock.now - 1)
    assert wait_for(session, clock, deadline=clock.now - 1).word == "SUCCESSFUL"
    assert clock.sleeps == []


def test_the_last_look_is_at_the_deadline(wire: Mocker, session: Session, clock: Clock) -> None:
    """A job that ended during the last pause is not reported as running."""
    deadline = clock.now + 60

    def respond(request: Any, context: Any) -> dict[str, Any]:
        return answer("SUCCESSFUL" if clock.now >= deadline - 0.001 else "IN_PROGRESS")

    wire.get(URL, json=respond)
    assert wait_for(session, clock, deadline=deadline).word == "SUCCESSFUL"


def test_wait_survives_an_outage(wire: Mocker, session: Session, clock: Clock) -> None:
    wire.get(URL, [{"json": answer("IN_PROGRESS")}, *[{"status_code": 503}] * 4, {"json": answer("SUCCESSFUL")}])
    assert wait_for(session, clock, deadline=clock.now + 1000).word == "SUCCESSFUL"


def test_wait_gives_up_with_the_call(wire: Mocker, clock: Clock) -> None:
    wire.get(URL, [{"json": answer("IN_PROGRESS")}, {"status_code": 503}])
    with pytest.raises(IdmcUnavailableError):
        wait_for(new_session(clock, retry_timeout=30.0), clock, deadline=clock.now + 1000)


def test_a_wait_that_saw_nothing() -> None:
    assert "could not be asked" in str(still_running(JobKind.EXPORT, "j", None))


def test_paths() -> None:
    assert job_path(JobKind.EXPORT, "a/b?c") == "/export/a%2Fb%3Fc"
    assert job_path(JobKind.IMPORT, JOB) == f"/import/{JOB}"


# explain ----------------------------------------------------------------------------------------------------------

#: The sample of a comment of 2024-03-15 on Informatica's page "Starting an import job".
SAMPLE = (
    "> OIE_008 ERROR 2024-03-15T10:00:00.000Z Object [/SYS/CONNECTION] of type [Connection] id [1B8w] is missing the "
    "following dependencies\n[xxxxx Runtime Group//SYS]\n"
)


def test_explain_the_sample() -> None:
    assert explain(SAMPLE, ORG) == [
        "OIE_008: Connection /SYS/CONNECTION needs 'xxxxx Runtime Group', which org ACME_TEST does not have. "
        "Map it when planning the import: runtime_environments={'xxxxx Runtime Group': '<name in ACME_TEST>'}."
    ]


def test_explain_in_one_line() -> None:
    (line,) = explain(SAMPLE.replace("\n", " "), ORG)
    assert "runtime_environments={'xxxxx Runtime Group'" in line


@pytest.mark.parametrize("between", [" ", ", ", "\n", ",\n  ", ""])
def test_explain_several_names(between: str) -> None:
    text = SAMPLE.replace(
        "[xxxxx Runtime Group//SYS]", between.join(["[ora dev//SYS]", "[DEV_AGENTS//SYS]", "[ü//SYS]"])
    )
    lines = explain(text.replace("[Connection]", "[MTT]"), ORG)
    assert len(lines) == 3
    for line, name in zip(lines, ("ora dev", "DEV_AGENTS", "ü"), strict=True):
        assert f"needs {name!r}" in line
        assert "connections or runtime_environments={" in line


def test_explain_several_objects_and_repeated_ones() -> None:
    other = SAMPLE.replace("/SYS/CONNECTION", "/SYS/OTHER")
    noise = "> OIE_006 INFO Successfully imported object [/Explore/m] of type [DTEMPLATE] id [x] to [/Explore/m]\n"
    lines = explain(noise + SAMPLE + noise + other + SAMPLE + noise, ORG)
    assert [line.split(" needs")[0] for line in lines] == [
        "OIE_008: Connection /SYS/CONNECTION",
        "OIE_008: Connection /SYS/OTHER",
    ]


def test_explain_does_not_blame_one_object_for_what_another_lacks() -> None:
    """The first line lists its dependencies in a form that nobody has seen yet."""
    odd = "> OIE_008 ERROR t Object [/Explore/a] of type [MTT] id [x] is missing the following dependencies [abc]\n"
    lines = explain(odd + SAMPLE, ORG)
    assert [line for line in lines if "Runtime Group" in line] == explain(SAMPLE, ORG)


def test_explain_does_not_map_what_no_argument_maps() -> None:
    """A mapping is missing: it has to come along, and no connection can stand for it."""
    text = SAMPLE.replace("[Connection]", "[MTT]").replace("[xxxxx Runtime Group//SYS]", "[m_orders//Explore/Sales]")
    for line in explain(text, ORG):
        assert "m_orders" in line
        assert "connections" not in line
        assert "runtime_environments" not in line


@pytest.mark.parametrize("text", ["", "OIE_008", "> OIE_008 ERROR [a] [b] dependencies", "no codes [x//SYS]"])
def test_nothing_to_explain(text: str) -> None:
    assert explain(text, ORG) == []


def test_explain_is_quick_on_long_logs() -> None:
    odd = "> OIE_008 ERROR t Object [/Explore/a] of type [MTT] id [x] is missing the following dependencies [abc]\n"
    started = time.perf_counter()
    explain(odd * 2000, ORG)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("type", "argument"),
    [
        ("AgentGroup", "runtime_environments"),
        ("AGENTGROUP", "runtime_environments"),
        ("Connection", "connections"),
        ("Project", "projects"),
        ("Folder", "projects"),
    ],
)
def test_mapping_argument(type: str, argument: str) -> None:
    assert mapping_argument(type) == argument


# outcome ----------------------------------------------------------------------------------------------------------


def check(data: dict[str, Any], *, fail_on_warning: bool = True, log_text: str = "") -> None:
    check_outcome(Job.from_wire(data), JobKind.IMPORT, ORG, fail_on_warning=fail_on_warning, log_text=log_text)


@pytest.mark.parametrize("fail_on_warning", [True, False])
def test_success(fail_on_warning: bool) -> None:
    check(answer("SUCCESSFUL", [failed("x", "SUCCESSFUL", "Create object")]), fail_on_warning=fail_on_warning)
    check(answer("SUCCESSFUL"), fail_on_warning=fail_on_warning, log_text=SAMPLE)


def test_warning_is_a_matter_of_taste() -> None:
    check(answer("WARNING"), fail_on_warning=False)
    with pytest.raises(IdmcJobFailedError, match="ended WARNING") as caught:
        check(answer("WARNING"))
    assert "fail_on_warning=False" in str(caught.value)


def test_failure_tells_everything() -> None:
    data = answer(
        "FAILED", [failed("mt_a"), failed("mt_b", "SUCCESSFUL", "Create object"), failed("mt_c", "ODD", None)]
    )
    with pytest.raises(IdmcJobFailedError) as caught:
        check(data, log_text=SAMPLE)
    assert str(caught.value).splitlines() == [
        f"The import job {JOB} in org ACME_TEST ended FAILED: as IDMC says",
        "  MTT Sales/mt_a: FAILED: Broken.",
        "  MTT Sales/mt_c: ODD: no message",
        *explain(SAMPLE, ORG),
    ]
    assert not caught.value.transient


def test_success_with_failed_objects_is_none() -> None:
    with pytest.raises(IdmcJobFailedError, match="Sales/mt_a: FAILED: Broken"):
        check(answer("SUCCESSFUL", [failed("mt_a")]), fail_on_warning=False)


def test_failure_without_a_message() -> None:
    data = answer("FAILED") | {"status": {"state": "FAILED", "message": None}}
    with pytest.raises(IdmcJobFailedError, match="ended FAILED: without a message"):
        check(data)


def test_many_failures_are_counted() -> None:
    with pytest.raises(IdmcJobFailedError) as caught:
        check(answer("FAILED", [failed(f"mt_{n}") for n in range(SHOWN + 5)]))
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "  ... and 5 more failed objects"


def test_unknown_word_is_shown() -> None:
    with pytest.raises(IdmcJobFailedError, match="ended EXPLODED"):
        check(answer("EXPLODED", endTime="2026-01-26T09:06:42.000Z"), fail_on_warning=False)
