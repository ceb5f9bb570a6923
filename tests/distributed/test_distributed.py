"""50 promotions at once on a distributed Airflow, of which a worker and a triggerer are killed on the way."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import yaml

from airflow_provider_infa.simulator import seed as seeds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SEED = 13
TARGETS = [f"target_{number}" for number in range(10)]
SOURCES = ["source_0", "source_1"]
RELEASES = [f"release-{number}" for number in range(5)]
PROMOTIONS = [(target, release) for target in TARGETS for release in RELEASES]
#: How long each export, import and publishing runs in IDMC.
JOB_SECONDS = 3.0
#: Steps of a promotion.
STEPS = ["export", "plan", "backup", "upload", "start_import", "wait", "publish", "verify", "record"]
#: Those that wait in the triggerer.
WAITING_STEPS = ["export", "backup", "start_import", "publish"]
#: Seconds until all is over. Meant for 4 idle cores, and generous: what counts here is how it ends.
PATIENCE = 1200

#: One file and one DAG for each target, so that no task reads more than its own; one run for each release.
DAG = """
import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.promotion import promote

with DAG("into_{target}", schedule=None):
    source = "infa_{{{{ dag_run.conf['source'] }}}}"
    listed = InfaListObjectsOperator(task_id="list", infa_conn_id=source, tag="{{{{ dag_run.conf['release'] }}}}")
    promote(
        "release",
        source_conn_id=source,
        target_conn_id="infa_{target}",
        objects=listed.output,
        runtime_environments={{"DEV_AGENTS": "TEST_AGENTS"}},
        connections={{"ora_dev": "ora_test"}},
        backup_uri=os.environ["INFA_STORE"] + "/backup",
        rollback="on_failure",
        publish=True,
        poll_interval=1.0,
        timeout=600.0,
    )
