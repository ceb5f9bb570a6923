"""The words of the API: asset, reference, job, result of one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from airflow_provider_infa.idmc.answers import expect, member, optional

#: Containers, and the two types that an import maps instead of changing. objects and lookup spell them in mixed
#: case, the documentation in capitals; compare with :func:`same_type`.
PROJECT, FOLDER, CONNECTION, RUNTIME_ENVIRONMENT = "Project", "Folder", "Connection", "AgentGroup"
TASKFLOW = "TASKFLOW"
#: What can have a schedule, which no export carries (Informatica's page "Asset migration"): tasks and linear taskflows.
SCHEDULABLE = ("MTT", "DSS", "DTT", "DMASK", "DRS", "PCS", "WORKFLOW")


def same_type(one: str, other: str) -> bool:
    """Whether two type words mean the same type (Informatica's page "Lookup": types are case-insensitive)."""
    return one.upper() == other.upper()


def full_path(parent: str | None, name: str) -> str:
    """
    Path as lookup takes it: ``Sales/Orders/mt_load``.

    :param parent: Path of the parent as jobs and packages show it: ``/Sales``, ``/Explore/Sales``; ``/`` or
        ``/Explore`` for a project; None or ``/SYS`` for connections and runtime environments, whose path is their name.
    :param name: Name of the object.
    """
    parts = [part for part in (parent or "").split("/") if part]
    if parts and parts[0] in ("Explore", "SYS"):
        del parts[0]
    return "/".join([*parts, name])


def plain_path(path: str) -> str:
    """
    A path as lookup takes it, of one as people write it: ``Explore/Sales/mt_load`` stands for ``Sales/mt_load``.

    Not for paths that IDMC told: there may be a project that is called Explore.

    :param path: With or without a leading slash.
    """
    return path.removeprefix("/").removeprefix("Explore/")


@dataclass(frozen=True)
class Asset:
    """
    An object of an org, as objects and lookup show it.

    :param id: Federated id, valid in this org only.
    :param path: Project, folders and name, without a leading slash; for connections and runtime environments the name.
    :param type: Type code, for example ``MTT``.
    :param description: Description; lookup has none for connections.
    :param updated_by: User who changed it last.
    :param update_time: When, as IDMC writes it: ``2026-01-26T11:09:48Z``.
    :param tags: Tags; lookup does not tell them.
    :param source_control: Source control state, as it stands in the answer.
    :param custom_attributes: Application Integration attributes, as they stand in the answer.
    """

    id: str
    path: str
    type: str
    description: str | None = None
    updated_by: str | None = None
    update_time: str | None = None
    tags: tuple[str, ...] = ()
    source_control: Mapping[str, Any] | None = None
    custom_attributes: Mapping[str, Any] | None = None

    @classmethod
    def from_wire(cls, data: Any, what: str = "an object") -> Asset:
        """
        Read one entry of ``objects``.

        :raises IdmcAnswerError: If it lacks id, path or type.
        """
        data = expect(data, dict, what)
        return cls(
            id=member(data, "id", str, what),
            path=member(data, "path", str, what),
            type=member(data, "type", str, what),
            description=optional(data, "description", str, what),
            updated_by=optional(data, "updatedBy", str, what),
            update_time=optional(data, "updateTime", str, what),
            tags=tuple(optional(data, "tags", list, what) or ()),
            source_control=optional(data, "sourceControl", dict, what),
            custom_attributes=optional(data, "customAttributes", dict, what),
        )

    def row(self, *, full: bool = False) -> dict[str, Any]:
        """Plain JSON: ``id``, ``path`` and ``type``, or all fields."""
        row: dict[str, Any] = {"id": self.id, "path": self.path, "type": self.type}
        if full:
            row |= {
                "description": self.description,
                "updated_by": self.updated_by,
                "update_time": self.update_time,
                "tags": list(self.tags),
                "source_control": None if self.source_control is None else dict(self.source_control),
                "custom_attributes": None if self.custom_attributes is None else dict(self.custom_attributes),
            }
        return row


@dataclass(frozen=True)
class Reference:
    """
    A direct dependency of an asset.

    :param id: Federated id.
    :param app_context_id: Id in API version 2, if there is one.
    :param path: Path or name.
    :param document_type: Type in the words of references, which are not those of objects: ``SAAS_CONNECTION``.
    :param description: Description.
    :param last_updated_time: When it was changed last.
    """

    id: str
    app_context_id: str | None
    path: str | None
    document_type: str | None
    description: str | None
    last_updated_time: str | None

    @classmethod
    def from_wire(cls, data: Any) -> Reference:
        """Read one entry of ``references``. :raises IdmcAnswerError: If it has no id."""
        what = "a reference"
        data = expect(data, dict, what)
        return cls(
            id=member(data, "id", str, what),
            app_context_id=optional(data, "appContextId", str, what),
            path=optional(data, "path", str, what),
            document_type=optional(data, "documentType", str, what),
            description=optional(data, "description", str, what),
            last_updated_time=optional(data, "lastUpdatedTime", str, what),
        )


class JobKind(str, Enum):
    """Which resource a job belongs to."""

    EXPORT = "export"
    IMPORT = "import"
    PUBLISH = "publish"
    PUBLISH_CAI = "publish-cai"


class JobState(Enum):
    """How far a job, or one object of it, has come."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    SUCCESSFUL = "successful"
    WARNING = "warning"
    FAILED = "failed"

    @classmethod
    def of(cls, word: str, *, ended: bool) -> JobState:
        """
        Sort IDMC's word into a state.

        Not mere equality, because documentation, real answers and clients disagree about the words: Informatica's
        pages say "Success" where real jobs say ``SUCCESSFUL``, and no captured job shows a failure at all.

        :param word: The word as IDMC wrote it.
        :param ended: Whether the job has an ``endTime``. A word that nobody knows is a failure with one, and
            still running without.
        """
        state = _STATES.get(word.strip().upper().replace(" ", "_"))
        return state or (cls.FAILED if ended else cls.RUNNING)

    @property
    def is_end(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobState.NOT_STARTED, JobState.RUNNING)


_STATES = {
    "NOT_STARTED": JobState.NOT_STARTED,
    "QUEUED": JobState.RUNNING,
    "STARTING": JobState.RUNNING,
    "IN_PROGRESS": JobState.RUNNING,
    "PROCESSING": JobState.RUNNING,
    "SUCCESSFUL": JobState.SUCCESSFUL,
    "SUCCESS": JobState.SUCCESSFUL,
    "COMPLETED": JobState.SUCCESSFUL,
    "WARNING": JobState.WARNING,
    "WARNINGS": JobState.WARNING,
    "FAILED": JobState.FAILED,
    "ERROR": JobState.FAILED,
    "CANCELLED": JobState.FAILED,
}

#: What an import did to an object, by the message it leaves on it. Source: answers captured in the documentation
#: of infapy (2021) and in the change notes of iics-cli (2026).
_DONE = {"create object": "created", "overwrite existing object": "overwritten", "reuse existing object": "reused"}


@dataclass(frozen=True)
class ObjectResult:
    """
    What a job did with one object.

    :param id: Id in the source org.
    :param path: Path in the source org.
    :param type: Type code.
    :param state: State of this object.
    :param word: The state as IDMC wrote it.
    :param message: IDMC's message, for example ``Create object``.
    :param target_path: Where an import put it; None for an export. IDMC does not tell the new id.
    """

    id: str | None
    path: str
    type: str
    state: JobState
    word: str
    message: str | None
    target_path: str | None = None

    @classmethod
    def from_wire(cls, data: Any) -> ObjectResult:
        """Read an entry of a job's ``objects``: nested for an import, flat for an export."""
        what = "an object of the job"
        data = expect(data, dict, what)
        source = optional(data, "sourceObject", dict, what)
        target = optional(data, "targetObject", dict, what)
        shown = data if source is None else source
        status = optional(data, "status", dict, what) or {}
        word = optional(status, "state", str, what) or ""
        name = optional(shown, "name", str, what) or ""
        target_name = optional(target, "name", str, what) if target else None
        return cls(
            id=optional(shown, "id", str, what),
            path=full_path(optional(shown, "path", str, what), name),
            type=optional(shown, "type", str, what) or "",
            # An object has no endTime of its own; once the job is over, so is the object.
            state=JobState.of(word, ended=True) if word else JobState.RUNNING,
            word=word,
            message=optional(status, "message", str, what),
            target_path=full_path(optional(target, "path", str, what), target_name) if target and target_name else None,
        )

    @property
    def done(self) -> str | None:
        """What an import did: ``created``, ``overwritten`` or ``reused``; None if it did not say."""
        said = (self.message or "").strip().lower()
        return _DONE.get(said) if self.state is JobState.SUCCESSFUL else None

    def row(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "id": self.id,
            "path": self.path,
            "type": self.type,
            "state": self.word,
            "message": self.message,
            "done": self.done,
            "target_path": self.target_path,
        }


@dataclass(frozen=True)
class Job:
    """
    An export, import or publish job.

    :param id: Job id.
    :param name: Name given at its start.
    :param state: State.
    :param word: The state as IDMC wrote it.
    :param message: IDMC's message.
    :param start_time: When it started, as IDMC writes it.
    :param end_time: When it ended; None while it runs.
    :param objects: What it did with each object; None unless asked for.
    """

    id: str
    name: str | None
    state: JobState
    word: str
    message: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    objects: tuple[ObjectResult, ...] | None = field(default=None, repr=False)

    @classmethod
    def from_wire(cls, data: Any, what: str = "the job") -> Job:
        """
        Read the answer to a start or a status call.

        :raises IdmcAnswerError: If it has no id or no state.
        """
        data = expect(data, dict, what)
        status = member(data, "status", dict, what)
        word = member(status, "state", str, f"the status of {what}")
        end_time = optional(data, "endTime", str, what)
        entries = optional(data, "objects", list, what)
        return cls(
            id=member(data, "id", str, what),
            name=optional(data, "name", str, what),
            state=JobState.of(word, ended=end_time is not None),
            word=word,
            message=optional(status, "message", str, what),
            start_time=optional(data, "startTime", str, what),
            end_time=end_time,
            objects=None if entries is None else tuple(ObjectResult.from_wire(entry) for entry in entries),
        )

    @property
    def shown(self) -> str:
        """The state as IDMC wrote it, with a remark if it is a word that nobody knows."""
        known = self.word.strip().upper().replace(" ", "_") in _STATES
        return self.word if known else f"{self.word} (an unknown state, taken for {self.state.value})"

    @property
    def failed(self) -> tuple[ObjectResult, ...]:
        """The objects that failed."""
        return tuple(o for o in self.objects or () if o.state is JobState.FAILED)

    @property
    def outcome(self) -> JobState:
        """State of the job, but FAILED if any object failed: ``SUCCESSFUL`` for the job alone is no success."""
        return JobState.FAILED if self.state.is_end and self.failed else self.state

    def summary(self) -> dict[str, Any]:
        """
        Plain JSON with stable keys: ``id``, ``name``, ``state``, ``message``, ``counts`` and ``failed``.

        ``counts`` holds the number of ``objects``, those ``successful``, with ``warning`` and ``failed``, and for
        imports those ``created``, ``overwritten`` and ``reused``.
        """
        objects = self.objects or ()
        states = Counter(o.state for o in objects)
        done = Counter(o.done for o in objects)
        return {
            "id": self.id,
            "name": self.name,
            "state": self.word,
            "message": self.message,
            "counts": {
                "objects": len(objects),
                "successful": states[JobState.SUCCESSFUL],
                "warning": states[JobState.WARNING],
                "failed": states[JobState.FAILED],
                "created": done["created"],
                "overwritten": done["overwritten"],
                "reused": done["reused"],
            },
            "failed": [o.row() for o in self.failed],
        }
