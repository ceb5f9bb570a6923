"""Puts the objects of a seed into a new org."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow_provider_infa.simulator import catalog, wire
from airflow_provider_infa.simulator.assets import Asset, SourceControl
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.publish_job import publication

Seed = Mapping[str, Any]

_LONG_AGO = datetime(2026, 1, 5, 8, tzinfo=UTC)
_ASSET_KEYS = frozenset(
    {
        "path", "type", "id", "description", "tags", "updated_by", "update_time", "uses", "source_control",
        "schedule", "definition", "payload_bytes", "custom_attributes", "published",
        "persisted"
    }
)  # fmt: skip


class SeedError(ValueError):
    """A seed that cannot be used; the text says where and why."""


class Planter:
    """Puts the objects of a seed into a new org."""

    def __init__(self, org: Org, user: str) -> None:
        self._org = org
        self._user = user
        self._uses: list[tuple[Asset, list[Any]]] = []

    def plant(self, source: Seed) -> None:
        """Put everything in; references are resolved last, so the order in the seed does not matter."""
        self._put({"path": "Default", "type": "Project", "updated_by": "Informatica"})
        for entry in source.get("runtime_environments", []):
            self._put(_named(entry) | {"type": "AgentGroup", "description": None, "definition": {}})
        for entry in source.get("schedules", []):
            self._put({"description": None, "definition": {}} | _named(entry) | {"type": "SCHEDULE"})
        for entry in source.get("connections", []):
            self._put(_connection(entry))
        for entry in source.get("projects", []):
            project = _named(entry)
            folders = project.pop("folders", [])
            self._put(project | {"type": "Project"})
            for folder in folders:
                self._put({"path": f"{project['path']}/{folder}", "type": "Folder"})
        for entry in source.get("assets", []):
            for values in _generated(entry):
                self._put(values)
        for asset, uses in self._uses:
            self._org.assets.put(replace(asset, uses=tuple(self._resolve(asset, use) for use in uses)))

    def _put(self, values: Seed) -> None:
        only(values, _ASSET_KEYS, f"asset {values.get('path')}")
        path = str(values["path"])
        type_ = catalog.canonical(str(values["type"]))
        if type_ is None:
            raise SeedError(f"asset {path}: unknown type {values['type']}")
        if type_ not in catalog.SYSTEM and "/" in path:
            self._make_container(path.rpartition("/")[0])
        elif type_ not in catalog.SYSTEM and type_ != "Project":
            raise SeedError(f"asset {path}: outside a project")
        if self._org.assets.find(path, type_) is not None:
            raise SeedError(f"asset {path}: the type {type_} is there twice")
        id_ = str(values.get("id", wire.stable_id(self._org.name, type_, path)))
        if not wire.is_id(id_):
            raise SeedError(f"asset {path}: the id {id_!r} does not have 22 letters and digits")
        default = {} if type_ in catalog.CONTAINERS else {"revision": "1"}
        user = str(values.get("updated_by", self._user))
        moment = _moment(values.get("update_time", _LONG_AGO))
        published = publication(user, moment) if values.get("published") else None
        planted = self._org.assets.put(
            Asset(
                id=id_,
                path=path,
                type=type_,
                updated_by=user,
                update_time=moment,
                description=values.get("description", ""),
                tags=tuple(values.get("tags", ())),
                source_control=source_control(values.get("source_control")),
                custom_attributes=published or values.get("custom_attributes"),
                definition=dict(values.get("definition", default)),
                persisted=dict(values.get("persisted", {})),
                schedule=values.get("schedule"),
                payload_bytes=int(values.get("payload_bytes", 0)),
            )
        )
        self._uses.append((planted, list(values.get("uses", []))))

    def _make_container(self, path: str) -> None:
        if self._org.assets.container(path) is None:
            self._put({"path": path, "type": "Folder" if "/" in path else "Project"})

    def _resolve(self, asset: Asset, use: str | Seed) -> str:
        """Return the id of what an asset uses: a path, a bare name, or a mapping with path and type."""
        store = self._org.assets
        if isinstance(use, Mapping):
            found = [store.find(str(use["path"]), str(use["type"]))]
        else:
            types = ["Connection", "AgentGroup"] if "/" not in use else catalog.asset_types()
            found = [store.find(use, type_) for type_ in types]
        ids = [other.id for other in found if other is not None and other.id != asset.id]
        if len(ids) != 1:
            problem = "is ambiguous; write {path, type}" if ids else "does not exist"
            raise SeedError(f"asset {asset.path}: uses {use!r}, which {problem}")
        return ids[0]


def _generated(entry: Seed) -> Iterator[Seed]:
    """Yield the assets of an entry: itself, or those that its key ``generate`` describes."""
    if "generate" not in entry:
        yield entry
        return
    only(entry, {"generate"}, "a generating entry")
    values = dict(entry["generate"])
    count, first = int(values.pop("count")), int(values.pop("first", 1))
    for n in range(first, first + count):
        numbered = dict(values)
        numbered["path"] = str(values["path"]).format(n=n)
        numbered["uses"] = [use.format(n=n) if isinstance(use, str) else use for use in values.get("uses", [])]
        yield numbered


def _named(entry: str | Seed) -> dict[str, Any]:
    """Return a bare name, or a mapping with ``name``, as the values of an asset."""
    if isinstance(entry, str):
        return {"path": entry}
    values = dict(entry)
    values["path"] = values.pop("name")
    return values


def _connection(entry: Seed) -> Seed:
    values = _named(entry)
    environment = values.pop("runtime_environment", None)
    definition = {"type": str(values.pop("type", "CSVFile")), **values.pop("parameters", {})}
    uses = [{"path": environment, "type": "AgentGroup"}] if environment else []
    return {"description": None, **values, "type": "Connection", "definition": definition, "uses": uses}


def source_control(source: Any) -> SourceControl | None:
    """Return what a seed or an edit tells: true, or a mapping with the fields of :class:`SourceControl`."""
    if not source:
        return None
    values = {} if source is True else dict(source)
    for name in ("checked_out_time", "last_checkin_time", "last_pull_time"):
        if values.get(name) is not None:
            values[name] = _moment(values[name])
    return SourceControl(**values)


def _moment(value: Any) -> datetime:
    """Return a moment; YAML has read it already unless it was quoted."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).replace(microsecond=0)
    moment = wire.parse_moment(str(value))
    if moment is None:
        raise SeedError(f"{value!r} is no moment like 2026-01-05T08:00:00Z")
    return moment.replace(microsecond=0)


def only(values: Seed, known: set[str] | frozenset[str], what: str) -> None:
    """Refuse keys that nobody would read: a mistyped one must not go unnoticed."""
    if unknown := sorted(str(key) for key in values if key not in known):
        raise SeedError(f"{what} has unknown keys: {', '.join(unknown)}")
