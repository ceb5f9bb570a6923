"""
What an import would do to the target org, and the specification that does exactly that.

Names (projects, connections, runtime environments) become ids here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcPlanBlockedError
from airflow_provider_infa.idmc.imports import check_conflict_resolution
from airflow_provider_infa.idmc.jobs import mapping_argument
from airflow_provider_infa.idmc.models import CONNECTION, FOLDER, PROJECT, RUNTIME_ENVIRONMENT, Asset, same_type
from airflow_provider_infa.idmc.objects import lookup
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.session import Session

#: Version of the plan's layout, raised when a reader of plans has to change.
VERSION = 1
CREATE, OVERWRITE, REUSE, MAP, BLOCKED = ACTIONS = ("create", "overwrite", "reuse", "map", "blocked")
#: Dependents named in a reason.
SHOWN = 3


@dataclass(frozen=True)
class Wishes:
    """
    What the user wants an import to do.

    :param default_conflict_resolution: For assets that exist in the target: ``OVERWRITE`` or ``REUSE``.
    :param conflict_resolutions: Exceptions from the default. Keys are ids in the package, paths or type codes; the
        first of these that fits an asset wins. Values are ``OVERWRITE``, ``REUSE``, or an object with any fields of
        IDMC's ``objectSpecification`` (``conflictResolution``, ``targetObjectId``, ``additionalProviderFlags``, ...),
        which are passed through as they stand.
    :param include_objects: Import only these: ids in the package, paths, or rows with ``id`` or ``path`` and ``type``.
        A project or folder stands for all that lies in it.
    :param runtime_environments: Name in the source org to name in the target org.
    :param connections: Name in the source org to name in the target org; connector type and version must be the same.
    :param projects: Project or folder path in the source org to that in the target org.
    """

    default_conflict_resolution: str = "OVERWRITE"
    conflict_resolutions: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    include_objects: Sequence[str | Mapping[str, str]] = ()
    runtime_environments: Mapping[str, str] = field(default_factory=dict)
    connections: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlannedObject:
    """
    What would happen to one object.

    :param source: The object in the package.
    :param target_id: Id in the target org; None if it does not exist there.
    :param target_path: Path in the target org.
    :param action: One of ``create``, ``overwrite``, ``reuse``, ``map``, ``blocked``.
    :param reason: Why, for people.
    :param specification: Its entry in IDMC's ``objectSpecification``, without the id.
    :param argument: For what the target lacks, the argument that maps it to something else.
    """

    source: PackageObject
    target_id: str | None
    target_path: str
    action: str
    reason: str
    specification: Mapping[str, Any] = field(default_factory=dict)
    argument: str | None = None

    def row(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "source": {"id": self.source.id, "path": self.source.path, "type": self.source.type},
            "target": {"id": self.target_id, "path": self.target_path, "type": self.source.type},
            "action": self.action,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Plan:
    """
    A plan, bound to one package and one target org.

    :param package: The package.
    :param org_id: Id of the target org.
    :param org_name: Name of the target org.
    :param objects: What would happen to each object, in the package's order.
    :param import_specification: What the start of the import has to send.
    """

    package: Package
    org_id: str
    org_name: str
    objects: tuple[PlannedObject, ...]
    import_specification: Mapping[str, Any]

    @property
    def blocked(self) -> tuple[PlannedObject, ...]:
        """The obstacles."""
        return tuple(o for o in self.objects if o.action == BLOCKED)

    @property
    def missing(self) -> tuple[PlannedObject, ...]:
        """What the target lacks and could have under another name: obstacles, and connections to be created."""
        return tuple(o for o in self.objects if o.argument)

    @property
    def counts(self) -> dict[str, int]:
        """Number of objects for each action, zeros included."""
        counts = Counter(o.action for o in self.objects)
        return {action: counts[action] for action in ACTIONS}

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON; ``hash`` changes whenever what is sent, or what was found in the target, does."""
        promise = {
            "package": self.package.sha256,
            "target_org": self.org_id,
            "import_specification": self.import_specification,
            "objects": [[o.source.id, o.target_id, o.target_path, o.action] for o in self.objects],
        }
        text = json.dumps(promise, sort_keys=True, separators=(",", ":"))
        return {
            "version": VERSION,
            "hash": hashlib.sha256(text.encode()).hexdigest(),
            "package": {
                "sha256": self.package.sha256,
                "size": self.package.size,
                "name": self.package.name,
                "source_org_id": self.package.source_org_id,
                "source_org_name": self.package.source_org_name,
            },
            "target_org": {"id": self.org_id, "name": self.org_name},
            "import_specification": self.import_specification,
            "counts": self.counts,
            "objects": [o.row() for o in self.objects],
            "missing": [
                {"type": o.source.type, "name": o.source.path, "reason": o.reason, "argument": o.argument}
                for o in self.missing
            ],
        }

    def check(self) -> None:
        """
        Refuse a plan that can't succeed.

        :raises IdmcPlanBlockedError: Naming everything that is missing and the argument that maps it.
        """
        if self.blocked:
            lines = [
                f"The import into org {self.org_name} can't succeed: {len(self.blocked)} of {len(self.objects)} "
                "objects are blocked. Nothing was uploaded."
            ]
            lines += [f"  {o.source.type} {o.source.path}: {o.reason} Set {o.argument}" for o in self.missing]
            raise IdmcPlanBlockedError("\n".join(lines))


