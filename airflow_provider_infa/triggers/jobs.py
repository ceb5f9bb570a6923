"""Waiting for a job without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_infa.arguments import seconds
from airflow_provider_infa.hooks.connection import settings_of
from airflow_provider_infa.idmc.errors import IdmcError
from airflow_provider_infa.idmc.jobs import NOT_CANCELLED
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.idmc.policy import LONGEST_DELAY, growing_delay, next_poll, silence, spread
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.triggers.poller import Poller

#: Seconds for a look at a job that is not over at the deadline ...
LAST_LOOK = 1.0
#: ... and if it is the only one, with a login before it: the job may have ended while there was no triggerer to see it.
ONLY_LOOK = 30.0
#: Seconds that a trigger lets pass before anything else. The task has looked a moment ago, and one that goes on before
#: the scheduler has noticed the end of its process is taken for a lost one and run again (``process_executor_events``).
#: Its supervisor at times notices that end only with the next heartbeat, five seconds later (both in Airflow 3.3.2).
PAUSE = 7.0
#: Looks that this stands for, when the next ones are spaced.
LOOKS_BEFORE = 5
#: Failed looks in a row after which the connection is compared with what it was: a Host may have been corrected.
SUSPICIOUS = 2
#: Seconds for which a connection that was fetched serves further waits.
SHARED_FOR = 10.0
#: Seconds for which a wait that begins tries to fetch its connection.
FETCHED_FOR = 60.0
#: Seconds for fetching a connection in the way that can hang.
CONNECTION_TIMEOUT = 30.0


class InfaJobTrigger(BaseTrigger):
    """
    Look at a job until it ends, the deadline passes, or a failure shows that waiting is pointless.

    Yields one small event: ``status`` is ``ended``, ``timeout``, ``refused`` (IDMC's answer shows that waiting is
    pointless) or ``error`` (anything else), ``job_id`` names the job, ``state`` is IDMC's last word and ``message``
    the error; with ``timeout``, the one that the last look met. An outage of any length is waited out. Nothing is
    cancelled in IDMC when the trigger is cancelled, because IDMC has no call for that.

    :param infa_conn_id: Airflow connection of the org that runs the job.
    :param kind: Value of a :class:`~airflow_provider_infa.idmc.models.JobKind`.
    :param job_id: Job id.
    :param poll_interval: Seconds between two looks once the job has run for a while.
    :param deadline: Wall-clock time, in seconds since the epoch, at which the wait ends; a restarted triggerer
        keeps it.
    :param carry: Handed back to the task in the event, which then has a member ``carry``. The arguments that Airflow
        keeps for a deferred task do not reach it in ``airflow dags test``.
    """

    def __init__(
        self,
        infa_conn_id: str,
        kind: str,
        job_id: str,
        poll_interval: float,
        deadline: float,
        carry: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.infa_conn_id = infa_conn_id
        self.kind = kind
        self.job_id = job_id
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.carry = carry
        self._state: str | None = None
        #: What the last look met, if it failed.
        self._trouble: str | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments; no secrets among them."""
        return (
            "airflow_provider_infa.triggers.jobs.InfaJobTrigger",
            {
                "infa_conn_id": self.infa_conn_id,
                "kind": self.kind,
                "job_id": self.job_id,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
                "carry": self.carry,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event."""
        await asyncio.sleep(spread(PAUSE))
        try:
            # In a task of its own: Airflow 3 resumes what runs in the trigger's by way of a greenlet, each time.
            yield TriggerEvent(await asyncio.create_task(self._wait()))
        except IdmcError as error:
            yield TriggerEvent(self._event("refused", str(error)))
        except Exception as error:
            # A trigger that raises loses its message on the way to the task, and its traceback belongs here.
            self.log.exception("Waiting for %s job %s failed.", self.kind, self.job_id)
            yield TriggerEvent(self._event("error", f"{type(error).__name__}: {error}"))

    async def on_kill(self) -> None:
        """
        Cancels nothing: IDMC has no call for it.

        Airflow calls this from 3.3 on, when a user stops the task; also when another triggerer took over the wait, as
        this one's heartbeat was late, so that nothing might be cancelled anyway.
        """
        self.log.warning(NOT_CANCELLED, self.kind, self.job_id)

    async def _wait(self) -> dict[str, Any]:
        poll_interval = seconds(self.poll_interval, "poll_interval")
        told = await self._first_settings()
        while settings := await self._due_settings(told):
            poller = Poller.join(settings)
            try:
                result = await self._poll(poller, settings, poll_interval)
            except IdmcError:
                # The connection may have been changed since: the password, or even the org.
                if (result := await self._latest(settings)) == settings:
                    raise
            finally:
                poller.leave()
            if not isinstance(result, Settings):
                return result
            told = result
        return self._event("timeout", self._trouble)

    async def _due_settings(self, settings: Settings) -> Settings | None:
        """
        What the connection says, once no refused login with that is remembered; none if it still is at the deadline.

        A refusal from before this wait is not its own: the task has just logged in, the account was unlocked perhaps.
        """
        while refused := Poller.refused(settings):
            before, settings = settings, await self._latest(settings)
            if settings != before:
                continue
            self._trouble = str(refused.refusal)
            said = "%s The next login is due in some minutes. Still waiting for %s job %s."
            self.log.warning(said, self._trouble, self.kind, self.job_id)
            left = self.deadline - time.time()
            if left <= 0:
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(min(spread(LONGEST_DELAY), left)):
                    await refused.closed.wait()
        return settings

    async def _latest(self, settings: Settings) -> Settings:
        """What the connection says now, if that can be found out. :param settings: What it has said so far."""
        with suppress(Exception):
            return await current_settings(self.infa_conn_id, 0.0)
        return settings

    async def _first_settings(self) -> Settings:
        """What the connection says, asked for again for a while, as what Airflow has it from may be away."""
        end = min(time.time() + FETCHED_FOR, self.deadline)
        tries = 0
        while True:
            try:
                return await current_settings(self.infa_conn_id)
            except (IdmcError, TimeoutError):
                raise  # it can't be used; or asking for it hangs, and would again
            except Exception as error:
                # Also that there is none: this is what Airflow makes of every failure of its API and of backends.
                tries += 1
                delay = growing_delay(tries)
                if time.time() + delay > end:
                    raise
                # Only the kind of it: nobody knows what a secrets backend writes into its errors.
                what = "Connection %r could not be fetched (%s), trying again in %.1f s."
                self.log.warning(what, self.infa_conn_id, type(error).__name__, delay)
            await asyncio.sleep(delay)

    async def _poll(self, poller: Poller, settings: Settings, poll_interval: float) -> dict[str, Any] | Settings:
        """The event; or what the connection says now, if that may be why IDMC does not answer."""
        kind = JobKind(self.kind)
        looks, failures = LOOKS_BEFORE, 0
        last_look = ONLY_LOOK if self.deadline <= time.time() else LAST_LOOK
        while True:
            # A server that hangs must not hold the wait beyond its deadline.
            patience = max(self.deadline - time.time(), last_look)
            try:
                # Not wait_for: that of Python 3.11 swallows a cancellation which comes together with the answer.
                async with asyncio.timeout(patience):
                    job = await poller.get_job(kind, self.job_id)
            except TimeoutError:
                return self._event("timeout", self._trouble)
            except IdmcError as error:
                if not error.may_pass:
                    raise
                failures += 1
                self._trouble = str(error)
                self.log.warning("%s Still waiting for %s job %s.", error, self.kind, self.job_id)
                delay = max(growing_delay(failures), silence(error.retry_after))
            else:
                before, self._state = self._state, job.word
                if job.state.is_end:
                    return self._event("ended")
                if job.word != before:
                    self.log.info("%s job %s is %s.", self.kind.capitalize(), self.job_id, job.shown)
                failures, self._trouble = 0, None
                looks += 1
                delay = next_poll(looks, poll_interval)
            left = self.deadline - time.time()
            if left <= 0:
                return self._event("timeout", self._trouble)
            if failures < SUSPICIOUS:
                await asyncio.sleep(min(delay, left))
            elif changed := await self._changed(settings, min(delay, left)):
                return changed

    async def _changed(self, settings: Settings, pause: float) -> Settings | None:
        """
        What the connection says now, as soon as that is known, if it is something else; else None after a pause.

        :param settings: What it has said so far.
        :param pause: Seconds.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + pause
        # Fetching it may fail, or take longer; the job goes on. Only this wait for it ends then, not the fetch.
        with suppress(Exception):
            async with asyncio.timeout_at(end):
                if (now := await current_settings(self.infa_conn_id, again=False)) != settings:
                    self.log.info("Connection %r was changed: going on with what it says now.", self.infa_conn_id)
                    return now
        await asyncio.sleep(end - loop.time())
        return None

    def _event(self, status: str, message: str | None = None) -> dict[str, Any]:
        event = {"status": status, "job_id": self.job_id, "state": self._state, "message": message}
        return event if self.carry is None else {**event, "carry": self.carry}


_fetches: dict[tuple[asyncio.AbstractEventLoop, str], tuple[float, asyncio.Task[Settings]]] = {}


async def current_settings(conn_id: str, max_age: float = SHARED_FOR, *, again: bool = True) -> Settings:
    """
    Settings of a connection, fetched once for all waits that ask at about the same time.

    A triggerer fetches connections one after the other, through its supervisor and the API server, and that costs more
    than all requests of a wait.

    :param conn_id: Airflow connection.
    :param max_age: How many seconds ago a fetch may have begun; with none, it begins after this call.
    :param again: Whether to fetch anew if the last one failed; else its failure is everybody's, too.
    """
    loop = asyncio.get_running_loop()
    key, since = (loop, conn_id), loop.time() - max_age
    while True:
        began, fetch = _fetches.get(key, (0.0, None))
        over = fetch is not None and fetch.done()
        if fetch is None or (over and (began < since or fetch.cancelled() or (again and fetch.exception()))):
            began, fetch = loop.time(), loop.create_task(_fetch(conn_id))
            _fetches[key] = (began, fetch)
            loop.call_later(SHARED_FOR, _forget, key, fetch)
        if began >= since:
            # Whoever began the fetch may be cancelled; the others still want it.
            return await asyncio.shield(fetch)
        await asyncio.wait([fetch])


def _forget(key: tuple[asyncio.AbstractEventLoop, str], fetch: asyncio.Task[Settings]) -> None:
    """A later fetch may have taken its place."""
    if _fetches.get(key, (0.0, None))[1] is fetch:
        del _fetches[key]


async def _fetch(conn_id: str) -> Settings:
    """
    Fetch a connection.

    ``airflow dags test`` on 3.x runs triggers in the process of the tasks, where the asynchronous fetch does not look
    into the database and finds only connections of the environment. The synchronous one does.
    """
    try:
        return settings_of(await get_async_connection(conn_id))
    except AirflowNotFoundException:
        from asgiref.sync import sync_to_async

        fetch = asyncio.ensure_future(sync_to_async(BaseHook.get_connection)(conn_id))
        # Not cancelled: on 3.0 and 3.1 the triggerer would take an answer that is still to come for that of its next
        # request, and so on for good.
        await asyncio.wait([fetch], timeout=CONNECTION_TIMEOUT)
        if not fetch.done():
            told = f"Connection {conn_id!r} was not told within {CONNECTION_TIMEOUT:.0f} s."
            raise TimeoutError(told) from None
        return settings_of(fetch.result())
