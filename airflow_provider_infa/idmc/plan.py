"""
What an import would do to the target org, and the specification that does exactly that.

Names (projects, connections, runtime environments) become ids here and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcPlanBlockedError
from airflow_provider_infa.idmc.imports import check_conflict_resolution
from airflow_provider_infa.idmc.jobs import mapping_argument
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import CONNECTION, RUNTIME_ENVIRONMENT, Asset, same_type
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.wishes import Chosen, Wishes, included, is_asset, select, unused

#: Version of the plan's layout, raised when a reader of plans has to change.
VERSION = 1
CREATE, OVERWRITE, REUSE, MAP, BLOCKED = ACTIONS = ("create", "overwrite", "reuse", "map", "blocked")
#: Dependents named in a reason.
SHOWN = 3


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
    :param warnings: Names in the wishes that concern nothing in the package: a slip, or of use for another package.
    """

    package: Package
    org_id: str
    org_name: str
    objects: tuple[PlannedObject, ...]
    import_specification: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

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
            "warnings": list(self.warnings),
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
            for o in self.blocked:
                lines.append(f"  {o.source.type} {o.source.path}: {o.reason} Set {o.argument}")
            if noted := [o for o in self.missing if o.action != BLOCKED]:
                lines.append("Not in the way, but missing as well:")
                lines += [f"  {o.source.type} {o.source.path}: {o.reason} Or set {o.argument}" for o in noted]
            lines += self.warnings
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
    chosen = select(package, wishes)
    login = session.login()
    org = login.org_name
    found = lookup(session, [c.reference for c in chosen], ignore_missing=True)
    landing = Counter(map(_landing, chosen, found))

    planned = []
    for c, asset in zip(chosen, found, strict=True):
        o, ref = c.object, c.reference
        if not is_asset(o):
            planned.append(_plan_fixed(o, asset, ref["path"], wishes, _users(o, package), org))
        elif landing[_landing(c, asset)] > 1:
            place = asset.path if asset else ref["path"]
            reason = f"Another object of the package would land on {place!r} as well."
            fix = "other values for projects, or another targetObjectId in conflict_resolutions."
            planned.append(PlannedObject(o, asset.id if asset else None, place, BLOCKED, reason, argument=fix))
        else:
            planned.append(_plan_asset(c, asset, default, org))

    specification: dict[str, Any] = {"defaultConflictResolution": default}
    if wishes.include_objects:
        specification["includeObjects"] = included(package, wishes.include_objects)
    if entries := [{"sourceObjectId": p.source.id, **p.specification} for p in planned if p.specification]:
        specification["objectSpecification"] = entries
    return Plan(package, login.org_id, org, tuple(planned), specification, tuple(unused(package, wishes)))


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


def _plan_asset(c: Chosen, asset: Asset | None, default: str, org: str) -> PlannedObject:
    o, ref, rule = c.object, c.reference, c.rule
    if "targetObjectId" in rule:
        if asset is None:
            reason = f"conflict_resolutions maps it to the id {ref['id']!r}, which org {org} does not have."
            return PlannedObject(
                o, None, o.path, BLOCKED, reason, argument="another targetObjectId in conflict_resolutions."
            )
        return PlannedObject(o, asset.id, asset.path, MAP, f"conflict_resolutions maps it to {asset.path!r}.", rule)
    if asset is None and not c.is_brought:
        reason = f"Something included needs it, org {org} does not have it, and include_objects does not name it."
        return PlannedObject(o, None, ref["path"], BLOCKED, reason, argument=f"include_objects to name {o.path!r} too.")
    if asset is None:
        return PlannedObject(o, None, ref["path"], CREATE, f"Org {org} does not have it.", rule)
    if not c.is_included:
        return PlannedObject(o, asset.id, asset.path, REUSE, f"Org {org} has it, and include_objects does not name it.")
    resolution = rule.get("conflictResolution", default)
    source = "conflict_resolutions" if "conflictResolution" in rule else "default_conflict_resolution"
    action = OVERWRITE if resolution == "OVERWRITE" else REUSE
    return PlannedObject(o, asset.id, asset.path, action, f"Org {org} has it, and {source} says {resolution}.", rule)


def _users(o: PackageObject, package: Package) -> str:
    """Who needs an object, as the end of a sentence."""
    users = [p.path for p in package.objects if o.id in p.refs]
    more = f" and {len(users) - SHOWN} more" if len(users) > SHOWN else ""
    return f", needed by {', '.join(users[:SHOWN])}{more}" if users else ""


def _landing(c: Chosen, asset: Asset | None) -> tuple[str, str]:
    """Where an object would end up; two assets of a package must not end up in the same place."""
    if not is_asset(c.object):
        return "source", c.object.id
    if asset is not None:
        return "target", asset.id
    # One that maps to an id which the target lacks lands nowhere.
    return c.object.type.upper(), c.reference.get("path", c.object.id)
