"""Export packages: the forms that real ones have, and everything that must not pass."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from airflow_provider_infa.idmc import package as package_module
from airflow_provider_infa.idmc.errors import IdmcPackageError
from airflow_provider_infa.idmc.package import Package, read_package

from .idmc_packages import (
    CHECKSUMS,
    MANIFEST,
    SALES,
    Packed,
    checksums,
    cli_package,
    contents,
    digest,
    guid,
    manifest,
    server_package,
    zipped,
)

MAPPING = "Explore/Sales/m_orders.DTEMPLATE.zip"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "release 12.zip"


def read(path: Path, data: bytes, **options: Any) -> Package:
    path.write_bytes(data)
    return read_package(path, **options)


def refused(path: Path, data: bytes, words: str, **options: Any) -> None:
    """Check that a package is refused with words that name the file and the trouble."""
    with pytest.raises(IdmcPackageError, match=words) as caught:
        read(path, data, **options)
    assert path.name in str(caught.value)


def sealed(files: dict[str, bytes], **options: Any) -> bytes:
    """A package of these files, with checksums that match them."""
    return zipped({**files, CHECKSUMS: checksums(files, **options)})


# the forms that real packages have --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [server_package, cli_package])
def test_both_real_forms(path: Path, make: Any) -> None:
    data = make()
    package = read(path, data)
    assert package.sha256 == hashlib.sha256(data).hexdigest()
    assert package.size == len(data)
    assert [(o.id, o.path, o.type) for o in package.objects] == [(p.id, p.path, p.type) for p in SALES]
    by_path = {o.path: o for o in package.objects}
    assert by_path["Sales/Order Staging/mt_größe"].name == "mt_größe"
    assert by_path["Sales/Order Staging/mt_größe"].refs == (
        by_path["DEV_AGENTS"].id,
        by_path["Sales/m_orders"].id,
        by_path["ora dev"].id,
    )


def test_what_a_server_tells_of_itself(path: Path) -> None:
    package = read(path, server_package())
    assert (package.name, package.source_org_id, package.source_org_name) == (
        "release-12",
        "fg1dzqDZ1K3lbHp8uq5vQB",
        "ACME_DEV",
    )
    package = read(path, cli_package())
    assert (package.name, package.source_org_id, package.source_org_name) == (None, None, None)


@pytest.mark.parametrize("comments", [True, False])
@pytest.mark.parametrize("system_keys", [True, False])
@pytest.mark.parametrize("java", [True, False])
def test_forms_of_the_checksum_file(path: Path, comments: bool, system_keys: bool, java: bool) -> None:
    data = sealed(contents(), comments=comments, system_keys=system_keys, java=java)
    assert len(read(path, data).objects) == len(SALES)


def test_checksum_file_in_latin_1(path: Path) -> None:
    files = contents()
    text = checksums(files, java=False).decode()
    assert "ö" in text
    assert len(read(path, zipped({**files, CHECKSUMS: text.encode("latin-1")})).objects) == len(SALES)


def test_lower_case_checksums_and_windows_line_ends(path: Path) -> None:
    files = contents()
    lines = [line.partition("=") for line in checksums(files).decode().splitlines()]
    text = "\r\n".join(f"{key}{sign}{value.lower()}" for key, sign, value in lines)
    assert len(read(path, zipped({**files, CHECKSUMS: text.encode()})).objects) == len(SALES)


@pytest.mark.parametrize("name", ["m 1", "größe", "a=b", "a:b", "#x", "!x", "日本", "𝄞", "m..x", "..m", "a\tb"])
@pytest.mark.parametrize("java", [True, False])
def test_odd_names(path: Path, name: str, java: bool) -> None:
    objects = [Packed("Sales", "Project"), Packed(f"Sales/{name}", "MTT")]
    files = contents(objects)
    text = checksums(files, java=java).decode().replace("\t", "\\t")
    package = read(path, zipped({**files, CHECKSUMS: text.encode()}))
    assert package.objects[1].path == f"Sales/{name}"


def test_entries_of_folders_and_of_1980_00_00(path: Path) -> None:
    files = contents()
    path.write_bytes(sealed(files))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("Explore/"), b"")
        archive.writestr(zipfile.ZipInfo("Explore/Sales/"), b"")
    data = bytearray(path.read_bytes())
    # Month and day zero, as the official CLI writes them.
    at = data.index(b"PK\x01\x02")
    data[at + 14 : at + 16] = b"\0\0"
    assert len(read(path, bytes(data)).objects) == len(SALES)


def test_containers_inside_their_own_folder(path: Path) -> None:
    files = contents()
    files["Explore/Sales/Sales.Project.json"] = files.pop("Explore/Sales.Project.json")
    assert len(read(path, sealed(files)).objects) == len(SALES)


def test_application_integration_xml(path: Path) -> None:
    files = contents() | {"Explore/Sales/tf.TASKFLOW.xml": b"<aetgt:getResponse/>", "Explore/Sales/f.MI_TASK.dat": b"x"}
    assert len(read(path, sealed(files)).objects) == len(SALES)


# what must not pass -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"<html>Sign in</html>", b'{"error": {}}', b"\0" * 1000, b"PK\3\4" + b"x" * 99]
)
def test_no_zip(path: Path, data: bytes) -> None:
    refused(path, data, "no ZIP file")


def test_cut_off_anywhere(path: Path) -> None:
    data = server_package()
    places = sorted({*range(0, len(data), 97), *range(len(data) - 60, len(data))})
    for length in places:
        path.write_bytes(data[:length])
        with pytest.raises(IdmcPackageError, match=r"release 12\.zip"):
            read_package(path)


@pytest.mark.parametrize("name", [MAPPING, MANIFEST, "SYS/ora dev.Connection.zip", "Explore/Sales.Project.json"])
def test_wrong_checksum(path: Path, name: str) -> None:
    files = contents()
    changed = {**files, name: files[name] + b" ", CHECKSUMS: checksums(files)}
    refused(path, zipped(changed), f"{name}' does not match its checksum")


def test_relax_checksum_takes_changed_files(path: Path) -> None:
    files = contents()
    changed = {**files, MAPPING: b"edited", CHECKSUMS: checksums(files)}
    assert len(read(path, zipped(changed), relax_checksum=True).objects) == len(SALES)


@pytest.mark.parametrize("relax", [False, True])
def test_missing_checksum_file(path: Path, relax: bool) -> None:
    refused(path, zipped(contents()), f"no {CHECKSUMS}", relax_checksum=relax)


@pytest.mark.parametrize("name", [MANIFEST, MAPPING, "SYS/ora dev.Connection.zip"])
def test_uncovered_content(path: Path, name: str) -> None:
    files = contents()
    covered = {n: d for n, d in files.items() if n != name}
    data = zipped({**files, CHECKSUMS: checksums(covered)})
    refused(path, data, f"{name}' has no checksum")
    assert len(read(path, data, relax_checksum=True).objects) == len(SALES)


@pytest.mark.parametrize("relax", [False, True])
@pytest.mark.parametrize("name", [MAPPING, "ContentsofExportPackage_release-12.csv"])
def test_listed_but_missing(path: Path, name: str, relax: bool) -> None:
    files = contents()
    text = checksums(files) + f"{name.replace(' ', chr(92) + ' ')}={digest(b'')}\n".encode()
    del files[name]
    refused(path, zipped({**files, CHECKSUMS: text}), "is listed in .* but missing", relax_checksum=relax)


@pytest.mark.parametrize("text", [b"a\\uZZZZ=1\n", b"\xff\xfe\\u12", b"Explore/x=\\u00\n"])
def test_checksum_file_that_can_not_be_read(path: Path, text: bytes) -> None:
    refused(path, zipped({**contents(), CHECKSUMS: text}), CHECKSUMS)


def test_crc_is_checked_where_no_checksum_is(path: Path) -> None:
    files = {**contents(), "readme.txt": b"nobody covers this" * 10}
    data = bytearray(sealed({n: d for n, d in files.items() if n != "readme.txt"}))
    path.write_bytes(bytes(data))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo("readme.txt"), files["readme.txt"])
    data = bytearray(path.read_bytes())
    at = data.index(b"nobody covers")
    data[at] ^= 1
    refused(path, bytes(data), "CRC")


ESCAPES = [
    "../evil",
    "Explore/../../evil",
    "Explore/Sales/..",
    "/etc/cron.d/evil",
    "//host/share",
    "\\windows\\evil",
    "\\\\host\\share\\evil",
    "..\\evil",
    "Explore\\..\\..\\evil",
    "Explore/..\\evil",
    "C:\\evil",
    "c:/evil",
    "C:evil",
]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("relax", [False, True])
def test_names_that_leave_the_folder(path: Path, name: str, relax: bool) -> None:
    # Covered by a checksum, so that nothing but the name can be the reason.
    files = {**contents(), name: b"evil"}
    refused(path, sealed(files), "leaves the folder", relax_checksum=relax)


def test_name_with_a_nul(path: Path) -> None:
    """zipfile cuts such a name off, other readers do not."""
    data = sealed({**contents(), "Explore/evil.txt/x": b"evil"})
    refused(path, data.replace(b"Explore/evil.txt/x", b"Explore/evil.txt\0x"), "leaves the folder")


def with_entry(data: bytes, path: Path, **attributes: Any) -> bytes:
    """Append an entry whose header has these attributes."""
    path.write_bytes(data)
    info = zipfile.ZipInfo("Explore/Sales/odd")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, b"target")
        for name, value in attributes.items():
            setattr(archive.infolist()[-1], name, value)
    return path.read_bytes()


@pytest.mark.parametrize("mode", [0o120777, 0o120000])
def test_symbolic_link(path: Path, mode: int) -> None:
    refused(path, with_entry(server_package(), path, external_attr=mode << 16), "symbolic link")


def test_plain_permissions_are_no_link(path: Path) -> None:
    data = with_entry(server_package(), path, external_attr=0o100644 << 16)
    refused(path, data, "no checksum")


def test_encrypted(path: Path) -> None:
    refused(path, with_entry(server_package(), path, flag_bits=1), "refused: .* is encrypted")


def test_duplicate(path: Path) -> None:
    path.write_bytes(server_package())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MAPPING, b"another")
    refused(path, path.read_bytes(), "occurs twice")


def test_bomb(path: Path) -> None:
    files = {**contents(), "Explore/Sales/bomb.MTT.zip": b"\0" * (4 << 20)}
    refused(path, sealed(files), "bomb")


def test_bomb_among_what_no_checksum_covers(path: Path) -> None:
    files = contents()
    refused(path, zipped({**files, CHECKSUMS: checksums(files), "x.csv": b"\0" * (4 << 20)}), "bomb")


def test_entry_that_lies_about_its_size(path: Path) -> None:
    """The central directory says little, the data unpacks to a lot: no more than announced may be unpacked."""
    path.write_bytes(server_package())
    info = zipfile.ZipInfo("lies.csv")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, b"\0" * (4 << 20), zipfile.ZIP_DEFLATED)
        archive.infolist()[-1].file_size = 100
    refused(path, path.read_bytes(), "CRC|damaged|no ZIP file")


def test_too_much_in_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_UNPACKED", 2000)
    refused(path, sealed({**contents(), "Explore/Sales/a.MTT.zip": random.Random(1).randbytes(1900)}), "bomb")


def test_too_many_entries(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_ENTRIES", 5)
    refused(path, server_package(), "more than 5")


@pytest.mark.parametrize("zip64", [False, True])
def test_a_directory_that_is_too_large_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch, zip64: bool) -> None:
    """Whatever number of entries its end announces: zipfile makes an object of each before it can be counted."""
    made = 0

    class Info(zipfile.ZipInfo):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            nonlocal made
            made += 1
            super().__init__(*args, **kwargs)

    _, central = raw_entry(b"x", b"")
    count = package_module.MAX_DIRECTORY // len(central) + 1
    size = count * len(central)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)
    if zip64:
        record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, 0)
        end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        end = record + struct.pack("<4sIQI", b"PK\6\7", 0, size, 1) + end
    monkeypatch.setattr(zipfile, "ZipInfo", Info)
    refused(path, central * count + end, f"refused: its directory is larger than {package_module.MAX_DIRECTORY}")
    assert made == 0


@pytest.mark.parametrize("name", [MANIFEST, CHECKSUMS])
def test_lists_too_large(path: Path, name: str) -> None:
    """Both are read whole, and take many times their size."""
    most = package_module.MAX_MANIFEST if name == MANIFEST else package_module.MAX_DIRECTORY
    files = {**contents(), CHECKSUMS: b"", name: random.Random(1).randbytes(1 << 20) * (most >> 20) + b"x"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for each, data in files.items():
            archive.writestr(zipfile.ZipInfo(each), data)
    refused(path, buffer.getvalue(), f"refused: its {name} is larger than {most}")


def test_the_bounds_leave_room_for_20_000_objects() -> None:
    """Twenty times of what is recommended, each with a path of a hundred characters and three references."""
    asset = Packed("Sales Department/Loading and Staging/Nightly/" + "m" * 55, "MTT", refs=(guid("x"),) * 3)
    text = json.dumps(manifest([asset], full=False), indent=2)
    line = checksums({asset.file: b""}, comments=False, system_keys=False)
    _, central = raw_entry(asset.file.encode(), b"")
    assert 20_000 * len(text) < package_module.MAX_MANIFEST / 2
    assert 20_000 * max(len(line), len(central)) < package_module.MAX_DIRECTORY / 3


def test_a_stored_manifest_is_read_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes for the directory does not go for it."""
    monkeypatch.setattr(package_module, "MAX_DIRECTORY", 1 << 20)
    monkeypatch.setattr(package_module, "CHUNK", 1 << 16)
    text = json.dumps({**manifest(SALES), "more": "x" * (2 << 20)}).encode()
    files = {**contents(), MANIFEST: text}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**files, CHECKSUMS: checksums(files)}.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    assert len(read(path, buffer.getvalue()).objects) == len(SALES)


