from __future__ import annotations

import re
import time

import pytest

from airflow_provider_infa.simulator import wire


def start(caller, body, **params):
    return caller.post("/export", json=body, params=params)


def test_start_and_end(reader):
    id_ = reader.id("Sales/m_orders", "DTEMPLATE")
    started = start(reader, {"name": "one", "objects": [{"id": id_}]}).json()
    assert list(started) == [
        "id", "createTime", "updateTime", "name", "startTime", "endTime", "status", "objects",
    ]  # fmt: skip
    assert started["status"] == {"state": "IN_PROGRESS", "message": "In Progress"}
    assert (started["name"], started["endTime"], started["objects"]) == ("one", None, None)
    assert len(started["id"]) == 22
    ended = reader.get(f"/export/{started['id']}").json()
    assert ended["status"] == {"state": "SUCCESSFUL", "message": "Export completed successfully"}
    assert ended["objects"] is None
    for name in ("createTime", "updateTime", "startTime", "endTime"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z", ended[name]), name


def test_no_id_looks_like_a_token_to_airflow(monkeypatch):
    """Its logs black out what begins with eyJ, so a job's id could not be read there."""
    letters = iter("abceyJ" + 16 * "0" + 22 * "1")
    monkeypatch.setattr("secrets.choice", lambda _: next(letters))
    assert wire.new_id() == 22 * "1"


def test_expanded_objects(reader):
    job = reader.export(reader.id("Sales/Staging/mt load customers", "MTT"))
    rows = reader.get(f"/export/{job}", params={"expand": "objects"}).json()["objects"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert all(list(row) == ["id", "name", "path", "type", "description", "status"] for row in rows)
    assert all(row["status"] == {"state": "SUCCESSFUL", "message": None} for row in rows)
    assert {(row["name"], row["path"], row["type"], row["description"]) for row in rows} == {
        ("Sales", "/", "Project", "Orders and customers"),
        ("Staging", "/Sales", "Folder", ""),
        ("mt load customers", "/Sales/Staging", "MTT", ""),
        ("m load customers", "/Sales/Staging", "DTEMPLATE", ""),
        ("sf_crm", None, "Connection", None),
        ("ora_dev", None, "Connection", None),
        ("DEV_AGENTS", None, "AgentGroup", None),
    }


def names(reader, job):
    return {row["name"] for row in reader.get(f"/export/{job}", params={"expand": "objects"}).json()["objects"]}


def test_a_project_brings_its_contents(reader):
    job = reader.export(reader.id("Finance", "Project"), dependencies=False)
    assert names(reader, job) == {
        "Finance", "Abschlüsse", "mplt_currency", "m_ledger", "mt_ledger", "tf_close",
        "m_jahresabschluß", "mt_jahresabschluß",
    }  # fmt: skip
    assert {"ora_dev", "DEV_AGENTS"} < names(reader, reader.export(reader.id("Finance", "Project")))


def test_dependencies_are_followed_all_the_way(reader):
    assert names(reader, reader.export(reader.id("Finance/tf_close", "TASKFLOW"))) >= {
        "mplt_currency",
        "ora_dev",
        "DEV_AGENTS",
    }


def test_without_dependencies(reader):
    assert names(reader, reader.export(reader.id("Sales/mt_orders", "MTT"), dependencies=False)) == {"mt_orders"}


@pytest.mark.parametrize(("flag", "count"), [("true", 6), ("false", 1), (True, 6), (False, 1)])
def test_flags_as_strings(reader, flag, count):
    body = {"objects": [{"id": reader.id("Sales/mt_orders", "MTT"), "includeDependencies": flag}]}
    job = start(reader, body).json()
    assert re.fullmatch(r"job-\d{13}", job["name"])
    assert len(names(reader, job["id"])) == count


def test_schedules_are_no_dependencies(reader):
    assert "nightly" not in names(reader, reader.export(reader.id("Sales", "Project")))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"objects": []},
        {"objects": "x"},
        {"objects": [{}]},
        {"objects": [{"id": 1}]},
        {"objects": [{"id": "x", "includeDependencies": "yes"}]},
        {"objects": [{"id": "x", "path": "y"}]},
        {"objects": [{"id": "x"}], "includeDependencies": True},
        {"objects": [{"id": "x"}], "name": ""},
    ],
)
def test_bodies_are_checked(reader, body, v3_error):
    v3_error(start(reader, body), 400, "V3API_007")


def test_tag_parameter_is_checked(reader, v3_error):
    v3_error(start(reader, {"objects": [{"id": "x"}]}, includeTagInformation="yes"), 400, "V3API_007")


@pytest.mark.parametrize("path", ["unknown", "ora_dev:Connection"])
def test_ids_that_cannot_be_exported(reader, path, v3_error):
    id_ = reader.id(*path.split(":")) if ":" in path else "0000000000000000000000"
    error = v3_error(start(reader, {"objects": [{"id": id_}]}), 400)
    assert error["code"].startswith("MigrationSvc_")
    assert id_ in error["message"]


