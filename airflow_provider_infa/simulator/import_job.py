"""The work of an import job: a package meets a target org."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from airflow_provider_infa.simulator import import_spec, joblog, jobs, wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.faults import Fault
from airflow_provider_infa.simulator.import_spec import OVERWRITE, Specification
from airflow_provider_infa.simulator.jobs import Job
from airflow_provider_infa.simulator.orgs import Org
from airflow_provider_infa.simulator.outcomes import CREATED, OVERWRITTEN, REUSED, Outcome
from airflow_provider_infa.simulator.unpack import Package, PackagedObject


class Importer:
    """Brings the objects of a package into an org, one by one: those that fail leave the others alone.

    Whether IDMC takes back the others is not documented; chosen: it does not, which is harder on its callers.
    """

    def __init__(self, org: Org, package: Package, specification: Specification, user: str, moment: datetime) -> None:
        self._org = org
        self._store = org.assets
        self._package = package
        self._specification = specification
        self._user = user
        # Objects show whole seconds everywhere, so they have no more.
        self._moment = moment.replace(microsecond=0)
        self._done: dict[str, Outcome] = {}

    def run(self, failing: Mapping[str, str]) -> list[Outcome]:
        """Import, and return what became of the objects in the order of the work.

        :param failing: messages of objects that shall fail, by path.
        """
        chosen = import_spec.selected(self._specification, self._package, self._store)
        for source in _in_order(chosen):
            if source.path in failing:
                outcome = self._failed(source, failing[source.path])
            elif source.is_container:
                outcome = self._container(source)
            elif source.type == "AgentGroup":
                outcome = self._environment(source)
            else:
                outcome = self._asset(source)
            self._done[source.guid] = outcome
        return list(self._done.values())

    def _container(self, source: PackagedObject) -> Outcome:
        target = self._existing(source)
        if target is not None:
            return self._reused(source, target)
        return self._succeeded(source, self._make_container(self._target_path(source.path), source), CREATED)

    def _environment(self, source: PackagedObject) -> Outcome:
        """Reuse a runtime environment. None is ever created: its agents cannot travel (comment of 2024 on
        Informatica docs: Starting an import job).
        """
        target = self._existing(source)
        if target is not None:
            return self._reused(source, target)
        return self._failed(source, f"Runtime environment [{source.name}] does not exist in the organization.")

    def _asset(self, source: PackagedObject) -> Outcome:
        """Create, overwrite or reuse an asset or connection."""
        old = self._existing(source)
        if old is not None and (source.is_system or self._specification.resolution(source.guid) != OVERWRITE):
            return self._reused(source, old)
        uses, missing = self._resolve(source)
        if missing:
            message = f"Object [{source.path}] is missing the following dependencies: {', '.join(missing)}"
            return self._failed(source, message, missing)
        if old is None:
            path = self._target_path(source.path) if not source.is_system else source.path
            if not source.is_system:
                self._make_containers(path)
            new = Asset(
                id=wire.new_id(),
                path=path,
                type=source.type,
                updated_by=self._user,
                update_time=self._moment,
                description=source.content.description,
                tags=source.content.tags or (),
                uses=uses,
                definition=source.content.definition,
                persisted=self._specification.persisted(source, None),
                payload_bytes=source.content.payload_bytes,
            )
            return self._succeeded(source, self._store.put(new), CREATED)
        if not old.may_be_changed_by(self._user):
            holder = old.source_control.checked_out_by if old.source_control else None
            state = f"checked out by {holder}" if holder else "not checked out"
            return self._failed(source, f"The asset [{old.path}] is source controlled and {state}.")
        new = replace(
            old,
            updated_by=self._user,
            update_time=self._moment,
            description=source.content.description,
            tags=self._tags(source, old),
            uses=uses,
            definition=source.content.definition,
            persisted=self._specification.persisted(source, old),
            payload_bytes=source.content.payload_bytes,
            # An imported task is unscheduled (Informatica docs: Asset migration).
            schedule=None,
            # An import does not publish (Informatica docs: Publish). Chosen: what was published before is not
            # any more, as its new content is not what runs.
            custom_attributes=None if old.is_published else old.custom_attributes,
        )
        return self._succeeded(source, self._store.put(new), OVERWRITTEN)

    def _tags(self, source: PackagedObject, old: Asset) -> tuple[str, ...]:
        """Return the tags of an overwritten asset: those of the package, and its own if they are to be merged.

        A package without tag information takes the tags away: chosen, not documented.
        """
        tags = source.content.tags or ()
        if source.guid in self._specification.merge_tags:
            tags = tuple(dict.fromkeys([*old.tags, *tags]))
        return tags

    def _existing(self, source: PackagedObject) -> Asset | None:
        """Return what a packaged object meets in the target: the mapped object, or by path and type."""
        mapped = self._specification.targets.get(source.guid)
        if mapped is not None:
            return self._store.get(mapped.id)
        path = source.path if source.is_system else self._target_path(source.path)
        return self._store.find(path, source.type)

    def _target_path(self, path: str) -> str:
        """Return where a path of the package lies in the target: under the nearest mapped container."""
        best, moved = "", path
        for guid, target in self._specification.targets.items():
            container = self._package.objects[guid]
            holds = container.is_container and f"{path}/".startswith(f"{container.path}/")
            if holds and len(container.path) > len(best):
                best, moved = container.path, target.path + path[len(container.path) :]
        return moved

    def _resolve(self, source: PackagedObject) -> tuple[tuple[str, ...], list[str]]:
        """Return the ids in the target of what an object refers to, and what is missing there."""
        uses: list[str] = []
        missing: list[str] = []
        for guid in source.content.refs:
            target = self._dependency(source, guid)
            if target is not None:
                uses.append(target.id)
            else:
                missing.append(self._wanted(source, guid))
        return tuple(dict.fromkeys(uses)), missing

    def _dependency(self, source: PackagedObject, guid: str) -> Asset | None:
        """Find a dependency: in the file or in the target (Informatica docs: Asset migration)."""
        outcome = self._done.get(guid)
        if outcome is not None and outcome.target is not None:
            return outcome.target
        packaged = self._package.objects.get(guid)
        if packaged is not None:
            return self._existing(packaged)
        hint = source.content.hints.get(guid)
        if hint is not None:
            path = self._target_path(hint.path)
            return self._store.find(path, hint.type)
        return self._store.get(guid)

    def _wanted(self, source: PackagedObject, guid: str) -> str:
        """Name a missing dependency as the log does: name, slash, path (``Runtime Group//SYS``)."""
        packaged, hint = self._package.objects.get(guid), source.content.hints.get(guid)
        if packaged is None and hint is None:
            return f"{guid}/"
        path = packaged.path if packaged else hint.path if hint else ""
        if packaged.is_system if packaged else "/" not in path:
            return f"{path}//SYS"
        parent, _, name = path.rpartition("/")
        return f"{name}//Explore/{parent}"

    def _make_containers(self, path: str) -> None:
        """Create the containers of an asset that neither the target nor the import has."""
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            if self._store.container("/".join(parts[:depth])) is None:
                self._make_container("/".join(parts[:depth]), None)

    def _make_container(self, path: str, source: PackagedObject | None) -> Asset:
        self._make_containers(path)
        return self._store.put(
            Asset(
                id=wire.new_id(),
                path=path,
                type="Folder" if "/" in path else "Project",
                updated_by=self._user,
                update_time=self._moment,
                description=source.content.description if source else "",
            )
        )

    def _succeeded(self, source: PackagedObject, target: Asset, message: str) -> Outcome:
        return Outcome(source, target.path, jobs.SUCCESSFUL, message, target)

    def _reused(self, source: PackagedObject, target: Asset) -> Outcome:
        return self._succeeded(source, target, REUSED)

    def _failed(self, source: PackagedObject, message: str, missing: list[str] | None = None) -> Outcome:
        """Report a failure; what the target has already can still be referred to."""
        old = self._existing(source)
        path = old.path if old else source.path if source.is_system else self._target_path(source.path)
        return Outcome(source, path, jobs.FAILED, message, old, missing or [])


def _in_order(objects: list[PackagedObject]) -> list[PackagedObject]:
    """Return containers from the outside in, runtime environments, connections, then assets bottom-up."""
    first = [o for o in objects if o.is_container]
    first.sort(key=lambda o: o.path)
    for type_ in ("AgentGroup", "Connection"):
        first += [o for o in objects if o.type == type_]
    ordered = {o.guid: o for o in first}
    rest = {o.guid: o for o in objects if o.guid not in ordered}

    def visit(packaged: PackagedObject, above: frozenset[str]) -> None:
        for guid in packaged.content.refs:
            if guid in rest and guid not in ordered and guid not in above:
                visit(rest[guid], above | {guid})
        ordered[packaged.guid] = packaged

    for packaged in rest.values():
        if packaged.guid not in ordered:
            visit(packaged, frozenset({packaged.guid}))
    return list(ordered.values())


async def run(
    org: Org,
    job: Job,
    moment: datetime,
    package: Package,
    specification: Specification,
    fate: Mapping[str, Fault],
) -> None:
    """Do the work of an import job and write down what came of it.

    Words of failing jobs are not documented: the states are those of the sister enum of source control, the
    messages are chosen.
    """
    source_name = package.source_org_name or ""
    if "fail_job" in fate:
        job.state, job.message, job.rows = jobs.FAILED, str(fate["fail_job"].parameters["message"]), []
        job.log = joblog.whole(job, org.name, source_name, [])
        return
    failing: dict[str, str] = {}
    if "fail_objects" in fate:
        failing = fate["fail_objects"].failing(packaged.path for packaged in package.objects.values())
    outcomes = Importer(org, package, specification, job.user, moment).run(failing)
    failed = sum(outcome.state == jobs.FAILED for outcome in outcomes)
    job.rows = [outcome.row() for outcome in sorted(outcomes, key=lambda o: o.source.guid)]
    job.state = jobs.SUCCESSFUL
    if failed:
        job.state = jobs.FAILED if failed == len(outcomes) else org.settings.partial_state
    job.message = {
        jobs.SUCCESSFUL: "Import completed successfully",
        jobs.WARNING: f"Import completed with warnings. {failed} of {len(outcomes)} objects failed",
        jobs.FAILED: f"Import failed. {failed} of {len(outcomes)} objects failed",
    }[job.state]
    lines = [line for outcome in outcomes if (line := outcome.log_line(moment))]
    job.log = joblog.whole(job, org.name, source_name, lines)
