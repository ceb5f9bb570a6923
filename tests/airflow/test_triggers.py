"""Waiting without a worker: triggers, and the session that those of one connection share."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time

import pytest
from aiohttp import web
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_infa.idmc import policy
from airflow_provider_infa.simulator import gate
from airflow_provider_infa.triggers import jobs, poller
from airflow_provider_infa.triggers.jobs import InfaJobTrigger


def trigger(job_id: str, *, seconds: float = 30.0, kind: str = "import", conn_id: str = "infa_test", interval=0.05):
    return InfaJobTrigger(conn_id, kind, job_id, interval, time.time() + seconds)


async def event_of(waiting: InfaJobTrigger) -> dict:
    events = waiting.run()
    event = await asyncio.wait_for(anext(events), 30)
    # One event and no more: Airflow ends a trigger after the first.
    with pytest.raises(StopAsyncIteration):
        await anext(events)
    return event.payload


async def settled(sim, org: str = "test", **expected) -> dict:
    """The sessions of an org once they are as expected; logging out happens in the background."""
    for _ in range(100):
        sessions = sim.sessions(org)
        if sessions == {**sessions, **expected}:
            break
        await asyncio.sleep(0.05)
    return sessions


@pytest.fixture(autouse=True)
async def nothing_left(monkeypatch):
    """No test leaves a poller, once refused logins are forgotten."""
    monkeypatch.setattr(poller, "REMEMBER", 0.5)
    yield
    forget()
    await forgotten()


def forget() -> None:
    """Have refused logins forgotten now, where a test must not depend on how long it takes."""
    for refused in [each for each in poller._pollers.values() if each.refusal and not each._waits]:
        refused._close()


async def forgotten() -> None:
    """Wait until no refused login is remembered any more."""
    for _ in range(300):
        if not poller._pollers:
            break
        await asyncio.sleep(0.01)
    assert poller._pollers == {}


# --- serialization ----------------------------------------------------------------------------------------------------


def test_a_trigger_rebuilt_from_its_arguments_is_the_same(rebuild):
    original = InfaJobTrigger("infa_test", "import", "abc", 10.0, 1_800_000_000.5, {"jobs": [["publish", "x"]]})
    again = rebuild(original)
    assert type(again) is InfaJobTrigger
    assert again.serialize() == original.serialize()
    names = ("infa_conn_id", "kind", "job_id", "poll_interval", "deadline", "carry")
    assert [getattr(again, name) for name in names] == [getattr(original, name) for name in names]
    assert again.serialize()[1].keys() == set(names)


def test_no_secret_is_serialized(sim):
    text = json.dumps(trigger("abc").serialize())
    for connection in sim.connections.values():
        assert connection["password"] not in text
        assert connection["login"] not in text


def test_arguments_survive_airflows_own_serialization():
    # Newer versions raise here for what they do not know, after the job was started.
    try:
        from airflow.sdk.serde import deserialize, serialize
    except ImportError:
        from airflow.serialization.serialized_objects import BaseSerialization

        serialize, deserialize = BaseSerialization.serialize, BaseSerialization.deserialize
    arguments = trigger("abc").serialize()[1]
    assert deserialize(serialize(arguments)) == arguments


# --- events -----------------------------------------------------------------------------------------------------------


async def test_a_job_that_ends(promotion, ready_import):
    promotion.end_jobs_after_two_looks()
    job_id = ready_import()
    promotion.sim.clear_requests()
    assert await event_of(trigger(job_id)) == {
        "status": "ended", "job_id": job_id, "state": "SUCCESSFUL", "message": None,
    }  # fmt: skip
    assert len(promotion.calls("test", "GET", f"/import/{job_id}$")) > 2
    # Results of objects are fetched when the task goes on: events are logged whole and kept in the database.
    assert not [r for r in promotion.sim.requests("test") if "expand" in r["query"]]


@pytest.mark.parametrize("carry", [{"jobs": [["publish", "abc"]], "linked": []}, {}])
async def test_what_a_task_has_to_know_again_comes_back_with_any_event(promotion, ready_import, carry):
    job_id = ready_import()
    ways = {"ended": (job_id, 30.0), "refused": ("0123456789abcdefABCDEF", 30.0)}
    for status, (id, seconds) in ways.items():
        event = await event_of(InfaJobTrigger("infa_test", "import", id, 0.05, time.time() + seconds, carry))
        assert (event["status"], event["carry"]) == (status, carry)
    promotion.sim.add_fault("test", {"kind": "never_end"})
    event = await event_of(InfaJobTrigger("infa_test", "import", ready_import(), 0.05, time.time() - 1, carry))
    assert (event["status"], event["carry"]) == ("timeout", carry)


async def test_an_export(promotion):
    job_id = promotion.export()
    event = await event_of(trigger(job_id, kind="export", conn_id="infa_dev"))
    assert (event["status"], event["state"]) == ("ended", "SUCCESSFUL")


async def test_a_failed_job_has_ended_too(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "fail_job"})
    assert (await event_of(trigger(ready_import())))["state"] == "FAILED"


async def test_a_deadline_in_the_past(promotion, ready_import):
    # The triggerer was down over the deadline: the last word counts, not the clock alone.
    job_id = ready_import()
    assert (await event_of(trigger(job_id, seconds=-100)))["status"] == "ended"
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    assert await event_of(trigger(job_id, seconds=-100)) == {
        "status": "timeout", "job_id": job_id, "state": "IN_PROGRESS", "message": None,
    }  # fmt: skip


async def test_past_the_deadline_one_look_is_due_and_no_more(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    promotion.sim.clear_requests()
    assert (await event_of(trigger(job_id, seconds=-100)))["status"] == "timeout"
    assert len(promotion.calls("test", "GET", "/import/")) == 1


async def test_a_job_of_another_org(promotion):
    # The org dev has it; test knows nothing of it, and says so with its id.
    job_id = promotion.export()
    event = await event_of(trigger(job_id, kind="export"))
    assert event["status"] == "refused"
    assert job_id in event["message"]
    assert "404" in event["message"]


async def test_the_deadline_is_kept(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    began = time.monotonic()
    # Longer than the wait: the last pause is cut short.
    assert (await event_of(trigger(job_id, seconds=0.5, interval=60)))["status"] == "timeout"
    assert 0.4 < time.monotonic() - began < 3


async def test_the_deadline_is_kept_while_the_server_hangs(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "slow", "seconds": 4, "method": "GET", "path": "/import/"})
    began = time.monotonic()
    assert (await event_of(trigger(job_id, seconds=0.5)))["status"] == "timeout"
    assert time.monotonic() - began < 3
    promotion.sim.clear_faults()


async def test_a_job_that_the_org_does_not_have(sim):
    event = await event_of(trigger("0123456789abcdefABCDEF"))
    assert event["status"] == "refused"
    assert "HTTP 404" in event["message"]
    assert "requestId" in event["message"]
    assert (await settled(sim, open=0))["open"] == 0


async def test_an_id_that_is_none(sim):
    assert (await event_of(trigger("")))["status"] == "refused"
    assert (await event_of(InfaJobTrigger("infa_test", "promotion", "x", 1, time.time())))["status"] == "error"


async def test_a_wrong_password_is_tried_once(sim, connect, monkeypatch):
    monkeypatch.setattr(poller, "REMEMBER", 60.0)
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    events = await asyncio.gather(*(event_of(trigger(f"job{n}")) for n in range(5)))
    assert {event["status"] for event in events} == {"refused"}
    # It is not tried by waits that begin when the others have left either; nor does it end these for good.
    later = [await event_of(trigger(f"job{n}", seconds=0.2)) for n in range(5)]
    assert {event["status"] for event in later} == {"timeout"}
    assert {event["message"] for event in later} == {events[0]["message"]}
    assert "forgotten" not in json.dumps(events + later)
    assert sim.sessions("test")["failed_logins"] == 1


async def test_all_who_find_a_refused_login_share_the_next_one(sim, connect, monkeypatch):
    monkeypatch.setattr(poller, "REMEMBER", 60.0)
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    assert (await event_of(trigger("job")))["status"] == "refused"
    waits = []
    for number in range(100):
        waits.append(asyncio.ensure_future(event_of(trigger(f"job{number}"))))
        await asyncio.sleep(0.005)
    assert not any(wait.done() for wait in waits)
    assert sim.sessions("test")["failed_logins"] == 1
    # It is refused again, and this time to them; those that were late for it wait for the next.
    while any(not wait.done() for wait in waits):
        forget()
        await asyncio.wait(waits, timeout=2.0)
    assert {wait.result()["status"] for wait in waits} == {"refused"}
    assert 2 <= sim.sessions("test")["failed_logins"] <= 6


async def test_a_refusal_whose_cause_is_gone_does_not_end_a_wait_that_begins(promotion, ready_import):
    """The task has just logged in: the account was unlocked, or the password is again what the connection says."""
    sim, job_id = promotion.sim, ready_import()
    word = sim.connections["infa_test"]["password"]
    change_password(sim, "another-of-the-tests")
    assert (await event_of(trigger(job_id)))["status"] == "refused"
    change_password(sim, word)
    before = sim.sessions("test")
    events = await asyncio.gather(*(event_of(trigger(job_id)) for _ in range(20)))
    assert {(event["status"], event["state"]) for event in events} == {("ended", "SUCCESSFUL")}
    after = sim.sessions("test")
    assert (after["logins"] - before["logins"], after["failed_logins"] - before["failed_logins"]) == (1, 0)


async def test_a_connection_that_is_corrected_while_a_refused_login_is_remembered(
    promotion, ready_import, connect, monkeypatch
):
    monkeypatch.setattr(poller, "REMEMBER", 60.0)
    monkeypatch.setattr(jobs, "LONGEST_DELAY", 0.1)
    good, job_id = promotion.sim.connections["infa_test"], ready_import()
    connect("infa_test", {**good, "password": "forgotten-by-the-tests"})
    assert (await event_of(trigger(job_id)))["status"] == "refused"
    waiting = asyncio.ensure_future(event_of(trigger(job_id)))
    await asyncio.sleep(0.5)
    connect("infa_test", good)
    began = time.monotonic()
    assert (await waiting)["status"] == "ended"
    assert time.monotonic() - began < 20
    assert promotion.sim.sessions("test")["failed_logins"] == 1


async def test_a_wait_for_a_refused_login_to_be_forgotten_can_be_cancelled(sim, connect, monkeypatch):
    monkeypatch.setattr(poller, "REMEMBER", 60.0)
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    await event_of(trigger("job"))
    await cancelled(trigger("job"), after=0.2)
    assert sim.sessions("test")["failed_logins"] == 1


async def test_a_wrong_password_is_tried_again_when_it_was_forgotten(sim, connect):
    connect("infa_test", {**sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    await event_of(trigger("job"))
    await forgotten()
    assert (await event_of(trigger("job")))["status"] == "refused"
    assert sim.sessions("test")["failed_logins"] == 2


async def test_a_login_to_the_wrong_org_is_tried_once(sim, change_connection, monkeypatch):
    monkeypatch.setattr(poller, "REMEMBER", 60.0)
    change_connection(expected_org="ACME_PROD")
    events = await asyncio.gather(*(event_of(trigger(f"job{n}")) for n in range(5)))
    events += [await event_of(trigger(f"job{n}", seconds=0.2)) for n in range(5)]
    assert [event["status"] for event in events] == ["refused"] * 5 + ["timeout"] * 5
    assert all("ACME_PROD" in event["message"] for event in events)
    sessions = await settled(sim, open=0)
    assert (sessions["logins"], sessions["open"], sessions["failed_logins"]) == (1, 0, 0)


@pytest.mark.parametrize("interval", [0, -1, -0.5, "often", "", None, float("nan"), float("inf"), [1]])
async def test_an_interval_that_is_none(sim, interval):
    event = await event_of(trigger("abc", interval=interval))
    assert event["status"] == "refused"
    assert "poll_interval" in event["message"]
    assert repr(interval) in event["message"]
    assert sim.sessions("test")["logins"] == 0


async def test_an_interval_as_text(promotion, ready_import):
    assert (await event_of(trigger(ready_import(), interval="0.05")))["status"] == "ended"


@pytest.mark.parametrize("fields", [{}, {"login": "a", "password": "b", "host": "ftp://x"}])
async def test_a_bad_connection_is_an_event(connect, fields):
    connect("infa_bad", fields)
    event = await event_of(trigger("abc", conn_id="infa_bad"))
    assert event["status"] == "refused"
    assert "'infa_bad'" in event["message"]


async def test_no_connection_at_all_is_an_event():
    # Whatever Airflow raises for it; with an empty database or none at all that differs.
    event = await event_of(trigger("abc", conn_id="infa_nowhere"))
    assert event["status"] == "error"
    assert event["message"]


# --- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["maintenance", "drop_before", "drop_after", "throttle", "server_error", "truncate"])
async def test_an_outage_is_waited_out(promotion, ready_import, kind):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": kind, "method": "GET", "path": "/import/", "times": 4})
    event = await event_of(trigger(job_id))
    assert (event["status"], event["state"]) == ("ended", "SUCCESSFUL")
    assert promotion.sim.faults("test")[0]["struck"] == 4


async def test_a_session_that_expires_again_and_again(promotion, ready_import):
    promotion.sim.change_settings("test", job_seconds=0.6)
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "expire_session", "method": "GET", "path": "/import/", "every": 2})
    assert (await event_of(trigger(job_id)))["status"] == "ended"
    assert promotion.sim.faults("test")[0]["struck"] > 1


async def test_sessions_that_are_not_accepted_are_waited_out(promotion, endless):
    """As while IDMC does not know new sessions yet: the login is not refused, so no wait ends by it."""
    sim = promotion.sim
    waits = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(20)]
    await underway(sim, 20)
    before = sim.sessions("test")
    sim.add_fault("test", {"kind": "expire_session", "method": "GET", "path": "/import/"})
    await asyncio.sleep(1.5)
    assert not any(wait.done() for wait in waits)
    # Each wait for itself would log in hundreds of times; the delays between these double from 20 ms on.
    assert 4 <= sim.sessions("test")["logins"] - before["logins"] <= 30
    sim.clear_faults()
    end(sim, endless)
    assert {(event["status"], event["state"]) for event in await asyncio.gather(*waits)} == {("ended", "SUCCESSFUL")}
    after = await settled(sim, open=0)
    assert (after["open"], after["failed_logins"]) == (0, 0)


async def test_a_session_that_is_not_accepted_up_to_the_deadline(promotion, ready_import):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "expire_session", "method": "GET", "path": "/import/"})
    event = await event_of(trigger(job_id, seconds=0.5))
    assert (event["status"], event["state"]) == ("timeout", None)
    assert "HTTP 401" in event["message"]


async def test_an_outage_of_the_login(promotion, ready_import):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "maintenance", "path": "/login$", "times": 3})
    assert (await event_of(trigger(job_id)))["status"] == "ended"


async def test_an_outage_beyond_the_deadline(promotion, ready_import):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/"})
    event = await event_of(trigger(job_id, seconds=0.5))
    assert (event["status"], event["state"]) == ("timeout", None)
    assert "HTTP 503" in event["message"]
    assert f"/import/{job_id}" in event["message"]


async def test_an_outage_that_is_over_at_the_deadline(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/", "times": 2})
    event = await event_of(trigger(job_id, seconds=1))
    assert (event["status"], event["state"], event["message"]) == ("timeout", "IN_PROGRESS", None)


@pytest.mark.parametrize("fault", [
    *({"kind": "maintenance", "status": status} for status in (302, 400, 403, 404, 408, 409)),
    {"kind": "server_error", "status": 408},
], ids=str)  # fmt: skip
async def test_what_a_gateway_refuses_is_waited_out(promotion, ready_import, fault):
    job_id = ready_import()
    promotion.sim.add_fault("test", {**fault, "method": "GET", "path": "/import/", "times": 4})
    assert (await event_of(trigger(job_id)))["status"] == "ended"
    assert promotion.sim.faults("test")[0]["struck"] == 4


@pytest.mark.parametrize("answer", [
    {"text": "[]"}, {"text": '{"status": "maintenance"}'}, {"status": 204}, {}, {"text": "<html>down</html>"},
], ids=str)  # fmt: skip
async def test_what_tells_of_no_job_is_waited_out(promotion, ready_import, monkeypatch, answer):
    def instead(fault):
        return web.Response(**{"content_type": "application/json", **answer})

    job_id = ready_import()
    monkeypatch.setattr(gate, "_instead", instead)
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/", "times": 4})
    assert (await event_of(trigger(job_id)))["status"] == "ended"
    assert promotion.sim.faults("test")[0]["struck"] == 4


async def test_what_idmc_refuses_is_not(promotion, ready_import):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "deny", "method": "GET", "path": "/import/", "times": 1})
    event = await event_of(trigger(job_id))
    assert event["status"] == "refused"
    assert "HTTP 403" in event["message"]


@pytest.mark.parametrize("kind", ["publish", "publish-cai"])
async def test_nor_is_a_publish_job_that_the_org_does_not_have(sim, kind):
    event = await event_of(trigger("690465325825028096", kind=kind))
    assert event["status"] == "refused"
    assert "HTTP 404: V3API_004: The publish job 690465325825028096 was not found" in event["message"]


@pytest.mark.parametrize("status", [302, 403, 404])
async def test_a_gateway_before_the_login_is_waited_out(promotion, endless, status):
    waiting = asyncio.ensure_future(event_of(trigger(endless)))
    await underway(promotion.sim, 2)
    promotion.sim.add_fault("test", {"kind": "maintenance", "status": status, "path": "/login$", "times": 3})
    promotion.sim.expire_sessions("test")
    await underway(promotion.sim, 2)
    assert promotion.sim.faults("test")[0]["struck"] == 3
    end(promotion.sim, endless)
    assert (await waiting)["status"] == "ended"


async def test_a_long_outage_under_many_waits_ends_none_of_them(promotion, endless):
    # An hour at the pace of these tests, where delays are a hundredth and less of the real ones.
    sim = promotion.sim
    waits = [asyncio.ensure_future(event_of(trigger(endless, seconds=60))) for _ in range(50)]
    await underway(sim, 50)
    for kind in ("maintenance", "drop_before", "throttle"):
        sim.add_fault("test", {"kind": kind, "method": "GET", "path": "/import/"})
        await asyncio.sleep(1)
        sim.clear_faults()
    assert not any(wait.done() for wait in waits)
    end(sim, endless)
    assert {event["status"] for event in await asyncio.gather(*waits)} == {"ended"}


async def test_the_outage_does_not_block_the_event_loop(promotion, ready_import):
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "slow", "seconds": 1, "times": 1, "method": "GET", "path": "/import/"})
    waiting = asyncio.ensure_future(event_of(trigger(job_id)))
    longest, last = 0.0, time.monotonic()
    while not waiting.done():
        await asyncio.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert waiting.result()["status"] == "ended"
    assert longest < 0.6


# --- sharing ----------------------------------------------------------------------------------------------------------


async def test_fifty_waits_are_one_login(promotion, ready_import):
    sim = promotion.sim
    sim.change_settings("test", job_seconds=0.5)
    job_id = ready_import()
    before = sim.sessions("test")
    events = await asyncio.gather(*(event_of(trigger(job_id)) for _ in range(50)))
    assert {event["status"] for event in events} == {"ended"}
    after = await settled(sim, open=0)
    assert after["logins"] - before["logins"] == after["logouts"] - before["logouts"] == 1
    assert after["open"] == 0


async def test_the_session_lasts_until_the_last_wait_is_over(promotion, ready_import):
    sim = promotion.sim
    sim.add_fault("test", {"kind": "never_end"})
    endless = ready_import()
    sim.clear_faults()
    ended = ready_import()
    before = sim.sessions("test")["logins"]
    waiting = asyncio.ensure_future(event_of(trigger(endless, seconds=1.5)))
    for _ in range(3):
        assert (await event_of(trigger(ended)))["status"] == "ended"
        assert sim.sessions("test")["open"] == 1
    assert (await waiting)["status"] == "timeout"
    assert (await settled(sim, open=0)) == {**sim.sessions("test"), "open": 0, "logins": before + 1}


async def test_waits_of_different_connections_do_not_share(promotion, ready_import):
    job_id = ready_import()
    exported = promotion.export()
    events = await asyncio.gather(
        event_of(trigger(job_id)), event_of(trigger(exported, kind="export", conn_id="infa_dev"))
    )
    assert {event["status"] for event in events} == {"ended"}


async def test_a_changed_password_is_used_at_once(promotion, ready_import, connect):
    sim = promotion.sim
    sim.add_fault("test", {"kind": "never_end"})
    endless = ready_import()
    sim.clear_faults()
    ended = ready_import()
    good = sim.connections["infa_test"]
    connect("infa_test", {**good, "password": "forgotten-by-the-tests"})
    assert (await event_of(trigger(ended)))["status"] == "refused"
    connect("infa_test", good)
    waiting = asyncio.ensure_future(event_of(trigger(endless, seconds=1)))
    assert (await event_of(trigger(ended)))["status"] == "ended"
    assert (await waiting)["status"] == "timeout"
    assert sim.sessions("test")["failed_logins"] == 1


async def test_the_same_host_and_another_user_do_not_share(promotion, ready_import, connect):
    sim = promotion.sim
    good = sim.connections["infa_test"]
    connect("infa_same", {**good, "extra": {"retry_timeout": 1, "read_timeout": 10}})
    connect("infa_other", {**good, "login": "nobody-the-org-knows"})
    job_id, before = ready_import(), sim.sessions("test")
    waits = [trigger(job_id, conn_id=conn_id) for conn_id in ("infa_test", "infa_same", "infa_other") for _ in range(5)]
    events = await asyncio.gather(*map(event_of, waits))
    assert [event["status"] for event in events] == ["ended"] * 10 + ["refused"] * 5
    after = await settled(sim, open=0)
    # Two connections that say the same are one; and one wrong user is one try.
    assert after["logins"] - before["logins"] == 1
    assert after["failed_logins"] - before["failed_logins"] == 1


async def underway(sim, number: int, path: str = "/import/") -> None:
    """Wait until all waits have looked at their jobs."""
    sim.clear_requests()
    while len([r for r in sim.requests("test") if r["method"] == "GET" and path in r["path"]]) < number:
        await asyncio.sleep(0.02)


def change_password(sim, word: str) -> None:
    """Give the user of the org another password, and end the sessions, as IDMC does."""

    def change() -> None:
        for user in sim._orgs["test"].users.values():
            user.password = word

    sim._call(change)
    sim.expire_sessions("test")


@pytest.fixture
def endless(promotion, ready_import):
    """A job that ends when told to."""
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    promotion.sim.clear_faults()
    return job_id


def end(sim, job_id: str) -> None:
    from airflow_provider_infa.simulator import wire

    def now() -> None:
        org = sim._orgs["test"]
        job = org.jobs.get("import", job_id)
        org.jobs._ends.append((wire.now(), -1, job))
        job.ended = wire.now()

    sim._call(now)


async def test_a_password_that_changes_while_100_wait_is_one_new_login(sim, endless, connect):
    before = sim.sessions("test")
    waits = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(100)]
    await underway(sim, 100)
    connect("infa_test", {**sim.connections["infa_test"], "password": "another-of-the-tests"})
    change_password(sim, "another-of-the-tests")
    await underway(sim, 250)
    assert not any(wait.done() for wait in waits)
    end(sim, endless)
    events = await asyncio.gather(*waits)
    assert {(event["status"], event["state"]) for event in events} == {("ended", "SUCCESSFUL")}
    after = await settled(sim, open=0)
    assert after["failed_logins"] == 1
    assert after["logins"] - before["logins"] == 2
    assert after["open"] == 0


async def test_an_old_password_in_the_connection_ends_100_waits_with_one_failed_login(sim, endless):
    waits = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(100)]
    await underway(sim, 100)
    change_password(sim, "another-of-the-tests")
    events = await asyncio.gather(*waits)
    assert {event["status"] for event in events} == {"refused"}
    # The same for all of them, and it names who could not log in.
    (message,) = {event["message"] for event in events}
    assert sim.connections["infa_test"]["login"] in message
    assert sim.sessions("test")["failed_logins"] == 1


async def test_a_connection_that_vanishes_while_100_wait_is_an_event_for_each(sim, endless, monkeypatch):
    waits = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(100)]
    await underway(sim, 100)
    monkeypatch.delenv("AIRFLOW_CONN_INFA_TEST")
    # As long as the session and the password are good, nobody needs the connection.
    sim.expire_sessions("test")
    await underway(sim, 200)
    assert not any(wait.done() for wait in waits)
    change_password(sim, "another-of-the-tests")
    events = await asyncio.gather(*waits)
    assert {event["status"] for event in events} <= {"error", "refused"}
    assert all(event["message"] and event["job_id"] == endless for event in events)
    assert sim.sessions("test")["failed_logins"] == 1


async def test_a_session_that_dies_under_100_waits_is_one_new_login(sim, endless):
    before = sim.sessions("test")
    waits = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(100)]
    for _ in range(3):
        await underway(sim, 150)
        sim.expire_sessions("test")
    await underway(sim, 150)
    end(sim, endless)
    assert {event["status"] for event in await asyncio.gather(*waits)} == {"ended"}
    after = await settled(sim, open=0)
    assert after["logins"] - before["logins"] == 1 + 3
    assert after["failed_logins"] == 0


async def test_a_broken_wait_does_not_disturb_its_neighbours(sim, endless, connect):
    connect("infa_bad", {})
    before = sim.sessions("test")
    neighbours = [asyncio.ensure_future(event_of(trigger(endless))) for _ in range(10)]
    broken = [
        trigger("0123456789abcdefABCDEF"),
        trigger(endless, interval=0),
        trigger(endless, conn_id="infa_bad"),
        trigger(endless, kind="promotion"),
        trigger(endless, seconds=-1),
        trigger(""),
    ]
    statuses = [event["status"] for event in await asyncio.gather(*map(event_of, broken))]
    assert statuses == ["refused", "refused", "refused", "error", "timeout", "refused"]
    assert not any(wait.done() for wait in neighbours)
    end(sim, endless)
    assert {event["status"] for event in await asyncio.gather(*neighbours)} == {"ended"}
    assert sim.sessions("test")["logins"] - before["logins"] == 1


# --- cancelling -------------------------------------------------------------------------------------------------------


async def cancelled(waiting: InfaJobTrigger, after: float) -> None:
    task = asyncio.ensure_future(event_of(waiting))
    await asyncio.sleep(after)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_wait_leaves_nothing_behind(promotion, ready_import):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    await cancelled(trigger(job_id), after=0.5)
    assert (await settled(promotion.sim, open=0))["open"] == 0
    assert promotion.job(job_id)["state"] == "IN_PROGRESS"


@pytest.mark.parametrize("path", ["/import/", "/login$"])
async def test_a_wait_cancelled_during_a_request_leaves_no_session(promotion, ready_import, path):
    sim = promotion.sim
    sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    sim.add_fault("test", {"kind": "slow", "seconds": 1, "path": path, "times": 1})
    await cancelled(trigger(job_id), after=0.5)
    # Until the slow answer has arrived and whatever follows it has happened.
    await asyncio.sleep(1.5)
    assert (await settled(sim, open=0))["open"] == 0


async def test_one_cancelled_wait_does_not_disturb_the_others(promotion, ready_import):
    promotion.sim.change_settings("test", job_seconds=1)
    job_id = ready_import()
    before = promotion.sim.sessions("test")["logins"]
    waiting = asyncio.ensure_future(event_of(trigger(job_id)))
    await cancelled(trigger(job_id), after=0.2)
    assert (await waiting)["status"] == "ended"
    assert (await settled(promotion.sim, open=0)) == {
        **promotion.sim.sessions("test"), "open": 0, "logins": before + 1,
    }  # fmt: skip


async def steps(number: int) -> None:
    """Let the event loop go round so often; each step gives threads time, so that all await points are met."""
    for _ in range(number):
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("at", [*range(12), 15, 20, 30, 45, 60])
async def test_a_wait_can_be_cancelled_at_any_point(promotion, ready_import, at):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    before = promotion.sim.sessions("test")
    tasks = [asyncio.ensure_future(event_of(trigger(job_id))) for _ in range(3)]
    for number, task in enumerate(tasks):
        await steps(at if number == 0 else 1)
        task.cancel()
    await asyncio.wait(tasks, timeout=5)
    assert all(task.cancelled() for task in tasks)
    assert poller._pollers == {}
    # A login that was under way then has ended, and been followed by its logout.
    await asyncio.sleep(0.15)
    after = await settled(promotion.sim, open=0)
    assert after["open"] == 0
    assert after["logins"] - before["logins"] == after["logouts"] - before["logouts"] <= 1


@pytest.mark.parametrize("later", range(6))
async def test_a_wait_cancelled_as_its_answer_arrives_ends(promotion, ready_import, monkeypatch, later):
    """Python 3.11's wait_for swallows a cancellation between the end of what it waits for and its own."""
    promotion.sim.add_fault("test", {"kind": "never_end"})
    answered = asyncio.Event()
    get_job = poller.Poller.get_job

    async def telling(self, kind, job_id):
        job = await get_job(self, kind, job_id)
        answered.set()
        return job

    monkeypatch.setattr(poller.Poller, "get_job", telling)
    task = asyncio.ensure_future(anext(trigger(ready_import(), interval=60).run()))
    await answered.wait()
    for _ in range(later):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()
    assert poller._pollers == {}


