"""A plan: what an import would do to the target org, as data."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcPlanBlockedError, IdmcPlanOutdatedError
from airflow_provider_infa.idmc.models import CONNECTION, FOLDER, PROJECT, SCHEDULABLE, Asset, Job, same_type
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.schemas import fault

#: Version of the plan's layout, raised when a reader of plans has to change.
VERSION = 1
CREATE, OVERWRITE, REUSE, MAP, BLOCKED = ACTIONS = ("create", "overwrite", "reuse", "map", "blocked")
#: How the names of jobs end that were started for a plan.
_OF_PLAN = re.compile(r"-plan-([0-9a-f]{12})$")


@dataclass(frozen=True)
class PlannedObject:
    """
    What would happen to one object.

    :param source: The object in the package; of one that something in the package needs, that in the source org.
    :param target: What stands in its place in the target org; None if nothing does.
    :param target_path: Path in the target org.
    :param action: One of ``create``, ``overwrite``, ``reuse``, ``map``, ``blocked``.
    :param reason: Why, for people.
    :param specification: Its entry in IDMC's ``objectSpecification``, without the id.
    :param argument: For what the target lacks, the argument that maps it to something else.
    :param overwrites: Whether the import replaces what stands in the target org; also of what drift blocks.
    :param drift: If somebody else than the promoting user changed last what would be overwritten: who and when.
    """

    source: PackageObject
    target: Asset | None
    target_path: str
    action: str
    reason: str
    specification: Mapping[str, Any] = field(default_factory=dict)
    argument: str | None = None
    overwrites: bool = False
    drift: str | None = None

    @property
    def target_id(self) -> str | None:
        """Id in the target org; None if it does not exist there."""
        return self.target.id if self.target else None

    @property
    def is_arriving(self) -> bool:
        """Whether the import brings it, instead of leaving what is there."""
        return self.action == CREATE or self.overwrites

    @property
    def target_type(self) -> str:
        """Type in the target org; a mapped container may be a folder in one org and a project in the other."""
        if self.target:
            return self.target.type
        if same_type(self.source.type, PROJECT) or same_type(self.source.type, FOLDER):
            return FOLDER if "/" in self.target_path else PROJECT
        return self.source.type

    def row(self) -> dict[str, Any]:
        """Plain JSON."""
        target = self.target
        return {
            "source": {"id": self.source.id, "path": self.source.path, "type": self.source.type},
            "target": {
                "id": self.target_id,
                "path": self.target_path,
                "type": self.target_type,
                "updated_by": target.updated_by if target else None,
                "update_time": target.update_time if target else None,
            },
            "action": self.action,
            "overwrites": self.overwrites,
            "reason": self.reason,
            "drift": self.drift,
        }


@dataclass(frozen=True)
class Plan:
    """
    A plan, bound to one package and one target org.

    :param package: The package.
    :param org_id: Id of the target org.
    :param org_name: Name of the target org.
    :param user: The promoting user: who is logged in to the target org.
    :param objects: What would happen to each object, what others need first.
    :param import_specification: What the start of the import has to send.
    :param schedules: Path of a mapping task in the target org to the schedule that it gets after the import.
    :param warnings: Names in the wishes that concern nothing in the package: a slip, or of use for another package.
    """

    package: Package
    org_id: str
    org_name: str
    user: str
    objects: tuple[PlannedObject, ...]
    import_specification: Mapping[str, Any]
    schedules: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def blocked(self) -> tuple[PlannedObject, ...]:
        """The obstacles."""
        return tuple(o for o in self.objects if o.action == BLOCKED)

    @property
    def missing(self) -> tuple[PlannedObject, ...]:
        """All that can be resolved: obstacles, and connections to be created that could be mapped instead."""
        return tuple(o for o in self.objects if o.argument)

    @property
    def counts(self) -> dict[str, int]:
        """Number of objects for each action, zeros included."""
        counts = Counter(o.action for o in self.objects)
        return {action: counts[action] for action in ACTIONS}

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON, described in ``docs/plan.md``; its hash is that of :func:`hash_of`."""
        plan: dict[str, Any] = {
            "version": VERSION,
            "package": {
                "sha256": self.package.sha256,
                "size": self.package.size,
                "name": self.package.name,
                "source_org_id": self.package.source_org_id,
                "source_org_name": self.package.source_org_name,
            },
            "target_org": {"id": self.org_id, "name": self.org_name},
            "user": self.user,
            "import_specification": self.import_specification,
            "counts": self.counts,
            "objects": [o.row() for o in self.objects],
            "missing": [
                {"type": o.source.type, "name": o.source.path, "reason": o.reason, "argument": o.argument}
                for o in self.missing
            ],
            "drift": [o.target_path for o in self.objects if o.drift],
            "schedules": dict(self.schedules),
            "unscheduled": [
                o.target_path
                for o in self._arriving
                if o.source.type.upper() in SCHEDULABLE and o.target_path not in self.schedules
            ],
            "without_password": [
                o.target_path for o in self.objects if o.action == CREATE and same_type(o.source.type, CONNECTION)
            ],
            "warnings": list(self.warnings),
        }
        return {"version": plan.pop("version"), "hash": hash_of(plan), **plan}

    @property
    def _arriving(self) -> tuple[PlannedObject, ...]:
        """What the import brings, instead of leaving what is there."""
        return tuple(o for o in self.objects if o.is_arriving)

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


