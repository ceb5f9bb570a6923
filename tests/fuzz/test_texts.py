"""What people and other tasks hand to us: manifests, plans, backups, events, and single words of answers."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from hypothesis import given
from hypothesis import strategies as st
from unit.idmc_doubles import USER
from unit.idmc_plans import plan_of, row

from airflow_provider_infa.idmc import backup
from airflow_provider_infa.idmc.answers import retry_after
from airflow_provider_infa.idmc.errors import IdmcError, IdmcInputError
from airflow_provider_infa.idmc.models import Job, JobKind, JobState
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.idmc.planned import check_plan
from airflow_provider_infa.idmc.policy import Failure, Kind, next_step
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.idmc.record import record_of, short_form
from airflow_provider_infa.idmc.release import Release, find_objects, parse_release
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.waiting import job_of_event

from . import odd_json
from .bounds import bounded, examples, readable
from .calls import CALLS, IMPORTED, settings, storable
from .test_answers import DATES, SECONDS, serve
from .wire import Wire, http, wire_fixture  # noqa: F401 - a fixture

SHARE = 1 / 10

#: A value of any shape, as a task may hand it on.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "x", "a/b", "ended", "timeout", "refused", "create", 10**400, 1, 0, True])
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


MANIFEST = """\
version: 1
name: release-12
objects:
  - {path: Sales/mt_orders, type: MTT}
include: ["Sales/*"]
exclude: ["*/tmp_*"]
types: [MTT]
default_conflict_resolution: OVERWRITE
conflict_resolutions: {MTT: REUSE, Sales/mt_orders: {conflictResolution: OVERWRITE}}
targets:
  ACME_TEST: &names
    runtime_environments: {DEV: TEST}
    connections: {ora dev: ora}
    projects: {Sales: Sales2}
    schedules: {Sales/mt_orders: nightly}
  ACME_PROD: *names
"""
#: Things to put between two tokens of it.
YAML = [
    "!!bool x",
    '!!int ""',
    '!!float ""',
    "!!timestamp x",
    '"\\UFFFFFFFF"',
    '"\\uD800/*"',
    "!!binary x",
    "!!set {a}",
]
YAML += [
    "!!omap [a]",
    "!!pairs x",
    "!!null x",
    "!!str {a: 1}",
    "!!map [1]",
    "!x y",
    "!!python/name:os.x",
    "? [a]",
    "<<: 1",
]
YAML += ["=", "~", "2001-99-99", "1:99:99", "0x", "0b", "0o9", "1e999", ".nan", "-.inf", "9" * 5000, "&a *a", "&a [*a]"]
YAML += [
    "*names",
    "---",
    "...",
    "%YAML 3.0",
    "|",
    ">-",
    "\t",
    "\0",
    "\x85",
    "\ufeff",
    "\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    "#",
]
YAML += [
    "[" * 300,
    "{a: " * 300,
    "- " * 300,
    "x" * 100_000,
    "'",
    '"',
    "&b ",
    "<<: *names",
    "null",
    "true",
    "1",
    "''",
    "[]",
    "{}",
]


def manifest(text: str) -> Release | None:
    try:
        with bounded(len(text)):
            release = parse_release(text, "release.yaml")
    except IdmcInputError as error:
        readable(error)
        return None
    storable([release.objects, release.include, release.exclude, release.types, release.conflict_resolutions])
    return release


@examples(SHARE)
@given(st.data())
def test_an_odd_release_manifest(data: st.DataObject) -> None:
    text = MANIFEST
    for _ in range(data.draw(st.integers(1, 3))):
        tokens = [at for at, char in enumerate(text[:5_000]) if char in " :\n[{,"]
        start = data.draw(st.sampled_from(tokens))
        end = data.draw(st.sampled_from([start + 1, text.find("\n", start + 1), text.find(",", start + 1)]))
        text = text[: start + 1] + data.draw(st.sampled_from(YAML)) + text[max(end, start + 1) :]
    manifest(text)


@pytest.mark.parametrize("depth", [3, 9, 40])
@pytest.mark.parametrize("form", ["[{}]", "{{a: {0}, b: {0}}}", "{{<<: [{}]}}"])
def test_anchors_that_multiply(depth: int, form: str) -> None:
    """A billion laughs."""
    lines = ["a0: &a0 {x: lol}"]
    lines += [f"a{n}: &a{n} " + form.format(", ".join([f"*a{n - 1}"] * 9)) for n in range(1, depth)]
    manifest("version: 1\nconflict_resolutions:\n  " + "\n  ".join(lines))


@pytest.mark.parametrize("size", [100, 10_000, 200_000])
def test_an_anchor_to_something_long(size: int) -> None:
    text = f'version: 1\nname: &a "{"x" * size}"\nobjects: [{", ".join(["*a"] * 3_000)}]\n'
    assert manifest(text) is None


def test_the_manifest_that_the_others_start_from_is_sound() -> None:
    assert manifest(MANIFEST)


def test_a_pattern_that_no_request_can_carry(wire: Wire) -> None:
    """Characters of manifests that can't be sent are refused somewhere, in words."""
    call = CALLS["release"]
    wire.start(serve(call, [http(json.dumps(call.answer).encode())]))
    with Session(settings(), sleep=lambda seconds: None) as session, pytest.raises(IdmcError):
        find_objects(session, Release(include=("\ud800/*",)))