def test_log(reader):
    job = reader.export(reader.id("Sales/mt_orders", "MTT"), name="with log")
    answer = reader.get(f"/export/{job}/log")
    assert answer.headers["Content-Type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert re.fullmatch(r"> OIE_002 INFO \S+Z Starting export operation\.", lines[0])
    assert lines[1:6] == [
        "Execution Client: API",
        "Job Name: with log",
        "Organization: ACME_DEV",
        f"RequestId: {job}",
        "User: deployer",
    ]
    done = [re.search(r"Successfully exported object \[(.*?)\] of type \[(\w+)\]", line) for line in lines]
    assert [(match[1], match[2]) for match in done if match][:3] == [
        ("/Explore/Sales", "Project"),
        ("/SYS/_SYSTEM_PROJECT", "Project"),
        ("/SYS/_SYSTEM_FOLDER", "Folder"),
    ]
    assert [match[1] for match in done if match][3:] == [
        "/SYS/DEV_AGENTS",
        *sorted(["/SYS/ora_dev", "/SYS/ff_landing"], key=lambda path: reader.id(path[5:], "Connection")),
        "/Explore/Sales/m_orders",
        "/Explore/Sales/mt_orders",
    ]
    assert lines[-7:-5] == [lines[-7], "Start Time: " + lines[-6].removeprefix("Start Time: ")]
    assert re.fullmatch(r"End Time: \d{1,2}/\d{1,2}/\d\d \d{1,2}:\d\d [AP]M", lines[-5])
    assert lines[-4:] == [
        "Started by: deployer",
        "Start Method: API",
        "Source Organization: ACME_DEV",
        "Status: SUCCESSFUL",
    ]


def test_a_running_job(serve, caller, v3_error):
    dev = caller(serve(job_seconds=0.5), "dev")
    job = dev.export(dev.id("Sales/m_orders", "DTEMPLATE"))
    running = dev.get(f"/export/{job}", params={"expand": "objects"}).json()
    assert (running["status"]["state"], running["endTime"], running["objects"]) == ("IN_PROGRESS", None, None)
    assert v3_error(dev.get(f"/export/{job}/package"), 400)["code"].startswith("MigrationSvc_")
    assert dev.get(f"/export/{job}/log").text.startswith("> OIE_002")
    time.sleep(0.55)
    assert dev.get(f"/export/{job}").json()["status"]["state"] == "SUCCESSFUL"
    assert dev.get(f"/export/{job}/package").content[:2] == b"PK"


def test_every_download_is_the_same(reader):
    job = reader.export(reader.id("Sales", "Project"))
    first, second = reader.get(f"/export/{job}/package"), reader.get(f"/export/{job}/package")
    assert first.content == second.content
    assert first.headers["Content-Type"] == "application/zip"
    assert int(first.headers["Content-Length"]) == len(first.content)


@pytest.mark.parametrize("path", ["", "/log", "/package"])
def test_unknown_job(reader, path, v3_error):
    v3_error(reader.get(f"/export/0000000000000000000000{path}"), 404)


def test_job_of_another_kind(reader, v3_error):
    v3_error(reader.get(f"/import/{reader.export(reader.id('Sales', 'Project'))}"), 404)


def test_unknown_expansion(reader, v3_error):
    v3_error(reader.get(f"/export/{reader.export(reader.id('Sales', 'Project'))}", params={"expand": "all"}), 400)


def test_privilege(serve, caller, v3_error):
    users = [{"name": "reader", "privileges": ["import"]}]
    org = caller(serve({"orgs": {"one": {"users": users, "projects": ["P"]}}}), "one")
    v3_error(start(org, {"objects": [{"id": org.id("P", "Project")}]}), 403, "MigrationSvc_040")


def test_a_job_with_much_to_do_is_not_waited_for(serve, caller, monkeypatch):
    monkeypatch.setattr("airflow_provider_infa.simulator.orgs._PATIENCE", 0.01)
    asset = {"path": "P/m_big", "type": "DTEMPLATE", "payload_bytes": 8_000_000}
    org = caller(serve({"orgs": {"one": {"assets": [asset]}}}), "one")
    job = org.export(org.id("P/m_big", "DTEMPLATE"))
    assert org.get(f"/export/{job}").json()["status"]["state"] == "IN_PROGRESS"
    for _ in range(200):
        if org.get(f"/export/{job}").json()["status"]["state"] == "SUCCESSFUL":
            break
    assert org.get(f"/export/{job}/package").ok


def test_jobs_end_by_the_clock_whatever_started_first(serve, caller):
    org = caller(serve({"orgs": {"one": {"assets": [{"path": "P/mt", "type": "MTT"}]}}}), "one")
    id_ = org.id("P/mt", "MTT")
    spans = (3600, 0.3, 0)
    started = []
    for seconds in spans:
        org.simulator.change_settings("one", job_seconds=seconds)
        started.append(org.export(id_))

    def states():
        return [org.get(f"/export/{job}").json()["status"]["state"] for job in started]

    assert states()[::2] == ["IN_PROGRESS", "SUCCESSFUL"]
    time.sleep(0.4)
    assert states() == ["IN_PROGRESS", "SUCCESSFUL", "SUCCESSFUL"]
    org.simulator.add_fault("one", {"kind": "never_end", "method": "POST"})
    assert org.get(f"/export/{org.export(id_)}").json()["status"]["state"] == "IN_PROGRESS"
