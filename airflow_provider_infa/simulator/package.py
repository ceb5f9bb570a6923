"""Writes export packages, laid out as a real server's (captured in infapy docs, 2021)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from airflow_provider_infa.simulator import catalog, documents, entries, properties, wire
from airflow_provider_infa.simulator.assets import Asset

MANIFEST = "exportMetadata.v2.json"
CHECKSUMS = "exportPackage.chksum"
CONTENTS = "ContentsofExportPackage_"
PAYLOAD = "bin/@2.bin"

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Export:
    """What a package is made of.

    :param objects: the exported objects.
    :param uses: every object that one of them refers to, by id, carried or not.
    """

    job_name: str
    org_id: str
    org_name: str
    moment: datetime
    objects: Sequence[Asset]
    uses: Mapping[str, Asset]
    with_tags: bool


def write_package(target: Path, export: Export) -> str:
    """Write a package and return the SHA-256 of its bytes."""
    hashes: dict[str, str] = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, source: IO[bytes], *, incompressible: bool = False) -> None:
            digest = hashlib.sha256()
            info = _info(name, export.moment)
            # Trying to shrink what cannot be takes half a minute for each GiB, with the same outcome.
            info._compresslevel = 0 if incompressible else None  # type: ignore[attr-defined]
            with archive.open(info, "w", force_zip64=True) as entry:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
                    entry.write(chunk)
            hashes[name] = digest.hexdigest().upper()

        add(MANIFEST, io.BytesIO(_manifest(export)))
        carried = {asset.id for asset in export.objects}
        for asset in export.objects:
            with _entry(asset, export, carried) as source:
                add(entries.entry_name(asset), source, incompressible=asset.payload_bytes > _CHUNK)
        archive.writestr(_info(contents_name(export.job_name), export.moment), _contents(export.objects))
        archive.writestr(_info(CHECKSUMS, export.moment), _checksums(hashes, export))
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def contents_name(job_name: str) -> str:
    """Return the name of the table of contents; a slash in the job's name would make a folder of it."""
    return f"{CONTENTS}{job_name.replace('/', '_')}.csv"


def _info(name: str, moment: datetime) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, moment.timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def _uses(asset: Asset, export: Export) -> dict[str, Asset]:
    return {id_: export.uses[id_] for id_ in asset.uses if id_ in export.uses}


def _entry(asset: Asset, export: Export, carried: set[str]) -> IO[bytes]:
    uses = _uses(asset, export)
    if asset.is_container:
        return io.BytesIO(documents.container(asset))
    if asset.type in catalog.XML_TYPES:
        outside = {id_: other for id_, other in uses.items() if id_ not in carried}
        return io.BytesIO(documents.xml(asset, uses, outside, with_tags=export.with_tags))
    # A payload may be larger than memory should hold; beyond one MiB it goes to disk.
    spool = tempfile.SpooledTemporaryFile(max_size=_CHUNK)  # noqa: SIM115 - the caller closes it
    files = entries.inner_files(asset, uses, carried.__contains__, with_tags=export.with_tags)
    with zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as inner:
        for name, content in files.items():
            inner.writestr(_info(name, export.moment), content)
        if asset.payload_bytes:
            # Random bytes do not shrink; do not try.
            info = _info(PAYLOAD, export.moment)
            info.compress_type = zipfile.ZIP_STORED
            with inner.open(info, "w", force_zip64=True) as entry:
                for chunk in _payload(asset.payload_bytes):
                    entry.write(chunk)
        elif asset.type == "DTEMPLATE":
            inner.writestr(_info(PAYLOAD, export.moment), entries.PREVIEW)
    spool.seek(0)
    return spool


def _payload(size: int) -> Iterator[bytes]:
    """Yield bytes that do not compress; they depend on their number alone, so every org has the same."""
    for start in range(0, size, _CHUNK):
        yield hashlib.shake_128(f"{size} {start}".encode()).digest(min(_CHUNK, size - start))


def _manifest(export: Export) -> bytes:
    manifest = {
        "name": export.job_name,
        "sourceOrgId": export.org_id,
        "sourceOrgName": export.org_name,
        "exportedObjects": [_manifest_row(asset) for asset in export.objects],
    }
    return json.dumps(manifest, ensure_ascii=False, indent=1).encode()


def _manifest_row(asset: Asset) -> dict[str, Any]:
    cai = asset.type in catalog.XML_TYPES
    info = {
        "description": asset.description,
        "contentType": "Binary" if asset.is_container else "application/json; charset=utf-8" if cai else "JSON",
        "documentState": "COMPLETE" if asset.is_container or asset.type == "Connection" else "VALID",
    }
    context: list[dict[str, str]] | None = [{"name": "id", "value": "@1"}]
    repo: dict[str, str | None] | None = {"repoHandle": asset.context_id}
    if asset.is_container:
        context, repo = [], None
    elif cai:
        context, repo = None, {"repoHandle": f"{asset.id}::pd.xml"}
    return {
        "objectGuid": asset.id,
        "objectName": asset.name,
        "objectType": asset.type,
        "path": asset.location.rpartition("/")[0],
        "metadata": {
            "modelVersion": {"major": 1 if cai else 0, "minor": 0},
            "repoInfo": repo,
            "objectRefs": list(asset.uses),
            "contextAttributes": context,
            "additionalInfo": info,
        },
    }


def _contents(objects: Sequence[Asset]) -> bytes:
    """Return the table of contents; its last line has no end (captured)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["objectPath", "objectName", "objectType", "id"])
    for asset in objects:
        writer.writerow([asset.location.rpartition("/")[0], asset.name, asset.type, asset.id])
    return text.getvalue().removesuffix("\n").encode()


def _checksums(hashes: Mapping[str, str], export: Export) -> bytes:
    """Return the checksum file: unordered, without the table of contents and itself.

    Two keys are ids of the system project and folder, whose hashes match no file in the package (captured).
    """
    known = dict(hashes)
    for name in ("_SYSTEM_PROJECT", "_SYSTEM_FOLDER"):
        id_ = wire.stable_id(export.org_id, name)
        known[id_] = hashlib.sha256(f"{name} of {export.org_id}".encode()).hexdigest().upper()
    order = sorted(known, key=lambda name: hashlib.sha256(name.encode()).digest())
    return properties.dump({name: known[name] for name in order}, export.moment)
