"""One session and one small pool of connections for all waits of one connection in one event loop."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from airflow_provider_infa.idmc.aio import AsyncReader
from airflow_provider_infa.idmc.errors import IdmcError
from airflow_provider_infa.idmc.jobs import read_job, state_call
from airflow_provider_infa.idmc.models import Job, JobKind
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings

#: Requests in flight for one connection at most: enough to look at a thousand jobs every ten seconds in an org that
#: takes 160 ms for an answer.
IN_FLIGHT = 16
#: Seconds for which a refused login is remembered. Waits that start one after the other would otherwise try the same
#: wrong password again and again, and ten tries lock the account.
REMEMBER = 300.0

_pollers: dict[tuple[asyncio.AbstractEventLoop, Settings], Poller] = {}


class Poller:
    """
    Asks for the state of jobs from an event loop.

    Get one with :meth:`join`, give it back with :meth:`leave`. Waits of connections that resolve to the same settings
    share one, and so one login; a changed password makes other settings, and so another one.

    :param settings: Settings of the connection.
    """

    def __init__(self, settings: Settings) -> None:
        # The trigger goes on after a failed look, until its own deadline; nothing here waits in its stead.
        # No masking: Airflow's call for it would block here, and a session id is never logged.
        self._session = Session(replace(settings, retry_timeout=0.0))
        self._reader = AsyncReader(self._session, IN_FLIGHT)
        self._waits = 0
        #: Set when it is closed, and so a refused login forgotten.
        self.closed = asyncio.Event()

    @staticmethod
    def refused(settings: Settings) -> Poller | None:
        """
        The poller for these settings in the running event loop, if its login was refused.

        A wait that begins does not join it, but waits until it is closed; all that do so share the next login.
        """
        poller = _pollers.get((asyncio.get_running_loop(), settings))
        return poller if poller and poller.refusal else None

    @property
    def refusal(self) -> IdmcError | None:
        """Why its login was refused, if it was."""
        return self._session.refusal

    @classmethod
    def join(cls, settings: Settings) -> Poller:
        """The poller for these settings in the running event loop; made by the first wait."""
        key = (asyncio.get_running_loop(), settings)
        poller = _pollers.get(key) or _pollers.setdefault(key, cls(settings))
        poller._waits += 1
        return poller

    def leave(self) -> None:
        """
        Give the poller back; the last wait logs out.

        Does not wait for that: it is called while a trigger is being cancelled, when nothing may be awaited.
        """
        self._waits -= 1
        if self._waits == 0 and self.refusal:
            asyncio.get_running_loop().call_later(REMEMBER, self._close)
        elif self._waits == 0:
            self._close()

    def _close(self) -> None:
        self.closed.set()
        for key in [key for key, poller in _pollers.items() if poller is self]:
            del _pollers[key]
            self._reader.close()

    async def get_job(self, kind: JobKind, job_id: str) -> Job:
        """State of a job; see :func:`airflow_provider_infa.idmc.jobs.get_job`."""
        path, api, media_type = state_call(kind, job_id)
        return read_job(kind, job_id, await self._reader.get_json(path, api=api, media_type=media_type))
