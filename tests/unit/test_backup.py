"""What a backup describes, and what is found out before it is brought back."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.backup import VERSION, changed_since, check_backup, created, describe, existing
from airflow_provider_infa.idmc.models import Job, JobState
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import API_BASE, ORG, ORG_ID, USER, V3, Target
from .idmc_packages import package_of
from .idmc_plans import plan_of, row

Mocker = requests_mock.Mocker

V2 = f"{API_BASE}/api/v2"
PLAN = plan_of(
    row("Sales", "Project", "reuse"),
    row("Sales/m", "DTEMPLATE"),
    row("Sales/mt", "MTT"),
    row("Sales/mt_free", "MTT"),
    row("Sales/tf", "TASKFLOW"),
    row("Service/p", "PROCESS"),
    row("Archive/old", "MTT", "map", overwrites=True),
    row("Sales/kept", "MTT", "reuse"),
    row("Sales/held", "MTT", "blocked"),
    row("Sales/new", "MTT", "create"),
    row("ff", "Connection", "create"),
)
SAVED = ["Sales/m", "Sales/mt", "Sales/mt_free", "Sales/tf", "Service/p", "Archive/old"]


def package(*paths: str) -> Package:
    """What the target's export of these holds: the ids are those of the target."""
    objects = tuple(PackageObject(f"target-{path}", path, "X", path) for path in paths)
    return dataclasses.replace(package_of(sha256="b" * 64), objects=objects)


class Org:
    """The target: schedules of its tasks, and what of it is published."""

    def __init__(self, wire: Mocker) -> None:
        self.schedules: dict[str, Any] = {"Sales/mt": "nightly", "Archive/old": "hourly"}
        self.attributes: dict[str, Any] = {"Sales/tf": {"publishedBy": "anna", "publicationStatus": "published"}}
        self.listed: list[str] = []
        wire.get(requests_mock.ANY, json=self._task, additional_matcher=lambda r: "/mttask/frs/" in r.url)
        wire.get(requests_mock.ANY, json=self._schedule, additional_matcher=lambda r: f"{V2}/schedule/" in r.url)
        wire.get(f"{V3}/objects", json=self._list)

    def _task(self, request: Any, context: Any) -> dict[str, Any]:
        path = unquote(request.url.rpartition("/")[2]).removeprefix("target-")
        return {"@type": "mtTask", "id": path, "scheduleId": self.schedules.get(path)}

    def _schedule(self, request: Any, context: Any) -> dict[str, Any]:
        name = request.url.rpartition("/")[2]
        return {"id": name, "name": name}

    def _list(self, request: Any, context: Any) -> dict[str, Any]:
        (q,) = parse_qs(urlsplit(request.url).query)["q"]
        self.listed.append(q)
        rows = [
            {"id": f"target-{path}", "path": path, "type": "X", "customAttributes": value}
            for path, value in self.attributes.items()
        ]
        return {"count": len(rows), "objects": rows}


# describing -------------------------------------------------------------------------------------------------------


def test_describe(wire: Mocker, session: Session) -> None:
    org = Org(wire)
    backup = describe(session, PLAN, package(*SAVED, "something/more"))
    assert datetime.fromisoformat(backup.pop("time")).tzinfo is not None
    objects = {o["path"]: o for o in backup.pop("objects")}
    assert backup == {
        "version": VERSION,
        "org": {"id": ORG_ID, "name": ORG},
        "plan_hash": PLAN["hash"],
        "user": PLAN["user"],
        "package": {"sha256": "b" * 64, "size": 4711},
        "created": [{"path": "Sales/new", "type": "MTT"}, {"path": "ff", "type": "Connection"}],
        "schedules": PLAN["schedules"],
    }
    # Exactly what will be overwritten.
    assert list(objects) == SAVED
    assert {path: o["schedule"] for path, o in objects.items() if o["schedule"]} == {
        "Sales/mt": "nightly",
        "Archive/old": "hourly",
    }
    assert [path for path, o in objects.items() if o["published"]] == ["Sales/tf"]
    assert objects["Sales/mt"]["id"] == "target-Sales/mt"
    assert org.listed == [
        "type=='TASKFLOW' and location=='Sales'",
        "type=='PROCESS' and location=='Service'",
    ]


@pytest.mark.parametrize("lacking", SAVED)
def test_a_backup_that_lacks_something_is_none(wire: Mocker, session: Session, lacking: str) -> None:
    Org(wire)
    with pytest.raises(errors.IdmcPackageError, match=f"The backup of org {ORG} lacks [A-Z]+ {lacking}"):
        describe(session, PLAN, package(*[path for path in SAVED if path != lacking]))


