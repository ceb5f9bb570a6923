"""
Reading an export package: an untrusted ZIP, verified before anything of it is uploaded.

What packages of real servers look like is known from two of them: one downloaded by infapy (2021) and one
published with jbrazda/icai-fault-alert-service (2021); the differences between the two are all accepted.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from airflow_provider_infa.idmc.ahead import ahead
from airflow_provider_infa.idmc.answers import expect, load_json, member, optional
from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcPackageError
from airflow_provider_infa.idmc.models import full_path

MANIFEST = "exportMetadata.v2.json"
CHECKSUMS = "exportPackage.chksum"
#: What IDMC reads when it imports; everything in there, and the manifest, has to be covered by a checksum.
CONTENT = ("Explore/", "SYS/")

MAX_ENTRIES = 100_000
#: Bytes of the manifest, which takes up to thirty times as much memory. That of 20,000 objects has 13 MiB.
MAX_MANIFEST = 32 << 20
#: Bytes of the ZIP's directory, and of the checksums. For 20,000 objects each has 3 MiB.
MAX_DIRECTORY = 16 << 20
#: Unpacked bytes of the whole package. Real assets are kilobytes; 1,000 of them are the recommended most.
MAX_UNPACKED = 16 << 30
#: Deflate can't do better than about 1,032 to 1, and JSON, XML and inner ZIPs stay far below this.
MAX_RATIO = 300
#: Below this size a ratio says nothing.
SMALL = 1 << 20
CHUNK = 1 << 20
#: Files of a package that are verified at the same time: inflating and hashing leave the interpreter's lock to others.
#: More of them, beside the one that hashes the whole, queue for the lock: four take longer than two.
THREADS = 2
#: Bytes of a package for each of them: the directory of a smaller one is not worth being read once more.
PER_THREAD = 16 << 20
#: Characters of a message, as a name in a package can have 65,535.
SHOWN = 500


@dataclass(frozen=True)
class PackageObject:
    """
    An object in a package.

    :param id: Id in the source org.
    :param name: Name.
    :param type: Type code.
    :param path: Path as lookup takes it.
    :param refs: Ids of the objects that it directly depends on.
    :param lists_refs: Whether the manifest tells them at all.
    """

    id: str
    name: str
    type: str
    path: str
    refs: tuple[str, ...] = ()
    lists_refs: bool = True


@dataclass(frozen=True)
class Package:
    """
    A verified package.

    :param path: The ZIP file.
    :param sha256: Hex digest of the file.
    :param size: Its bytes.
    :param name: Name of the export job, where the package tells.
    :param source_org_id: Org that it was exported from, where the package tells.
    :param source_org_name: Name of that org, where the package tells.
    :param objects: What it holds, as the manifest lists it.
    """

    path: Path
    sha256: str
    size: int
    name: str | None
    source_org_id: str | None
    source_org_name: str | None
    objects: tuple[PackageObject, ...] = field(repr=False)


def read_package(path: Path, *, relax_checksum: bool = False) -> Package:
    """
    Read and verify a package.

    :param path: The ZIP file.
    :param relax_checksum: Accept files that differ from their checksum, as IDMC does with ``relaxChecksum``.
    :raises IdmcPackageError: If it is no ZIP file, cut off, encrypted or a bomb, if a name in it leaves its folder,
        if the manifest or the checksums are missing or can't be read, or if a file does not match its checksum;
        the message names the file.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="infa-hash") as beside:
        whole = beside.submit(_sha256, path)
        with _Wary(path.open("rb", buffering=0)) as file:
            name, org_id, org_name, objects = _read(path, file, relax_checksum)
        sha256, size = whole.result()
    if not objects:
        raise IdmcPackageError(f"Package {path.name} holds no objects.")
    return Package(
        path=path,
        sha256=sha256,
        size=size,
        name=name,
        source_org_id=org_id,
        source_org_name=org_name,
        objects=objects,
    )