@pytest.mark.parametrize("at", range(8))
async def test_a_wait_can_be_cancelled_while_its_password_is_refused(promotion, ready_import, connect, at):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    connect("infa_test", {**promotion.sim.connections["infa_test"], "password": "forgotten-by-the-tests"})
    task = asyncio.ensure_future(event_of(trigger(job_id)))
    await steps(3 * at)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert promotion.sim.sessions("test")["failed_logins"] <= 1


async def test_killing_cancels_nothing_and_says_so(promotion, ready_import, logged):
    promotion.sim.add_fault("test", {"kind": "never_end"})
    job_id = ready_import()
    before = promotion.sim.requests("test")
    await trigger(job_id).on_kill()
    text = logged()
    assert f"IDMC has no call to cancel a job: import job {job_id} goes on." in text
    assert promotion.sim.requests("test") == before
    assert promotion.job(job_id)["state"] == "IN_PROGRESS"


# --- logs -------------------------------------------------------------------------------------------------------------


async def test_states_are_logged_once_and_no_secrets(promotion, ready_import, logged):
    logging.getLogger("airflow_provider_infa").setLevel(logging.DEBUG)
    promotion.sim.change_settings("test", job_seconds=0.5)
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/", "times": 1})
    await event_of(trigger(job_id))
    polls, text = promotion.calls("test", "GET", f"/import/{job_id}$"), logged()
    # Some versions of Airflow log through Python and to the terminal, so that a line shows up twice.
    assert 1 <= text.count(f"Import job {job_id} is IN_PROGRESS") <= 2 < len(polls) - 1
    assert 1 <= text.count(f"Still waiting for import job {job_id}") <= 2
    for connection in promotion.sim.connections.values():
        assert connection["password"] not in text


