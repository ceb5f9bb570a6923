"""Raw HTTP against the simulator: no test in this folder goes through the client of this distribution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider_infa.simulator import Simulator

PASSWORD = "of-the-tests"


class Caller:
    """One logged-in user of one org, who speaks HTTP and nothing more comfortable."""

    def __init__(self, simulator: Simulator, org: str) -> None:
        self.simulator = simulator
        self.org = org
        connection = simulator.connections[f"infa_{org}"]
        self.host, self.user, self.password = connection["host"], connection["login"], connection["password"]
        self.http = requests.Session()
        self.http.trust_env = False
        self.login()

    def login(self) -> None:
        body = {"username": self.user, "password": self.password}
        answer = self.http.post(f"{self.host}/saas/public/core/v3/login", json=body, timeout=10)
        answer.raise_for_status()
        self.base = answer.json()["products"][0]["baseApiUrl"]
        self.session = answer.json()["userInfo"]["sessionId"]

    def call(self, method: str, path: str, *, session: str | None = None, **options: Any) -> requests.Response:
        headers = {"INFA-SESSION-ID": session or self.session, **options.pop("headers", {})}
        url = f"{self.base}/public/core/v3{path}"
        return self.http.request(method, url, headers=headers, timeout=10, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.call("POST", path, **options)

    def v2(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        headers = {"icSessionId": self.session, **options.pop("headers", {})}
        return self.http.request(method, f"{self.base}/api/v2{path}", headers=headers, timeout=10, **options)

    def list(self, q: str | None = None) -> list[dict[str, Any]]:
        answer = self.get("/objects", params={"limit": 200} | ({"q": q} if q else {}))
        answer.raise_for_status()
        return answer.json()["objects"]

    def paths(self, q: str | None = None) -> set[str]:
        return {row["path"] for row in self.list(q)}

    def id(self, path: str, type: str) -> str:
        answer = self.post("/lookup", json={"objects": [{"path": path, "type": type}]})
        return answer.json()["objects"][0]["id"]

    def export(self, *ids: str, name: str = "release", tags: bool = True, dependencies: bool = True) -> str:
        body = {"name": name, "objects": [{"id": id_, "includeDependencies": dependencies} for id_ in ids]}
        answer = self.post("/export", params={"includeTagInformation": str(tags).lower()}, json=body)
        answer.raise_for_status()
        return answer.json()["id"]

    def package(self, *ids: str, **options: Any) -> bytes:
        answer = self.get(f"/export/{self.export(*ids, **options)}/package")
        answer.raise_for_status()
        return answer.content

    def upload(self, package: bytes, **params: str) -> requests.Response:
        files = {"package": ("release.zip", package, "application/zip")}
        return self.post("/import/package", files=files, params=params)

    def start(self, package: bytes, specification: dict[str, Any] | None = None, **params: str) -> str:
        answer = self.upload(package, **params)
        assert answer.status_code == 200, answer.text
        body = {"name": "promotion"} | ({"importSpecification": specification} if specification else {})
        started = self.post(f"/import/{answer.json()['jobId']}", json=body)
        assert started.status_code == 200, started.text
        return started.json()["id"]

    def result(self, job: str) -> dict[str, Any]:
        return self.get(f"/import/{job}", params={"expand": "objects"}).json()

    def bring(self, package: bytes, specification: dict[str, Any] | None = None, **params: str) -> dict[str, Any]:
        """Import and return the job's result with the objects by path."""
        result = self.result(self.start(package, specification, **params))
        for row in result["objects"]:
            source = row["sourceObject"]
            path = f"{source['path'] or ''}/{source['name']}".replace("//", "/").strip("/")
            result[f"{path}:{source['type']}"] = row["status"] | {"target": row["targetObject"]}
        return result

    def service(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call a service beside ``/saas`` that speaks JSON:API."""
        media = "application/vnd.api+json"
        headers = {"INFA-SESSION-ID": self.session, "Accept": media, "Content-Type": media}
        headers |= options.pop("headers", {})
        url = self.base.removesuffix("/saas") + path
        return self.http.request(method, url, headers=headers, timeout=10, **options)

    def publish(self, *paths: str, kind: str = "publish", **options: Any) -> requests.Response:
        """Start publishing what ``path:TYPE`` names."""
        full = ["Explore/{}.{}.xml".format(*path.rsplit(":", 1)) for path in paths]
        body = {"data": {"type": kind, "attributes": {"assetPaths": full}}}
        return self.service("POST", f"/active-bpel/asset/v1/{kind}", json=body, **options)

    def published(self, *paths: str, kind: str = "publish") -> tuple[str, dict[str, str]]:
        """Publish; return the job's state, and the state of each asset by path."""
        answer = self.publish(*paths, kind=kind)
        assert answer.status_code == 202, answer.text
        job = answer.json()["data"]["id"]
        found = self.service("GET", f"/active-bpel/asset/v1/{kind}/{job}/Status").json()["data"]["attributes"]
        rows = {row["assetPath"].split("/", 1)[1].rsplit(".", 2)[0]: row for row in found["itemDetail"]}
        return found["jobState"], {path: f"{row['itemState']} {row['itemStatusDetail']}" for path, row in rows.items()}

    def state(self) -> dict[str, dict[str, Any]]:
        return {f"{row['path']}:{row['type']}": row for row in self.simulator.assets(self.org)}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(passwords=PASSWORD) as running:
        yield running


@pytest.fixture(scope="session")
def reader() -> Iterator[Caller]:
    """A user of org dev for tests that change nothing there; they share one simulator."""
    with Simulator(passwords=PASSWORD) as running:
        yield Caller(running, "dev")


@pytest.fixture(scope="session")
def visitor(reader: Caller) -> Caller:
    """A user of org test of the same simulator, for uploads and starts that are refused."""
    return Caller(reader.simulator, "test")


@pytest.fixture(scope="session")
def release(reader: Caller) -> bytes:
    """The package of release-1, with tags."""
    return reader.package(*(row["id"] for row in reader.list("tag=='release-1'")))


@pytest.fixture
def dev(simulator: Simulator) -> Caller:
    return Caller(simulator, "dev")


@pytest.fixture
def test_org(simulator: Simulator) -> Caller:
    return Caller(simulator, "test")


@pytest.fixture
def prod(simulator: Simulator) -> Caller:
    return Caller(simulator, "prod")


@pytest.fixture
def serve() -> Iterator[Callable[..., Simulator]]:
    """Start simulators with seeds of a test's own."""
    running: list[Simulator] = []

    def start(seed: Any = None, **options: Any) -> Simulator:
        simulator = Simulator(seed, passwords=PASSWORD, **options)
        simulator.start()
        running.append(simulator)
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Run the command line in a process of its own; return it, and what it wrote into its ready file."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], Any]:
        ready = tmp_path / "ready.json"
        command = [
            sys.executable,
            "-m",
            "airflow_provider_infa.simulator",
            "--ready-file",
            str(ready),
            *arguments,
        ]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        for _ in range(1500):  # half a minute: a busy machine takes its time
            if ready.exists() or process.poll() is not None:
                break
            time.sleep(0.02)
        return process, json.loads(ready.read_text()) if ready.exists() else None

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def caller() -> type[Caller]:
    return Caller


@pytest.fixture(scope="session")
def mapping(reader: Caller, visitor: Caller) -> list[dict[str, str]]:
    """What lets a promotion from dev to test find the runtime environment and the Oracle connection.

    The ids of a seed are the same in every simulator.
    """
    return [
        {
            "sourceObjectId": reader.id("DEV_AGENTS", "AgentGroup"),
            "targetObjectId": visitor.id("TEST_AGENTS", "AgentGroup"),
        },
        {
            "sourceObjectId": reader.id("ora_dev", "Connection"),
            "targetObjectId": visitor.id("ora_test", "Connection"),
        },
    ]


def assert_v3_error(answer: requests.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Check the form of a v3 error (Informatica docs: Error object) and return its content."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"code", "message", "requestId", "details"}
    assert error["details"] is None
    assert len(error["requestId"]) == 22
    if code is not None:
        assert error["code"] == code
    return error


def assert_service_error(answer: requests.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Check the form of an error of the publish resource (recorded by iics-cli) and return its content."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/vnd.api+json")
    (error,) = answer.json()["errors"]
    assert error.keys() == {"id", "status", "code", "title", "detail"}
    assert error["status"] == str(status)
    if code is not None:
        assert error["code"] == code
    return dict(error)


@pytest.fixture
def service_error() -> Callable[..., dict[str, Any]]:
    return assert_service_error


@pytest.fixture
def v3_error() -> Callable[..., dict[str, Any]]:
    return assert_v3_error
