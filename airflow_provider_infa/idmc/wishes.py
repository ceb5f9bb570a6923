"""What the user wants an import to do, and which objects of a package that concerns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.imports import check_conflict_resolution
from airflow_provider_infa.idmc.jobs import mapping_argument
from airflow_provider_infa.idmc.models import CONNECTION, FOLDER, PROJECT, RUNTIME_ENVIRONMENT, same_type
from airflow_provider_infa.idmc.package import Package, PackageObject

#: What becomes of values that tasks and shared sequences keep from run to run, and the choices. Informatica's page
#: "Starting an import job" describes the first two and uses the third in its example; all are sent as they stand.
PROVIDER_FLAGS = {
    "mapping_conflict_new": ("RESET", "RETAIN"),
    "mapping_conflict_existing": ("RESET", "RETAIN", "REPLACE"),
    "mapping_conflict_policy": ("RESET", "RETAIN", "REPLACE"),
}
#: Fields of a rule that Informatica's page names. Others pass through, unless they look like a slip in one of these.
RULE_FIELDS = ("conflictResolution", "targetObjectId", "additionalProviderFlags", "sourceObjectId")
#: The wishes that map names.
MAPPINGS = ("runtime_environments", "connections", "projects")


@dataclass(frozen=True)
class Wishes:
    """
    What the user wants an import to do.

    :param default_conflict_resolution: For assets that exist in the target: ``OVERWRITE`` or ``REUSE``.
    :param conflict_resolutions: Exceptions from the default. Keys are ids in the package, paths or type codes; the
        first of these that fits an asset wins. Values are ``OVERWRITE``, ``REUSE``, or an object with any fields of
        IDMC's ``objectSpecification`` (``conflictResolution``, ``targetObjectId``, ``additionalProviderFlags``, ...),
        which are passed through as they stand; ``additionalProviderFlags`` also as a mapping of key to value.
    :param include_objects: Import only these: ids in the package, paths, or rows with ``id`` or ``path`` and ``type``.
        A project or folder stands for all that lies in it.
    :param runtime_environments: Name in the source org to name in the target org.
    :param connections: Name in the source org to name in the target org; connector type and version must be the same.
    :param projects: Project or folder path in the source org to that in the target org.
    :param schedules: Path of a mapping task in the target org to the schedule that it shall have there.
    :param block_on_drift: Whether an asset that somebody else than the promoting user changed last is not overwritten.
    """

    default_conflict_resolution: str = "OVERWRITE"
    conflict_resolutions: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    include_objects: Sequence[str | Mapping[str, str]] = ()
    runtime_environments: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)
    block_on_drift: bool = False


@dataclass(frozen=True)
class Chosen:
    """
    An object of the package that the import concerns.

    :param object: The object.
    :param reference: What to look up in the target org for it.
    :param rule: Its conflict rule, in the words of IDMC's ``objectSpecification``; empty if it has none.
    :param is_included: Whether it is among what is to be imported, by itself or by lying in something that is.
    :param is_brought: Whether IDMC also imports it, if the target org lacks it.
    """

    object: PackageObject
    reference: Mapping[str, str]
    rule: Mapping[str, Any]
    is_included: bool
    is_brought: bool


def select(package: Package, wishes: Wishes) -> list[Chosen]:
    """
    What the import concerns: the included objects, what they depend on, and the containers of all that.

    :raises IdmcInputError: If a wish names an object that the package does not hold, or asks for what IDMC can't do.
    """
    ids = included(package, wishes.include_objects)
    covered = _covered(package, ids)
    # Informatica's page "Starting an import job": an included project brings its assets and the dependents that are
    # missing in the target; an included asset brings its missing containers and nothing else.
    by_id = {o.id: o for o in package.objects}
    containers = [id for id in ids if is_container(by_id[id])]
    brought = covered | {o.id for o in _with_needed(package, _covered(package, containers))}
    rules = _rules(package, wishes.conflict_resolutions)
    _check_projects(package, wishes.projects)
    return [
        Chosen(o, target_reference(o, wishes, rule), rule, o.id in covered, o.id in brought)
        for o in _with_needed(package, covered)
        for rule in [rules.get(o.id, {})]
    ]


def is_asset(o: PackageObject) -> bool:
    return not any(same_type(o.type, fixed) for fixed in (PROJECT, FOLDER, CONNECTION, RUNTIME_ENVIRONMENT))


def is_container(o: PackageObject) -> bool:
    return same_type(o.type, PROJECT) or same_type(o.type, FOLDER)


def is_root(o: PackageObject) -> bool:
    """Whether an object lies in no container: projects, and what lookup knows by its bare name."""
    return "/" not in o.path or same_type(o.type, CONNECTION) or same_type(o.type, RUNTIME_ENVIRONMENT)


def target_reference(o: PackageObject, wishes: Wishes, rule: Mapping[str, Any]) -> dict[str, str]:
    """What to look up in the target org for an object of the package."""
    if rule.get("targetObjectId"):
        return {"id": str(rule["targetObjectId"])}
    if same_type(o.type, CONNECTION) or same_type(o.type, RUNTIME_ENVIRONMENT):
        names: Mapping[str, str] = getattr(wishes, mapping_argument(o.type))
        return {"path": names.get(o.path, o.path), "type": o.type}
    path = wishes.projects.get(o.path) if is_container(o) else None
    path = carried(o, wishes) if path is None else path
    return {"path": path, "type": (FOLDER if "/" in path else PROJECT) if is_container(o) else o.type}


def carried(o: PackageObject, wishes: Wishes) -> str:
    """Where an object lands with what it lies in: the longest mapped container decides, so folders can go elsewhere."""
    parts = o.path.split("/")
    for end in range(len(parts) - 1, 0, -1):
        if place := wishes.projects.get("/".join(parts[:end])):
            return "/".join([place, *parts[end:]])
    return o.path


def is_mapped(o: PackageObject, wishes: Wishes) -> bool:
    """Whether the specification has to map a container, connection or runtime environment."""
    wanted = getattr(wishes, mapping_argument(o.type)).get(o.path)
    # A folder may have to be mapped to the very place where it is, because its project goes elsewhere.
    unmapped = carried(o, wishes) if is_container(o) else o.path
    return wanted is not None and not wanted == unmapped == o.path


def included(package: Package, include: Sequence[str | Mapping[str, str]]) -> list[str]:
    """
    Ids of the objects to import, as asked for; all of them if nothing was.

    :raises IdmcInputError: If the package does not hold one of them.
    """
    if not include:
        return [o.id for o in package.objects]
    ids: dict[str, None] = {}
    unknown = []
    for item in include:
        wanted = item if isinstance(item, str) else item.get("id") or item.get("path") or ""
        kind = None if isinstance(item, str) or item.get("id") else item.get("type")
        hits = [o.id for o in package.objects if wanted in (o.id, o.path) and (kind is None or same_type(o.type, kind))]
        ids |= dict.fromkeys(hits)
        if not hits:
            unknown.append(repr(wanted or item))
    if unknown:
        raise IdmcInputError(
            f"include_objects names what package {package.path.name} does not hold: {', '.join(unknown)}."
        )
    return list(ids)


def _covered(package: Package, included: Collection[str]) -> set[str]:
    """Ids of the included objects and of everything that lies in the included containers."""
    covered = set(included)
    containers = tuple(f"{o.path}/" for o in package.objects if o.id in covered and is_container(o))
    return covered | {o.id for o in package.objects if not is_root(o) and o.path.startswith(containers)}


def _with_needed(package: Package, covered: Iterable[str]) -> list[PackageObject]:
    """The covered objects, what they depend on, and the containers of all that; what others need comes first."""
    by_id = {o.id: o for o in package.objects}
    containers = {o.path: o.id for o in package.objects if is_container(o)}
    ordered: dict[str, PackageObject] = {}
    begun: set[str] = set()
    covered = set(covered)
    # Not by recursion: chains may be long, and circles happen.
    rest = [o.id for o in reversed(package.objects) if o.id in covered]
    while rest:
        o = by_id[rest[-1]]
        parent = () if is_root(o) else (containers.get(o.path.rpartition("/")[0]),)
        new = [id for id in (*parent, *o.refs) if id in by_id and id not in begun] if o.id not in begun else []
        begun.add(o.id)
        if new:
            rest += reversed(new)
        else:
            ordered[rest.pop()] = o
    return list(ordered.values())


def unused(package: Package, wishes: Wishes) -> list[str]:
    """Names that concern nothing in the package, as sentences. One table of names may serve many packages."""
    held = {name: {o.path for o in package.objects if mapping_argument(o.type) == name} for name in MAPPINGS}
    held["projects"] = {o.path for o in package.objects if is_container(o)}
    known = {word for o in package.objects for word in (o.type.upper(), o.id, o.path)}
    strangers = {name: [key for key in getattr(wishes, name) if key not in held[name]] for name in MAPPINGS}
    strangers["conflict_resolutions"] = [k for k in wishes.conflict_resolutions if not {k, k.upper()} & known]
    return [
        f"{name} names {', '.join(map(repr, keys))}, which package {package.path.name} does not hold."
        for name, keys in strangers.items()
        if keys
    ]


def _check_projects(package: Package, projects: Mapping[str, str]) -> None:
    """Refuse a mapping that the specification can't express; one that concerns nothing in the package is none."""
    containers = {o.path for o in package.objects if is_container(o)}
    for path in projects:
        if path not in containers and any(o.path.startswith(f"{path}/") for o in package.objects if not is_root(o)):
            raise IdmcInputError(
                f"projects maps {path!r}, but package {package.path.name} holds only what is in it, not the project or "
                "folder itself, so IDMC can't map it. Export with include_dependencies=True."
            )


