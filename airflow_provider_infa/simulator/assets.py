"""The objects of one org: projects, folders, assets, connections, runtime environments, schedules."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from airflow_provider_infa.simulator import catalog, wire

T = TypeVar("T")

# So much is kept of what was made of the objects.
_MOST_KEPT = 500


@dataclass(frozen=True)
class SourceControl:
    """Where an asset stands in source control; named as the objects resource names it."""

    source_controlled: bool = True
    checked_out_by: str | None = None
    checked_out_time: datetime | None = None
    hash: str | None = None
    last_checkin_by: str | None = None
    last_checkin_time: datetime | None = None
    last_pull_time: datetime | None = None


@dataclass(frozen=True)
class Asset:
    """One object of an org. Never changed, only replaced, so a running export may read it from a thread.

    ``path`` is written as the objects resource writes it; system objects have their bare name there.
    ``definition`` stands for the content (the mapping's logic, a task's parameters); it travels with
    packages. ``persisted`` are the values that in-out parameters and sequences have after the runs of a task.
    """

    id: str
    path: str
    type: str
    updated_by: str
    update_time: datetime
    description: str | None = ""
    context_id: str | None = None
    tags: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    source_control: SourceControl | None = None
    custom_attributes: Mapping[str, Any] | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    persisted: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    payload_bytes: int = 0

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path if self.is_system else self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path of the container; empty for projects and system objects."""
        return "" if self.is_system else self.path.rpartition("/")[0]

    @property
    def is_system(self) -> bool:
        """Whether the object lives outside projects."""
        return self.type in catalog.SYSTEM

    @property
    def is_container(self) -> bool:
        """Whether the object is a project or folder."""
        return self.type in catalog.CONTAINERS

    @property
    def is_published(self) -> bool:
        """Whether the asset runs as it is; only taskflows and Application Integration assets ever are."""
        return (self.custom_attributes or {}).get("publicationStatus") == "published"

    @property
    def is_source_controlled(self) -> bool:
        """Whether the asset can only be changed after a checkout."""
        return self.source_control is not None and self.source_control.source_controlled

    def may_be_changed_by(self, user: str) -> bool:
        """Tell whether a user may change the asset: under source control it has to be checked out by them."""
        control = self.source_control
        return control is None or not control.source_controlled or control.checked_out_by == user

    @property
    def location(self) -> str:
        """The full path as logs and packages write it: under ``/Explore`` or ``/SYS``."""
        return f"/SYS/{self.path}" if self.is_system else f"/Explore/{self.path}"

    @property
    def job_path(self) -> str | None:
        """The parent as job results write it: null for system objects, ``/`` for a project (captured)."""
        return None if self.is_system else f"/{self.parent}"


class AssetStore:
    """All objects of one org, found by id and by path and type."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._by_id: dict[str, Asset] = {}
        self._by_path: dict[tuple[str, str], Asset] = {}
        self._counter = 0
        self._kept: dict[Hashable, Any] = {}

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, id_: str) -> Asset | None:
        """Return the object with this id."""
        return self._by_id.get(id_)

    def find(self, path: str, type_: str) -> Asset | None:
        """Return the object with this path and type; the type's case does not matter."""
        return self._by_path.get((path, type_.upper()))

    def put(self, asset: Asset) -> Asset:
        """Add an object or replace the one with its id; a new one gets its v2 id here."""
        kind = catalog.context_kind(asset.type)
        old = self._by_id.get(asset.id)
        if old is not None:
            del self._by_path[(old.path, old.type.upper())]
        elif kind and asset.context_id is None:
            self._counter += 1
            asset = replace(asset, context_id=wire.context_id(self._prefix, kind, self._counter))
        self._by_id[asset.id] = asset
        self._by_path[(asset.path, asset.type.upper())] = asset
        self._kept.clear()
        return asset

    def remove(self, asset: Asset) -> None:
        """Take an object out of the org."""
        del self._by_id[asset.id]
        del self._by_path[(asset.path, asset.type.upper())]
        self._kept.clear()

    def listing(self) -> list[Asset]:
        """Return what the objects resource may list, by id: no order is documented, so none is useful."""
        return self.kept("listing", lambda: sorted((a for a in self if not a.is_system), key=lambda asset: asset.id))

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """Make something of the objects, once: it is kept until one of them changes.

        A client that lists 20,000 objects asks for 100 pages; none of them may cost as much as the whole.
        """
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def contents(self, container: Asset) -> list[Asset]:
        """Return everything inside a container, at any depth, without the container."""
        prefix = container.path + "/"
        return [asset for asset in self.listing() if asset.path.startswith(prefix)]

    def containers_of(self, asset: Asset) -> list[Asset]:
        """Return the project and folders an object lies in, outermost first."""
        found = []
        parts = asset.parent.split("/") if asset.parent else []
        for depth in range(1, len(parts) + 1):
            container = self.container("/".join(parts[:depth]))
            if container is not None:
                found.append(container)
        return found

    def container(self, path: str) -> Asset | None:
        """Return the project or folder with this path."""
        return self.find(path, "Folder" if "/" in path else "Project")

    def users_of(self, id_: str) -> list[Asset]:
        """Return the objects that refer directly to this id."""
        return [asset for asset in self if id_ in asset.uses]

    def of_type(self, type_: str) -> list[Asset]:
        """Return all objects of one type, by name."""
        return sorted((a for a in self if a.type == type_), key=lambda asset: asset.path)

    def many(self, ids: Iterable[str]) -> list[Asset]:
        """Return the objects with these ids, without the unknown ones."""
        return [asset for asset in map(self.get, ids) if asset is not None]