def test_manifest_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_module, "MAX_MANIFEST", 100)
    refused(path, server_package(), "larger than 100")


@pytest.mark.parametrize(("method", "code"), [("bzip2", 12), ("LZMA", 14), ("PPMd", 98), ("nobody's", 77)])
def test_entry_that_is_not_packed_as_it_says(path: Path, method: str, code: int) -> None:
    """One bit flipped in the central directory names another method, whose reader fails in its own way."""
    data = bytearray(server_package())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 10 : at + 12] = struct.pack("<H", code)
    refused(path, bytes(data), ".")


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (16, 0xFFFFFFF0),  # where the central directory begins
        (16, 0x7FFFFFFF),
        (12, 0xFFFFFFF0),  # how long it is
        (12, 0),
        (10, 0),  # how many entries it has
    ],
)
def test_end_record_that_lies(path: Path, offset: int, value: int) -> None:
    data = bytearray(server_package())
    at = data.rindex(b"PK\x05\x06") + offset
    width = 2 if offset == 10 else 4
    data[at : at + width] = value.to_bytes(width, "little")
    package = read_or_refuse(path, bytes(data), relax=False)
    assert package is None or len(package.objects) == len(SALES)


@pytest.mark.parametrize("text", [b"", b"{", b"not json", b"[1", b"\xff\xff", b"\x00\x01", b"[" * 100_000])
def test_manifest_is_no_json(path: Path, text: bytes) -> None:
    refused(path, sealed({**contents(), MANIFEST: text}), "no JSON")


