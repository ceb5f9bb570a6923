"""One organization: everything that it holds, and nothing of how it is served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_infa.simulator import wire
from airflow_provider_infa.simulator.assets import Asset, AssetStore
from airflow_provider_infa.simulator.faults import FaultBook
from airflow_provider_infa.simulator.jobs import JobBook
from airflow_provider_infa.simulator.recorder import Recorder
from airflow_provider_infa.simulator.session_book import SessionBook
from airflow_provider_infa.simulator.settings import Settings

logger = logging.getLogger(__name__)

# How many seconds a request waits for jobs that are taking effect.
_PATIENCE = 5.0

ALL_PRIVILEGES = frozenset({"export", "import", "publish"})


@dataclass
class User:
    """A user of one org with what they may do."""

    name: str
    id: str
    password: str
    privileges: frozenset[str] = ALL_PRIVILEGES
    failed_logins: int = 0


@dataclass
class Org:
    """One organization.

    :param key: short name in the seed, e.g. ``dev``.
    :param name: name of the organization, e.g. ``ACME_DEV``.
    :param id: federated id of the organization.
    :param folder: where this org keeps its packages.
    """

    key: str
    name: str
    id: str
    folder: Path
    users: dict[str, User]
    settings: Settings = field(default_factory=Settings)
    login_url: str = ""
    api_url: str = ""

    def __post_init__(self) -> None:
        self.prefix = wire.org_prefix(self.id)
        self.assets = AssetStore(self.prefix)
        self.jobs = JobBook()
        self.sessions = SessionBook()
        self.faults = FaultBook()
        self.recorder = Recorder()
        # What checked-out assets were like before, by id.
        self.checkouts: dict[str, Asset] = {}
        self._work: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """What login answers as base of all API calls; it already ends in ``/saas`` (Informatica docs:
        Login).
        """
        return f"{self.api_url}/saas"

    async def settle(self) -> None:
        """Let the jobs whose time is over take effect, in the order in which they end.

        A job that has much to do is not waited for: it stays in progress, and goes on meanwhile.
        """
        if self._work is None or self._work.done():
            if not self.jobs.is_due(wire.now()):
                return
            self._work = asyncio.create_task(self._finish_due())
        await asyncio.wait({self._work}, timeout=_PATIENCE)

    async def rest(self) -> None:
        """Give up the work that is going on."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait({self._work})

    async def _finish_due(self) -> None:
        while self.jobs.is_due(wire.now()):
            job = self.jobs.take_due()
            try:
                await job.finish()
            except Exception:
                logger.exception("%s job %s of org %s broke", job.kind, job.id, self.key)

    def change_settings(self, changes: Mapping[str, Any]) -> None:
        """Change switches; see :class:`Settings`."""
        self.settings = self.settings.changed(changes)

    def unlock(self, names: Iterable[str] | None = None) -> None:
        """Forget the wrong logins of these users, or of all."""
        for user in self.users.values():
            if names is None or user.name in names:
                user.failed_logins = 0
