"""Changes that somebody else makes in an org meanwhile: for tests of what happens between a plan and its
start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from airflow_provider_infa.simulator import planting, wire
from airflow_provider_infa.simulator.assets import Asset, SourceControl
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.publish_job import publication

_PLAIN = {"description", "updated_by", "schedule", "definition", "persisted", "payload_bytes"}


def edit(org: Org, source: Mapping[str, Any]) -> dict[str, Any]:
    """Change the object that ``path`` and ``type`` name, as if a person had done it now.

    Fields: description, updated_by, update_time, schedule, definition, persisted, payload_bytes, tags,
    checked_out_by (which puts the asset under source control; null means not checked out), source_controlled
    (false takes it out), source_control (true, null, or a mapping as in a seed) and published.

    :raises LookupError: if there is no such object.
    :raises ValueError: if a field is not known.
    """
    values = dict(source)
    asset = _find(org, values)
    changes: dict[str, Any] = {"update_time": wire.now().replace(microsecond=0)}
    for name, value in values.items():
        if name in _PLAIN:
            changes[name] = value
        elif name == "tags":
            changes[name] = tuple(value)
        elif name == "update_time":
            changes[name] = moment = wire.parse_moment(value)
            if moment is None:
                raise ValueError(f"update_time: {value!r} is no moment")
        elif name == "checked_out_by":
            changes["source_control"] = SourceControl(checked_out_by=value)
        elif name == "source_controlled":
            changes.setdefault("source_control", SourceControl() if value else None)
        elif name == "source_control":
            changes[name] = planting.source_control(value)
        elif name == "published":
            attributes = publication(str(values.get("updated_by", asset.updated_by)), wire.now())
            changes["custom_attributes"] = attributes if value else None
        else:
            raise ValueError(f"unknown field {name!r}")
    changed = org.assets.put(replace(asset, **changes))
    return {"id": changed.id}


def remove(org: Org, source: Mapping[str, Any]) -> dict[str, Any]:
    """Take the object that ``path`` and ``type`` name out of the org.

    :raises LookupError: if there is no such object.
    """
    asset = _find(org, dict(source))
    org.assets.remove(asset)
    return {"id": asset.id}


def _find(org: Org, values: dict[str, Any]) -> Asset:
    path, type_ = values.pop("path"), values.pop("type")
    asset = org.assets.find(path, type_)
    if asset is None:
        raise LookupError(f"org {org.key} has no {type_} {path}")
    return asset
