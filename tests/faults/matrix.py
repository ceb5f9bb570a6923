"""Which faults strike which calls of which steps, and how a promotion ends then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_infa.simulator.faults import JOB_KINDS

#: Ends of a promotion, as its audit record has them. Failed are those that never imported anything, and the one whose
#: rollback was refused.
PROMOTED, ROLLED_BACK, FAILED = "promoted", "rolled back", "failed"

#: Seconds without a byte after which the client gives an answer up, in the connections of the matrix.
PATIENCE = 3.0


@dataclass(frozen=True)
class Aim:
    """A call of a task of the promotion.

    :param task: the task in which it is struck.
    :param org: who answers it.
    :param method: its method.
    :param path: a regular expression for its path.
    :param starts: kind of the job that it starts.
    """

    task: str
    org: str
    method: str
    path: str
    starts: str | None = None


_JOB = r"/import/(?!package$)[^/]+$"

#: The calls by which the tasks do their work.
AIMS = {
    "login-source": Aim("list_objects", "dev", "POST", "/login$"),
    "login-target": Aim("upload", "test", "POST", "/login$"),
    "list_objects": Aim("list_objects", "dev", "GET", "/objects$"),
    "export": Aim("export", "dev", "POST", "/export$", "export"),
    "export-wait": Aim("export", "dev", "GET", "/export/[^/]+$"),
    "plan-package": Aim("plan", "dev", "GET", "/package$"),
    "plan-lookup": Aim("plan", "test", "POST", "/lookup$"),
    "plan-objects": Aim("plan", "test", "GET", "/objects$"),
    "plan-schedule": Aim("plan", "test", "GET", "/schedule/name/"),
    "backup": Aim("backup", "test", "POST", "/export$", "export"),
    "backup-wait": Aim("backup", "test", "GET", "/export/[^/]+$"),
    "backup-package": Aim("backup", "test", "GET", "/package$"),
    "backup-schedules": Aim("backup", "test", "GET", "/mttask/"),
    "backup-schedule": Aim("backup", "test", "GET", "/schedule/(?!name/)[^/]+$"),
    "upload": Aim("upload", "test", "POST", "/import/package$"),
    "start_import": Aim("start_import", "test", "POST", _JOB, "import"),
    "start_import-state": Aim("start_import", "test", "GET", _JOB),
    "wait": Aim("wait", "test", "GET", _JOB),
    "publish": Aim("publish", "test", "POST", "/publish$", "publish"),
    "publish-wait": Aim("publish", "test", "GET", "/Status$"),
    "link_schedules": Aim("link_schedules", "test", "POST", "/mttask/"),
    "verify": Aim("verify", "test", "POST", "/lookup$"),
    "restore-upload": Aim("restore", "test", "POST", "/import/package$"),
    "restore": Aim("restore", "test", "POST", _JOB, "import"),
    "restore-publish": Aim("restore", "test", "POST", "/publish$", "publish"),
    "record": Aim("record", "test", "GET", _JOB),
    "record-log": Aim("record", "test", "GET", "/log$"),
    "logout": Aim("record", "test", "POST", "/logout$"),
}

#: The steps; each with the call that matters most. The other calls are struck in bursts.
STEPS = (
    "login-target", "list_objects", "export", "plan-package", "plan-lookup", "backup", "upload", "start_import", "wait",
    "publish", "link_schedules", "verify", "restore", "record", "logout"
)  # fmt: skip

#: What strikes, by name; a kind of the simulator has as many as it has ways that a client must tell apart.
STRIKES: dict[str, dict[str, Any]] = {
    "expire_session": {"kind": "expire_session"},
    "throttle": {"kind": "throttle"},
    "throttle-retry_after": {"kind": "throttle", "retry_after": 1},
    "throttle-in_words": {"kind": "throttle", "status": 400, "text": True},
    "maintenance": {"kind": "maintenance"},
    "maintenance-friendly": {"kind": "maintenance", "status": 200},
    "drop_before": {"kind": "drop_before"},
    "drop_after": {"kind": "drop_after"},
    "slow": {"kind": "slow", "seconds": PATIENCE / 4},
    "too_slow": {"kind": "slow", "seconds": PATIENCE * 1.25},
    "truncate": {"kind": "truncate"},
    "server_error": {"kind": "server_error"},
    "deny": {"kind": "deny"},
    "never_end": {"kind": "never_end"},
    "fail_job": {"kind": "fail_job"},
    "fail_objects": {"kind": "fail_objects", "paths": ["Sales/tf_sales_daily", "Sales/mt_orders"]},
    "fail_publish": {"kind": "fail_publish", "paths": ["Service/p_open_ticket"]},
}
#: Kinds of jobs that a fault of a job can strike, if not all.
_STRIKES_JOB = {"fail_objects": ("import",), "fail_publish": ("publish",)}
#: What strikes in bursts, at all calls of one promotion, and how often in a row. The client gives up after three server
#: errors, so that it is the task that has to be retried.
BURSTS = {
    **dict.fromkeys(("throttle", "throttle-in_words", "maintenance", "maintenance-friendly"), 4),
    **dict.fromkeys(("drop_before", "drop_after", "truncate", "server_error"), 4),
    **dict.fromkeys(("throttle-retry_after", "slow"), 1),
    # A call whose new session is refused as well is given up on purpose: it may be the user who is not allowed.
    "expire_session": 1,
}

#: What the client treats as another one of the same kind; these strike all calls of one promotion only.
_VARIANTS = ("throttle-retry_after", "throttle-in_words", "maintenance-friendly", "slow")
#: Bursts of these strike a rollback as well.
_IN_ROLLBACKS = ("expire_session", "throttle", "maintenance", "drop_before", "drop_after", "truncate")

#: An import that goes wrong, so that there is something to restore.
FAILING_IMPORT = {
    "kind": "fail_objects", "method": "POST", "path": f"{_JOB}(?#failing)", "times": 1,
    "paths": ["Sales/tf_sales_daily"],
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One promotion.

    :param faults: by task and org, what is switched on when the task begins.
    :param end: how it ends.
    :param strikes: the name in STRIKES.
    :param step: the name in AIMS; for bursts, none of them.
    """

    faults: dict[str, dict[str, list[dict[str, Any]]]]
    end: str
    strikes: str = ""
    step: str = ""


