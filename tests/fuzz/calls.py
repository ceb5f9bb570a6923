"""Every call of the client, and what a real server answers to it (shapes captured from real orgs, made-up values)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unit.idmc_doubles import ORG, ORG_ID, PASSWORD, SESSION_ID, USER
from unit.idmc_packages import SALES, package_of, server_package
from unit.idmc_plans import plan_of, row

from airflow_provider_infa.idmc import backup, exports, imports, jobs, lookup, objects, publish, schedules
from airflow_provider_infa.idmc.models import Asset, Job, JobKind
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.plan_text import markdown
from airflow_provider_infa.idmc.recheck import check_target
from airflow_provider_infa.idmc.release import Release, find_objects
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.idmc.source_control import obstacle, source_controlled
from airflow_provider_infa.idmc.verify import verify_import
from airflow_provider_infa.idmc.wishes import Wishes

from .wire import LOGIN_URL

ID, OTHER_ID = "1QcjcQ9hXwwcqW1P93354V", "3vVj4xdOpKsgAqwRSyhQM3"
JOB_ID = "9SczgYW6zyufJkDB6Uaduz"
TIME = "2026-01-26T09:06:39.000Z"
SECRETS = (SESSION_ID, PASSWORD)

LOGIN = {
    "products": [{"name": "Integration Cloud", "baseApiUrl": f"{LOGIN_URL}/saas"}],
    "userInfo": {
        "sessionId": SESSION_ID,
        "id": "9L1GFroXSDHe2IIg7QhBaT",
        "name": USER,
        "parentOrgId": "52ZSTB0IDK6dXxaEQLUaQu",
        "orgId": ORG_ID,
        "orgName": ORG,
        "groups": {},
        "status": "Active",
    },
}
CONTROL = {"sourceControlled": True, "checkedOutBy": "someone", "checkedOutTime": "2026-01-26T09:06:39Z", "hash": "1c"}
PUBLISHED = {"publishedBy": "deployer", "publicationDate": "2026-01-26T09:06:39Z", "publicationStatus": "published"}


def asset(id: str = ID, path: str = "Sales/mt_orders", type: str = "MTT") -> dict[str, Any]:
    return {
        "id": id,
        "path": path,
        "type": type,
        "description": "",
        "updatedBy": "deployer",
        "updateTime": "2026-01-26T11:09:48Z",
        "tags": ["rel-12"],
        "sourceControl": CONTROL,
        "customAttributes": PUBLISHED,
    }


OBJECTS = {"count": 2, "objects": [asset(), asset(OTHER_ID, "Sales/p_orders", "PROCESS")]}
LOOKUP = {"objects": [{k: v for k, v in o.items() if k not in ("tags", "sourceControl")} for o in OBJECTS["objects"]]}
REFERENCES = {
    "count": 1,
    "@id": ID,
    "references": [
        {
            "id": OTHER_ID,
            "appContextId": "01AU220B000000000002",
            "path": "FF",
            "documentType": "SAAS_CONNECTION",
            "description": None,
            "lastUpdatedTime": "2026-01-25T07:12:53Z",
        }
    ],
}


def job(state: str, message: str, end: str | None, rows: list[Any] | None = None) -> dict[str, Any]:
    return {
        "id": JOB_ID,
        "createTime": TIME,
        "updateTime": TIME,
        "name": "release-12",
        "startTime": TIME,
        "endTime": end,
        "status": {"state": state, "message": message},
        "objects": rows,
    }


SHOWN = {"id": ID, "name": "mt_orders", "path": "/Sales", "type": "MTT", "description": ""}
STARTED = job("IN_PROGRESS", "In Progress", None)
WAITING = job("NOT_STARTED", "Not started", None)
EXPORTED = job(
    "SUCCESSFUL",
    "Export completed successfully",
    TIME,
    [{**SHOWN, "status": {"state": "SUCCESSFUL", "message": None}}],
)
IMPORTED = job(
    "SUCCESSFUL",
    "Import completed successfully",
    TIME,
    [
        {
            "sourceObject": SHOWN,
            "targetObject": {**SHOWN, "id": None, "description": None, "status": None},
            "status": {"state": "SUCCESSFUL", "message": "Create object"},
        }
    ],
)
LOG = (
    "> OIE_002 INFO 2026-01-26T09:06:39.017Z Starting import operation.\nExecution Client: API\n"
    "> OIE_008 ERROR 2026-01-26T09:06:39.139Z Object [/SYS/ora] of type [Connection] id [1B8w] is missing the "
    "following dependencies [DEV_AGENTS//SYS]\n> OIE_003 INFO 2026-01-26T09:06:39.943Z Finished import operation.\n"
)
UPLOADED = {"jobId": JOB_ID, "jobStatus": {"state": "NOT_STARTED", "message": None}, "checksumValid": True}
PUBLISHING = {
    "data": {
        "type": "publish",
        "id": "690465325825028096",
        "attributes": {
            "jobState": "SUCCESS",
            "jobStatusDetail": {"SUCCESS": 1, "ERROR": 0},
            "startedBy": "deployer",
            "startDate": "2026-01-26T07:42:42.000+0000",
            "endDate": "2026-01-26T07:42:43.000+0000",
            "totalCount": 1,
            "processedCount": 1,
            "itemDetail": [
                {
                    "itemIndex": 0,
                    "itemGUID": ID,
                    "itemState": "SUCCESS",
                    "itemStatusDetail": {"message": "Published", "details": ["fine", {"text": "really"}]},
                    "assetPath": "Explore/Sales/tf_orders.TASKFLOW.xml",
                }
            ],
        },
    },
    "links": {"self": "http://x/publish/690465325825028096", "status": "http://x/publish/690465325825028096/Status"},
}
TASK = {"@type": "mtTask", "id": "01AU220Z000000000002", "name": "mt_orders", "scheduleId": "01AU2201000000000002"}
SCHEDULE = {"@type": "schedule", "id": "01AU2201000000000002", "name": "nightly", "interval": "Daily"}
ERRORS = [
    {"error": {"code": "MigrationSvc_040", "message": "Refused.", "requestId": "cs9m", "details": [{"message": "x"}]}},
    {"@type": "error", "code": "UI_10000", "description": "Refused.", "statusCode": 403},
    {"error": {"code": "V3API_007", "message": "Too many requests", "requestId": "cs9m", "details": None}},
]

PLAN = plan_of(row("Sales/mt_orders", target={"id": ID}), row("Sales/new", action="create"))


def storable(value: Any) -> None:
    """Fail if a result can't be handed to another task, or stored as JSON in a database."""
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


