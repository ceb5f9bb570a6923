"""
What an import would do to the target org, and the specification that does exactly that.

Names (projects, connections, runtime environments) become ids here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_provider_infa.idmc.dependencies import missing_dependencies, some
from airflow_provider_infa.idmc.errors import IdmcWrongOrgError
from airflow_provider_infa.idmc.imports import check_conflict_resolution
from airflow_provider_infa.idmc.jobs import mapping_argument
from airflow_provider_infa.idmc.login import Login
from airflow_provider_infa.idmc.lookup import lookup
from airflow_provider_infa.idmc.models import CONNECTION, FOLDER, PROJECT, RUNTIME_ENVIRONMENT, Asset, same_type
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.planned import BLOCKED, CREATE, MAP, OVERWRITE, REUSE, Plan, PlannedObject
from airflow_provider_infa.idmc.schedules import find_schedule
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.source_control import obstacle, source_controlled
from airflow_provider_infa.idmc.wishes import (
    Chosen,
    Wishes,
    included,
    is_asset,
    is_container,
    is_mapped,
    select,
    unused,
)


def plan_import(session: Session, package: Package, wishes: Wishes, *, source: Session | None = None) -> Plan:
    """
    Compare a package with the target org.

    Takes one lookup call for every 200 objects, one listing of what is source controlled in the target if anything
    would be overwritten, and calls to the source org only for what the package refers to and does not hold.

    :param session: Session with the target org.
    :param package: The package.
    :param wishes: What the user wants.
    :param source: Session with the org that exported the package, to name what the package does not hold.
    :raises IdmcWrongOrgError: If the package comes from the target org itself, or from another org than ``source``.
    :raises IdmcInputError: If a wish names an object that the package does not hold, or asks for what IDMC can't do.
    """
    check_conflict_resolution(wishes.default_conflict_resolution or None, "default_conflict_resolution")
    default = wishes.default_conflict_resolution or "OVERWRITE"
    chosen = select(package, wishes)
    login = session.login()
    check_orgs(package, login, source.login() if source else None)
    org = login.org_name
    found = lookup(session, [c.reference for c in chosen], ignore_missing=True)
    planned = _plan_objects(package, chosen, found, wishes, default, org)
    planned = _with_states(session, planned, login, block_on_drift=wishes.block_on_drift)
    arriving = [p.source for p in planned if p.is_arriving and not is_container(p.source)]
    missing, remarks = missing_dependencies(session, source, package, arriving, wishes)
    schedules = _schedules(session, planned, wishes)
    warnings = (*unused(package, wishes), *remarks, *_homeless(session, planned, org), *_unplanned(wishes, schedules))

    specification: dict[str, Any] = {"defaultConflictResolution": default}
    if wishes.include_objects:
        specification["includeObjects"] = included(package, wishes.include_objects)
    if entries := [{"sourceObjectId": p.source.id, **p.specification} for p in planned if p.specification]:
        specification["objectSpecification"] = entries
    return Plan(
        package=package,
        org_id=login.org_id,
        org_name=org,
        user=login.user,
        objects=(*planned, *(_plan_missing(o, place, users, org) for o, place, users in missing)),
        import_specification=specification,
        schedules=schedules,
        warnings=warnings,
    )


def _plan_objects(
    package: Package, chosen: Sequence[Chosen], found: Sequence[Asset | None], wishes: Wishes, default: str, org: str
) -> list[PlannedObject]:
    landing = Counter(map(_landing, chosen, found))
    planned = []
    made: set[str] = set()
    for c, asset in zip(chosen, found, strict=True):
        o, ref = c.object, c.reference
        if is_container(o) and ref["path"] in made and not is_mapped(o, wishes):
            reason = f"Another object of the package creates {ref['path']!r}."
            planned.append(PlannedObject(o, None, ref["path"], REUSE, reason))
        elif not is_asset(o):
            planned.append(_plan_fixed(o, asset, ref["path"], wishes, _users(o, package), org))
            if is_container(o) and planned[-1].action == CREATE:
                made.add(ref["path"])
        elif landing[_landing(c, asset)] > 1:
            place = asset.path if asset else ref["path"]
            reason = f"Another object of the package would land on {place!r} as well."
            fix = "other values for projects, or another targetObjectId in conflict_resolutions."
            planned.append(PlannedObject(o, asset, place, BLOCKED, reason, argument=fix))
        else:
            planned.append(_plan_asset(c, asset, default, org))
    return planned


def _schedules(session: Session, planned: Sequence[PlannedObject], wishes: Wishes) -> dict[str, str]:
    """
    The schedules of those tasks that the import brings.

    :raises IdmcNotFoundError: If the org has no schedule of that name.
    """
    arriving = {p.target_path for p in planned if same_type(p.source.type, "MTT") and p.is_arriving}
    schedules = {path: name for path, name in wishes.schedules.items() if path in arriving}
    for name in dict.fromkeys(schedules.values()):
        find_schedule(session, name)
    return schedules


def _unplanned(wishes: Wishes, schedules: Mapping[str, str]) -> list[str]:
    strangers = [path for path in wishes.schedules if path not in schedules]
    if not strangers:
        return []
    return [f"schedules names {some(strangers)}, which the import does not bring, or which is no mapping task."]


def _homeless(session: Session, planned: Sequence[PlannedObject], org: str) -> list[str]:
    """What nobody has of that in which new assets lie, as a sentence. No source tells what IDMC does about it."""
    held = {p.target_path for p in planned if is_container(p.source)}
    new = (p.target_path.rpartition("/")[0] for p in planned if p.action == CREATE and is_asset(p.source))
    lacking = [path for path in dict.fromkeys(new) if path and path not in held]
    found = lookup(
        session, [{"path": p, "type": FOLDER if "/" in p else PROJECT} for p in lacking], ignore_missing=True
    )
    if not (nowhere := [path for path, asset in zip(lacking, found, strict=True) if asset is None]):
        return []
    return [f"Neither the package nor org {org} has {some(nowhere)}: the import creates that, or fails."]


def check_orgs(package: Package, target: Login, source: Login | None) -> None:
    """
    Refuse a package that would go back where it came from, or that came from elsewhere than it should.

    Packages of some tools do not tell their org; those pass.

    :raises IdmcWrongOrgError: Naming both orgs.
    """
    origin = package.source_org_id
    name = f"Package {package.path.name} of org {package.source_org_name or origin}"
    if origin and origin == target.org_id:
        raise IdmcWrongOrgError(
            f"{name} would be imported into the same org. A promotion needs another connection as its target; to bring "
            "back a backup there is InfaRestoreOperator."
        )
    if source is not None and source.org_id == target.org_id:
        raise IdmcWrongOrgError(f"Both connections lead to org {target.org_name}: source and target must differ.")
    if origin and source is not None and origin != source.org_id:
        raise IdmcWrongOrgError(f"{name} does not come from org {source.org_name}, to which source_conn_id leads.")


def _with_states(
    session: Session, planned: Sequence[PlannedObject], login: Login, *, block_on_drift: bool
) -> list[PlannedObject]:
    """The planned objects with what the state of those that would be overwritten means for them."""
    controlled = source_controlled(session, [p.target for p in planned if p.overwrites and p.target])
    result = []
    for p in planned:
        if p.overwrites and (target := p.target):
            if target.updated_by and target.updated_by != login.user:
                drift = f"Last changed there by {target.updated_by} at {target.update_time}, not by {login.user}."
                p = replace(p, drift=drift)
            held = controlled.get(target.id)
            if held and (reason := obstacle(held, login.user)):
                fix = f"REUSE for {p.source.path!r} in conflict_resolutions, or have it checked out by {login.user}."
                p = replace(p, action=BLOCKED, reason=reason, argument=fix, overwrites=False)
            elif p.drift and block_on_drift:
                fix = f"on_drift='show', or REUSE for {p.source.path!r} in conflict_resolutions."
                reason = f"{p.drift} The import would overwrite it."
                # IDMC would: whoever goes on in spite of a blocked plan needs it in the backup.
                p = replace(p, action=BLOCKED, reason=reason, argument=fix)
        result.append(p)
    return result


def _plan_missing(o: PackageObject, place: str, users: Sequence[str], org: str) -> PlannedObject:
    """Plan what the package refers to, without holding it, and the target org does not have."""
    reason = f"Neither the package nor org {org} has it, and it is needed by {some(users)}."
    fix = f"include_dependencies=True for the export, or {o.path!r} among its objects."
    return PlannedObject(o, None, place, BLOCKED, reason, argument=fix)


def _plan_fixed(
    o: PackageObject, asset: Asset | None, wanted: str, wishes: Wishes, users: str, org: str
) -> PlannedObject:
    """Plan a container, connection or runtime environment: IDMC never overwrites those."""
    argument = mapping_argument(o.type)
    fix = f"{argument}={{{o.path!r}: '<name in {org}>'}}."
    if asset is not None and is_mapped(o, wishes):
        reason = f"{argument} maps it to {asset.path!r}."
        return PlannedObject(o, asset, asset.path, MAP, reason, {"targetObjectId": asset.id})
    if asset is not None:
        return PlannedObject(o, asset, asset.path, REUSE, f"Org {org} has it.")
    if is_mapped(o, wishes):
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
        overwrites = c.is_included and rule.get("conflictResolution", default) == "OVERWRITE"
        reason = f"conflict_resolutions maps it to {asset.path!r}."
        return PlannedObject(o, asset, asset.path, MAP, reason, rule, overwrites=overwrites)
    if asset is None and not c.is_brought:
        reason = f"Something included needs it, org {org} does not have it, and include_objects does not name it."
        return PlannedObject(o, None, ref["path"], BLOCKED, reason, argument=f"include_objects to name {o.path!r} too.")
    if asset is None:
        return PlannedObject(o, None, ref["path"], CREATE, f"Org {org} does not have it.", rule)
    if not c.is_included:
        return PlannedObject(o, asset, asset.path, REUSE, f"Org {org} has it, and include_objects does not name it.")
    resolution = rule.get("conflictResolution", default)
    source = "conflict_resolutions" if "conflictResolution" in rule else "default_conflict_resolution"
    overwrites = resolution == "OVERWRITE"
    reason = f"Org {org} has it, and {source} says {resolution}."
    return PlannedObject(o, asset, asset.path, OVERWRITE if overwrites else REUSE, reason, rule, overwrites=overwrites)


def _users(o: PackageObject, package: Package) -> str:
    """Who needs an object, as the end of a sentence."""
    users = [p.path for p in package.objects if o.id in p.refs]
    return f", needed by {some(users)}" if users else ""


def _landing(c: Chosen, asset: Asset | None) -> tuple[str, str]:
    """Where an object would end up; two assets of a package must not end up in the same place."""
    if not is_asset(c.object):
        return "source", c.object.id
    if asset is not None:
        return "target", asset.id
    # One that maps to an id which the target lacks lands nowhere.
    return c.object.type.upper(), c.reference.get("path", c.object.id)
