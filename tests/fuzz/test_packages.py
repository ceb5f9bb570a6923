"""Whatever a file holds, reading it as a package returns one that is what it says, or raises IdmcPackageError."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import javaproperties
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.idmc_packages import (
    CHECKSUMS,
    MANIFEST,
    SALES,
    Packed,
    checksums,
    cli_package,
    contents,
    digest,
    manifest,
    server_package,
    zipped,
)

from airflow_provider_infa.idmc import package as packages
from airflow_provider_infa.idmc.errors import IdmcPackageError
from airflow_provider_infa.idmc.package import Package, read_package

from . import odd_json
from .bounds import GROWTH, bounded, examples, readable

#: Tests of packages, each with the same part of them.
SHARE = 1 / 7

FILES = contents()
NAMES = [
    "../evil.xml",
    "/etc/passwd",
    "Explore/../../evil.xml",
    "Explore\\..\\..\\evil.xml",
    "..\\evil",
    "C:\\evil.txt",
    "c:evil",
    "\\\\host\\share",
    "Explore/a\0b.xml",
    "\0",
    "Explore/" + "x" * 60_000,
    "Explore/" + "d/" * 5_000 + "x",
    "Explore/gr\u00f6\u00dfe.xml",
    "Explore/gro\u0308\u00dfe.xml",
    "explore/SALES.project.json",
    "Explore/\u202egnp.xml",
    "Explore/",
    "Explore//x",
    "./Explore/x",
    "Explore/x/",
    "Explore/x\n.xml",
    " ",
    ".",
    "..",
    "..../x",
    "CON",
    "Explore/a:b",
    MANIFEST.upper(),
    MANIFEST,
    CHECKSUMS,
    "SYS/x",
    "sys/../x",
    "%2e%2e/x",
    "~root",
]
#: Lines of the checksum file, for whom it matters; what is no UTF-8 as well.
LINES = [
    b"",
    b"#",
    b"=",
    b"a",
    b"\\",
    b"a=\\",
    b"a=\\u12",
    b"a=\\uD800",
    b"\\ud800\\udc00=x",
    b"a=\\uZZZZ",
    b"\xff=\xfe",
    b"\xef\xbb\xbfa=b",
    b"\0=\0",
    b"a b c",
    b"k:" + b"v" * 5_000,
    b"x\\\\",
    b"\\" * 999,
    b"\\" * 1_000 + b"=",
    b"Explore/missing.xml=00",
    f"{MANIFEST}=00".encode(),
    f"{MANIFEST}=".encode(),
    f"{MANIFEST}={digest(FILES[MANIFEST])}".encode(),
    f"{MANIFEST}={digest(FILES[MANIFEST]).lower()}".encode(),
    b"!" + b"\t" * 5_000,
    b"a\\\n" * 300,
    b"a\\\r" * 300,
    b"k=v\r" * 300,
]
#: Values of fields of the ZIP's own records.
NUMBERS = [0, 1, 2, 8, 9, 12, 14, 20, 45, 46, 99, 0x20, 0x41, 0x800, 0x801, 0xFFFE, 0xFFFF, 10**6, 2**31, 2**32 - 1]
MAGIC = {b"PK\3\4": 30, b"PK\1\2": 46, b"PK\5\6": 22}


def read(file: Path, data: bytes, *, relax: bool = False) -> Package | None:
    """The package, if it is one; in time, in little memory, and what it says of itself is true."""
    file.write_bytes(data)
    try:
        with bounded(len(data)):
            package = read_package(file, relax_checksum=relax)
    except IdmcPackageError as error:
        readable(error)
        return None
    assert (package.path, package.size) == (file, len(data))
    assert package.sha256 == hashlib.sha256(data).hexdigest()
    assert package.objects
    for o in package.objects:
        assert all(type(text) is str for text in (o.id, o.name, o.type, o.path, *o.refs))
        assert o.path.endswith(o.name)
    texts = [[o.id, o.name, o.type, o.path, o.refs] for o in package.objects]
    json.dumps([package.name, package.source_org_id, package.source_org_name, texts], ensure_ascii=False).encode()
    with zipfile.ZipFile(file) as archive:
        names = [info.orig_filename for info in archive.infolist()]
        assert len(set(names)) == len(names)
        assert not any(name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") for name in names)
        if not relax:
            said = javaproperties.loads(archive.read(CHECKSUMS).decode("utf-8", "replace"))
            for name in names:
                if name == MANIFEST or (name.startswith(("Explore/", "SYS/")) and not name.endswith("/")):
                    assert digest(archive.read(name)) == said[name].upper()
    return package


@functools.cache
def sound() -> tuple[bytes, ...]:
    stored = io.BytesIO()
    files = {MANIFEST: json.dumps(manifest(SALES[:1])).encode()}
    with zipfile.ZipFile(stored, "w") as archive:
        for name, data in {**files, CHECKSUMS: checksums(files)}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return server_package(), cli_package(), server_package(SALES[:1]), stored.getvalue()


@functools.cache
def nested() -> bytes:
    """ZIPs in ZIPs, which nobody has to open."""
    data = zipped({"x": bytes(1 << 16)})
    for _ in range(20):
        data = zipped({"x.zip": data})
    return data


names = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"), min_size=1, max_size=30
).filter(lambda name: name not in (".", "..") and not name.endswith(" "))


@examples(SHARE)
@given(st.lists(names, min_size=1, max_size=5, unique=True), st.booleans())
def test_a_sound_package_is_read_as_it_was_written(file: Path, names: list[str], java: bool) -> None:
    project = Packed(names[0], "Project")
    assets = [Packed(f"{project.path}/{name}", "MTT", (project.path,)) for name in names[1:]]
    files = contents([project, *assets])
    package = read(file, zipped({**files, CHECKSUMS: checksums(files, java=java)}))
    assert package
    assert [(o.id, o.name, o.type, o.path) for o in package.objects] == [
        (o.id, o.name, o.type, o.path) for o in (project, *assets)
    ]
    assert all(o.refs == (project.id,) for o in package.objects[1:])
    assert (package.name, package.source_org_name) == ("release-12", "ACME_DEV")


@examples(SHARE)
@given(st.data())
def test_damaged_bytes(file: Path, data: st.DataObject) -> None:
    """Cut, flipped, moved or made up; a sound package damaged by chance is still one only if nothing of it matters."""
    whole = data.draw(st.sampled_from(sound()))
    place = st.integers(0, len(whole))
    way = data.draw(st.sampled_from(["cut", "flip", "flip", "flip", "move", "insert", "behind", "before", "noise"]))
    damaged = bytearray(whole)
    if way == "cut":
        del damaged[data.draw(place) :]
    elif way == "flip":
        for at, bits in data.draw(st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=8)):
            if at < len(damaged):
                damaged[at] ^= bits
    elif way == "move":
        start, end, to = *sorted([data.draw(place), data.draw(place)]), data.draw(place)
        damaged[to:to] = damaged[start:end]
    elif way == "insert":
        at = data.draw(place)
        damaged[at:at] = data.draw(st.binary(max_size=50))
    elif way == "behind":
        damaged += data.draw(st.binary(max_size=100) | st.sampled_from(sound()))
    elif way == "before":
        damaged[:0] = data.draw(st.binary(max_size=100))
    else:
        damaged = bytearray(
            data.draw(st.sampled_from([b"", b"PK", b"PK\3\4", b"PK\5\6"])) + data.draw(st.binary(max_size=300))
        )
    package = read(file, bytes(damaged))
    if way == "cut" and len(damaged) < len(whole):
        assert package is None


@examples(SHARE)
@given(st.data())
def test_records_that_lie(file: Path, data: st.DataObject) -> None:
    """Sizes, offsets, flags, methods and lengths in the ZIP's own records; also records of ZIP64."""
    damaged = bytearray(data.draw(st.sampled_from(sound())))
    records = [(at, size) for magic, size in MAGIC.items() for at in _found(damaged, magic)]
    for _ in range(data.draw(st.integers(1, 4))):
        at, size = data.draw(st.sampled_from(records))
        offset = data.draw(st.integers(4, size - 2))
        value = data.draw(st.sampled_from(NUMBERS))
        form = "<L" if value > 0xFFFF and offset + 4 <= size else "<H"
        struct.pack_into(form, damaged, at + offset, value & (0xFFFFFFFF if form == "<L" else 0xFFFF))
    if data.draw(st.booleans()):
        damaged = _with_zip64(
            damaged,
            data.draw(st.lists(st.sampled_from([0, 1, 2**32, 2**40, 2**63, 2**64 - 1]), min_size=4, max_size=4)),
        )
    read(file, bytes(damaged))