def test_nothing_is_left_open_where_the_event_loop_ends_with_the_wait(ready_import, caplog, recwarn):
    # As in "airflow dags test"; aiohttp tells of what it finds open when that is no longer used.
    assert asyncio.run(event_of(trigger(ready_import())))["status"] == "ended"
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
    assert [each for each in recwarn if issubclass(each.category, ResourceWarning)] == []


async def test_nothing_is_left_open_where_it_goes_on(ready_import, caplog):
    assert (await event_of(trigger(ready_import())))["status"] == "ended"
    await asyncio.sleep(0.1)
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


# --- connections ------------------------------------------------------------------------------------------------------


async def test_a_connection_that_takes_too_long_is_not_cancelled(monkeypatch):
    # Its answer would be taken for that of whatever the triggerer asks next (Airflow 3.0 and 3.1).
    async def nothing(conn_id):
        raise AirflowNotFoundException(conn_id)

    over, ended = threading.Event(), []

    def slow(conn_id):
        over.wait(10)
        ended.append(conn_id)
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(jobs, "get_async_connection", nothing)
    monkeypatch.setattr(jobs.BaseHook, "get_connection", slow)
    monkeypatch.setattr(jobs, "CONNECTION_TIMEOUT", 0.1)
    event = await event_of(trigger("abc", conn_id="infa_slow"))
    assert event["status"] == "error"
    assert "'infa_slow' was not told within" in event["message"]
    (fetch,) = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    over.set()
    with pytest.raises(AirflowNotFoundException):
        await fetch
    assert ended == ["infa_slow"]