def entry(**changes: Any) -> dict[str, Any]:
    return manifest([Packed("Sales", "Project")])["exportedObjects"][0] | changes


@pytest.mark.parametrize(
    "data",
    [
        [],
        "x",
        None,
        {},
        {"exportedObjects": None},
        {"exportedObjects": {}},
        {"exportedObjects": ["x"]},
        {"exportedObjects": [None]},
        {"exportedObjects": [entry(objectGuid=None)]},
        {"exportedObjects": [entry(objectGuid=7)]},
        {"exportedObjects": [entry(objectName=None)]},
        {"exportedObjects": [entry(objectType=["MTT"])]},
        {"exportedObjects": [entry(path=7)]},
        {"exportedObjects": [entry(metadata="x")]},
        {"exportedObjects": [entry(metadata={"objectRefs": "x"})]},
        {"exportedObjects": [entry(metadata={"objectRefs": [7]})]},
        {"exportedObjects": [entry()], "name": 7},
        {"exportedObjects": [entry()], "sourceOrgId": []},
    ],
)
def test_manifest_of_wrong_types(path: Path, data: Any) -> None:
    refused(path, sealed({**contents(), MANIFEST: json.dumps(data).encode()}), f"manifest|{MANIFEST}")


@pytest.mark.parametrize("metadata", [None, {}, {"objectRefs": None}, {"objectRefs": []}])
def test_manifest_without_references(path: Path, metadata: Any) -> None:
    text = json.dumps({"exportedObjects": [entry(metadata=metadata)]}).encode()
    assert read(path, sealed({**contents(), MANIFEST: text})).objects[0].refs == ()


