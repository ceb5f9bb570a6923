"""The files that stand for single objects inside an export package.

Names and fields are those of a captured package (infapy docs, 2021, and packages published for import). Where
an object's federated id, tags, or the name of a dependency that is not in the package are kept is not
documented; chosen: in the object's own file, so that identity is read from there and edits of the manifest
have no effect.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_infa.simulator import catalog, wire
from airflow_provider_infa.simulator.assets import Asset

_REFERENCE = re.compile(r"@([0-9A-Za-z]{22})(?![0-9A-Za-z])")
# First bytes of a JPEG file: the preview picture of a mapping that has no other payload.
PREVIEW = b"\xff\xd8\xff\xe0"

# Main file and kind of the inner ZIP by type; both guessed for the types that no captured package holds.
_MAIN = {
    "Connection": "connection",
    "AgentGroup": "runtimeEnvironment",
    "MTT": "mtTask",
    "DTEMPLATE": "mappingTemplate",
}


@dataclass(frozen=True)
class Hint:
    """Where a dependency lives that the package does not carry."""

    path: str
    type: str


@dataclass(frozen=True)
class Content:
    """What one object's file tells."""

    name: str
    guid: str | None
    description: str | None
    refs: tuple[str, ...] = ()
    hints: Mapping[str, Hint] = field(default_factory=dict)
    tags: tuple[str, ...] | None = None
    definition: Mapping[str, Any] = field(default_factory=dict)
    payload_bytes: int = 0
    persisted: Mapping[str, Any] = field(default_factory=dict)


def entry_name(asset: Asset) -> str:
    """Return the path of an object's file inside the package."""
    if asset.is_container:
        return f"Explore/{asset.path}.{asset.type}.json"
    folder = "SYS" if asset.is_system else "Explore"
    return f"{folder}/{asset.path}.{asset.type}.{'xml' if asset.type in catalog.XML_TYPES else 'zip'}"


def main_file(type_: str) -> str:
    """Return the name of the main file inside an inner ZIP, without its ending."""
    return _MAIN.get(type_, type_.lower())


def inner_files(
    asset: Asset, uses: Mapping[str, Asset], carried: Callable[[str], bool], *, with_tags: bool
) -> dict[str, bytes]:
    """Return the files of an object's inner ZIP.

    :param uses: the objects it refers to, by id.
    :param carried: tells whether the package holds the object with this id.
    """
    main = main_file(asset.type)
    meta: list[dict[str, Any]] = [{"@type": "objectRef", "id": "@1", "type": main}]
    meta += [
        {"@type": "objectRef", "id": f"@{other.id}", "type": other.type, "path": other.path}
        for other in uses.values()
        if not carried(other.id)
    ]
    body: Any = {"@type": main, "id": "@1", "name": asset.name, "description": asset.description}
    body |= _BODIES.get(asset.type, _task)(asset, list(uses.values()))
    body["federatedId"] = asset.id
    if with_tags:
        body["tags"] = list(asset.tags)
    files = {
        "metadata.meta": _json(meta),
        f"{main}.json": _json([body] if asset.type == "Connection" else body),
    }
    if asset.type == "DTEMPLATE":
        files["fileRecord.json"] = _json(
            [{"@type": "fileRecord", "id": f"@{n}", "name": name} for n, name in ((2, "preview"), (3, "mapping"))]
        )
        files["bin/@3.bin"] = _json({"content": asset.definition})
    return files


def _connection(asset: Asset, uses: list[Asset]) -> dict[str, Any]:
    definition = dict(asset.definition)
    kind = definition.pop("type", None)
    environment = next((f"@{other.id}" for other in uses if other.type == "AgentGroup"), None)
    return {
        "type": kind,
        "instanceDisplayName": kind,
        "runtimeEnvironmentId": environment,
        "connParams": {"agentId": None, "agentGroupId": environment, "orgId": None, **definition},
        "port": 0,
        "codepage": "UTF-8",
    }