@pytest.fixture
def failing_fetches(monkeypatch):
    """Have fetches of connections fail, told by their number from 0 on; the result counts them."""
    fetch, fetched = jobs._fetch, []

    def fail(numbers, error):
        async def failing(conn_id):
            fetched.append(conn_id)
            if len(fetched) - 1 in numbers:
                raise error
            return await fetch(conn_id)

        monkeypatch.setattr(jobs, "_fetch", failing)
        jobs._fetches.clear()
        return fetched

    yield fail
    jobs._fetches.clear()


# The second is what Airflow makes of most failures of its API and of secrets backends.
@pytest.mark.parametrize("error", [OSError, AirflowNotFoundException])
async def test_a_connection_that_can_not_be_fetched_at_first(ready_import, failing_fetches, logged, error):
    fetched = failing_fetches(range(3), error("sealed with a-word-of-the-vault"))
    assert (await event_of(trigger(ready_import())))["status"] == "ended"
    assert len(fetched) == 4
    assert f"'infa_test' could not be fetched ({error.__name__})" in logged()
    assert "a-word-of-the-vault" not in logged()


@pytest.mark.parametrize(("seconds", "fetched_for"), [(30, 0.5), (0.5, 60), (-1, 60)])
async def test_a_connection_that_can_not_be_fetched_at_all(sim, failing_fetches, monkeypatch, seconds, fetched_for):
    monkeypatch.setattr(jobs, "FETCHED_FOR", fetched_for)
    fetched = failing_fetches(range(10**6), OSError("Vault is sealed"))
    began = time.monotonic()
    event = await event_of(trigger("abc", seconds=seconds))
    assert (event["status"], event["message"]) == ("error", "OSError: Vault is sealed")
    assert time.monotonic() - began < 10
    assert len(fetched) < (2 if seconds < 0 else 20)


