"""
Publishing taskflows and Application Integration assets, which an import leaves unpublished.

Sources: Informatica's page "Publish" and change notes of iics-cli (2026), which record calls to real orgs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from airflow_provider_infa.idmc.answers import expect, member, optional
from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcInputError
from airflow_provider_infa.idmc.models import TASKFLOW, Job, JobKind, JobState, ObjectResult
from airflow_provider_infa.idmc.session import Api, Session

#: Application Integration types in the order in which they have to be published (Informatica's page): what others are
#: built on comes first. AI_CONNECTOR is how older pages call a connection. Process objects are not among them: a real
#: org answers UNSUPPORTED (publish logs of iics-cli, 2026).
CAI_TYPES = ("AI_SERVICE_CONNECTOR", "AI_CONNECTION", "AI_CONNECTOR", "PROCESS", "GUIDE")
#: Everything that can be published. Taskflows come last, as they call processes, and go to another host: on that of
#: Application Integration they fail with ``AvrEntryNotFoundFault`` (iics-cli).
PUBLISHABLE = (*CAI_TYPES, TASKFLOW)
#: Assets in one call (Informatica's page "Publish").
LIMIT = 199
#: Below ``/active-bpel``; ``/public/api/cai/v1/PublishJobs`` is an older name that scripts still use.
PATH = "/asset/v1/publish"
#: Without it in ``Accept``, too, IDMC answers HTTP 500 with ``RESTEASY003635`` (iics-cli).
MEDIA_TYPE = "application/vnd.api+json"
#: The kinds of jobs that publish.
PUBLISH_KINDS = (JobKind.PUBLISH, JobKind.PUBLISH_CAI)
_APIS = {JobKind.PUBLISH: Api.TASKFLOWS, JobKind.PUBLISH_CAI: Api.CAI}


def is_publishable(type: str) -> bool:
    """Whether objects of a type can be published. :param type: Type code; case does not matter."""
    return type.upper() in PUBLISHABLE


def batches(objects: Iterable[Mapping[str, str]]) -> list[tuple[JobKind, list[str]]]:
    """
    The calls that publish objects: the kind of job, and the asset paths in the order in which they are published.

    :param objects: Rows with ``path`` and ``type`` as lookup tells them; their order within a type is kept, a repeated
        one counts once.
    :raises IdmcInputError: If one has no path, or is of a type that can't be published.
    """
    groups: dict[str, dict[str, None]] = {type: {} for type in PUBLISHABLE}
    for row in objects:
        path, type = row.get("path"), str(row.get("type", "")).upper()
        if not path:
            raise IdmcInputError(f"{dict(row)!r} can't be published: a path and a type are needed.")
        if type not in groups:
            raise IdmcInputError(
                f"{row.get('type')} {path!r} can't be published; IDMC publishes {', '.join(PUBLISHABLE)}."
            )
        groups[type][f"Explore/{path}.{type}.xml"] = None
    calls = {
        JobKind.PUBLISH_CAI: [path for type in CAI_TYPES for path in groups[type]],
        JobKind.PUBLISH: list(groups[TASKFLOW]),
    }
    return [
        (kind, paths[start : start + LIMIT]) for kind, paths in calls.items() for start in range(0, len(paths), LIMIT)
    ]


def start_publish(session: Session, kind: JobKind, asset_paths: Sequence[str]) -> Job:
    """
    Start a publish job. When the answer is lost the start is repeated: publishing twice changes nothing.

    :param session: Session with the org.
    :param kind: As :func:`batches` tells.
    :param asset_paths: What :func:`batches` makes, one call's worth.
    :raises IdmcInputError: If there is nothing to publish, or too much for one call.
    """
    if not 0 < len(asset_paths) <= LIMIT:
        raise IdmcInputError(f"One publish call takes 1 to {LIMIT} assets, not {len(asset_paths)}.")
    body = {"data": {"type": "publish", "attributes": {"assetPaths": list(asset_paths)}}}
    return read_publish(session.post_json(PATH, body, api=_APIS[kind], media_type=MEDIA_TYPE))


def publish_state_call(kind: JobKind, job_id: str) -> tuple[str, Api, str]:
    """As :func:`airflow_provider_infa.idmc.jobs.state_call`, for publish jobs."""
    return f"{PATH}/{quote(job_id, safe='')}/Status", _APIS[kind], MEDIA_TYPE


def get_publish(session: Session, kind: JobKind, job_id: str, *, expand_objects: bool = False) -> Job:
    """
    Ask for a publish job's state.

    The links in its answers are not followed: they are plain HTTP at times (Informatica's ticket ICAI-41690).

    :param session: Session with the org.
    :param kind: Of taskflows or of Application Integration assets.
    :param job_id: Publish job id.
    :param expand_objects: Also ask what it did with each asset.
    """
    path, api, media_type = publish_state_call(kind, job_id)
    job = read_publish(session.get_json(path, api=api, media_type=media_type), job_id)
    if expand_objects and not job.objects:
        # Real answers have the assets in Status only (publish logs of iics-cli), the documentation in the other.
        path = path.removesuffix("/Status")
        job = read_publish(session.get_json(path, api=api, media_type=media_type), job_id)
    return job


def read_publish(answer: Any, job_id: str | None = None) -> Job:
    """
    Read a publish job.

    :param answer: What IDMC answered.
    :param job_id: Its id, if the answer need not tell it.
    """
    what = "the publish job"
    data = member(expect(answer, dict, what), "data", dict, what)
    attributes = member(data, "attributes", dict, what)
    word = member(attributes, "jobState", str, what)
    end_time = optional(attributes, "endDate", str, what)
    details = attributes.get("jobStatusDetail")
    items = optional(attributes, "itemDetail", list, what)
    if items is None and isinstance(details, Mapping):
        items = optional(details, "itemDetail", list, what)
    id = optional(data, "id", str, what) or job_id
    if not id:
        raise IdmcAnswerError(f"The answer to the start of {what} tells no id.")
    return Job(
        id=id,
        name=None,
        state=JobState.of(word, ended=end_time is not None),
        word=word,
        message=_words(details) or None,
        start_time=optional(attributes, "startDate", str, what),
        end_time=end_time,
        objects=None if items is None else tuple(_result(item) for item in items),
    )


def _result(data: Any) -> ObjectResult:
    what = "an asset of the publish job"
    data = expect(data, dict, what)
    path, type = object_of(member(data, "assetPath", str, what))
    word = optional(data, "itemState", str, what) or ""
    return ObjectResult(
        id=optional(data, "itemGUID", str, what),
        path=path,
        type=type,
        state=JobState.of(word, ended=True) if word else JobState.RUNNING,
        word=word,
        message=_words(data.get("itemStatusDetail")) or None,
    )


def object_of(asset_path: str) -> tuple[str, str]:
    """Path and type of ``Explore/Sales/tf_orders.TASKFLOW.xml``. :param asset_path: As publish jobs show it."""
    name = asset_path.removeprefix("/").removeprefix("Explore/").removesuffix(".xml")
    path, _, type = name.rpartition(".")
    return (path, type) if path else (name, "")


def _words(detail: Any, depth: int = 20) -> str:
    """The texts in a status detail, whose shape no source tells. :param depth: Levels to look into."""
    if depth == 0:
        return ""
    if isinstance(detail, Mapping):
        # A number says nothing without its name: {"SUCCESS": 3, "ERROR": 1}.
        named = (
            f"{k}: {v}" if isinstance(v, int) else _words(v, depth - 1) for k, v in detail.items() if k != "itemDetail"
        )
        return "; ".join(filter(None, named))
    if isinstance(detail, list):
        return "; ".join(filter(None, (_words(each, depth - 1) for each in detail)))
    return "" if detail is None else str(detail).strip()
