"""The Airflow assets by which promotions announce what they changed. DAG files import this, so it is light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote


def asset_uri(org: str, project: str) -> str:
    """
    The URI of the asset that stands for a project in an org, for ``schedule=[Asset(asset_uri("ACME TEST", "Sales"))]``.

    :param org: Name of the target org, as the plan shows it.
    :param project: Name of the project there.
    :return: ``infa://<org>/<project>``, both percent-encoded, because Airflow takes nothing but ASCII.
    """
    return f"infa://{quote(org, safe='')}/{quote(project, safe='')}"


def asset_uris(plan: Mapping[str, Any]) -> Iterator[str]:
    """
    The URI of each project in the target org that the import created or overwrote something in.

    :param plan: The plan.
    """
    rows = (row for row in plan["objects"] if row["overwrites"] or row["action"] == "create")
    projects = (row["target"]["path"].partition("/") for row in rows)
    yield from dict.fromkeys(asset_uri(plan["target_org"]["name"], project) for project, slash, _ in projects if slash)