def _told(session: Session, kind: JobKind, found: Job) -> None:
    """What tasks do with a job."""
    storable([found.summary(), found.shown, [result.row() for result in found.objects or ()]])
    jobs.check_outcome(found, kind, session.login().org_name, fail_on_warning=True, log_text="")


def _start_import(session: Session, file: Path) -> None:
    found, _ = imports.start_import(session, JOB_ID, name="x", sleep=lambda seconds: None)
    storable([found.id, found.word])


def _upload(session: Session, file: Path) -> None:
    file.write_bytes(server_package())
    storable(imports.upload_package(session, file))
    # What the answer calls a job is then asked for.
    imports.started_import(session, imports.upload_package(session, file))


def _publish(session: Session, file: Path) -> None:
    for kind, paths in publish.batches(
        [{"path": "Sales/tf", "type": "TASKFLOW"}, {"path": "Sales/p", "type": "PROCESS"}]
    ):
        started = publish.start_publish(session, kind, paths)
        storable(started.id)
        _told(session, kind, jobs.get_job(session, kind, started.id, expand_objects=True))


def _schedule(session: Session, file: Path) -> None:
    schedules.schedule_of(session, ID)
    storable([schedules.find_schedule(session, "nightly").name])


def _link(session: Session, file: Path) -> None:
    schedules.link_schedule(session, ID, schedules.Schedule("01AU2201000000000009", "weekly"))


def _controlled(session: Session, file: Path) -> None:
    found = source_controlled(session, [Asset(ID, "Sales/mt_orders", "MTT")])
    storable([obstacle(found[id], USER) for id in found])


def _objects(session: Session, file: Path) -> None:
    storable([found.row(full=True) for found in objects.list_objects(session, types=["MTT", "PROCESS"])])
    storable([found.row() for found in objects.list_objects(session, location="Sales", limit=1)])


def _references(session: Session, file: Path) -> None:
    storable([[found.id, found.path, found.document_type] for found in objects.references(session, ID)])


def _lookup(session: Session, file: Path) -> None:
    refs = [{"path": "Sales/mt_orders", "type": "mtt"}, OTHER_ID, "missing"]
    storable([found and found.row(full=True) for found in lookup.lookup(session, refs, ignore_missing=True)])
    lookup.lookup(session, refs)


def _release(session: Session, file: Path) -> None:
    release = Release(include=("Sales/*",), objects=({"path": "Sales/mt_orders", "type": "MTT"},))
    storable([found.row() for found in find_objects(session, release)])


def _plan(session: Session, file: Path) -> None:
    plan = plan_import(session, package_of(*SALES), Wishes()).to_json()
    storable(plan)
    storable(markdown(plan))