def _rules(package: Package, wishes: Mapping[str, str | Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rule for each asset that has one, by its id, in the words of ``objectSpecification``."""
    rules = {key: _rule(key, wish) for key, wish in wishes.items()}
    for key, rule in rules.items():
        check_conflict_resolution(rule.get("conflictResolution"), f"conflict_resolutions[{key!r}]")
        for name in rule.keys() - set(RULE_FIELDS):
            if close := get_close_matches(name, RULE_FIELDS, n=1, cutoff=0.75):
                raise IdmcInputError(f"conflict_resolutions[{key!r}] has the unknown field {name!r}: {close[0]!r}?")
        if "sourceObjectId" in rule:
            raise IdmcInputError(f"conflict_resolutions[{key!r}] has a sourceObjectId; the key alone names the object.")
        for name in RULE_FIELDS:
            if name in rule and not rule[name]:
                raise IdmcInputError(
                    f"conflict_resolutions[{key!r}]: {name} is {rule[name]!r}. Give it a value, or leave it out."
                )
        if "additionalProviderFlags" in rule:
            rule["additionalProviderFlags"] = provider_flags(rule["additionalProviderFlags"], key)
        hits = [o for o in package.objects if key in (o.id, o.path) or same_type(o.type, key)]
        if fixed := next((o for o in hits if not is_asset(o)), None):
            raise IdmcInputError(
                f"conflict_resolutions names the {fixed.type} {fixed.path!r}: IDMC takes conflict rules for assets "
                f"only. Map it with {mapping_argument(fixed.type)} instead."
            )
        # A rule for a type holds for whatever comes along; one for an object that isn't there is a slip.
        if not hits and ("/" in key or len(key) == 22):
            raise IdmcInputError(
                f"conflict_resolutions names {key!r}, which package {package.path.name} does not hold."
            )
    by_type = {key.upper(): rule for key, rule in rules.items()}
    chosen = ((o.id, rules.get(o.id) or rules.get(o.path) or by_type.get(o.type.upper())) for o in package.objects)
    return {id: rule for id, rule in chosen if rule}


def _rule(key: str, wish: Any) -> dict[str, Any]:
    """A rule in the words of ``objectSpecification``."""
    if isinstance(wish, str):
        return {"conflictResolution": wish}
    if not isinstance(wish, Mapping):
        raise IdmcInputError(
            f"conflict_resolutions[{key!r}] must be OVERWRITE, REUSE or a mapping with fields of objectSpecification, "
            f"not {wish!r}."
        )
    return dict(wish)


def provider_flags(value: Any, key: str) -> list[dict[str, Any]]:
    """
    ``additionalProviderFlags`` as IDMC takes them. Keys that are not documented pass through.

    :param value: A mapping of key to value, or a list of ``key`` and ``value``.
    :param key: Key of the rule in ``conflict_resolutions``, for the error.
    :raises IdmcInputError: If it is neither, or a documented flag has a value that it can't have.
    """
    flags = [{"key": k, "value": v} for k, v in value.items()] if isinstance(value, Mapping) else value
    if not isinstance(flags, list) or not all(isinstance(f, Mapping) and isinstance(f.get("key"), str) for f in flags):
        raise IdmcInputError(
            f"additionalProviderFlags of conflict_resolutions[{key!r}] must be a mapping, or a list of key and value."
        )
    for flag in flags:
        values = PROVIDER_FLAGS.get(flag["key"])
        if values and flag.get("value") not in values:
            raise IdmcInputError(
                f"conflict_resolutions[{key!r}]: {flag['key']} must be one of {', '.join(values)}, "
                f"not {flag.get('value')!r}."
            )
    return [dict(flag) for flag in flags]
