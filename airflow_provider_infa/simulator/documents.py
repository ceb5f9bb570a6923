"""The files of a package that are no inner ZIPs: container JSON and taskflow XML.

Their shape is that of packages published for import (2021) and of an expanded one (2026).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from airflow_provider_infa.simulator import wire
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.entries import Content, Hint, references_in

_REPOSITORY = "http://schemas.active-endpoints.com/appmodules/repository/2010/10/avrepository.xsd"
_TYPES = _REPOSITORY + "/types"
_NEVER = "2038-01-18T00:00:00.000Z"


def container(asset: Asset) -> bytes:
    """Return the OData dump of a project or folder."""
    moment = wire.rounded(asset.update_time)
    owner = wire.stable_id("user", asset.updated_by)
    values: dict[str, Any] = {
        "id": asset.id,
        "name": asset.name,
        "description": asset.description,
        "owner": owner,
        "createdBy": owner,
        "lastUpdatedBy": owner,
        "lastAccessedBy": owner,
        "createdTime": moment,
        "lastUpdatedTime": moment,
        "lastAccessedTime": moment,
        "expiresBy": _NEVER,
        "documentType": asset.type,
        "contentType": "Binary",
        "documentState": "COMPLETE",
        "aclRule": "org",
        "subcontainerCount": 0,
        "customAttributes": None,
        "repoInfo": None,
        "parentInfo": None,
    }
    dump = {
        "id": f"{asset.type}s({asset.id})",
        "type": f"OData.frs.{asset.type}",
        "properties": [{"name": name, "value": value, "valueType": "PRIMITIVE"} for name, value in values.items()],
    }
    return json.dumps(dump, ensure_ascii=False, indent=1).encode()


def read_container(source: bytes) -> Content:
    """Read the dump of a project or folder.

    :raises ValueError: if it cannot be understood.
    """
    values = {item["name"]: item["value"] for item in json.loads(source)["properties"]}
    return Content(name=values["name"], guid=values["id"], description=values.get("description"))


def xml(asset: Asset, uses: Mapping[str, Asset], outside: Mapping[str, Asset], *, with_tags: bool) -> bytes:
    """Return the XML of a taskflow or Application Integration asset.

    :param uses: the objects it refers to.
    :param outside: those of them that the package does not carry.
    """
    ElementTree.register_namespace("aetgt", _REPOSITORY)
    ElementTree.register_namespace("types1", _TYPES)
    root = ElementTree.Element(f"{{{_REPOSITORY}}}getResponse")
    item = ElementTree.SubElement(root, f"{{{_TYPES}}}Item")
    moment = wire.seconds(asset.update_time)
    fields = {
        "EntryId": f"{asset.id}::{asset.type.lower()}.xml",
        "Name": asset.name,
        "MimeType": f"application/xml+{asset.type.lower()}",
        "Description": asset.description or "",
        "VersionLabel": "1.0",
        "State": "CURRENT",
        "CreatedBy": asset.updated_by,
        "CreationDate": moment,
        "ModifiedBy": asset.updated_by,
        "ModificationDate": moment,
    }
    if asset.is_published and asset.custom_attributes:
        # The captured words; how an asset that is not published is written was not seen, so nothing is.
        fields |= {
            "PublicationStatus": "published",
            "PublishedBy": asset.custom_attributes["publishedBy"],
            "PublicationDate": asset.custom_attributes["publicationDate"],
        }
    if with_tags:
        fields["Tags"] = json.dumps(asset.tags)
    for name, value in fields.items():
        ElementTree.SubElement(item, f"{{{_TYPES}}}{name}").text = value
    entry = ElementTree.SubElement(item, f"{{{_TYPES}}}Entry")
    ElementTree.SubElement(entry, "CurrentServerDateTime").text = moment
    for other in uses.values():
        service = ElementTree.SubElement(entry, "service", guid=f"@{other.id}")
        if other.id in outside:
            service.attrib |= {"path": other.path, "type": other.type}
    ElementTree.SubElement(entry, "definition").text = json.dumps(asset.definition)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def read_xml(source: bytes) -> Content:
    """Read the XML of a taskflow or Application Integration asset.

    :raises ValueError: if it cannot be understood.
    """
    try:
        root = ElementTree.fromstring(source)  # noqa: S314 - from a test on this machine
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from None
    item = root.find(f"{{{_TYPES}}}Item")
    if item is None:
        raise ValueError("no Item in it")

    def field(name: str) -> str | None:
        return item.findtext(f"{{{_TYPES}}}{name}")

    services = [service.attrib for service in item.iter("service")]
    tags = field("Tags")
    return Content(
        name=field("Name") or "",
        guid=(field("EntryId") or "").partition("::")[0] or None,
        description=field("Description"),
        refs=references_in(" ".join(service["guid"] for service in services)),
        hints={s["guid"][1:]: Hint(s["path"], s["type"]) for s in services if "path" in s},
        tags=None if tags is None else tuple(json.loads(tags)),
        definition=json.loads(next(item.iter("definition")).text or "{}"),
    )
