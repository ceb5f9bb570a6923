"""Puts the orgs and the control endpoint on ports."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from aiohttp import web

from airflow_provider_infa.simulator.app import api_app, login_app
from airflow_provider_infa.simulator.control import control_app
from airflow_provider_infa.simulator.orgs import Org


class Sites:
    """All web sites of a simulator, in the event loop that starts them.

    :param port: first port; the control endpoint gets it, then each org a login and an API port. 0 picks free
        ones.
    :param tls: makes the orgs speak https; the control endpoint, which is no part of IDMC, never does.
    """

    def __init__(self, orgs: Mapping[str, Org], host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._orgs = orgs
        self._host = host
        self._port = port
        self._tls = tls
        self._runners: list[web.AppRunner] = []
        self.control_url = ""

    async def start(self) -> None:
        """Open all ports; close them again if one of them cannot be had."""
        try:
            self.control_url = await self._open(control_app(self._orgs))
            for org in self._orgs.values():
                org.login_url = await self._open(login_app(org), self._tls)
                org.api_url = await self._open(api_app(org), self._tls)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all ports and the connections on them."""
        while self._runners:
            await self._runners.pop().cleanup()
        for org in self._orgs.values():
            await org.rest()

    async def _open(self, app: web.Application, tls: ssl.SSLContext | None = None) -> str:
        # Calls that are asleep in a fault must not hold up the end.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        self._runners.append(runner)
        port = self._port + len(self._runners) - 1 if self._port else 0
        await web.TCPSite(runner, self._host, port, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