async def test_what_idmc_refused_is_told_though_the_connection_can_not_be_fetched_then(sim, failing_fetches):
    fetched = failing_fetches([1], OSError("Vault is sealed"))
    event = await event_of(trigger("0123456789abcdefABCDEF"))
    assert (event["status"], len(fetched)) == ("refused", 2)
    assert "HTTP 404" in event["message"]


@pytest.mark.parametrize("slow", [True, False])
async def test_a_fetch_during_an_outage_neither_ends_nor_holds_up_the_wait(promotion, ready_import, monkeypatch, slow):
    fetch, over, fetched = jobs._fetch, asyncio.Event(), []

    async def hindered(conn_id):
        try:
            if fetched and slow:
                await over.wait()
            elif fetched:
                raise RuntimeError("no connection today")
            return await fetch(conn_id)
        except BaseException as error:
            fetched.append(type(error))
            raise
        finally:
            fetched.append(None)

    monkeypatch.setattr(jobs, "_fetch", hindered)
    monkeypatch.setattr(jobs, "SHARED_FOR", 0.1)
    monkeypatch.setattr(policy, "LONGEST_DELAY", 0.1)
    jobs._fetches.clear()
    job_id = ready_import()
    promotion.sim.add_fault("test", {"kind": "maintenance", "method": "GET", "path": "/import/", "times": 20})
    assert (await event_of(trigger(job_id)))["status"] == "ended"
    if slow:
        assert fetched == [None]
    else:
        assert RuntimeError in fetched
        assert len(fetched) < 40  # with a failed fetch, too, the looks keep their pauses
    over.set()
    await asyncio.sleep(0.1)
    assert asyncio.CancelledError not in fetched


