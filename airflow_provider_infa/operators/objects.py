"""Finding assets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_infa import arguments
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcInputError
from airflow_provider_infa.idmc.models import Asset
from airflow_provider_infa.idmc.release import Release, find_objects
from airflow_provider_infa.storage import write_rows
from airflow_provider_infa.waiting import Stoppable, failing_for_good

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: Rows that go into XCom, which the UI and every task that needs one of them read whole.
MAX_ROWS = 10_000


class InfaListObjectsOperator(Stoppable, BaseOperator):
    """
    List the assets of an org.

    All filters are optional and joined with "and". Nothing found is an empty list, not an error. Assets that the user
    of the connection may not read are left out by IDMC without a word.

    :param types: One type code or several, for example ``["MTT", "TASKFLOW"]``.
    :param location: Project or folder; what lies directly in it is listed, folders included, whose export brings all
        that is in them. Name ``types`` to leave those out.
    :param tag: Tag.
    :param updated_after: Changed at this moment or later: a datetime or ISO text with time zone, for example
        ``{{ data_interval_start }}``.
    :param updated_before: Changed before this moment, for example ``{{ data_interval_end }}``.
    :param updated_by: User who changed it last.
    :param query: A filter in IDMC's own words, appended as it stands.
    :param manifest: List what a release manifest names instead: a YAML file, as a path or any URI that Airflow's object
        storage takes. Excludes all filters above.
    :param limit: List so many at most.
    :param batch_size: Return a list of lists of so many rows each, for ``.expand()``. IDMC recommends at most 1,000
        objects in one export.
    :param full_rows: Return all fields instead of ``id``, ``path`` and ``type``.
    :param output_uri: Write all fields of all rows there as JSON lines, and return this URI. Necessary above 10,000.
    :param infa_conn_id: Airflow connection of the org.
    :return: Rows, or the URI.
    """

    template_fields: Sequence[str] = (
        "infa_conn_id",
        "types",
        "location",
        "tag",
        "updated_after",
        "updated_before",
        "updated_by",
        "query",
        "manifest",
        "limit",
        "batch_size",
        "full_rows",
        "output_uri",
    )
    template_fields_renderers = {"types": "json"}

    def __init__(
        self,
        *,
        types: str | Sequence[str] | None = None,
        location: str | None = None,
        tag: str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        updated_by: str | None = None,
        query: str | None = None,
        manifest: str | None = None,
        limit: int | str | None = None,
        batch_size: int | str | None = None,
        full_rows: bool | str = False,
        output_uri: str | None = None,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.types = types
        self.location = location
        self.tag = tag
        self.updated_after = updated_after
        self.updated_before = updated_before
        self.updated_by = updated_by
        self.query = query
        # Were one of these dropped because it came to nothing, much more would be promoted than was meant.
        self._given = arguments.given(location=location, tag=tag, updated_by=updated_by, query=query)
        self.manifest = manifest
        self.limit = limit
        self.batch_size = batch_size
        self.full_rows = full_rows
        self.output_uri = output_uri

    def execute(self, context: Context) -> list[Any] | str:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            batch_size = arguments.number(self.batch_size, "batch_size")
            output_uri = arguments.text(self.output_uri)
            if output_uri and batch_size:
                raise IdmcInputError("batch_size and output_uri exclude each other: a file can't be mapped over.")
            assets = self._find(hook)
            if output_uri:
                count = write_rows((asset.row(full=True) for asset in assets), output_uri)
                self.log.info("Found %d objects in org %s, written to %s.", count, hook.org_name, output_uri)
                return output_uri
            full = arguments.flag(self.full_rows, "full_rows")
            rows = [asset.row(full=full) for asset in islice(assets, MAX_ROWS + 1)]
            if len(rows) > MAX_ROWS:
                raise IdmcInputError(
                    f"Org {hook.org_name} has more than {MAX_ROWS} such objects, too many for XCom: set output_uri to "
                    "have them written to object storage, or narrow the filters."
                )
            self.log.info("Found %d objects in org %s.", len(rows), hook.org_name)
        if batch_size:
            return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        return rows

    def _find(self, hook: InfaHook) -> Iterator[Asset]:
        filters: dict[str, Any] = {
            "types": self._types(),
            "location": arguments.text(self.location),
            "tag": arguments.text(self.tag),
            "updated_after": _moment(self.updated_after),
            "updated_before": _moment(self.updated_before),
            "updated_by": arguments.text(self.updated_by),
            "query": arguments.text(self.query),
        }
        if empty := [name for name in sorted(self._given) if not filters[name]]:
            raise IdmcInputError(
                f"{' and '.join(empty)} came to nothing, so far more would be listed. Give a value, or leave it out."
            )
        limit = arguments.number(self.limit, "limit")
        release = arguments.release(self.manifest)
        if release == Release():
            return hook.list_objects(**filters, limit=limit)
        if used := [name for name, value in filters.items() if value]:
            raise IdmcInputError(f"manifest and {', '.join(used)} exclude each other: the manifest says what to list.")
        return islice(find_objects(hook.get_conn(), release), limit)

    def _types(self) -> list[str]:
        types = self.types
        if isinstance(types, str) and types.lstrip()[:1] not in ("[", "("):
            types = [word.strip() for word in types.split(",")]
        types = arguments.structure(types, "types") or []
        if not all(isinstance(word, str) for word in types):
            raise IdmcInputError(f"types must be type codes, not {types!r}.")
        return [word for word in types if arguments.text(word)]


class InfaLookupObjectsOperator(Stoppable, BaseOperator):
    """
    Find objects by id, or by path and type.

    :param objects: Rows with ``id``, or with ``path`` and ``type``. The path of a connection or runtime environment
        (types ``Connection`` and ``AgentGroup``) is its bare name.
    :param ignore_missing: Leave out what the org does not have, instead of failing with the names of all of it.
    :param infa_conn_id: Airflow connection of the org.
    :return: Rows with ``id``, ``path``, ``type``, ``description``, ``updated_by`` and ``update_time``.
    """

    template_fields: Sequence[str] = ("infa_conn_id", "objects", "ignore_missing")
    template_fields_renderers = {"objects": "json"}

    def __init__(
        self,
        *,
        objects: Sequence[Any] | str,
        ignore_missing: bool | str = False,
        infa_conn_id: str = InfaHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.infa_conn_id = infa_conn_id
        self.objects = objects
        self.ignore_missing = ignore_missing

    def execute(self, context: Context) -> list[dict[str, Any]]:
        with failing_for_good(), InfaHook(self.infa_conn_id) as hook:
            refs = arguments.objects(self.objects, "objects")
            found = hook.lookup(refs, ignore_missing=arguments.flag(self.ignore_missing, "ignore_missing"))
            self.log.info("Found %d of %d objects in org %s.", sum(map(bool, found)), len(refs), hook.org_name)
        left_out = ("tags", "source_control", "custom_attributes")  # lookup does not tell them
        rows = [asset.row(full=True) for asset in found if asset is not None]
        return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def _moment(value: datetime | str | None) -> datetime | str | None:
    return value if isinstance(value, datetime) else arguments.text(value)