def cases() -> Iterator[tuple[str, Case]]:
    """Every fault at every step, by name; then bursts, at all calls of one promotion."""
    for step in STEPS:
        aim = AIMS[step]
        for name, fault in STRIKES.items():
            if name in _VARIANTS or (fault["kind"] in JOB_KINDS and not _starts(aim, fault["kind"])):
                continue
            strike = {**fault, "method": aim.method, "path": aim.path, "times": 1}
            faults = {aim.task: {aim.org: [strike]}}
            if aim.task == "restore":
                faults["start_import"] = {"test": [FAILING_IMPORT]}
            yield f"{name}-at-{step}", Case(faults, _end(aim, name), name, step)
    for name in BURSTS:
        yield f"{name}-in-bursts", Case(_bursts(name, PROMOTED), PROMOTED, name, "bursts")
        if name in _IN_ROLLBACKS:
            yield f"{name}-in-bursts-and-a-rollback", Case(_bursts(name, ROLLED_BACK), ROLLED_BACK, name, "bursts")
    # Struck three times: the publication is tried again, and again.
    hopeless = {**STRIKES["fail_publish"], "method": "POST", "path": "/publish$", "paths": ["Service/g_open_ticket"]}
    yield "fail_publish-for-good", Case({"publish": {"test": [hopeless]}}, ROLLED_BACK, "fail_publish", "publish")


def _starts(aim: Aim, kind: str) -> bool:
    return aim.starts in _STRIKES_JOB.get(kind, ("export", "import", "publish"))


def _bursts(name: str, end: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """A burst at every call that a promotion makes which ends that way."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    skipped = ("publish", "link_schedules", "verify") if end == ROLLED_BACK else ("restore",)
    for step, aim in AIMS.items():
        # A logout is tried twice and no more, as the session ends by itself.
        if aim.task not in skipped and step != "logout":
            # An import is started once, whatever becomes of the answer.
            times = 1 if aim.starts == "import" and name in ("drop_after", "truncate") else BURSTS[name]
            # The remark tells faults of several tasks apart that strike the same call.
            burst = {**STRIKES[name], "method": aim.method, "path": f"{aim.path}(?#{step})", "times": times}
            found.setdefault(aim.task, {}).setdefault(aim.org, []).append(burst)
    if end == ROLLED_BACK:
        found["start_import"]["test"].append(FAILING_IMPORT)
    return found


def _end(aim: Aim, name: str) -> str:
    if aim.task == "restore":
        return ROLLED_BACK if name != "deny" else FAILED
    if name == "deny" and aim.task != "record":
        imported = ("wait", "publish", "link_schedules", "verify")
        return ROLLED_BACK if aim.task in imported else FAILED
    if aim.task == "start_import" and name in ("fail_job", "fail_objects"):
        return ROLLED_BACK
    return PROMOTED
