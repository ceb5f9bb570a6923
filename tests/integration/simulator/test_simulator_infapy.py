"""A client that others wrote works unchanged: infapy 1.0.7.1.

Its ``connect()`` knows Informatica's own hosts only, so the tests log in themselves and hand it what the
logins answered. Shapes are compared with what infapy's authors captured from a real server (Sept 2021).
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

import pytest
import requests

infapy = pytest.importorskip("infapy")

JOB = {"id", "createTime", "updateTime", "name", "startTime", "endTime", "status", "objects"}
SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def connect(simulator, monkeypatch):
    from infapy.connections import Infapy

    def login(org):
        c = simulator.connections[f"infa_{org}"]
        body = {"username": c["login"], "password": c["password"]}
        v3 = requests.post(f"{c['host']}/saas/public/core/v3/login", json=body, timeout=10).json()
        v2 = requests.post(f"{c['host']}/ma/api/v2/user/login", json={"@type": "login", **body}, timeout=10).json()
        client = Infapy(
            v2=v2,
            v3=v3,
            v3SessionID=v3["userInfo"]["sessionId"],
            v3BaseURL=v3["products"][0]["baseApiUrl"],
            v2BaseURL=v2["serverUrl"],
            v2icSessionID=v2["icSessionId"],
        )
        # startExport() logs a lookup that it makes through the connection of the default profile.
        monkeypatch.setattr(infapy, "connect", lambda profile="default": client)
        return client

    return login


# It leaves the file that it uploads open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_promotion(connect, tmp_path):
    dev = connect("dev")
    listed = dev.v3().objects().getObjectID(q="type=='MTT' and tag=='release-1'")
    assert listed["count"] == len(listed["objects"]) == 2
    task = next(row for row in listed["objects"] if row["path"] == "Sales/mt_orders")
    assert task.keys() == {
        "id", "path", "type", "description", "updatedBy", "updateTime", "tags",
        "sourceControl", "customAttributes",
    }  # fmt: skip

    uses = dev.v3().objects().getObjectDependency(task["id"])
    assert uses.keys() == {"count", "@id", "references"}
    assert {row["documentType"] for row in uses["references"]} == {
        "MAPPING", "SAAS_CONNECTION", "SAAS_RUNTIME_ENVIRONMENT",
    }  # fmt: skip

    found = dev.v3().lookup(path="Sales/mt_orders", objectType="MTT")
    assert found["objects"][0].keys() == {"id", "path", "type", "description", "updatedBy", "updateTime"}
    assert found["objects"][0]["id"] == dev.v3().lookup(id=task["id"])["objects"][0]["id"] == task["id"]
    assert re.fullmatch(SECOND, found["objects"][0]["updateTime"])
    agents = dev.v3().lookup(path="DEV_AGENTS", objectType="agentgroup")["objects"][0]
    assert (agents["type"], agents["description"]) == ("AgentGroup", None)

    exports = dev.v3().exportObject()
    started = exports.startExport("MyTestJobFromPython", task["id"], includeDependencies=True)
    assert started.keys() == JOB
    assert started["status"] == {"state": "IN_PROGRESS", "message": "In Progress"}
    job = started["id"]
    ended = exports.getStatusOfExportByExportID(job)
    assert ended.keys() == JOB
    assert ended["status"] == {"state": "SUCCESSFUL", "message": "Export completed successfully"}
    assert ended["createTime"].endswith(".000Z")
    rows = {row["name"]: row for row in ended["objects"]}
    assert rows["mt_orders"].keys() == {"id", "name", "path", "type", "description", "status"}
    assert rows["mt_orders"]["path"] == "/Sales"
    assert rows["Sales"]["path"] == "/"
    assert rows["DEV_AGENTS"]["path"] is rows["DEV_AGENTS"]["description"] is None
    assert "Job Name: MyTestJobFromPython" in exports.getExportLogsByExportID(job)
    exports.getExportZipFileByExportID(job, filePath=str(tmp_path), fileName="down.zip")
    assert zipfile.ZipFile(tmp_path / "down.zip").testzip() is None

    # Its upload joins folder and file with a backslash, which on Linux is a letter of the file's name.
    shutil.copy(tmp_path / "down.zip", f"{tmp_path}\\down.zip")
    test = connect("test")
    imports = test.v3().importObject()
    uploaded = imports.uploadZipToGetJobID(filePath=str(tmp_path), fileName="down.zip")
    assert uploaded.keys() == {"jobId", "jobStatus", "checksumValid"}
    assert uploaded["jobStatus"] == {"state": "NOT_STARTED", "message": None}

    ora = next(row["id"] for row in uses["references"] if row["path"] == "ora_dev")
    body = {
        "name": "ImportedFromPython",
        "importSpecification": {
            "defaultConflictResolution": "OVERWRITE",
            "objectSpecification": [
                {
                    "sourceObjectId": ora,
                    "targetObjectId": test.v3().lookup(path="ora_test", objectType="Connection")["objects"][0]["id"],
                },
                {
                    "sourceObjectId": agents["id"],
                    "targetObjectId": test.v3().lookup(path="TEST_AGENTS", objectType="agentgroup")["objects"][0]["id"],
                },
            ],
        },
    }
    started = imports.startImportByJobID(uploaded["jobId"], body)
    assert started.keys() == JOB | {"sourceOrgId", "checksumValid"}
    assert started["createTime"].endswith(".000Z")
    result = imports.getStatusOfImportByImportID(uploaded["jobId"])
    assert result["status"] == {"state": "SUCCESSFUL", "message": "Import completed successfully"}
    rows = {row["sourceObject"]["name"]: row for row in result["objects"]}
    assert rows["ora_dev"]["targetObject"]["name"] == "ora_test"
    assert rows["ora_dev"]["status"]["message"] == "Reuse existing object"
    assert rows["mt_orders"]["targetObject"]["id"] is None
    assert rows["mt_orders"]["status"] == {"state": "SUCCESSFUL", "message": "Overwrite existing object"}
    assert "OIE_006" in imports.getImportLogsByImportID(uploaded["jobId"])
    Path(f"{tmp_path}\\down.zip").unlink()


def test_v2(connect):
    dev = connect("dev")
    environments = dev.v2().getRuntimeEnvironment()
    (row,) = environments.getAllRuntimeEnvironments()
    assert row["name"] == "DEV_AGENTS"
    assert environments.getRuntimeEnvironmentById(row["id"]) == row
    assert environments.getRuntimeEnvironmentByName("DEV_AGENTS") == row


def test_schedules_and_mapping_tasks(connect):
    test = connect("test")
    schedules = test.v3().schedule()
    listed = schedules.getAllSchedules()
    assert listed.keys() == {"count", "schedules"}
    assert schedules.getScheduleById(listed["schedules"][0]["id"]) == listed["schedules"][0]
    enabled = schedules.getSchedulesWithQuery("status=='enabled' and createdBy=='deployer'")
    assert [row["name"] for row in enabled["schedules"]] == ["nightly"]
    tasks = test.v2().mttask()
    task = tasks.getMTTaskByName("mt_orders")
    assert tasks.getMTTaskById(task["id"]) == task
    assert task in tasks.getAllMTTasks()
    changed = tasks.updateMTTaskPartial({"@type": "mtTask", "scheduleId": ""}, task["id"])
    assert changed["scheduleId"] is None