PLAN = plan_of(row("Sales/mt_orders"), row("Sales/new", action="create"), schedules={"Sales/mt_orders": "nightly"})


def edited(data: Any, value: Any, place: tuple[Any, ...], *, drop: bool) -> Any:
    """A copy with one place changed or left out."""
    if not place:
        return value
    copied = copy.deepcopy(data)
    inner = copied
    for step in place[:-1]:
        inner = inner[step]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copied


@examples(SHARE)
@given(
    st.sampled_from(list(odd_json.places(PLAN))),
    anything | st.sampled_from([nested(300), nested(900), "\ud800", math.nan]),
    st.booleans(),
)
def test_an_edited_plan(place: tuple[Any, ...], value: Any, drop: bool) -> None:
    """What the hash covers can't be changed; a change of the rest leaves a plan that can be worked with."""
    plan = edited(PLAN, value, place, drop=drop)
    try:
        checked = check_plan(plan)
    except IdmcInputError as error:
        readable(error)
        return
    assert [r["source"] for r in checked["objects"]] == [r["source"] for r in PLAN["objects"]]
    assert checked["import_specification"] == PLAN["import_specification"]
    assert checked["schedules"] == PLAN["schedules"]
    assert [r["action"] for r in checked["objects"]] == [r["action"] for r in PLAN["objects"]]
    markdown(checked)
    more: dict[str, Any] = dict.fromkeys(["approval", "backup_uri", "published", "linked", "verified", "restored"])
    job = Job.from_wire(IMPORTED)
    short_form(record_of(checked, import_job_id="1", job=job, is_complete=True, **more), None)


@examples(SHARE)
@given(st.sampled_from(list(odd_json.places(PLAN))), anything, st.booleans())
def test_an_edited_plan_is_rechecked(wire: Wire, place: tuple[Any, ...], value: Any, drop: bool) -> None:
    try:
        checked = check_plan(edited(PLAN, value, place, drop=drop))
    except IdmcInputError:
        return
    call = CALLS["recheck"]
    wire.start(serve(call, [http(json.dumps(call.answer).encode())]))
    with Session(settings(), sleep=lambda seconds: None) as session:
        try:
            check_target(session, checked)
        except IdmcError as error:
            readable(error)