def _found(data: bytes | bytearray, magic: bytes) -> list[int]:
    at = -1
    return [at for _ in range(data.count(magic)) if (at := data.find(magic, at + 1)) >= 0 and at + 46 <= len(data) + 24]


def _with_zip64(data: bytearray, numbers: list[int]) -> bytearray:
    """A ZIP whose first entry's sizes and place, and whose directory's, are told by records of ZIP64."""
    end, first = data.rfind(b"PK\5\6"), data.find(b"PK\1\2")
    if end < 0 or not 0 <= first < end:
        return data
    (size,) = struct.unpack_from("<L", data, end + 12)
    extra = struct.pack("<HHQQQ", 1, 24, *numbers[:3])
    name_length, extra_length = struct.unpack_from("<HH", data, first + 28)
    struct.pack_into("<LL", data, first + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", data, first + 30, (extra_length + len(extra)) & 0xFFFF)
    struct.pack_into("<L", data, first + 42, 0xFFFFFFFF)
    place = first + 46 + name_length
    data[place:place] = extra
    end += len(extra)
    record = struct.pack(
        "<4sQHHLLQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, (size + len(extra)) & 0xFFFFFFFF, numbers[3]
    )
    data[end:end] = record + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    return data


@pytest.mark.filterwarnings("ignore:Duplicate name")
@examples(SHARE)
@given(st.data())
def test_odd_entries(file: Path, data: st.DataObject) -> None:
    """Names that leave the folder, twice the same, links, encryption, packages in packages, thousands of entries."""
    files: list[tuple[zipfile.ZipInfo, bytes]] = []
    base = dict(FILES)
    for name in data.draw(st.lists(st.sampled_from([*NAMES, *base]), min_size=1, max_size=4)):
        info = zipfile.ZipInfo("x")
        info.filename = name
        way = data.draw(st.sampled_from(["plain", "plain", "link", "folder", "stored", "bzip2", "package", "nested"]))
        if way == "link":
            info.external_attr = 0o120777 << 16
        elif way == "folder":
            info.external_attr = 0o40755 << 16 | 0x10
        info.compress_type = {"bzip2": 12, "stored": 0}.get(way, 8)
        content = {"package": sound()[0], "nested": nested()}.get(way) or base.get(name, b"content")
        files.append((info, content))
    listed = {**base, **({info.filename: content for info, content in files} if data.draw(st.booleans()) else {})}
    sums = checksums(listed).replace(b"\0", b"\\u0000")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {**base, CHECKSUMS: sums}.items():
            archive.writestr(zipfile.ZipInfo(name), content, 8)
        for info, content in files * data.draw(st.sampled_from([1, 1, 1, 1, 1, 1, 50])):
            archive.writestr(info, content, info.compress_type)
    written = bytearray(buffer.getvalue())
    read(file, bytes(written), relax=data.draw(st.booleans()))


@examples(SHARE)
@given(st.data())
def test_odd_manifests(file: Path, data: st.DataObject) -> None:
    """With checksums that fit, so that the manifest is really read."""
    real = manifest(SALES[:2])
    text = data.draw(
        odd_json.odd(real)
        | st.sampled_from([b"", b"null", b"[]", b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf" + json.dumps(real).encode()])
        | st.sampled_from(["utf-16", "utf-32", "utf-16-le", "cp037"]).map(lambda code: json.dumps(real).encode(code))
        | st.binary(max_size=50)
    )
    files = {**FILES, MANIFEST: text}
    read(file, zipped({**files, CHECKSUMS: checksums(files)}), relax=data.draw(st.booleans()))


@examples(SHARE)
@given(st.data())
def test_odd_checksums(file: Path, data: st.DataObject) -> None:
    lines = checksums(FILES).splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1)) if lines else 0
        way = data.draw(st.sampled_from(["drop", "change", "insert", "twice", "flip"]))
        if way == "insert" or not lines:
            lines.insert(at, data.draw(st.sampled_from(LINES) | st.binary(max_size=30)))
        elif way == "drop":
            del lines[at]
        elif way == "change":
            lines[at] = data.draw(st.sampled_from(LINES))
        elif way == "twice":
            lines.append(lines[at])
        else:
            lines[at] = lines[at][:-1] + data.draw(st.sampled_from([b"0", b"g", b"", b" ", b"\\"]))
    ending = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b"\0"]))
    written = ending.join(lines) + data.draw(st.sampled_from([b"", b"\n", b"\\"]))
    read(file, zipped({**FILES, CHECKSUMS: written}), relax=data.draw(st.booleans()))