def plan_import(session: Session, package: Package, wishes: Wishes) -> Plan:
    """
    Compare a package with the target org.

    Takes one lookup call for every 200 objects.

    :param session: Session with the target org.
    :param package: The package.
    :param wishes: What the user wants.
    :raises IdmcInputError: If a wish names an object that the package does not hold, or asks for what IDMC can't do.
    """
    check_conflict_resolution(wishes.default_conflict_resolution or None, "default_conflict_resolution")
    default = wishes.default_conflict_resolution or "OVERWRITE"
    included = _included(package, wishes.include_objects)
    covered = _covered(package, included)
    chosen = _with_needed(package, covered)
    rules = _rules(package, wishes.conflict_resolutions)
    references = [_target_reference(o, wishes, rules.get(o.id, {})) for o in chosen]
    login = session.login()
    org = login.org_name
    found = lookup(session, references, ignore_missing=True)
    landing = Counter(_landing(o, ref) for o, ref in zip(chosen, references, strict=True))

    planned = []
    for o, ref, asset in zip(chosen, references, found, strict=True):
        if not _is_asset(o):
            planned.append(_plan_fixed(o, asset, ref["path"], wishes, _users(o, package), org))
        elif landing[_landing(o, ref)] > 1:
            reason = f"Another object of the package would land on {ref['path']!r} as well."
            planned.append(PlannedObject(o, None, ref["path"], BLOCKED, reason, argument="another value for projects."))
        else:
            planned.append(_plan_asset(o, asset, ref, rules.get(o.id, {}), default, o.id in covered, org))

    specification: dict[str, Any] = {"defaultConflictResolution": default}
    if wishes.include_objects:
        specification["includeObjects"] = included
    if entries := [{"sourceObjectId": p.source.id, **p.specification} for p in planned if p.specification]:
        specification["objectSpecification"] = entries
    return Plan(package, login.org_id, org, tuple(planned), specification)


def _plan_fixed(
    o: PackageObject, asset: Asset | None, wanted: str, wishes: Wishes, users: str, org: str
) -> PlannedObject:
    """Plan a container, connection or runtime environment: IDMC never overwrites those."""
    argument = mapping_argument(o.type)
    is_mapped = o.path in getattr(wishes, argument) and wanted != o.path
    fix = f"{argument}={{{o.path!r}: '<name in {org}>'}}."
    if asset is not None and is_mapped:
        reason = f"{argument} maps it to {asset.path!r}."
        return PlannedObject(o, asset.id, asset.path, MAP, reason, {"targetObjectId": asset.id})
    if asset is not None:
        return PlannedObject(o, asset.id, asset.path, REUSE, f"Org {org} has it.")
    if is_mapped:
        reason = f"{argument} maps it to {wanted!r}, which org {org} does not have."
        return PlannedObject(o, None, wanted, BLOCKED, reason, argument=fix)
    if same_type(o.type, RUNTIME_ENVIRONMENT):
        # The import would end with OIE_008. IDMC can't create one: it stands for agents that someone has to install.
        reason = f"Org {org} has no runtime environment of that name{users}."
        return PlannedObject(o, None, wanted, BLOCKED, reason, argument=fix)
    if same_type(o.type, CONNECTION):
        reason = f"Org {org} does not have it. IDMC creates it, without its password, which has to be set there."
        return PlannedObject(o, None, wanted, CREATE, reason, argument=fix)
    return PlannedObject(o, None, wanted, CREATE, f"Org {org} does not have it.")


