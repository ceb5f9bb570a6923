"""The web applications of one org: its login host and its API host."""

from __future__ import annotations

from aiohttp import web

from airflow_provider_infa.simulator import (
    catalog_v2,
    exports,
    imports,
    lookup,
    mapping_tasks,
    objects,
    publish,
    schedules,
    sessions,
    source_control,
    tags,
)
from airflow_provider_infa.simulator.gate import ORG, SITE, gate
from airflow_provider_infa.simulator.orgs import Org

# Largest JSON body; packages are streamed and not bound by it.
_LARGEST_BODY = 16 << 20


def login_app(org: Org) -> web.Application:
    """Return the login host, which serves nothing but logins and logouts."""
    return _app(org, "login", sessions.login_routes())


def api_app(org: Org) -> web.Application:
    """Return the API host."""
    routes = [
        *sessions.api_routes(),
        *objects.routes(),
        *lookup.routes(),
        *exports.routes(),
        *imports.routes(),
        *catalog_v2.routes(),
        *mapping_tasks.routes(),
        *schedules.routes(),
        *publish.routes(),
        *source_control.routes(),
        *tags.routes(),
    ]
    return _app(org, "api", routes)


def _app(org: Org, site: str, routes: list[web.RouteDef]) -> web.Application:
    app = web.Application(middlewares=[gate], client_max_size=_LARGEST_BODY)
    app[ORG] = org
    app[SITE] = site
    app.add_routes(routes)
    return app