def test_another_object_in_the_same_place_is_not_the_one(wire: Mocker, session: Session) -> None:
    Org(wire)
    held = package(*SAVED)
    objects = tuple(dataclasses.replace(o, id=f"source-{o.path}") for o in held.objects)
    with pytest.raises(errors.IdmcPackageError, match="DTEMPLATE Sales/m, MTT Sales/mt, "):
        describe(session, PLAN, dataclasses.replace(held, objects=objects))


@pytest.mark.parametrize(
    ("attributes", "published"),
    [
        (None, False),
        ({}, False),
        ({"publishedBy": "anna"}, True),
        ({"publishedBy": None, "publicationDate": None}, False),
        ({"publicationStatus": "PUBLISHED"}, True),
        ({"publicationStatus": "unpublished", "publishedBy": "anna"}, False),
        ({"publicationStatus": "", "publishedBy": ""}, False),
    ],
)
def test_what_is_published(wire: Mocker, session: Session, attributes: dict[str, Any] | None, published: bool) -> None:
    Org(wire).attributes = {"Service/p": attributes}
    (found,) = describe(session, plan_of(row("Service/p", "PROCESS")), package("Service/p"))["objects"]
    assert found["published"] is published


def test_a_schedule_that_can_not_be_read(wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture) -> None:
    """The user may not see it, say; the import must not be stopped by that, but it is told."""
    Org(wire)
    refused = {"@type": "error", "code": "AUTH_01", "description": "No.", "statusCode": 403}
    wire.get(
        requests_mock.ANY, status_code=403, json=refused, additional_matcher=lambda r: f"{V2}/schedule/nightly" in r.url
    )
    with caplog.at_level(logging.WARNING):
        objects = {o["path"]: o["schedule"] for o in describe(session, PLAN, package(*SAVED))["objects"]}
    assert (objects["Sales/mt"], objects["Archive/old"]) == (None, "hourly")
    assert "schedule of Sales/mt can't be read, so it counts as none" in caplog.text


@pytest.mark.parametrize("status", [503, 302, 403, 404, 408])
def test_an_outage_stops_it(wire: Mocker, session: Session, status: int) -> None:
    """A retry will know the schedule. Also a gateway's page says nothing of it, whatever its status."""
    Org(wire)
    wire.get(requests_mock.ANY, status_code=status, text="<p>", additional_matcher=lambda r: "/mttask/" in r.url)
    with pytest.raises(errors.IdmcUnavailableError):
        describe(session, PLAN, package(*SAVED))


def test_a_task_that_can_not_be_read_stops_it(wire: Mocker, session: Session) -> None:
    """Nothing says that it has no schedule."""
    Org(wire)
    wire.get(requests_mock.ANY, json=[], additional_matcher=lambda r: "/mttask/" in r.url)
    with pytest.raises(errors.IdmcAnswerError, match="mapping task"):
        describe(session, PLAN, package(*SAVED))


def test_names_that_no_filter_can_hold(wire: Mocker, session: Session) -> None:
    path = """Q"uo'te/p"""
    org = Org(wire)
    org.attributes[path] = {"publishedBy": "anna"}
    (found,) = describe(session, plan_of(row(path, "PROCESS")), package(path))["objects"]
    assert found["published"] is True
    assert org.listed == ["type=='PROCESS'"]


def test_what_will_be_created() -> None:
    assert created(PLAN) == [{"path": "Sales/new", "type": "MTT"}, {"path": "ff", "type": "Connection"}]
    assert created(plan_of()) == []


# reading ----------------------------------------------------------------------------------------------------------


def good(wire: Mocker, session: Session) -> dict[str, Any]:
    Org(wire)
    return json.loads(json.dumps(describe(session, PLAN, package(*SAVED))))  # type: ignore[no-any-return]


def test_a_good_backup(wire: Mocker, session: Session) -> None:
    backup = good(wire, session)
    assert check_backup(backup, "s3://b/1") == backup


@pytest.mark.parametrize("value", [None, [], "x", 7, {}, PLAN, {"version": VERSION}])
def test_another_file(value: Any) -> None:
    with pytest.raises(errors.IdmcInputError, match=r"^s3://b/1 holds no backup: its backup\.json is another file"):
        check_backup(value, "s3://b/1")


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_a_backup_of_another_version(wire: Mocker, session: Session, version: Any) -> None:
    backup = good(wire, session) | {"version": version}
    with pytest.raises(errors.IdmcInputError, match=rf"s3://b/1 has version {version!r}, this is version {VERSION}"):
        check_backup(backup, "s3://b/1")