def _environment(asset: Asset, _uses: list[Asset]) -> dict[str, Any]:
    moment = wire.rounded(asset.update_time)
    return {"isShared": False, "isSystemAgentGroup": False, "createTimeUTC": moment, "updateTimeUTC": moment}


def _mapping(_asset: Asset, uses: list[Asset]) -> dict[str, Any]:
    references = [
        {"@type": "reference", "refObjectId": f"@{other.id}", "refType": main_file(other.type)} for other in uses
    ]
    return {"templateId": "@3", "references": references, "documentType": "MAPPING"}


def _task(asset: Asset, uses: list[Asset]) -> dict[str, Any]:
    environment = next((other for other in uses if other.type == "AgentGroup"), None)
    mapping = next((other for other in uses if not other.is_system), None)
    rest = [other for other in uses if other not in (environment, mapping)]
    return {
        "runtimeEnvironmentId": f"@{environment.id}" if environment else None,
        "mappingId": f"@{mapping.id}" if mapping else None,
        "maxLogs": 10,
        "verbose": False,
        "taskProperties": [{"name": name, "value": value} for name, value in asset.definition.items()],
        "inOutParameters": in_out_parameters(asset),
        "parameters": [
            {"@type": "mtTaskParameter", "name": f"$p{n}$", "sourceConnectionId": f"@{other.id}"}
            for n, other in enumerate(rest, 1)
        ],
    }


def in_out_parameters(asset: Asset) -> list[dict[str, Any]]:
    """Return the values that runs have left, by parameter (Informatica docs: Update modes, mtTaskInOutParameter; the
    name of the value's field is chosen).
    """
    return [
        {"@type": "mtTaskInOutParameter", "name": name, "currentValue": value}
        for name, value in asset.persisted.items()
    ]


_BODIES: dict[str, Callable[[Asset, list[Asset]], dict[str, Any]]] = {
    "Connection": _connection,
    "AgentGroup": _environment,
    "DTEMPLATE": _mapping,
}
_CONNECTION_PARAMETERS = frozenset({"agentId", "agentGroupId", "orgId"})


def read_inner(type_: str, read: Callable[[str], bytes | None], payload_bytes: int) -> Content:
    """Read the files of an inner ZIP.

    :param read: returns the content of an inner file; None if there is none.
    :raises ValueError: if the main file is missing or cannot be understood.
    """
    main = f"{main_file(type_)}.json"
    source = read(main)
    if source is None:
        raise ValueError(f"{main} is missing")
    body = json.loads(source)
    body = body[0] if isinstance(body, list) else body
    definition: dict[str, Any] = {}
    if type_ == "Connection":
        parameters = body.get("connParams") or {}
        definition = {"type": body.get("type")}
        definition |= {key: value for key, value in parameters.items() if key not in _CONNECTION_PARAMETERS}
    elif type_ == "DTEMPLATE":
        definition = json.loads(read("bin/@3.bin") or b"{}").get("content", {})
    else:
        definition = {item["name"]: item["value"] for item in body.get("taskProperties") or []}
    hints = {
        item["id"][1:]: Hint(item["path"], item["type"])
        for item in json.loads(read("metadata.meta") or b"[]")
        if "path" in item
    }
    return Content(
        name=body["name"],
        guid=body.get("federatedId"),
        description=body.get("description"),
        refs=references_in(source.decode()),
        hints=hints,
        tags=tuple(body["tags"]) if "tags" in body else None,
        definition=definition,
        payload_bytes=payload_bytes,
        persisted={item["name"]: item["currentValue"] for item in body.get("inOutParameters") or []},
    )


def references_in(text: str) -> tuple[str, ...]:
    """Return the federated ids that a text refers to as ``@<id>``, each once."""
    return tuple(dict.fromkeys(_REFERENCE.findall(text)))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
