"""Every fault at every step of a promotion on real Airflow: what a client can ride out changes nothing at all."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import matrix
import pytest
from matrix import AIMS, PROMOTED, ROLLED_BACK, STRIKES
from promotions import Promotion

from airflow_provider_infa.simulator.faults import JOB_KINDS, WIRE_KINDS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CASES = dict(matrix.cases())


def rows(promotion: Promotion) -> list[dict[str, Any]]:
    """What the audit record tells of the objects, without ids, which differ from org to org."""
    names = ("path", "type", "planned", "done", "state", "message")
    return sorted(({name: row.get(name) for name in names} for row in promotion.record["objects"]), key=str)


def test_the_matrix_knows_every_fault_of_the_simulator():
    assert {fault["kind"] for fault in STRIKES.values()} == set(WIRE_KINDS | JOB_KINDS)
    assert {case.strikes for case in CASES.values()} == set(STRIKES)


def test_the_matrix_knows_every_step_and_every_kind_of_call(undisturbed, rolled_back):
    for promotion in (undisturbed, rolled_back):
        tasks = {name for name, _, _ in promotion.begun}
        assert tasks <= {aim.task for aim in AIMS.values()}
    assert {name for name, _, _ in undisturbed.begun} == {aim.task for aim in AIMS.values()}
    for promotion in (undisturbed, rolled_back):
        for org in ("dev", "test"):
            calls = {f"{r['method']} {r['path']}" for r in promotion.sim.requests(org)}
            patterns = [f"^{aim.method} .*{aim.path}" for aim in AIMS.values() if aim.org == org] + ["/log(in|out)$"]
            assert [call for call in calls if not any(re.search(pattern, call) for pattern in patterns)] == []


def test_the_undisturbed_ones(undisturbed, rolled_back):
    assert (undisturbed.run_state, undisturbed.end) == ("success", PROMOTED)
    assert undisturbed.after != undisturbed.before
    assert (rolled_back.run_state, rolled_back.end) == ("failed", ROLLED_BACK)
    assert without_created(rolled_back) == rolled_back.before
    assert rolled_back.after != rolled_back.before
    for promotion in (undisturbed, rolled_back):
        assert {tries for _, tries, _ in promotion.begun} == {1}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_promotion_under(case, airflow, sim, undisturbed, rolled_back):
    dev = sim.state("dev")
    promotion = Promotion(airflow, sim, case)

    assert_struck(promotion)
    assert (promotion.end, promotion.run_state) == (case.end, "success" if case.end == PROMOTED else "failed")
    assert sim.state("dev") == dev
    started = [job for job in promotion.jobs("import") if job["starts"]]
    for job in promotion.jobs("import"):
        # Nothing is uploaded for nothing, unless nobody heard that it was, or was refused.
        assert (job["starts"], job["start_requests"]) == (1, 1) or job["starts"] == 0, job
    if case.end == PROMOTED:
        assert promotion.after == undisturbed.after
        if (case.strikes, case.step) != ("deny", "record"):  # the record is written without what IDMC does not tell
            assert rows(promotion) == rows(undisturbed)
        assert [job["state"] for job in started] == ["SUCCESSFUL"]
        assert len(promotion.jobs("import")) <= 1 + promotion.unheard("/import/package$")
        assert {job["state"] for job in promotion.jobs("publish")} <= {"SUCCESS", "FAILED", "WARNING"}
    elif case.end == ROLLED_BACK:
        assert without_created(promotion) == promotion.before
        # A restore that failed is tried again, with an import of its own.
        *failed, restored = [job["state"] for job in started[1:]]
        assert (set(failed) <= {"FAILED"}, restored) == (True, "SUCCESSFUL")
        assert len(failed) == (AIMS.get(case.step) == AIMS["restore"] and case.strikes in ("fail_job", "fail_objects"))
    elif case.step == "restore":
        # What the failed import has left; the backup is there for a restore by hand.
        assert promotion.after != promotion.before
        assert [job["state"] for job in started] == ["FAILED"]
        assert promotion.record["backup_uri"]
    else:
        assert promotion.after == promotion.before
        assert started == []
    if case.strikes == "deny":
        # What a retry can't mend is not tried again.
        assert promotion.tries(AIMS[case.step].task) == 1
    assert promotion.open_sessions() <= promotion.unheard("/login$")
    assert [sim.sessions(org)["failed_logins"] for org in ("dev", "test")] == [0, 0]


def without_created(promotion: Promotion) -> list[dict[str, Any]]:
    """The org after a rollback, without what the record says that the import created and left behind."""
    created = [row["path"] for row in promotion.record["rollback"]["created"]]
    assert not set(created) & {row["path"] for row in promotion.before}
    return [row for row in promotion.after if row["path"] not in created]


def assert_struck(promotion: Promotion) -> None:
    """The faults have struck as often as they were to, and in the step that they were aimed at."""
    sim, case = promotion.sim, promotion.case
    for org in ("dev", "test"):
        wanted = sum(len(by_org.get(org, ())) for by_org in case.faults.values())
        assert len(sim.faults(org)) == wanted
        for fault in sim.faults(org):
            assert fault["struck"] == fault["times"] if fault["times"] else fault["struck"] >= 1, fault
    if case.step in AIMS:
        aim = AIMS[case.step]
        struck = [moment(r["time"]) for r in sim.requests(aim.org) if r["fault"]]
        first, last = (
            find(i for i, (name, _, _) in enumerate(promotion.begun) if name == aim.task) for find in (min, max)
        )
        after = [when for _, _, when in promotion.begun[last + 1 :]] or [time.time()]
        assert all(promotion.begun[first][2] - 1 < when < after[0] + 1 for when in struck)


def moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
