"""The specification of an import: what the body may say, and whether it fits package and target org."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_infa.simulator import catalog, errors, schema
from airflow_provider_infa.simulator.assets import Asset, AssetStore
from airflow_provider_infa.simulator.unpack import Package, PackagedObject

OVERWRITE = "OVERWRITE"
REUSE = "REUSE"

# Keys and values of the sequence flags; the last key stands in the page's example only.
_FLAGS = {
    "mapping_conflict_new": {"RESET", "RETAIN"},
    "mapping_conflict_existing": {"RESET", "RETAIN", "REPLACE"},
    "mapping_conflict_policy": {"RESET", "RETAIN", "REPLACE"},
}
_FLAG = schema.record({"key": schema.word(*_FLAGS), "value": schema.text()})
_RESOLUTION = schema.word(OVERWRITE, REUSE)


def _flag(value: Any, where: str) -> Any:
    flag = _FLAG(value, where)
    if flag["value"] not in _FLAGS[flag["key"]]:
        raise errors.bad_request(f"{where}.value must be one of {', '.join(sorted(_FLAGS[flag['key']]))}")
    return flag


_OBJECT = schema.record(
    {"sourceObjectId": schema.text()},
    {
        "targetObjectId": schema.text(),
        "conflictResolution": _RESOLUTION,
        "additionalProviderFlags": schema.items(_flag),
    },
)


def _merging(value: Any) -> list[str]:
    """Return the fields of an entry that may be the one which merges tags.

    The docs describe this boolean (Starting an import job) and leave its name out; no other source has it either.
    Chosen: the one field whose name tells of tags is it.
    """
    return [name for name in value if "tag" in name.lower()] if isinstance(value, dict) else []


def _object(value: Any, where: str) -> Any:
    """Accept a rule for one object; what merges tags is called ``mergeTags`` in the result."""
    merging = _merging(value)
    if len(merging) != 1:
        return _OBJECT(value, where)
    (name,) = merging
    if not isinstance(value[name], bool):
        raise errors.bad_request(f"{where}.{name} must be a boolean")
    rest = {key: item for key, item in value.items() if key != name}
    return _OBJECT(rest, where) | {"mergeTags": value[name]}


# Informatica docs: Starting an import job.
BODY = schema.record(
    optional={
        "name": schema.text(255),
        "importSpecification": schema.record(
            optional={
                "defaultConflictResolution": _RESOLUTION,
                "includeObjects": schema.items(schema.text()),
                "objectSpecification": schema.items(_object),
            }
        ),
    }
)


@dataclass(frozen=True)
class Specification:
    """A checked specification.

    :param default: resolution for assets; containers and system objects are reused whatever it says, because
        conflict resolution is for assets only (Informatica docs: Starting an import job).
    :param include: ids in the package; None for all.
    :param resolutions: resolution of single assets, by id in the package.
    :param targets: objects of the target org that stand for objects of the package.
    :param merge_tags: ids in the package of objects whose tags join those that the target has.
    :param flags: provider flags of single assets, by id in the package.
    """

    default: str = OVERWRITE
    include: tuple[str, ...] | None = None
    resolutions: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, Asset] = field(default_factory=dict)
    merge_tags: frozenset[str] = frozenset()
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def resolution(self, guid: str) -> str:
        """Return what to do with an asset that the target has already."""
        return self.resolutions.get(guid, self.default)

    def persisted(self, packaged: PackagedObject, old: Asset | None) -> Mapping[str, Any]:
        """Return what becomes of the values that runs have left: reset, if no flag says otherwise.

        The flags are documented (Informatica docs: Starting an import job), that resetting is the default is
        chosen. ``mapping_conflict_policy``, from the page's example, is taken for new and existing assets.
        """
        flags = self.flags.get(packaged.guid, {})
        kind = "mapping_conflict_existing" if old else "mapping_conflict_new"
        fate = flags.get(kind, flags.get("mapping_conflict_policy", "RESET"))
        if fate == "RETAIN" and old is not None:
            return old.persisted
        return {} if fate == "RESET" else packaged.content.persisted


def fit(source: Mapping[str, Any], package: Package, store: AssetStore) -> Specification:
    """Return the specification that fits a package and a target org.

    :param source: the ``importSpecification`` of a checked body.
    :raises ApiError: 400 if it names objects that are not there or asks for what cannot be.
    """
    include = source.get("includeObjects")
    rules = source.get("objectSpecification", [])
    named = [*(include or []), *(rule["sourceObjectId"] for rule in rules)]
    if unknown := [id_ for id_ in named if id_ not in package.objects]:
        raise errors.bad_specification(f"not in the package: {', '.join(unknown[:5])}")
    sources = [rule["sourceObjectId"] for rule in rules]
    if len(set(sources)) != len(sources):
        raise errors.bad_specification("objectSpecification names an object twice")
    resolutions: dict[str, str] = {}
    targets: dict[str, Asset] = {}
    for rule in rules:
        packaged = package.objects[rule["sourceObjectId"]]
        if "conflictResolution" in rule:
            if packaged.is_system or packaged.is_container:
                raise errors.bad_specification(
                    f"conflictResolution is for assets only, {packaged.path} is a {packaged.type}"
                )
            resolutions[packaged.guid] = rule["conflictResolution"]
        if "targetObjectId" in rule:
            targets[packaged.guid] = _target(packaged, rule["targetObjectId"], store)
    return Specification(
        default=source.get("defaultConflictResolution", OVERWRITE),
        include=None if include is None else tuple(include),
        resolutions=resolutions,
        targets=targets,
        merge_tags=frozenset(rule["sourceObjectId"] for rule in rules if rule.get("mergeTags")),
        flags={
            rule["sourceObjectId"]: {flag["key"]: flag["value"] for flag in rule.get("additionalProviderFlags", [])}
            for rule in rules
        },
    )


def _target(packaged: PackagedObject, id_: str, store: AssetStore) -> Asset:
    """Return the object of the target org that replaces one of the package: of one type, connections of one
    connector (Informatica docs: Starting an import job).
    """
    target = store.get(id_)
    if target is None:
        raise errors.bad_specification(f"the target organization has no object {id_}")
    if target.type != packaged.type:
        raise errors.bad_specification(f"{target.path} is a {target.type}, {packaged.path} a {packaged.type}")
    ours, theirs = packaged.content.definition.get("type"), target.definition.get("type")
    if target.type == "Connection" and ours != theirs:
        raise errors.bad_specification(f"the connections {packaged.path} and {target.path} have different types")
    return target


def selected(specification: Specification, package: Package, store: AssetStore) -> list[PackagedObject]:
    """Return the objects of a package that an import takes.

    A project brings all that is in it, and dependents that the target lacks; an asset brings its containers,
    connections and runtime environments that the target lacks (Informatica docs: Starting an import job). A
    folder is chosen to act as a project does.
    """
    if specification.include is None:
        return list(package.objects.values())
    chosen: dict[str, PackagedObject] = {}
    for guid in specification.include:
        root = package.objects[guid]
        inside = [o for o in package.objects.values() if o.path.startswith(root.path + "/") and not o.is_system]
        group = [root, *inside] if root.is_container else [root]
        chosen |= {packaged.guid: packaged for packaged in group}
        for packaged in group:
            missing = _missing(packaged, package, store, system_only=not root.is_container)
            chosen |= {found.guid: found for found in missing}
    return list(chosen.values())


def _missing(
    packaged: PackagedObject, package: Package, store: AssetStore, *, system_only: bool
) -> list[PackagedObject]:
    """Return containers and dependents of an object that the package has and the target lacks."""
    found: dict[str, PackagedObject] = {}
    pending = [packaged]
    while pending:
        current = pending.pop()
        near = [package.objects[guid] for guid in current.content.refs if guid in package.objects]
        near = [other for other in near if other.type in catalog.SYSTEM or not system_only]
        near += [o for o in package.objects.values() if o.is_container and current.path.startswith(o.path + "/")]
        for other in near:
            if other.guid not in found and store.find(other.path, other.type) is None:
                found[other.guid] = other
                pending.append(other)
    return list(found.values())