def test_manifest_missing(path: Path) -> None:
    files = {name: data for name, data in contents().items() if name != MANIFEST}
    refused(path, sealed(files), "no export package")


def test_nothing_in_it(path: Path) -> None:
    refused(path, sealed(contents([])), "no objects")


def test_no_file_is_no_broken_package(tmp_path: Path) -> None:
    """A path that is wrong is the caller's trouble, and has a name of its own."""
    with pytest.raises(FileNotFoundError):
        read_package(tmp_path / "absent.zip")


def test_nothing_is_written(path: Path, tmp_path: Path) -> None:
    read(path, server_package())
    assert list(tmp_path.iterdir()) == [path]


# whatever arrives -------------------------------------------------------------------------------------------------

GOOD = server_package(SALES)
SMALL = cli_package([Packed("P", "Project")])
anywhere = hypothesis_settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refuse(path: Path, data: bytes, relax: bool) -> Package | None:
    path.write_bytes(data)
    try:
        return read_package(path, relax_checksum=relax)
    except IdmcPackageError:
        return None


@anywhere
@given(st.binary(max_size=500) | st.binary(max_size=200).map(lambda data: b"PK\x03\x04" + data))
@example(b"PK\x05\x06" + b"\0" * 18)
@example(b"PK\x05\x06" + b"\xff" * 16 + b"\0\0")
def test_random_bytes(path: Path, data: bytes) -> None:
    assert read_or_refuse(path, data, relax=False) is None


