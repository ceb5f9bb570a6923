"""Reads and checks uploaded packages."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from airflow_provider_infa.simulator import catalog, documents, entries, errors, properties, wire
from airflow_provider_infa.simulator.entries import Content
from airflow_provider_infa.simulator.package import CHECKSUMS, CONTENTS, MANIFEST, PAYLOAD

_CHUNK = 1 << 20
# The simulator reads only small files into memory; a larger main file is no package of ours or of IDMC.
_LARGEST = 64 << 20
# Inflating and hashing leave the interpreter's lock to others.
_THREADS = 4
_OBJECTS = ("Explore/", "SYS/")


@dataclass(frozen=True)
class PackagedObject:
    """One object of a package: ``path`` is written as the objects resource writes it."""

    guid: str
    path: str
    type: str
    content: Content

    @property
    def name(self) -> str:
        """The object's name."""
        return self.content.name

    @property
    def is_system(self) -> bool:
        """Whether the object lives outside projects."""
        return self.type in catalog.SYSTEM

    @property
    def is_container(self) -> bool:
        """Whether the object is a project or folder."""
        return self.type in catalog.CONTAINERS

    @property
    def job_path(self) -> str | None:
        """The parent as job results write it."""
        return None if self.is_system else "/" + self.path.rpartition("/")[0]


@dataclass(frozen=True)
class Package:
    """A package that passed the checks; ``objects`` by the id that they have in it."""

    source_org_id: str | None
    source_org_name: str | None
    objects: Mapping[str, PackagedObject]
    checksum_valid: bool


@dataclass(frozen=True)
class _File:
    """A file of a package: its hash, and what an object's file holds, or why that cannot be told."""

    name: str
    sha256: str
    content: Content | None = None
    problem: str | None = None