def _backup(session: Session, file: Path) -> None:
    package = package_of(*SALES)
    held = package.objects[0]
    plan = plan_of(row("Sales/mt_orders", target={"id": held.id}), row("Sales/p", "PROCESS", target={"id": held.id}))
    described = backup.describe(session, plan, package)
    storable(described)
    found = Job.from_wire(IMPORTED)
    storable(backup.changed_since(session, described, found, None, USER))


def _watch(session: Session, file: Path) -> None:
    """Waits, with a clock of its own: what does not end is at its deadline soon."""
    now = iter(range(10**9))
    found = jobs.wait(
        session,
        JobKind.IMPORT,
        JOB_ID,
        deadline=20,
        poll_interval=5,
        clock=lambda: next(now),
        sleep=lambda seconds: None,
    )
    _told(session, JobKind.IMPORT, found)


@dataclass(frozen=True)
class Call:
    """
    :param run: Calls, and uses what comes of it.
    :param method: Of the request whose answer is odd.
    :param path: Its path, as a regular expression that fits from somewhere to the end.
    :param answer: What is really answered: JSON, text or a file.
    :param others: Answers to the requests around it, by path.
    """

    run: Callable[[Session, Path], Any]
    method: str
    path: str
    answer: Any
    others: Mapping[str, Any] | None = None

    def fits(self, method: str, path: str) -> bool:
        return method == self.method and re.search(f"(?:{self.path})$", path) is not None


CALLS = {
    "login": Call(lambda session, file: storable(session.login().org_name), "POST", "/login", LOGIN),
    "objects": Call(_objects, "GET", "/objects", OBJECTS),
    "references": Call(_references, "GET", "/references", REFERENCES),
    "lookup": Call(_lookup, "POST", "/lookup", LOOKUP),
    "export start": Call(
        lambda session, file: storable(exports.start_export(session, [ID], name="x").id), "POST", "/export", STARTED
    ),
    "export status": Call(
        lambda session, file: _told(session, JobKind.EXPORT, exports.get_export(session, JOB_ID, expand_objects=True)),
        "GET",
        f"/export/{JOB_ID}",
        EXPORTED,
    ),
    "export log": Call(
        lambda session, file: jobs.explain(exports.get_export_log(session, JOB_ID), ORG), "GET", "/log", LOG
    ),
    "package": Call(lambda session, file: exports.download_package(session, JOB_ID, file), "GET", "/package", b"PK"),
    "upload": Call(_upload, "POST", "/import/package", UPLOADED, {f"/import/{JOB_ID}": STARTED}),
    "import start": Call(_start_import, "POST", f"/import/{JOB_ID}", STARTED, {f"/import/{JOB_ID}": WAITING}),
    "import state": Call(_start_import, "GET", f"/import/{JOB_ID}", WAITING, {f"/import/{JOB_ID}": STARTED}),
    "import wait": Call(_watch, "GET", f"/import/{JOB_ID}", IMPORTED),
    "import log": Call(
        lambda session, file: jobs.explain(imports.get_import_log(session, JOB_ID), ORG), "GET", "/log", LOG
    ),
    "publish": Call(_publish, "POST", "/publish", PUBLISHING, {"/publish/[^/]*(/Status)?": PUBLISHING}),
    "publish status": Call(_publish, "GET", "/Status", PUBLISHING, {"/publish(/[^/]*)?": PUBLISHING}),
    "task": Call(_schedule, "GET", "/mttask/frs/[^/]*", TASK, {"/schedule/.*": SCHEDULE}),
    "schedule": Call(_schedule, "GET", "/schedule/.*", SCHEDULE, {"/mttask/frs/[^/]*": TASK}),
    "linked task": Call(_link, "GET", "/mttask/frs/[^/]*", TASK, {"/mttask/[^/]*": TASK}),
    "link": Call(_link, "POST", "/mttask/[^/]*", TASK, {"/mttask/frs/[^/]*": TASK}),
    "source control": Call(_controlled, "GET", "/objects", OBJECTS),
    "release": Call(_release, "GET", "/objects", OBJECTS, {"/lookup": LOOKUP}),
    "plan": Call(_plan, "POST", "/lookup", LOOKUP, {"/objects": OBJECTS}),
    "recheck": Call(
        lambda session, file: check_target(session, PLAN), "POST", "/lookup", LOOKUP, {"/objects": OBJECTS}
    ),
    "verify": Call(
        lambda session, file: storable(verify_import(session, PLAN, Job.from_wire(IMPORTED))), "POST", "/lookup", LOOKUP
    ),
    "backup": Call(
        _backup,
        "GET",
        "/objects",
        OBJECTS,
        {"/lookup": LOOKUP, "/mttask/frs/[^/]*": TASK, "/schedule/.*": SCHEDULE},
    ),
}


def settings(**changes: Any) -> Settings:
    return Settings(LOGIN_URL, USER, PASSWORD, **{"retry_timeout": 1.5, **changes})