async def test_a_failed_fetch_is_shared_by_those_who_only_compare(sim, monkeypatch):
    """Else a thousand waits would fetch once each, all through the triggerer's supervisor."""
    fetched = []

    async def failing(conn_id):
        fetched.append(conn_id)
        raise RuntimeError("the API server is unwell")

    monkeypatch.setattr(jobs, "_fetch", failing)
    jobs._fetches.clear()
    asked = [jobs.current_settings("infa_test", again=False) for _ in range(100)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    told += [await asyncio.gather(jobs.current_settings("infa_test", again=False), return_exceptions=True)]
    assert len(told) == 101
    assert len(fetched) == 1
    # A wait that begins does not begin with the failure of others.
    with pytest.raises(RuntimeError):
        await jobs.current_settings("infa_test")
    assert len(fetched) == 2
    jobs._fetches.clear()


async def test_what_was_fetched_later_is_kept(sim, monkeypatch):
    fetched = []
    fetch = jobs._fetch

    async def counted(conn_id):
        fetched.append(conn_id)
        return await fetch(conn_id)

    monkeypatch.setattr(jobs, "_fetch", counted)
    monkeypatch.setattr(jobs, "SHARED_FOR", 0.3)
    await jobs.current_settings("infa_test", 10.0)
    await asyncio.sleep(0.2)
    # As after a refusal: what is known already does not do.
    await jobs.current_settings("infa_test", 0.0)
    await asyncio.sleep(0.2)
    # The first one is forgotten by now, the second is not.
    await jobs.current_settings("infa_test", 10.0)
    assert len(fetched) == 2