def read_package(file: Path, *, relax: bool) -> Package:
    """Read an uploaded package.

    :param relax: let changed content in. Even then the checksum file must exist and mappings must be
        unchanged (recorded in client code).
    :raises ApiError: 400 with a MigrationSvc code.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(file, archive, relax=relax)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise errors.bad_package(f"no ZIP file: {error}") from None


def _read(path: Path, archive: zipfile.ZipFile, *, relax: bool) -> Package:
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    _check_names(archive, names)
    for name in (MANIFEST, CHECKSUMS):
        if name not in names:
            raise errors.bad_package(f"{name} is missing")
    files = _examine_all(path, names)
    wrong = _wrong_checksums(archive, files)
    if wrong and not relax:
        raise errors.bad_checksum(wrong)
    if frozen := [name for name in wrong if name.endswith(".DTEMPLATE.zip")]:
        raise errors.frozen_content(frozen)
    try:
        manifest = json.loads(archive.read(MANIFEST))
        rows = manifest["exportedObjects"]
        by_entry = {_entry_of(row): str(row["objectGuid"]) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise errors.bad_package(f"{MANIFEST} cannot be read: {error}") from None
    listed = set(by_entry.values())
    objects: dict[str, PackagedObject] = {}
    for file in files:
        if file.name.startswith(_OBJECTS):
            found = _object(file, by_entry.get(file.name))
            # A file that the manifest does not list is no part of the import.
            if found.guid in listed:
                objects[found.guid] = found
    if lost := sorted(listed - objects.keys()):
        raise errors.bad_package(f"no file for the objects {', '.join(lost[:5])}")
    return Package(manifest.get("sourceOrgId"), manifest.get("sourceOrgName"), objects, not wrong)


def _check_names(archive: zipfile.ZipFile, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise errors.bad_package("a file is in it twice")
    for name in names:
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name:
            raise errors.bad_package(f"the path {name} leads out of it")
    if any(info.flag_bits & 1 for info in archive.infolist()):
        raise errors.bad_package("it is encrypted")


def _wrong_checksums(archive: zipfile.ZipFile, files: list[_File]) -> list[str]:
    """Return the files whose hash is wrong or missing, and the hashes whose file is missing.

    Keys that are bare ids belong to the system project and folder, which have no file (captured in infapy
    docs, 2021).
    """
    try:
        known = properties.load(archive.read(CHECKSUMS))
    except ValueError as error:
        raise errors.bad_package(f"{CHECKSUMS} cannot be read: {error}") from None
    found = {file.name: file.sha256 for file in files}
    wrong = [
        name
        for name, sha256 in found.items()
        if name != CHECKSUMS and not (name.startswith(CONTENTS) and "/" not in name) and known.get(name) != sha256
    ]
    return wrong + [key for key in known if key not in found and not wire.is_id(key)]


def _examine_all(path: Path, names: list[str]) -> list[_File]:
    """Read all files of a package, in threads that open it each: with Python 3.12 and 3.13 those that share a ZipFile
    get each other's bytes (python/cpython#127847).
    """
    own = threading.local()
    with ExitStack() as opened:

        def open_own() -> None:
            own.archive = opened.enter_context(zipfile.ZipFile(path))

        with ThreadPoolExecutor(_THREADS, initializer=open_own) as threads:
            return list(threads.map(lambda name: _examine(own.archive, name), names))


def _examine(archive: zipfile.ZipFile, name: str) -> _File:
    """Read a file of a package, once: a large one goes to disk meanwhile, because the directory of an inner
    ZIP is at its end, and going back in a compressed file means to inflate it again.
    """
    digest = hashlib.sha256()
    with tempfile.SpooledTemporaryFile(max_size=_CHUNK) as spool:
        with archive.open(name) as entry:
            while chunk := entry.read(_CHUNK):
                digest.update(chunk)
                spool.write(chunk)
        sha256, size = digest.hexdigest().upper(), spool.tell()
        if not name.startswith(_OBJECTS):
            return _File(name, sha256)
        spool.seek(0)
        try:
            return _File(name, sha256, _content(spool, size, name))
        except (
            ValueError, KeyError, TypeError, AttributeError, StopIteration, zipfile.BadZipFile, zlib.error
        ) as error:  # fmt: skip
            return _File(name, sha256, problem=str(error))


def _entry_of(row: Mapping[str, Any]) -> str:
    """Return the file that a row of the manifest means."""
    type_ = str(row["objectType"])
    ending = "json" if type_ in catalog.CONTAINERS else "xml" if type_ in catalog.XML_TYPES else "zip"
    return f"{row['path']}/{row['objectName']}.{type_}.{ending}".lstrip("/")


def _object(file: _File, listed_guid: str | None) -> PackagedObject:
    """Return the object of a file: what the manifest tells about it has no effect (recorded in client code)."""
    stem, type_, _ = _parts(file.name)
    if type_ not in catalog.CONTAINERS | catalog.SYSTEM and type_ != type_.upper():
        raise errors.bad_package(f"{file.name} is of no known type")
    if file.content is None:
        raise errors.bad_package(f"{file.name} cannot be read: {file.problem}")
    guid = file.content.guid or listed_guid
    if guid is None:
        raise errors.bad_package(f"{file.name} has no id")
    folder = stem.partition("/")[2].rpartition("/")[0]
    return PackagedObject(guid, f"{folder}/{file.content.name}".lstrip("/"), type_, file.content)


def _parts(name: str) -> tuple[str, str, str]:
    """Split ``<path>.<type>.<ending>``."""
    stem, _, ending = name.rpartition(".")
    stem, _, type_ = stem.rpartition(".")
    return stem, type_, ending


def _content(entry: IO[bytes], size: int, name: str) -> Content:
    _, type_, ending = _parts(name)
    if ending == "zip":
        with zipfile.ZipFile(entry) as inner:
            sizes = {info.filename: info.file_size for info in inner.infolist()}
            payload = sizes.get(PAYLOAD, 0)

            def read(name: str) -> bytes | None:
                if name not in sizes:
                    return None
                if sizes[name] > _LARGEST:
                    raise ValueError(f"{name} is too large")
                return inner.read(name)

            return entries.read_inner(type_, read, payload if payload > len(entries.PREVIEW) else 0)
    if size > _LARGEST:
        raise ValueError("too large")
    return documents.read_container(entry.read()) if ending == "json" else documents.read_xml(entry.read())
