"""The package, read with nothing but the standard library."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
import tracemalloc
import zipfile
from xml.etree import ElementTree

import pytest


def java_properties(text):
    """Read what java.util.Properties writes."""
    values = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        key, _, value = re.sub(r"\\(.)", lambda m: "\0" if m[1] == "=" else m[0], line).partition("=")
        key = key.replace("\0", "=")
        key = re.sub(r"\\u([0-9A-F]{4})", lambda m: chr(int(m[1], 16)), key)
        values[re.sub(r"\\(.)", r"\1", key)] = value
    return values


@pytest.fixture
def package(reader):
    ids = [reader.id("Sales", "Project"), reader.id("Finance", "Project")]
    return zipfile.ZipFile(io.BytesIO(reader.package(*ids, name="all of it")))


@pytest.fixture
def manifest(package):
    return json.loads(package.read("exportMetadata.v2.json"))


def inner(package, name):
    return zipfile.ZipFile(io.BytesIO(package.read(name)))


def test_files(package):
    assert package.testzip() is None
    assert {name for name in package.namelist() if "/" not in name} == {
        "exportMetadata.v2.json",
        "exportPackage.chksum",
        "ContentsofExportPackage_all of it.csv",
    }
    assert {name for name in package.namelist() if name.startswith("SYS/")} == {
        "SYS/DEV_AGENTS.AgentGroup.zip",
        "SYS/ora_dev.Connection.zip",
        "SYS/sf_crm.Connection.zip",
        "SYS/ff_landing.Connection.zip",
    }
    assert {
        "Explore/Sales.Project.json",
        "Explore/Sales/Staging.Folder.json",
        "Explore/Sales/Staging/m load customers.DTEMPLATE.zip",
        "Explore/Sales/mt_R&D 'pilot'.MTT.zip",
        "Explore/Sales/tf_sales_daily.TASKFLOW.xml",
        "Explore/Finance/Abschlüsse/m_jahresabschluß.DTEMPLATE.zip",
    } <= set(package.namelist())
    assert all(info.compress_type == zipfile.ZIP_DEFLATED for info in package.infolist())


def test_checksums(package):
    text = package.read("exportPackage.chksum").decode("ascii")
    first, second = text.splitlines()[:2]
    assert first == "#"
    assert re.fullmatch(r"#\w{3} \w{3} \d\d \d\d:\d\d:\d\d UTC \d{4}", second)
    known = java_properties(text)
    covered = {name for name in package.namelist() if not name.endswith((".csv", ".chksum"))}
    assert {name: hashlib.sha256(package.read(name)).hexdigest().upper() for name in covered} == {
        name: value for name, value in known.items() if name in covered
    }
    extra = known.keys() - covered
    assert len(extra) == 2
    hashes = {hashlib.sha256(package.read(name)).hexdigest().upper() for name in package.namelist()}
    for name in extra:
        assert re.fullmatch(r"[0-9A-Za-z]{22}", name)
        assert known[name] not in hashes


def test_escapes_in_the_checksum_file(package):
    text = package.read("exportPackage.chksum").decode("ascii")
    assert "\nExplore/Sales/Staging/m\\ load\\ customers.DTEMPLATE.zip=" in text
    assert "\nExplore/Finance/Abschl\\u00FCsse.Folder.json=" in text
    keys = [line.partition("=")[0] for line in text.splitlines()[2:]]
    assert keys != sorted(keys)


def test_manifest(manifest, reader):
    assert list(manifest) == ["name", "sourceOrgId", "sourceOrgName", "exportedObjects"]
    assert (manifest["name"], manifest["sourceOrgName"]) == ("all of it", "ACME_DEV")
    rows = {(row["path"], row["objectName"]): row for row in manifest["exportedObjects"]}
    task = rows["/Explore/Sales", "mt_orders"]
    ids = {path: reader.id(path, type_) for path, type_ in (
        ("Sales/m_orders", "DTEMPLATE"), ("ff_landing", "Connection"),
        ("ora_dev", "Connection"), ("DEV_AGENTS", "AgentGroup"),
    )}  # fmt: skip
    assert task["objectGuid"] == reader.id("Sales/mt_orders", "MTT")
    assert task["objectType"] == "MTT"
    metadata = task["metadata"]
    assert metadata["modelVersion"] == {"major": 0, "minor": 0}
    assert metadata["repoInfo"]["repoHandle"][6:8] == "0Z"
    assert set(metadata["objectRefs"]) == set(ids.values())
    assert metadata["contextAttributes"] == [{"name": "id", "value": "@1"}]
    assert metadata["additionalInfo"] == {"description": "", "contentType": "JSON", "documentState": "VALID"}
    project = rows["/Explore", "Sales"]["metadata"]
    assert (project["repoInfo"], project["contextAttributes"]) == (None, [])
    assert project["additionalInfo"]["contentType"] == "Binary"
    flow = rows["/Explore/Sales", "tf_sales_daily"]["metadata"]
    assert (flow["modelVersion"]["major"], flow["contextAttributes"]) == (1, None)
    assert rows["/SYS", "ora_dev"]["metadata"]["objectRefs"] == [ids["DEV_AGENTS"]]


def test_contents(package, manifest):
    text = package.read("ContentsofExportPackage_all of it.csv").decode()
    assert not text.endswith("\n")
    header, *rows = csv.reader(io.StringIO(text))
    assert header == ["objectPath", "objectName", "objectType", "id"]
    assert {tuple(row) for row in rows} == {
        (row["path"], row["objectName"], row["objectType"], row["objectGuid"]) for row in manifest["exportedObjects"]
    }


def test_inner_files(package, reader):
    mapping = inner(package, "Explore/Sales/m_orders.DTEMPLATE.zip")
    assert set(mapping.namelist()) == {
        "metadata.meta", "mappingTemplate.json", "fileRecord.json", "bin/@2.bin", "bin/@3.bin",
    }  # fmt: skip
    body = json.loads(mapping.read("mappingTemplate.json"))
    assert (body["name"], body["templateId"]) == ("m_orders", "@3")
    assert {ref["refObjectId"] for ref in body["references"]} == {
        f"@{reader.id('ff_landing', 'Connection')}",
        f"@{reader.id('ora_dev', 'Connection')}",
    }
    assert len(json.loads(mapping.read("fileRecord.json"))) == 2
    assert json.loads(mapping.read("bin/@3.bin")) == {"content": {"revision": "4"}}

    task = json.loads(inner(package, "Explore/Sales/mt_orders.MTT.zip").read("mtTask.json"))
    assert task["mappingId"] == f"@{reader.id('Sales/m_orders', 'DTEMPLATE')}"
    assert task["runtimeEnvironmentId"] == f"@{reader.id('DEV_AGENTS', 'AgentGroup')}"

    connection = inner(package, "SYS/ora_dev.Connection.zip")
    assert json.loads(connection.read("metadata.meta")) == [{"@type": "objectRef", "id": "@1", "type": "connection"}]
    (body,) = json.loads(connection.read("connection.json"))
    assert (body["name"], body["type"]) == ("ora_dev", "Oracle")
    assert body["federatedId"] == reader.id("ora_dev", "Connection")
    environment = inner(package, "SYS/DEV_AGENTS.AgentGroup.zip")
    assert json.loads(environment.read("runtimeEnvironment.json"))["name"] == "DEV_AGENTS"


def test_documents(package, reader):
    dump = json.loads(package.read("Explore/Sales.Project.json"))
    id_ = reader.id("Sales", "Project")
    assert (dump["id"], dump["type"]) == (f"Projects({id_})", "OData.frs.Project")
    values = {item["name"]: item["value"] for item in dump["properties"]}
    assert (values["id"], values["name"], values["documentState"]) == (id_, "Sales", "COMPLETE")
    assert values["expiresBy"] == "2038-01-18T00:00:00.000Z"
    root = ElementTree.fromstring(package.read("Explore/Sales/tf_sales_daily.TASKFLOW.xml"))
    texts = {element.tag.rpartition("}")[2]: element.text for element in root.iter()}
    assert (texts["Name"], texts["MimeType"]) == ("tf_sales_daily", "application/xml+taskflow")
    assert "CurrentServerDateTime" in texts


def test_tags_travel_only_when_asked_for(reader):
    id_ = reader.id("Sales/mt_orders", "MTT")
    assert b"release-1" in b"".join(contents(reader.package(id_, tags=True)))
    assert b"release-1" not in b"".join(contents(reader.package(id_, tags=False)))


def contents(package):
    outer = zipfile.ZipFile(io.BytesIO(package))
    for name in outer.namelist():
        if name.endswith(".zip"):
            yield from contents(outer.read(name))
        else:
            yield outer.read(name)


def test_large_payloads_do_not_shrink(serve, caller):
    asset = {"path": "P/m_big", "type": "DTEMPLATE", "payload_bytes": 5_000_000}
    org = caller(serve({"orgs": {"one": {"assets": [asset]}, "two": {}}}), "one")
    package = org.package(org.id("P/m_big", "DTEMPLATE"))
    assert 5_000_000 < len(package) < 5_100_000
    two = caller(org.simulator, "two")
    assert two.bring(package)["status"]["state"] == "SUCCESSFUL"
    assert two.state()["P/m_big:DTEMPLATE"]["payload_bytes"] == 5_000_000


def multipart(package):
    """Yield the body of an upload, without a copy of the package."""
    yield b'--b\r\nContent-Disposition: form-data; name="package"; filename="p.zip"\r\n\r\n'
    for start in range(0, len(package), 1 << 20):
        yield memoryview(package)[start : start + (1 << 20)]
    yield b"\r\n--b--\r\n"


def test_packages_are_built_and_read_in_flat_memory(serve, caller):
    megabyte = 1 << 20
    generated = {"path": "P/m_{n}", "type": "DTEMPLATE", "payload_bytes": 16 * megabyte, "count": 4}
    org = caller(serve({"orgs": {"one": {"assets": [{"generate": generated}]}, "two": {}}}), "one")
    two = caller(org.simulator, "two")
    tracemalloc.start()
    try:
        job = org.export(*(row["id"] for row in org.list("type=='DTEMPLATE'")))
        while org.get(f"/export/{job}").json()["status"]["state"] == "IN_PROGRESS":
            time.sleep(0.05)
        built = tracemalloc.get_traced_memory()[1]
        package = org.get(f"/export/{job}/package").content
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = two.post("/import/package", data=multipart(package), headers=headers).json()
        read = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert len(package) > 4 * 16 * megabyte
    assert answer["checksumValid"] is True
    assert built < 12 * megabyte
    assert read < 24 * megabyte


def test_payloads_of_one_size_are_the_same_everywhere(serve, caller):
    seed = {"assets": [{"path": "P/m_big", "type": "DTEMPLATE", "payload_bytes": 3_000_000}]}
    simulator = serve({"orgs": {"one": seed, "two": seed}})

    def payload(key):
        org = caller(simulator, key)
        package = zipfile.ZipFile(io.BytesIO(org.package(org.id("P/m_big", "DTEMPLATE"))))
        return inner(package, "Explore/P/m_big.DTEMPLATE.zip").read("bin/@2.bin")

    one, two = payload("one"), payload("two")
    assert len(one) == 3_000_000
    assert one == two
    assert len({one[start : start + 1000] for start in range(0, len(one), 1000)}) == 3000