BACKUP = {
    "version": 1,
    "time": "2026-01-26T09:06:39+00:00",
    "org": {"id": "x", "name": "ACME_TEST"},
    "plan_hash": "0" * 64,
    "package": {"sha256": "0" * 64, "size": 4711},
    "objects": [
        {
            "id": "a",
            "path": "Sales/mt_orders",
            "type": "MTT",
            "updated_by": USER,
            "update_time": "2026-01-20T06:00:12Z",
            "schedule": "nightly",
            "published": False,
        }
    ],
    "created": [{"path": "Sales/new", "type": "MTT"}],
}


@examples(SHARE)
@given(st.sampled_from(list(odd_json.places(BACKUP))), anything, st.booleans())
def test_an_edited_backup(wire: Wire, place: tuple[Any, ...], value: Any, drop: bool) -> None:
    """It is refused, or all that a rollback reads of it can be read."""
    try:
        checked = backup.check_backup(edited(BACKUP, value, place, drop=drop), "file:///backups/1")
    except IdmcInputError as error:
        readable(error)
        return
    call = CALLS["plan"]
    wire.start(serve(call, [http(json.dumps(call.answer).encode())]))
    with Session(settings(), sleep=lambda seconds: None) as session:
        try:
            backup.existing(session, checked["created"])
            backup.changed_since(session, checked, Job.from_wire(IMPORTED), None, USER)
        except IdmcError as error:
            readable(error)
    assert isinstance(checked["org"]["id"], str)
    assert isinstance(checked["package"]["sha256"], str)


@examples(SHARE)
@given(
    anything
    | st.fixed_dictionaries(
        {},
        optional={"status": anything, "job_id": anything, "state": anything, "message": anything, "carry": anything},
    )
)
def test_an_event_of_any_shape(event: Any) -> None:
    """It names a job that has ended, or fails the task in words."""
    try:
        job_id = job_of_event(event, JobKind.IMPORT)
    except (IdmcError, AirflowFailException, RuntimeError) as error:
        readable(error)
        return
    assert event["status"] == "ended"
    assert job_id == str(event["job_id"])


@examples(SHARE)
@given(
    st.text(max_size=20)
    | st.sampled_from([word + end for word in ("SUCCESS", "Failed", "in progress") for end in ("", " ", "É", "_")])
)
def test_a_word_for_a_state(word: str) -> None:
    """With an end it is an end; without, a word that nobody knows goes on."""
    assert JobState.of(word, ended=True).is_end or word.strip().upper().replace(" ", "_") in {
        *("NOT_STARTED", "QUEUED", "STARTING", "IN_PROGRESS", "PROCESSING"),
    }
    job = {"id": "x", "status": {"state": word}, "endTime": None}
    known = JobState.of(word, ended=False)
    assert Job.from_wire(job).state is known
    assert known is JobState.RUNNING or JobState.of(word, ended=True) is known
    ended = Job.from_wire({**job, "endTime": "2026-01-26T09:06:39.000Z"})
    assert ended.state is not JobState.SUCCESSFUL or word.strip().upper() in ("SUCCESSFUL", "SUCCESS", "COMPLETED")
    storable([ended.shown.encode("utf-8", "replace").decode(), ended.outcome.value])


@examples(SHARE)
@given(
    st.sampled_from(DATES + SECONDS)
    | st.text(max_size=40)
    | st.lists(
        st.sampled_from(["Mon,", "31", "Feb", "-1", "9999", "25:00:99", "+9999", "GMT", "(", "0", ":", "1e9"]),
        max_size=8,
    ).map(" ".join),
    st.integers(1, 50),
)
def test_a_wish_to_come_back_later(value: str, tries: int) -> None:
    """No value makes a wait that is negative, no number, or longer than what the call may take."""
    seconds = retry_after(value)
    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)
    decision = next_step(
        Failure.THROTTLED, Kind.REPEATABLE, tries=tries, elapsed=0, retry_timeout=300, retry_after=seconds
    )
    assert 0 <= decision.delay <= 300