def _sha256(path: Path) -> tuple[str, int]:
    """Hex digest and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


class _Refused(Exception):
    """What is wrong with the package, without its name."""


class _Wary(io.BufferedReader):
    """A package whose directory is not too large: zipfile reads it in one piece, and all else in smaller ones."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise _Refused(f"its directory is larger than {MAX_DIRECTORY} bytes")
        return super().read(size)


def _read(
    path: Path, file: BinaryIO, relax_checksum: bool
) -> tuple[str | None, str | None, str | None, tuple[PackageObject, ...]]:
    """Job name, org id, org name and objects of a package whose content is what its checksums say."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = _safe_entries(archive, path.stat().st_size)
            manifest = _manifest(archive, names)
            name, org_id, org_name = (
                optional(manifest, key, str, MANIFEST) for key in ("name", "sourceOrgId", "sourceOrgName")
            )
            objects = tuple(_objects(manifest))
            _verify(path, archive, names, relax_checksum)
            return name, org_id, org_name, objects
    except zipfile.BadZipFile as error:
        raise IdmcPackageError(f"Package {path.name} is no ZIP file, or is cut off: {str(error)[:SHOWN]}.") from None
    except _Refused as error:
        raise IdmcPackageError(f"Package {path.name} is refused: {str(error)[:SHOWN]}.") from None
    except IdmcAnswerError as error:
        raise IdmcPackageError(f"Package {path.name} has a manifest that can't be read: {error}") from None
    except (zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, RuntimeError, ValueError, IndexError) as error:
        # What zipfile lets through for broken headers and data: an offset before the file, a codec's own error.
        raise IdmcPackageError(f"Package {path.name} is damaged: {str(error)[:SHOWN]}.") from None


def _safe_entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of a package by name. :param size: Bytes of the package: what a ZIP says of itself may be a lie."""
    infos = archive.infolist()
    if len(infos) > MAX_ENTRIES:
        raise _Refused(f"it has {len(infos)} entries, more than {MAX_ENTRIES}")
    names: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    unpacked = 0
    for info in infos:
        name = info.orig_filename
        parts = re.split(r"[/\\]", name)
        if not name or name.startswith(("/", "\\")) or ".." in parts or "\0" in name or re.match(r"[A-Za-z]:", name):
            raise _Refused(f"the entry {name!r} leaves the folder of the package")
        if info.external_attr >> 16 & 0o170000 == 0o120000:
            raise _Refused(f"the entry {name!r} is a symbolic link")
        if info.flag_bits & 1:
            raise _Refused(f"the entry {name!r} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Java's own ZIP reader knows no other. Those that Python knows unpack without any bound.
            raise _Refused(f"the entry {name!r} is compressed in a way that export packages never are")
        if name in seen:
            raise _Refused(f"the entry {name!r} occurs twice")
        seen.add(name)
        unpacked += info.file_size
        bomb = info.file_size > SMALL and info.file_size > MAX_RATIO * max(info.compress_size, 1)
        if bomb or unpacked > MAX_UNPACKED:
            raise _Refused(f"the entry {name!r} would unpack to {info.file_size} bytes: this looks like a bomb")
        if not info.is_dir():
            names[name] = info
    if unpacked > SMALL and unpacked > MAX_RATIO * size:
        raise _Refused(f"its {size} bytes would unpack to {unpacked}: this looks like a bomb")
    return names


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A file of a package, of which no more is unpacked than the ZIP announces."""
    with archive.open(info) as file:
        return b"".join(iter(lambda: file.read(CHUNK), b""))


def _manifest(archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo]) -> dict[str, Any]:
    if MANIFEST not in names:
        raise _Refused(f"it has no {MANIFEST}, so it is no export package")
    if names[MANIFEST].file_size > MAX_MANIFEST:
        raise _Refused(f"its {MANIFEST} is larger than {MAX_MANIFEST} bytes")
    try:
        data = load_json(_content(archive, names[MANIFEST]).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _Refused(f"its {MANIFEST} is no JSON: {error}") from None
    return expect(data, dict, MANIFEST)


def _verify(path: Path, archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo], relax: bool) -> None:
    expected = _checksums(archive, names)
    # Every entry is read, also those without a checksum: that checks the CRC.
    with closing(_digests(path, archive, names.values())) as digests:
        for name, actual in zip(names, digests, strict=True):
            if name in expected:
                if actual != expected[name].upper() and not relax:
                    raise _Refused(f"{name!r} does not match its checksum in {CHECKSUMS}")
            # Real packages leave the CSV and the checksum file itself uncovered.
            elif (name == MANIFEST or name.startswith(CONTENT)) and not relax:
                raise _Refused(f"{name!r} has no checksum in {CHECKSUMS}")
    for name in expected.keys() - names.keys():
        # Real packages have two keys that match no file: bare ids, of the system project and folder.
        if "/" in name or "." in name:
            raise _Refused(f"{name!r} is listed in {CHECKSUMS} but missing")


def _checksums(archive: zipfile.ZipFile, names: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    """``exportPackage.chksum``: Java properties, path to upper-case hex SHA-256 of the file's bytes."""
    import javaproperties

    if CHECKSUMS not in names:
        raise _Refused(f"it has no {CHECKSUMS}; IDMC takes no package without, not even with a relaxed checksum")
    if names[CHECKSUMS].file_size > MAX_DIRECTORY:
        raise _Refused(f"its {CHECKSUMS} is larger than {MAX_DIRECTORY} bytes")
    raw = _content(archive, names[CHECKSUMS])
    if re.search(rb"\\(\r|\n|\Z)", raw):
        # java.util.Properties writes none, and reading many of them takes for ever.
        raise _Refused(f"its {CHECKSUMS} has a continued line")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # what java.util.Properties writes
    try:
        return dict(javaproperties.loads(text))
    except ValueError as error:
        raise _Refused(f"its {CHECKSUMS} can't be read: {error}") from None


def _digests(path: Path, archive: zipfile.ZipFile, infos: Iterable[zipfile.ZipInfo]) -> Generator[str, None, None]:
    """SHA-256 of files of a package, in order."""
    # Threads that share a ZipFile get each other's bytes in Python 3.12 and 3.13 (python/cpython#127847).
    idle: SimpleQueue[zipfile.ZipFile] = SimpleQueue()
    idle.put(archive)

    def digest(info: zipfile.ZipInfo) -> str:
        mine = idle.get()
        try:
            return _digest(mine, info)
        finally:
            idle.put(mine)

    with ExitStack() as opened:
        threads = min(THREADS, 1 + path.stat().st_size // PER_THREAD)
        for _ in range(threads - 1):
            idle.put(opened.enter_context(zipfile.ZipFile(path)))
        yield from opened.enter_context(closing(ahead(digest, ((info,) for info in infos), threads, wait=True)))


def _digest(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    digest = hashlib.sha256()
    with archive.open(info) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest().upper()


def _objects(manifest: dict[str, Any]) -> Iterator[PackageObject]:
    for entry in member(manifest, "exportedObjects", list, MANIFEST):
        entry = expect(entry, dict, f"an entry of {MANIFEST}")
        name = member(entry, "objectName", str, "an exported object")
        what = f"exported object {name!r}"
        metadata = optional(entry, "metadata", dict, what) or {}
        refs = optional(metadata, "objectRefs", list, what)
        yield PackageObject(
            id=member(entry, "objectGuid", str, what),
            name=name,
            type=member(entry, "objectType", str, what),
            path=full_path(optional(entry, "path", str, what), name),
            refs=tuple(expect(ref, str, f"a reference of {what}") for ref in refs or ()),
            lists_refs=refs is not None,
        )