@examples(SHARE)
@given(st.data())
def test_a_changed_file_is_found(file: Path, data: st.DataObject) -> None:
    """However a file that counts is changed, left out or added: without relaxing, that is no package."""
    counting = [name for name in FILES if not name.endswith(".csv")]
    name = data.draw(st.sampled_from(counting))
    files: dict[str, Any] = dict(FILES)
    way = data.draw(st.sampled_from(["change", "drop", "add"]))
    if way == "change":
        files[name] = data.draw(st.binary(max_size=50).filter(lambda content: content != FILES[name]))
    elif way == "drop":
        del files[name]
    else:
        files["Explore/" + data.draw(names)] = b"more"
    assert read(file, zipped({**files, CHECKSUMS: checksums(FILES)})) is None


def _entry(name: str, content: bytes, method: int, declared: int) -> bytes:
    """A ZIP with one entry whose size is told wrong in its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), content, method, 9)
    data = bytearray(buffer.getvalue())
    struct.pack_into("<L", data, data.rfind(b"PK\1\2") + 24, declared)
    return bytes(data)


UNPACKED = 64 << 20


def _told_as_incompressible() -> bytes:
    data = bytearray(_entry(MANIFEST, bytes(UNPACKED), zipfile.ZIP_DEFLATED, UNPACKED))
    struct.pack_into("<L", data, data.rfind(b"PK\1\2") + 20, 0x7FFFFFFF)
    return bytes(data)


BOMBS = {
    "deflated, told as 100 bytes": lambda: _entry(MANIFEST, bytes(UNPACKED), zipfile.ZIP_DEFLATED, 100),
    "bzip2, told as 100 bytes": lambda: _entry(MANIFEST, bytes(UNPACKED), zipfile.ZIP_BZIP2, 100),
    "deflated": lambda: _entry(MANIFEST, bytes(UNPACKED), zipfile.ZIP_DEFLATED, UNPACKED),
    "deflated, told as incompressible": _told_as_incompressible,
    "many small ones": lambda: zipped({**FILES, CHECKSUMS: b"", **{f"x{n}": bytes(1 << 20) for n in range(100)}}),
    "continued lines": lambda: zipped({**FILES, CHECKSUMS: b"a\\\n" * 5_000}),
    "overlapping entries": lambda: _overlapping(2_000),
    "entries": lambda: zipped({**FILES, CHECKSUMS: b"", **{f"x{n}": b"" for n in range(5_000)}}),
    "objects": lambda: zipped({**FILES, MANIFEST: b'{"exportedObjects":[' + b"{}," * 300_000 + b"{}]}"}),
    "lists": lambda: zipped({**FILES, MANIFEST: b'{"exportedObjects":[' + b"[]," * 300_000 + b"[]]}"}),
    "blanks": lambda: zipped({**FILES, MANIFEST: b" " * (2 << 20)}),
}


def _overlapping(count: int) -> bytes:
    """Entries that all are the same bytes of the file."""
    data = _entry("x", bytes(1 << 20), zipfile.ZIP_DEFLATED, 1 << 20)
    first, end = data.rfind(b"PK\1\2"), data.rfind(b"PK\5\6")
    tail = bytearray(data[end:])
    struct.pack_into("<HHL", tail, 8, count, count, (end - first) * count)
    return data[:first] + data[first:end] * count + bytes(tail)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb(file: Path, name: str) -> None:
    """Refused in little time and memory."""
    data = BOMBS[name]()
    read(file, b"PK")  # what the first package costs is not the bomb's
    tracemalloc.start()
    try:
        assert read(file, data) is None
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert grown < GROWTH, f"{grown >> 20} MiB"


def test_that_a_bomb_is_not_unpacked_before_it_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever counts as one, within what one has to be patient with."""
    monkeypatch.setattr(packages, "MAX_UNPACKED", 1 << 20)
    files = {**FILES, "x": hashlib.sha256(b"x").digest() * (1 << 16)}
    assert read(file, zipped({**files, CHECKSUMS: checksums(files)})) is None