@anywhere
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
)
def test_random_mutations(path: Path, changes: list[tuple[int, int]], relax: bool) -> None:
    data = bytearray(GOOD)
    for position, value in changes:
        data[position] = value
    package = read_or_refuse(path, bytes(data), relax)
    if package is not None and not relax:
        # What passes without relaxing still holds what was exported.
        assert [(o.id, o.path) for o in package.objects] == [(p.id, p.path) for p in SALES]


def test_every_single_byte_of_a_small_package(path: Path) -> None:
    """Exhaustive where randomness would miss: each byte changed, in the headers in two ways."""
    start = SMALL.index(b"PK\x01\x02")
    trouble = []
    for position in range(len(SMALL)):
        # 8 (deflate) ^ 4 is 12 (bzip2), whose reader fails in its own way.
        for mask in (0xFF, 0x04) if position >= start else (0xFF,):
            data = bytearray(SMALL)
            data[position] ^= mask
            try:
                read_or_refuse(path, bytes(data), relax=position % 2 == 0)
            except Exception as error:
                trouble.append(f"byte {position} ^ {mask:#x}: {type(error).__name__}: {error}")
    assert not trouble, "\n".join(trouble[:20])


@anywhere
@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.booleans())
def test_random_pieces(path: Path, start: int, end: int, twice: bool) -> None:
    data = GOOD[start:end]
    read_or_refuse(path, data + data if twice else data, relax=False)


def raw_entry(name: bytes, data: bytes, **fields: int) -> tuple[bytes, bytes]:
    """A stored entry made by hand: local header with data, and central header (for offset 0)."""
    values = {"flags": 0, "crc": zlib.crc32(data), "size": len(data), "offset": 0} | fields
    middle = struct.pack("<HHHIII", 0, 0, 0x21, values["crc"], values["size"], values["size"])
    head = struct.pack("<HH", 20, values["flags"]) + middle
    local = b"PK\x03\x04" + head + struct.pack("<HH", len(name), 0) + name + data
    central = b"PK\x01\x02" + struct.pack("<H", 20) + head
    central += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, values["offset"]) + name
    return local, central


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (b"\xff\xfe\xfd", {"flags": 0x800}),  # says UTF-8 and is none
        (b"", {}),
        (b"x", {"offset": 0xFFFFFFFE}),
        (b"x", {"size": 0xFFFFFFF0}),
        (b"x", {"flags": 0x20}),  # patched data
        (b"x", {"flags": 0x40}),  # strong encryption
    ],
)
def test_headers_made_by_hand(path: Path, name: bytes, fields: dict[str, int]) -> None:
    local, central = raw_entry(name, b"data", **fields)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    assert read_or_refuse(path, local + central + end, relax=False) is None


def test_ids_of_the_system_folders_need_no_file(path: Path) -> None:
    files = contents()
    text = checksums(files, system_keys=False) + f"{guid('anything')}={digest(b'')}\n".encode()
    assert len(read(path, zipped({**files, CHECKSUMS: text})).objects) == len(SALES)


@pytest.mark.parametrize(("per_thread", "archives"), [(1, package_module.THREADS), (package_module.PER_THREAD, 1)])
def test_threads_share_no_archive(path: Path, monkeypatch: pytest.MonkeyPatch, per_thread: int, archives: int) -> None:
    """In some versions of Python they would get each other's bytes (python/cpython#127847)."""
    files = contents() | {f"Explore/many/{n}.MTT.zip": bytes([n]) * 100 for n in range(40)}
    data = zipped({**files, CHECKSUMS: checksums(files)})
    used: set[zipfile.ZipFile] = set()
    met: list[bool] = []

    class Watched(zipfile.ZipFile):
        def open(self, *args: Any, **kwargs: Any) -> Any:
            met.append(self in reading)
            reading.append(self)
            used.add(self)
            time.sleep(0.005)
            try:
                with super().open(*args, **kwargs) as file:
                    return io.BytesIO(file.read())
            finally:
                reading.remove(self)

    reading: list[Watched] = []
    monkeypatch.setattr(package_module, "PER_THREAD", per_thread)
    monkeypatch.setattr(zipfile, "ZipFile", Watched)
    assert len(read(path, data).objects) == len(SALES)
    assert len(used) == archives
    assert True not in met