@pytest.mark.parametrize("lacking", ["id", "path", "type", "schedule", "published"])
def test_a_row_that_lacks_something(wire: Mocker, session: Session, lacking: str) -> None:
    """Found before anything is sent, wherever it is."""
    backup = good(wire, session)
    del backup["objects"][-1][lacking]
    with pytest.raises(errors.IdmcInputError, match=rf"^s3://b/1 holds no backup: .*'{lacking}' is a required"):
        check_backup(backup, "s3://b/1")


@pytest.mark.parametrize("rows", [None, 7, "text", {"a": 1}, ["Sales/m"], [None], [[]], [{}]], ids=str)
def test_rows_that_are_none(wire: Mocker, session: Session, rows: Any) -> None:
    backup = good(wire, session) | {"objects": rows}
    with pytest.raises(errors.IdmcInputError, match=r"^s3://b/1 holds no backup"):
        check_backup(backup, "s3://b/1")


# before it is brought back ----------------------------------------------------------------------------------------

#: Who imported, should the connection name another user (USER) by now.
PROMOTER = "anna"
START, END = "2026-03-20T05:00:00.000Z", "2026-03-20T05:01:00.000Z"
RESTORED = "2026-03-20T07:00:00.000Z"


def said_of(
    wire: Mocker,
    session: Session,
    *,
    user: str | None = "carla",
    time: str | None = "2026-03-20T06:00:00Z",
    type: str = "MTT",
    start: str | None = START,
    end: str | None = END,
    restored_at: str | None = None,
    linked: Collection[str] = (),
) -> list[str]:
    """What is said of one object that somebody changed at a time."""
    target = Target(wire, ("Sales/x", type))
    target.states = {"Sales/x": {"updatedBy": user, "updateTime": time}}
    backup = {
        "user": PROMOTER,
        "objects": [{"path": path, "type": type, "schedule": None} for path in ("Sales/x", "Sales/gone")],
        "schedules": dict.fromkeys(linked, "nightly"),
    }
    job = Job("import-1", "promote", JobState.FAILED, "FAILED", start_time=start, end_time=end)
    return changed_since(session, backup, job, restored_at, USER)


@pytest.mark.parametrize("type", ["MTT", "DTEMPLATE", "TASKFLOW"])
@pytest.mark.parametrize(
    ("time", "told"),
    [
        ("2026-03-20T05:01:03Z", True),
        ("2026-03-20T05:01:02.500Z", True),
        ("2027-01-01T00:00:00Z", True),
        # While the import ran: what the import writes has the importing user's name.
        ("2026-03-20T05:00:30Z", True),
        ("2026-03-20T05:00:00Z", True),
        ("2026-03-20T04:59:59Z", False),
        # The same moments elsewhere on earth.
        ("2026-03-20T06:00:30+01:00", True),
        ("2026-03-20T05:59:59+01:00", False),
        (None, False),
        ("yesterday", False),
    ],
)
def test_work_that_would_be_lost(wire: Mocker, session: Session, time: str | None, type: str, told: bool) -> None:
    said = [f"{type} Sales/x: carla changed it at {time}."] if told else []
    assert said_of(wire, session, time=time, type=type) == said
    # Only the promoting user's steps link and publish.
    assert said_of(wire, session, time=time, type=type, linked={"Sales/x"}) == said


@pytest.mark.parametrize(
    ("type", "linked", "told"),
    [
        ("DTEMPLATE", (), True),
        ("DSS", (), True),
        # The steps after an import link mapping tasks: these, and no others.
        ("MTT", {"Sales/x"}, False),
        ("mtt", {"Sales/y", "Sales/x"}, False),
        ("MTT", (), True),
        ("mtt", (), True),
        ("MTT", {"Sales", "Sales/x2", "Sales/gone"}, True),
        # And they publish, whatever they link.
        ("TASKFLOW", (), False),
        ("PROCESS", (), False),
        ("PROCESS", {"Sales/y"}, False),
    ],
)
def test_a_later_promotion_by_the_same_user(
    wire: Mocker, session: Session, type: str, linked: Collection[str], told: bool
) -> None:
    time = "2026-03-20T06:00:00Z"
    said = [f"{type.upper()} Sales/x: {USER} changed it at {time}."] if told else []
    assert said_of(wire, session, user=USER, time=time, type=type, linked=linked) == said
    # IDMC rounds the end of the job, so what the import itself changed may seem to be later.
    for moment in ("2026-03-20T05:01:02Z", "2026-03-20T05:01:00Z", "2026-03-20T05:00:30Z"):
        assert said_of(wire, session, user=USER, time=moment, type=type, linked=linked) == []


