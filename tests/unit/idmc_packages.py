"""Export packages as real servers write them, made from nothing but ``zipfile`` and ``hashlib``."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_infa.idmc.package import Package, PackageObject

MANIFEST = "exportMetadata.v2.json"
CHECKSUMS = "exportPackage.chksum"
CONTAINERS = ("Project", "Folder")


def guid(text: str) -> str:
    """A made-up id of the length that ids have."""
    return hashlib.sha256(text.encode()).hexdigest()[:22]


@dataclass(frozen=True)
class Packed:
    """An object to put into a package. ``path`` is as lookup shows it, ``refs`` are paths of others."""

    path: str
    type: str
    refs: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return guid(f"{self.type}:{self.path}")

    @property
    def is_system(self) -> bool:
        return self.type in ("Connection", "AgentGroup")

    @property
    def name(self) -> str:
        return self.path if self.is_system else self.path.rpartition("/")[2]

    @property
    def parent(self) -> str:
        if self.is_system:
            return "/SYS"
        return "/Explore" + ("/" + self.path.rpartition("/")[0]).rstrip("/")

    @property
    def file(self) -> str:
        if self.type in CONTAINERS:
            return f"Explore/{self.path}.{self.type}.json"
        return f"{'SYS' if self.is_system else 'Explore'}/{self.path}.{self.type}.zip"


SALES = (
    Packed("Sales", "Project"),
    Packed("Sales/Order Staging", "Folder"),
    Packed("DEV_AGENTS", "AgentGroup"),
    Packed("ora dev", "Connection", ("DEV_AGENTS",)),
    Packed("Sales/m_orders", "DTEMPLATE", ("ora dev",)),
    Packed("Sales/Order Staging/mt_größe", "MTT", ("DEV_AGENTS", "Sales/m_orders", "ora dev")),
)


def manifest(objects: Iterable[Packed], *, full: bool = True) -> dict[str, Any]:
    """``exportMetadata.v2.json``: of a server, or (not ``full``) with the objects only, as the official CLI has it."""
    objects = list(objects)
    by_path = {o.path: o.id for o in objects}
    entries = [
        {
            "objectGuid": o.id,
            "objectName": o.name,
            "objectType": o.type,
            "path": o.parent,
            "metadata": {
                "modelVersion": {"major": 0, "minor": 0},
                "repoInfo": None if o.type in CONTAINERS else {"repoHandle": "015ZHE0Z0000000000F8"},
                "objectRefs": [by_path.get(ref, ref) for ref in o.refs],
                "contextAttributes": [],
                "additionalInfo": {"description": "", "contentType": "JSON", "documentState": "VALID"},
            },
        }
        for o in objects
    ]
    if not full:
        return {"exportedObjects": entries}
    return {
        "name": "release-12",
        "sourceOrgId": "fg1dzqDZ1K3lbHp8uq5vQB",
        "sourceOrgName": "ACME_DEV",
        "exportedObjects": entries,
    }


def contents(objects: Iterable[Packed] = SALES, *, full: bool = True) -> dict[str, bytes]:
    """The files of a package, without its checksums."""
    objects = list(objects)
    files = {MANIFEST: json.dumps(manifest(objects, full=full), ensure_ascii=False).encode()}
    if full:
        rows = "".join(f"{o.parent},{o.name},{o.type},{o.id}\n" for o in objects)
        files["ContentsofExportPackage_release-12.csv"] = f"objectPath,objectName,objectType,id\n{rows}".encode()
    for o in objects:
        if o.type in CONTAINERS:
            files[o.file] = json.dumps({"id": f"{o.type}s({o.id})", "type": f"OData.frs.{o.type}"}).encode()
        else:
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w") as archive:
                archive.writestr(zipfile.ZipInfo("metadata.meta"), json.dumps([{"@type": "objectRef", "id": "@1"}]))
            files[o.file] = inner.getvalue()
    return files


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest().upper()


def escaped(name: str, *, java: bool = True) -> str:
    """A key of a properties file: blanks escaped; what is not ASCII as ``\\uXXXX``, as Java writes it, or as it is."""
    name = name.replace("\\", "\\\\").replace(" ", "\\ ").replace(":", "\\:").replace("=", "\\=")
    if not java:
        return name
    return "".join(c if ord(c) < 128 else "".join(f"\\u{u:04X}" for u in utf16(c)) for c in name)


def utf16(char: str) -> list[int]:
    data = char.encode("utf-16-be")
    return [int.from_bytes(data[n : n + 2], "big") for n in range(0, len(data), 2)]


def checksums(
    files: Mapping[str, bytes], *, comments: bool = True, system_keys: bool = True, java: bool = True
) -> bytes:
    """``exportPackage.chksum``; the CSV is not covered."""
    lines = ["#", "#Sun Sep 26 09:06:39 UTC 2021"] if comments else []
    lines += [f"{escaped(n, java=java)}={digest(d)}" for n, d in files.items() if not n.endswith(".csv")]
    if system_keys:
        # The system project and folder: bare ids that match no file.
        lines += [f"{guid('system project')}={digest(b'x')}", f"{guid('system folder')}={digest(b'y')}"]
    return ("\n".join(lines) + "\n").encode()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def server_package(objects: Iterable[Packed] = SALES) -> bytes:
    """As a server writes it."""
    files = contents(objects)
    return zipped({**files, CHECKSUMS: checksums(files)})


def cli_package(objects: Iterable[Packed] = SALES) -> bytes:
    """As the official command line tool writes it: objects only, sorted checksums without comments, UTF-8."""
    files = dict(sorted(contents(objects, full=False).items()))
    return zipped({**files, CHECKSUMS: checksums(files, comments=False, system_keys=False, java=False)})


def package_of(*objects: Packed, sha256: str = "0" * 64) -> Package:
    """What reading such a package results in, for tests that need no file."""
    by_path = {o.path: o.id for o in objects}
    return Package(
        path=Path("release-12.zip"),
        sha256=sha256,
        size=4711,
        name="release-12",
        source_org_id="fg1dzqDZ1K3lbHp8uq5vQB",
        source_org_name="ACME_DEV",
        objects=tuple(
            PackageObject(o.id, o.name, o.type, o.path, tuple(by_path.get(ref, ref) for ref in o.refs)) for o in objects
        ),
    )