def hash_of(plan: Mapping[str, Any]) -> str:
    """
    Hash over what a plan sends and what it assumes of the target org. Wording does not change it.

    :param plan: The plan as JSON.
    """
    promise = {
        "package": plan["package"]["sha256"],
        "target_org": plan["target_org"]["id"],
        "import_specification": plan["import_specification"],
        "objects": [_promised(row) for row in plan["objects"]],
        "schedules": plan["schedules"],
    }
    return hashlib.sha256(json.dumps(promise, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _promised(row: Mapping[str, Any]) -> list[Any]:
    source, target = row["source"], row["target"]
    # Only of what is overwritten does it matter who changed it and when.
    state = [target["updated_by"], target["update_time"]] if row["overwrites"] else []
    return [
        source["id"],
        source["path"],
        source["type"],
        target["id"],
        target["path"],
        target["type"],
        row["action"],
        *state,
    ]


def check_plan(plan: Any) -> dict[str, Any]:
    """
    Check that a value is a plan of this version, and unchanged since it was made.

    :param plan: What a task handed on.
    :raises IdmcInputError: If it is something else.
    """
    if not isinstance(plan, Mapping) or not {"hash", "objects", "import_specification"} <= plan.keys():
        raise IdmcInputError("plan must be what InfaPlanImportOperator returns: plan.output.")
    if plan.get("version") != VERSION:
        raise IdmcInputError(f"The plan has version {plan.get('version')!r}, this is version {VERSION}: plan again.")
    try:
        actual = hash_of(plan)
    except (KeyError, TypeError) as error:
        raise IdmcInputError(f"The plan is damaged ({type(error).__name__}: {error}): plan again.") from None
    if actual != plan["hash"]:
        raise IdmcInputError("The plan was changed after it was made: its content does not match its hash. Plan again.")
    # What the hash does not cover is for people, and is read all the same.
    if found := fault("plan", dict(plan)):
        raise IdmcInputError(f"The plan is damaged ({found}): plan again.")
    return dict(plan)


def job_name(name: str, plan: Mapping[str, Any]) -> str:
    """
    Name for a job that is started for a plan: IDMC tells it with the job's state, so that job and plan stay together
    whatever becomes of Airflow's memory of them.

    :param name: What else the job is to be called.
    :param plan: The plan.
    """
    return f"{name}-plan-{plan['hash'][:12]}"


def is_for(plan_hash: str, job: Job) -> bool:
    """Whether a job was started for a plan, or need not be for any. :param plan_hash: Of the plan. :param job: Job."""
    named = _OF_PLAN.search(job.name or "")
    return named is None or plan_hash.startswith(named[1])


def check_job(plan_hash: str, job: Job) -> None:
    """
    Refuse a job that was started for another plan.

    :param plan_hash: Hash of the plan.
    :param job: The job.
    :raises IdmcPlanOutdatedError: If it was.
    """
    if not is_for(plan_hash, job):
        raise IdmcPlanOutdatedError(
            f"Job {job.id}, called {job.name}, was started for another plan than {plan_hash[:12]}. Nothing was done. "
            "Clear the tasks from plan on, or trigger a new run."
        )