def test_the_promoting_user_of_another_connection(wire: Mocker, session: Session) -> None:
    """Of a connection whose user was changed between the import and its restore."""
    assert said_of(wire, session, user=PROMOTER, time="2026-03-20T05:00:30Z") == []
    assert len(said_of(wire, session, user=PROMOTER, time="2026-03-20T06:00:00Z")) == 1


def test_an_import_that_does_not_tell_its_start(wire: Mocker, session: Session) -> None:
    assert said_of(wire, session, time="2026-03-20T05:01:01Z", start=None) == []
    assert len(said_of(wire, session, time="2026-03-20T05:01:03Z", start=None)) == 1


@pytest.mark.parametrize("user", ["carla", PROMOTER, USER])
def test_an_earlier_restore_is_no_change(wire: Mocker, session: Session, user: str) -> None:
    """Whoever restored. What came after it is one."""
    work = {"user": user, "type": "DTEMPLATE"}
    assert said_of(wire, session, **work, time="2026-03-20T06:59:59Z", restored_at=RESTORED) == []
    assert said_of(wire, session, **work, time="2026-03-20T07:00:01Z", restored_at=RESTORED) == []
    assert len(said_of(wire, session, **work, time="2026-03-20T07:00:03Z", restored_at=RESTORED)) == 1
    # A restore of before this import says nothing.
    before = "2026-03-20T04:00:00.000Z"
    assert said_of(wire, session, **work, time="2026-03-20T04:59:59Z", restored_at=before) == []
    assert len(said_of(wire, session, **work, time="2026-03-20T05:01:03Z", restored_at=before)) == 1
    # An import that never told its end, restored since.
    assert said_of(wire, session, **work, time="2026-03-20T06:00:00Z", end=None, restored_at=RESTORED) == []
    assert len(said_of(wire, session, **work, time="2026-03-20T07:00:03Z", end=None, restored_at=RESTORED)) == 1


@pytest.mark.parametrize(
    ("user", "time", "start", "told"),
    [
        ("carla", "2026-03-20T05:00:01Z", START, True),
        ("carla", "2026-03-20T04:59:59Z", START, False),
        ("carla", "2026-01-20T06:00:00Z", START, False),
        ("carla", None, START, False),
        # Not even a start: rather ask in vain than undo somebody's work.
        ("carla", "2026-01-20T06:00:00Z", None, True),
        # It may be the import itself.
        (USER, "2026-03-20T05:00:01Z", START, False),
        (USER, "2026-03-20T05:00:01Z", None, False),
        (None, "2026-03-20T05:00:01Z", START, False),
    ],
)
@pytest.mark.parametrize("end", [None, "", "soon"])
def test_an_import_that_does_not_tell_its_end(
    wire: Mocker, session: Session, user: str | None, time: str | None, start: str | None, end: str | None, told: bool
) -> None:
    said = [f"DTEMPLATE Sales/x: {user} changed it at {time}."] if told else []
    assert said_of(wire, session, user=user, time=time, type="DTEMPLATE", start=start, end=end) == said


def test_what_the_import_left_behind(wire: Mocker, session: Session) -> None:
    left = [("Sales/new", "MTT"), ("Sales/more", "MTT"), ("Sales/tf", "TASKFLOW"), ("Sales/free", "TASKFLOW")]
    Target(wire, *left, ("ff", "MTT"))
    org = Org(wire)
    org.schedules["Sales/new"] = "hourly"
    asked = [{"path": path, "type": type} for path, type in left]
    found = existing(session, [*asked, *created(PLAN)])
    # Also what of it goes on: run by a schedule, or published.
    assert {row["path"]: (row["id"], row["type"], row["schedule"], row["published"]) for row in found} == {
        "Sales/new": ("target-Sales/new", "MTT", "hourly", False),
        "Sales/more": ("target-Sales/more", "MTT", None, False),
        "Sales/tf": ("target-Sales/tf", "TASKFLOW", None, True),
        "Sales/free": ("target-Sales/free", "TASKFLOW", None, False),
    }
    assert existing(session, []) == []
