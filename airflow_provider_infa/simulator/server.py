"""The simulator as one object: in a background thread for tests, in the foreground for the command line."""

from __future__ import annotations

import asyncio
import concurrent.futures
import shutil
import signal
import ssl
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from airflow_provider_infa.simulator import edits, views
from airflow_provider_infa.simulator import seed as seeds
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.sites import Sites

T = TypeVar("T")


class Simulator:
    """Several IDMC orgs on this machine.

    As a context manager it serves from a background thread; :meth:`run` serves from the calling one. All
    methods may be called from any thread. State lives in memory and goes with the object; packages lie in a
    temporary folder that :meth:`stop` removes.

    :param seed: what the orgs hold: a mapping, a path to a YAML file, or None for the packaged one.
    :param job_seconds: how long jobs run, for all orgs; a number or ``{"export": …, "import": …,
        "publish": …, "source_control": …}``. None leaves it to the seed, which leaves it at 0.
    :param passwords: one for all users, or by org; the seed's own come first, random ones last.
    :param idle_timeout: seconds until sessions end, for all orgs; None leaves it to the seed.
    :param host: address to serve on.
    :param port: first port, 0 for free ones.
    :param tls: certificate and private key, as PEM files; the orgs then speak https.
    :param tls_ca: PEM file with the authority that issued the certificate; the connections name it as
        ``ca_bundle``.
    """

    def __init__(
        self,
        seed: Mapping[str, Any] | str | Path | None = None,
        *,
        job_seconds: float | Mapping[str, float] | None = None,
        passwords: Mapping[str, str] | str | None = None,
        idle_timeout: float | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[str | Path, str | Path] | None = None,
        tls_ca: str | Path | None = None,
    ) -> None:
        if tls_ca is not None and tls is None:
            raise ValueError("an authority is of no use without a certificate")
        # Absolute, because who reads the connections may do so in another folder.
        self._ca_bundle = Path(tls_ca).resolve(strict=True) if tls_ca is not None else None
        context = _tls_context(*tls) if tls is not None else None
        folder = Path(tempfile.mkdtemp(prefix="infa-simulator-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._orgs = seeds.build(seeds.load(seed), folder, passwords)
        changes = {"job_seconds": job_seconds, "idle_timeout": idle_timeout}
        for org in self._orgs.values():
            org.change_settings({name: value for name, value in changes.items() if value is not None})
        self._sites = Sites(self._orgs, host, port, context)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread: int | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Serve from a background thread; returns when all ports are open."""
        ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._serve_thread, args=(ready,), name="infa-simulator", daemon=True)
        self._thread.start()
        ready.result()

    def stop(self) -> None:
        """Close all ports and remove the packages; what the orgs hold can still be looked at."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None
        self._remove_folder()

    def run(self, ready: Callable[[Simulator], None]) -> None:
        """Serve from this thread until SIGINT or SIGTERM.

        :param ready: called once all ports are open.
        """
        try:
            asyncio.run(self._serve(ready))
        finally:
            self._loop = None
            self.stop()

    async def _serve(self, ready: Callable[[Simulator], None]) -> None:
        self._loop, self._loop_thread = asyncio.get_running_loop(), threading.get_ident()
        over = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(name, over.set)
        await self._sites.start()
        try:
            ready(self)
            await over.wait()
        finally:
            await self._sites.stop()

    def _serve_thread(self, ready: concurrent.futures.Future[None]) -> None:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(self._sites.start())
        except BaseException as error:
            loop.close()
            ready.set_exception(error)
            return
        self._loop, self._loop_thread = loop, threading.get_ident()
        loop.call_soon(ready.set_result, None)
        try:
            loop.run_forever()
        finally:
            self._loop = None
            loop.run_until_complete(self._sites.stop())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    @property
    def connections(self) -> dict[str, Any]:
        """A connection for each org, as ``infa_<org>``: conn_type, host, login, password; with an authority
        also extra.
        """
        return views.connections(self._orgs, self._ca_bundle)

    @property
    def runtime_environments(self) -> dict[str, str]:
        """The first runtime environment of each org, by connection."""
        return views.runtime_environments(self._orgs)

    @property
    def control(self) -> str:
        """The address of the control endpoint."""
        return self._sites.control_url

    @property
    def ready(self) -> dict[str, Any]:
        """What a ready file holds."""
        return {
            "connections": self.connections,
            "runtime_environments": self.runtime_environments,
            "control": self.control,
        }

    def orgs(self) -> dict[str, Any]:
        """Return a summary of each org, by key."""
        return self._call(lambda: {key: views.summary(org) for key, org in self._orgs.items()})

    def assets(self, org: str) -> list[dict[str, Any]]:
        """Return everything that an org holds."""
        return self._call(lambda: views.assets(self._org(org)))

    def state(self, org: str) -> list[dict[str, Any]]:
        """Return everything that an org holds so that it can be compared: no ids, no users, no moments."""
        return self._call(lambda: views.state(self._org(org)))

    def requests(self, org: str) -> list[dict[str, Any]]:
        """Return the requests that an org has received, oldest first."""
        return self._call(lambda: self._org(org).recorder.entries())

    def clear_requests(self, org: str | None = None) -> None:
        """Forget the requests of one org or of all."""
        self._each(org, lambda each: each.recorder.clear())

    def sessions(self, org: str) -> dict[str, Any]:
        """Return counts: open, logins, failed_logins, logouts, expired; and the locked users."""
        return self._call(lambda: views.sessions(self._org(org)))

    def jobs(self, org: str) -> list[dict[str, Any]]:
        """Return the jobs of an org, oldest first."""
        return self._call(lambda: views.jobs(self._org(org)))

    def faults(self, org: str) -> list[dict[str, Any]]:
        """Return the faults of an org with how often they struck."""
        return self._call(lambda: self._org(org).faults.view())

    def add_fault(self, org: str, fault: Mapping[str, Any]) -> None:
        """Switch a fault on."""
        self._call(lambda: self._org(org).faults.add(fault))

    def clear_faults(self, org: str | None = None) -> None:
        """Switch the faults of one org or of all off."""
        self._each(org, lambda each: each.faults.clear())

    def expire_sessions(self, org: str | None = None) -> int:
        """Let all sessions of one org or of all expire; return how many there were."""
        return sum(self._each(org, lambda each: each.sessions.expire_all()))

    def change_settings(self, org: str, **changes: Any) -> None:
        """Change the switches of an org, see :class:`~airflow_provider_infa.simulator.settings.Settings`."""
        self._call(lambda: self._org(org).change_settings(changes))

    def unlock(self, org: str | None = None) -> None:
        """Unlock the accounts of one org or of all."""
        self._each(org, Org.unlock)

    def edit_asset(self, org: str, path: str, type: str, **changes: Any) -> None:
        """Change an object as if a person did it now; see
        :func:`~airflow_provider_infa.simulator.edits.edit`.
        """
        self._call(lambda: edits.edit(self._org(org), {"path": path, "type": type, **changes}))

    def remove_asset(self, org: str, path: str, type: str) -> None:
        """Take an object out of an org."""
        self._call(lambda: edits.remove(self._org(org), {"path": path, "type": type}))

    def _org(self, key: str) -> Org:
        try:
            return self._orgs[key]
        except KeyError:
            raise LookupError(f"no org {key!r}; there are {', '.join(self._orgs)}") from None

    def _each(self, key: str | None, action: Callable[[Org], T]) -> list[T]:
        """Do something with one org or with all."""
        some = list(self._orgs.values()) if key is None else [self._org(key)]
        return self._call(lambda: [action(org) for org in some])

    def _call(self, action: Callable[[], T]) -> T:
        """Do something in the event loop's thread, so that it never meets a half-done request."""
        loop = self._loop
        if loop is None or threading.get_ident() == self._loop_thread:
            return action()

        async def settled() -> T:
            for org in self._orgs.values():
                await org.settle()
            return action()

        return asyncio.run_coroutine_threadsafe(settled(), loop).result()


def _tls_context(certificate: str | Path, key: str | Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context