def _plan_asset(
    o: PackageObject,
    asset: Asset | None,
    ref: Mapping[str, str],
    rule: Mapping[str, Any],
    default: str,
    is_included: bool,
    org: str,
) -> PlannedObject:
    if "targetObjectId" in rule:
        if asset is None:
            reason = f"conflict_resolutions maps it to the id {ref['id']!r}, which org {org} does not have."
            return PlannedObject(
                o, None, o.path, BLOCKED, reason, argument="another targetObjectId in conflict_resolutions."
            )
        return PlannedObject(o, asset.id, asset.path, MAP, f"conflict_resolutions maps it to {asset.path!r}.", rule)
    if asset is None:
        return PlannedObject(o, None, ref["path"], CREATE, f"Org {org} does not have it.", rule)
    if not is_included:
        # Informatica's page "Starting an import job": what is included brings dependents only if they are missing.
        return PlannedObject(o, asset.id, asset.path, REUSE, f"Org {org} has it, and include_objects does not name it.")
    resolution = rule.get("conflictResolution", default)
    source = "conflict_resolutions" if "conflictResolution" in rule else "default_conflict_resolution"
    action = OVERWRITE if resolution == "OVERWRITE" else REUSE
    return PlannedObject(o, asset.id, asset.path, action, f"Org {org} has it, and {source} says {resolution}.", rule)


def _is_asset(o: PackageObject) -> bool:
    return not any(same_type(o.type, fixed) for fixed in (PROJECT, FOLDER, CONNECTION, RUNTIME_ENVIRONMENT))


def _is_container(o: PackageObject) -> bool:
    return same_type(o.type, PROJECT) or same_type(o.type, FOLDER)


def _is_root(o: PackageObject) -> bool:
    """Whether an object lies in no container: projects, and what lookup knows by its bare name."""
    return "/" not in o.path or same_type(o.type, CONNECTION) or same_type(o.type, RUNTIME_ENVIRONMENT)


def _users(o: PackageObject, package: Package) -> str:
    """Who needs an object, as the end of a sentence."""
    users = [p.path for p in package.objects if o.id in p.refs]
    more = f" and {len(users) - SHOWN} more" if len(users) > SHOWN else ""
    return f", needed by {', '.join(users[:SHOWN])}{more}" if users else ""


def _landing(o: PackageObject, ref: Mapping[str, str]) -> tuple[str, str]:
    """Where an object would end up; two assets of a package must not end up in the same place."""
    return (ref.get("path") or ref["id"], o.type.upper()) if _is_asset(o) else ("", o.id)


def _target_reference(o: PackageObject, wishes: Wishes, rule: Mapping[str, Any]) -> dict[str, str]:
    """What to look up in the target org for an object of the package."""
    if rule.get("targetObjectId"):
        return {"id": str(rule["targetObjectId"])}
    if same_type(o.type, CONNECTION) or same_type(o.type, RUNTIME_ENVIRONMENT):
        names: Mapping[str, str] = getattr(wishes, mapping_argument(o.type))
        return {"path": names.get(o.path, o.path), "type": o.type}
    # The longest mapped container decides, so that a folder can go elsewhere than its project.
    path = o.path
    for end in range(len(parts := o.path.split("/")), 0, -1):
        container = "/".join(parts[:end])
        if container in wishes.projects and (end < len(parts) or _is_container(o)):
            path = "/".join([wishes.projects[container], *parts[end:]])
            break
    return {"path": path, "type": (FOLDER if "/" in path else PROJECT) if _is_container(o) else o.type}


def _included(package: Package, include: Sequence[str | Mapping[str, str]]) -> list[str]:
    """Ids of the objects to import, as asked for; all of them if nothing was."""
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


def _covered(package: Package, included: Iterable[str]) -> set[str]:
    """Ids of the included objects and of everything that lies in the included containers."""
    containers = tuple(f"{o.path}/" for o in package.objects if o.id in set(included) and _is_container(o))
    inside = (
        {o.id for o in package.objects if not _is_root(o) and o.path.startswith(containers)} if containers else set()
    )
    return inside | set(included)


def _with_needed(package: Package, covered: Iterable[str]) -> list[PackageObject]:
    """The covered objects, what they depend on, and the containers of all that; in the package's order."""
    by_id = {o.id: o for o in package.objects}
    containers = {o.path: o.id for o in package.objects if _is_container(o)}
    needed = set(covered)
    rest = list(needed)
    while rest:
        o = by_id[rest.pop()]
        parent = () if _is_root(o) else (containers.get(o.path.rpartition("/")[0]),)
        new = {id for id in (*o.refs, *parent) if id in by_id and id not in needed}
        needed |= new
        rest += new
    return [o for o in package.objects if o.id in needed]


def _rules(package: Package, wishes: Mapping[str, str | Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rule for each asset that has one, by its id, in the words of ``objectSpecification``."""
    rules = {key: {"conflictResolution": rule} if isinstance(rule, str) else dict(rule) for key, rule in wishes.items()}
    for key, rule in rules.items():
        check_conflict_resolution(rule.get("conflictResolution"), f"conflict_resolutions[{key!r}]")
        hits = [o for o in package.objects if key in (o.id, o.path) or same_type(o.type, key)]
        if fixed := next((o for o in hits if not _is_asset(o)), None):
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
