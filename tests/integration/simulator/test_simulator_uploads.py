"""What the simulator accepts as a package, and what it does not."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import pytest


def rewritten(package, change=None, *, drop=(), checksums=True):
    """Return a package with changed files, and with right or stale checksums."""
    source = zipfile.ZipFile(io.BytesIO(package))
    files = {name: source.read(name) for name in source.namelist() if name not in drop}
    files |= change(files) if change else {}
    if checksums and "exportPackage.chksum" in files:
        covered = sorted(name for name in files if not name.endswith((".csv", ".chksum")))
        lines = [f"{escaped(name)}={hashlib.sha256(files[name]).hexdigest().upper()}" for name in covered]
        files["exportPackage.chksum"] = "\n".join(lines).encode("latin-1")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def escaped(name):
    return name.replace(" ", "\\ ").encode("ascii", "backslashreplace").decode().replace("\\xfc", "\\u00fc")


def inner_changed(name, member, old, new):
    """Return a change that replaces text in a file of an inner ZIP."""

    def change(files):
        source = zipfile.ZipFile(io.BytesIO(files[name]))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for each in source.namelist():
                content = source.read(each)
                archive.writestr(each, content.replace(old, new) if each == member else content)
        return {name: target.getvalue()}

    return change


def manifest_changed(edit):
    def change(files):
        manifest = json.loads(files["exportMetadata.v2.json"])
        edit(manifest)
        return {"exportMetadata.v2.json": json.dumps(manifest).encode()}

    return change


RENAMED = inner_changed("Explore/Sales/mt_orders.MTT.zip", "mtTask.json", b'"mt_orders"', b'"mt_renamed"')
MAPPING = inner_changed("Explore/Sales/m_orders.DTEMPLATE.zip", "bin/@3.bin", b"4", b"5")


def test_sorted_checksums_without_comments_and_extra_keys(visitor, release):
    # The form of packages published for import (2021).
    assert visitor.upload(rewritten(release)).json()["checksumValid"] is True


def test_manifest_with_objects_only(visitor, release):
    package = rewritten(release, manifest_changed(lambda m: [m.pop(k) for k in list(m) if k != "exportedObjects"]))
    answer = visitor.upload(package)
    assert answer.ok, answer.text
    assert visitor.get(f"/import/{answer.json()['jobId']}").json()["sourceOrgId"] is None


@pytest.mark.parametrize("change", [RENAMED, MAPPING])
def test_changed_content_is_refused(test_org, release, change, v3_error):
    package = rewritten(release, change, checksums=False)
    error = v3_error(test_org.upload(package), 400)
    assert error["code"].startswith("MigrationSvc_")
    assert "checksum" in error["message"]
    assert test_org.simulator.jobs("test") == []


@pytest.mark.parametrize("relax", ["true", "True"])
def test_relaxed_checksum_lets_tasks_in(test_org, release, relax, mapping):
    package = rewritten(release, RENAMED, checksums=False)
    answer = test_org.upload(package, relaxChecksum=relax)
    assert answer.json()["checksumValid"] is False
    body = {"importSpecification": {"objectSpecification": mapping}}
    assert test_org.post(f"/import/{answer.json()['jobId']}", json=body).json()["checksumValid"] is False
    assert "Sales/mt_renamed" in test_org.paths()


def test_relaxed_checksum_does_not_let_mappings_in(visitor, release, v3_error):
    package = rewritten(release, MAPPING, checksums=False)
    v3_error(visitor.upload(package, relaxChecksum="true"), 400, "MigrationSvc_072")


def test_new_checksums_let_anything_in(test_org, release, mapping):
    result = test_org.bring(rewritten(release, MAPPING), {"objectSpecification": mapping})
    assert result["status"]["state"] == "SUCCESSFUL"
    assert test_org.state()["Sales/m_orders:DTEMPLATE"]["definition"] == {"revision": "5"}


def test_names_in_the_manifest_have_no_effect(test_org, release, mapping):
    def rename(manifest):
        for row in manifest["exportedObjects"]:
            row["objectName"] = row["objectName"].replace("mt_orders", "mt_other")

    package = rewritten(release, manifest_changed(rename), checksums=False)
    test_org.bring(package, {"objectSpecification": mapping}, relaxChecksum="true")
    assert "Sales/mt_other" not in test_org.paths()


def test_trimmed_manifest_makes_the_import_fail(test_org, release, mapping):
    def trim(manifest):
        manifest["exportedObjects"] = [
            row
            for row in manifest["exportedObjects"]
            if row["objectName"] in ("tf_sales_daily", "DEV_AGENTS", "ora_dev")
        ]

    result = test_org.bring(rewritten(release, manifest_changed(trim)), {"objectSpecification": mapping})
    assert "is missing the following dependencies" in result["Sales/tf_sales_daily:TASKFLOW"]["message"]


@pytest.mark.parametrize("relax", ["true", "false"])
@pytest.mark.parametrize("file", ["exportPackage.chksum", "exportMetadata.v2.json"])
def test_files_that_must_be_there(visitor, release, file, relax, v3_error):
    error = v3_error(visitor.upload(rewritten(release, drop=[file]), relaxChecksum=relax), 400)
    assert file in error["message"]


def test_objects_without_files(visitor, release, v3_error):
    package = rewritten(release, drop=["Explore/Sales/mt_orders.MTT.zip"])
    v3_error(visitor.upload(package, relaxChecksum="true"), 400)


def test_a_file_that_the_checksums_do_not_cover(visitor, release, v3_error):
    v3_error(visitor.upload(rewritten(release, lambda _: {"Explore/extra.txt": b"x"}, checksums=False)), 400)


def test_the_table_of_contents_is_not_covered(visitor, release):
    package = rewritten(release, lambda _: {"ContentsofExportPackage_release.csv": b"changed"}, checksums=False)
    assert visitor.upload(package).json()["checksumValid"] is True


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "Explore/../../out.txt"])
def test_paths_that_lead_out(visitor, release, name, v3_error):
    v3_error(visitor.upload(rewritten(release, lambda _: {name: b"x"})), 400)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100])
def test_no_zip(visitor, content, v3_error):
    v3_error(visitor.upload(content), 400)


def test_cut_off_package(visitor, release, v3_error):
    v3_error(visitor.upload(release[: len(release) // 2]), 400)


@pytest.mark.parametrize(
    "files",
    [
        {"file": ("p.zip", b"x")},
        {"Package": ("p.zip", b"x")},
        [("package", ("p.zip", b"x")), ("package", ("p.zip", b"x"))],
        [("package", ("p.zip", b"x")), ("other", ("q", b"y"))],
        {"package": (None, b"x")},
    ],
)
def test_parts(visitor, files, v3_error):
    v3_error(visitor.post("/import/package", files=files), 400, "V3API_007")


def test_other_media_types(visitor, release, v3_error):
    headers = {"Content-Type": "application/zip"}
    v3_error(visitor.post("/import/package", data=release, headers=headers), 400, "V3API_007")
    v3_error(visitor.post("/import/package", json={}), 400, "V3API_007")


def test_flag_is_checked(visitor, release, v3_error):
    v3_error(visitor.upload(release, relaxChecksum="yes"), 400, "V3API_007")


def test_refused_packages_leave_nothing_behind(simulator, test_org):
    test_org.upload(b"no zip")
    assert simulator.jobs("test") == []
    assert not any(simulator._orgs["test"].folder.iterdir())


def test_the_package_as_received_is_known(simulator, test_org, release):
    test_org.upload(release)
    digest = hashlib.sha256(release).hexdigest()
    (job,) = simulator.jobs("test")
    entry = simulator.requests("test")[-1]
    assert job["package_sha256"] == entry["package_sha256"] == digest
    assert (entry["parts"], entry["package_bytes"]) == (["package"], len(release))