"""


def project(release: str) -> str:
    return release.replace("release-", "Project")


def assets(release: str, revision: int) -> list[dict]:
    """What a release promotes: a mapping that the target has in an older state, and a task and a taskflow it lacks."""
    name = project(release)
    common = {"tags": [release], "updated_by": "anna", "update_time": "2026-03-02T09:15:00Z"}
    return [
        {**common, "path": f"{name}/m_load", "type": "DTEMPLATE", "uses": ["ff_landing", "ora_dev"],
         "definition": {"revision": str(revision)}},
        {**common, "path": f"{name}/mt_load", "type": "MTT",
         "uses": ["DEV_AGENTS", f"{name}/m_load", "ff_landing", "ora_dev"]},
        {**common, "path": f"{name}/tf_load", "type": "TASKFLOW", "uses": [f"{name}/mt_load"]},
    ]  # fmt: skip


def seed() -> dict:
    """Orgs like those of the simulator, with a project for each release."""
    orgs = deepcopy(dict(seeds.load(None)["orgs"]))
    projects = [{"name": project(release)} for release in RELEASES]
    found = {}
    for number, key in enumerate(SOURCES):
        content = [asset for release in RELEASES for asset in assets(release, 10 + number)]
        found[key] = {**orgs["dev"], "name": f"ACME_{key.upper()}", "projects": projects, "assets": content}
    for key in TARGETS:
        old = [
            {"path": f"{project(release)}/{name}", "type": "DTEMPLATE", "updated_by": "deployer",
             "update_time": "2026-01-20T06:00:12Z", "uses": ["ff_landing", "ora_test"], "definition": {"revision": "1"}}
            for release in RELEASES for name in ("m_load", "m_other")
        ]  # fmt: skip
        found[key] = {**orgs["test"], "name": f"ACME_{key.upper()}", "projects": projects, "assets": old}
    return {"orgs": found}


def source_of(target: str, release: str) -> str:
    return SOURCES[PROMOTIONS.index((target, release)) % len(SOURCES)]


@dataclass(frozen=True)
class Killed:
    """A part of Airflow that was killed, what it was busy with (DAG, run, task), and its sessions at most, by org."""

    name: str
    after: str
    held: list[tuple[str, str, str]]
    sessions: Counter[str]


def orgs_of(tasks: list[tuple[str, str, str]]) -> Counter[str]:
    """How many of these tasks have to do with which org."""
    pairs = [(dag.removeprefix("into_"), run, task) for dag, run, task in tasks]
    at_source = ("list", "release.export")
    return Counter(source_of(target, run) if task in at_source else target for target, run, task in pairs)


@pytest.fixture(scope="module")
def here(cluster, say):
    """All is over here: the 50 promotions, and the two killings."""
    began = time.monotonic()
    cluster.write_dags({target: DAG.format(target=target) for target in TARGETS})
    (cluster.folder / "seed.yaml").write_text(yaml.safe_dump(seed()))
    cluster.start_simulator(JOB_SECONDS, cluster.folder / "seed.yaml")
    cluster.connect_by_database()
    cluster.before = {target: cluster.look(target, "state") for target in TARGETS}
    cluster.start_airflow()
    for target in TARGETS:
        sql = "SELECT 1 FROM serialized_dag WHERE dag_id = ?"
        cluster.wait_until(lambda sql=sql, target=target: cluster.query(sql, f"into_{target}"), 120)
    started = time.monotonic()
    for target, release in PROMOTIONS:
        conf = {"source": source_of(target, release), "release": release}
        body = {"dag_run_id": release, "logical_date": None, "conf": conf}
        cluster.rest(f"dags/into_{target}/dagRuns", body, "POST")
    cluster.killed = kill_some(cluster)
    cluster.watch(lambda: not cluster.query("SELECT 1 FROM dag_run WHERE state IN ('queued', 'running')"), PATIENCE)
    ended = time.monotonic()
    say(f"{len(PROMOTIONS)} promotions took {ended - started:.0f} s, starting Airflow {started - began:.0f} s.")
    for each in cluster.killed:
        held = Counter(task.removeprefix("release.") for _, _, task in each.held)
        say(f"{each.name} was killed after {each.after}, when it was busy with {dict(held)}.")
    return cluster


def kill_some(here) -> list[Killed]:
    """Kill a worker and a triggerer, at moments that the seed decides, while they hold work."""
    chance = random.Random(SEED)
    victims = [
        (f"worker-{chance.randint(1, 2)}", chance.choice(STEPS), here.run_by),
        (f"triggerer-{chance.randint(1, 2)}", chance.choice(WAITING_STEPS), here.waited_for_by),
    ]
    killed = []
    # By the way that a promotion takes: what comes first is killed first.
    for name, step, busy_with in sorted(victims, key=lambda victim: STEPS.index(victim[1])):
        after = chance.randint(5, 25)

        def held(name: str = name, step: str = step, busy_with: Callable = busy_with) -> list:
            busy = busy_with(name)
            return busy if f"release.{step}" in {task for _, _, task in busy} else []

        def caught(name: str = name, step: str = step, held: Callable = held, after: int = after) -> list:
            if here.done(f"release.{step}") < after or not held():
                return []
            here.freeze(name)
            busy = held()
            if not busy:
                here.thaw(name)
            return busy

        busy = here.watch(caught, PATIENCE)
        part = here.part(name)
        here.kill(name)
        sessions = orgs_of(busy)
        if name.startswith("triggerer"):
            # It shares one session among all waits for an org, and logs out after the last one has ended.
            sessions = Counter(set(sessions)) | (logged(part, "in to") - logged(part, "out of"))
        killed.append(Killed(name, f"{after} times {step}", busy, sessions))
    return killed


def logged(triggerer, what: str) -> Counter[str]:
    """How often a triggerer has logged in to, or out of, which org so far."""
    return Counter(org.lower() for org in re.findall(rf"Logged {what} org ACME_(\w+)", triggerer.output))


# --- What has to hold afterwards ----------------------------------------------------------------------------------


def of(here, org: str, kind: str) -> list[dict]:
    return [job for job in here.look(org, "jobs") if job["kind"] == kind]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def again(here, *tasks: str) -> list[tuple[str, str, str]]:
    """Which tasks, or which of these, have been run more than once."""
    rows = here.query("SELECT dag_id, run_id, task_id FROM task_instance WHERE try_number > 1")
    return [row for row in rows if not tasks or row[2] in tasks]


def test_all_promotions_succeed(here):
    states = Counter(here.query("SELECT task_id, state FROM task_instance"))
    runs = len(PROMOTIONS)
    expected = {(f"release.{step}", "success"): runs for step in STEPS} | {("list", "success"): runs}
    assert states == expected | {("release.restore", "skipped"): runs}, here.report()
    assert here.query("SELECT state, count(*) FROM dag_run GROUP BY state") == [("success", runs)]


def test_what_was_killed_held_work_that_others_took_over(here):
    killed = {each.name.partition("-")[0]: each for each in here.killed}
    assert killed.keys() == {"triggerer", "worker"}
    left = [part for part in here.parts if part.name.startswith(("worker", "triggerer"))]
    assert len(left) == 2
    for part in left:
        part.assert_running()
    assert set(killed["worker"].held) & set(again(here))
    (other,) = (number for number, part in here.triggerers.items() if part in left)
    assert killed["triggerer"].held
    assert set(killed["triggerer"].held) <= set(here.waits_of(other))


def test_each_import_is_started_once(here):
    for target in TARGETS:
        imports = of(here, target, "import")
        started = [job for job in imports if job["start_requests"]]
        assert [(job["state"], job["starts"], job["start_requests"]) for job in started] == (
            [("SUCCESSFUL", 1, 1)] * len(RELEASES)
        )
        # What was uploaded by a task that was lost then is uploaded again.
        lost = [dag for dag, _, _ in again(here, "release.upload") if dag == f"into_{target}"]
        assert len(imports) - len(started) <= len(lost)


def test_imports_into_one_org_do_not_overlap(here):
    for target in TARGETS:
        starts = sorted(moment(job["start_time"]) for job in of(here, target, "import") if job["starts"])
        for one, next_one in pairwise(starts):
            assert next_one - one >= timedelta(seconds=JOB_SECONDS)


def test_pools_are_made_once_each(here):
    pools = here.query("SELECT pool, slots, include_deferred FROM slot_pool WHERE pool LIKE 'infa%' ORDER BY pool")
    assert pools == [(f"infa_promotions_infa_{target}", 1, True) for target in TARGETS]


def test_nothing_is_exported_more_often_than_it_had_to(here):
    exports = [job for source in SOURCES for job in of(here, source, "export")]
    backups = [job for target in TARGETS for job in of(here, target, "export")]
    assert len(PROMOTIONS) <= len(exports) <= len(PROMOTIONS) + len(again(here, "release.export"))
    assert len(PROMOTIONS) <= len(backups) <= len(PROMOTIONS) + len(again(here, "release.backup"))


def test_each_org_holds_what_was_promoted_and_nothing_else(here):
    names = {"DEV_AGENTS": "TEST_AGENTS", "ora_dev": "ora_test"}
    content = {source: {row["path"]: row for row in here.look(source, "state")} for source in SOURCES}
    for target in TARGETS:
        expected = {row["path"]: row for row in here.before[target]}
        for release in RELEASES:
            for asset in assets(release, 0):
                row = content[source_of(target, release)][asset["path"]]
                uses = sorted(names.get(use, use) for use in row["uses"])
                published = asset["type"] == "TASKFLOW"
                expected[asset["path"]] = {**row, "uses": uses, "published": published}
        assert {row["path"]: row for row in here.look(target, "state")} == expected


def test_each_promotion_is_recorded(here):
    files = list((here.store / "backup").rglob("record.json"))
    assert len(files) == len(PROMOTIONS)
    for target in TARGETS:
        for release in RELEASES:
            (file,) = (here.store / "backup" / f"into_{target}" / release).rglob("record.json")
            found = json.loads(file.read_text())
            assert (found["state"], found["target_org"]["name"]) == ("promoted", f"ACME_{target.upper()}")
            (job,) = (job for job in of(here, target, "import") if job["id"] == found["import_job"]["id"])
            assert (job["starts"], job["package_sha256"]) == (1, found["package_sha256"])
            ids = {(each["path"], each["type"]): each["id"] for each in here.look(target, "assets")}
            rows = {row["path"]: row for row in found["objects"] if row["planned"] in ("create", "overwrite")}
            assert rows.keys() == {asset["path"] for asset in assets(release, 0)}
            for row in rows.values():
                assert row["new_id"] == ids[row["path"], row["type"]]


def test_sessions_are_closed_but_those_of_the_killed(here, say):
    allowed = sum((each.sessions for each in here.killed), Counter())

    def left() -> Counter[str]:
        return Counter({org: here.look(org, "sessions")["open"] for org in [*SOURCES, *TARGETS]})

    until = time.monotonic() + 15
    while left() - allowed and time.monotonic() < until:
        time.sleep(0.5)  # a trigger logs out in the background, after its event
    say(f"Sessions left open: {+left()}; those that were killed had at most {+allowed}.")
    assert left() - allowed == Counter(), (here.killed, again(here))
    assert [org for org in [*SOURCES, *TARGETS] if here.look(org, "sessions")["failed_logins"]] == []


def test_waits_share_logins(here, say):
    for number, triggerer in here.triggerers.items():
        waits = orgs_of(here.waits_of(number))
        logins = logged(triggerer, "in to")
        say(f"{triggerer.name} logged in {sum(logins.values())} times for {sum(waits.values())} waits.")
        assert logins
        assert {org: count for org, count in logins.items() if count > waits[org]} == {}
        # Many exports run at once in the same two orgs.
        assert sum(logins[org] for org in SOURCES) < sum(waits[org] for org in SOURCES)


def test_no_secret_is_left_anywhere(here):
    secrets = here.secrets()
    assert len(secrets) > len(PROMOTIONS)
    assert here.leaks() == []
    tables = here.dump()
    # The search would find them, were they there.
    ids = {job["id"] for target in TARGETS for job in of(here, target, "import") if job["starts"]}
    assert all(id in tables["xcom"] for id in ids)
    assert [(table, secret) for table, text in tables.items() for secret in secrets if secret in text] == []
    waits = "\n".join(here.stored_waits)
    assert any(id in waits for id in ids)
    assert [secret for secret in secrets if secret in waits] == []
