"""The filter language of the objects list (Informatica docs: Finding an asset).

Fields and operators are the printed ones; values may stand in single, double or no quotes; parts are joined
with ``and`` or ``;``. Alternatives (``or``, ``,``) and brackets appear in no source and are refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from airflow_provider_infa.simulator import errors, wire
from airflow_provider_infa.simulator.assets import Asset, SourceControl

Filter = Callable[[Asset], bool]
# By name: the operators that a field may be compared with, and what makes a filter of operator and value.
Fields = Mapping[str, tuple[set[str], Callable[[str, str], Filter]]]

_TOKEN = re.compile(
    r"""\s*(?:(?P<field>[A-Za-z][A-Za-z.]*))\s*(?P<op>==|!=|<=|>=|=>|<|>)\s*
    (?:'(?P<single>(?:\\.|[^'\\])*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<bare>[^\s;'"(),=!<>]+))""",
    re.VERBOSE,
)
_JOINT = re.compile(r"\s*;\s*|\s+and\s+")

EQUAL = {"==", "!="}
ORDER = {"<", "<=", "==", ">=", "=>", ">", "!="}

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    # The page prints this one; its examples use the other.
    "=>": operator.ge,
}


def compile_query(source: str, fields: Fields | None = None) -> Filter:
    """Return the filter that a query describes.

    :param fields: what it may name; None for those of the objects list.
    :raises ApiError: 400 for anything but the documented language.
    """
    filters = []
    position = 0
    while True:
        match = _TOKEN.match(source, position)
        if match is None:
            raise errors.bad_request(f"q: no comparison at {source[position:]!r}")
        filters.append(_comparison(_FIELDS if fields is None else fields, match["field"], match["op"], _value(match)))
        position = match.end()
        if not source[position:].strip():
            return lambda asset: all(test(asset) for test in filters)
        joint = _JOINT.match(source, position)
        if joint is None:
            raise errors.bad_request(f"q: no 'and' or ';' at {source[position:]!r}")
        position = joint.end()


def _value(match: re.Match[str]) -> str:
    """Return the value of a comparison; inside quotes a backslash keeps the next character (RSQL)."""
    if (bare := match["bare"]) is not None:
        return bare
    quoted = match["single"] if match["single"] is not None else match["double"]
    return re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)


def _comparison(fields: Fields, field: str, op: str, value: str) -> Filter:
    if field in fields:
        allowed, make = fields[field]
        if op not in allowed:
            raise errors.bad_request(f"q: {field} cannot be compared with {op}")
        return make(op, value)
    raise errors.bad_request(f"q: unknown field {field!r}")


def _type(op: str, value: str) -> Filter:
    wanted = value.upper()
    return lambda asset: _COMPARE[op](asset.type.upper(), wanted)


def _location(_op: str, value: str) -> Filter:
    """Match the direct children of a container, and the container itself.

    Children: Informatica docs, Objects (example). That the project itself is listed too was recorded by iics-
    cli ("its folders plus the project object"); that a folder is listed likewise is chosen: not documented.
    """
    return lambda asset: asset.parent == value or (asset.is_container and asset.path == value)


def text(read: Callable[[Asset], str | None]) -> Callable[[str, str], Filter]:
    """Return what makes filters over a text."""

    def make(op: str, value: str) -> Filter:
        return lambda asset: _COMPARE[op](read(asset), value)

    return make


def _hash(op: str, value: str) -> Filter:
    """Compare the hash; an asterisk stands for the rest of it."""
    pattern = re.compile(".*".join(map(re.escape, value.split("*"))))
    return lambda asset: bool(pattern.fullmatch(_source_control(asset).hash or "")) is (op == "==")


def moment(read: Callable[[Asset], datetime | None]) -> Callable[[str, str], Filter]:
    """Return what makes filters over a moment; one that is missing is unlike all others."""

    def make(op: str, value: str) -> Filter:
        wanted = wire.parse_moment(value)
        if wanted is None:
            raise errors.bad_request(f"q: {value!r} is no moment like 2018-11-21T12:00:00.00Z")

        def test(asset: Asset) -> bool:
            found = read(asset)
            return op == "!=" if found is None else _COMPARE[op](found, wanted)

        return test

    return make


def _truth(op: str, value: str) -> Filter:
    if value.lower() not in ("true", "false"):
        raise errors.bad_request(f"q: {value!r} is no boolean")
    wanted = value.lower() == "true"
    return lambda asset: _COMPARE[op](
        asset.source_control is not None and _source_control(asset).source_controlled, wanted
    )


_NOT_CONTROLLED = SourceControl(source_controlled=False)


def _source_control(asset: Asset) -> SourceControl:
    return asset.source_control or _NOT_CONTROLLED


def _custom(asset: Asset, name: str) -> Any:
    return (asset.custom_attributes or {}).get(name)


def _publication(asset: Asset) -> datetime | None:
    return wire.parse_moment(_custom(asset, "publicationDate") or "")


_FIELDS: Fields = {
    "type": (EQUAL, _type),
    "location": ({"=="}, _location),
    "updateTime": (ORDER, moment(lambda asset: asset.update_time)),
    "updatedBy": (EQUAL, text(lambda asset: asset.updated_by)),
    "tag": ({"=="}, lambda _op, value: lambda asset: value in asset.tags),
    "sourceControl.checkedOutBy": (EQUAL, text(lambda asset: _source_control(asset).checked_out_by)),
    "sourceControl.lastCheckinBy": (EQUAL, text(lambda asset: _source_control(asset).last_checkin_by)),
    "sourceControl.checkedOutTime": (ORDER, moment(lambda asset: _source_control(asset).checked_out_time)),
    "sourceControl.lastCheckinTime": (
        ORDER,
        moment(lambda asset: _source_control(asset).last_checkin_time),
    ),
    "sourceControl.lastPullTime": (ORDER, moment(lambda asset: _source_control(asset).last_pull_time)),
    "sourceControl.hash": (EQUAL, _hash),
    "sourceControl.sourceControlled": (EQUAL, _truth),
    "customAttributes.publishedBy": (EQUAL, text(lambda asset: _custom(asset, "publishedBy"))),
    "customAttributes.publicationDate": (ORDER, moment(_publication)),
}
