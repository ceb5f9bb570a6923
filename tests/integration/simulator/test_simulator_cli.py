from __future__ import annotations

import ast
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import requests

from airflow_provider_infa import simulator
from airflow_provider_infa.simulator.cli import main


def test_life(launch, tmp_path):
    faults = ["--fault", "dev:throttle,times=1,path=/objects$", "--fault", "prod:fail_objects,paths=[a/b, c]"]
    process, ready = launch(*faults, "--idle-timeout", "77")
    assert list(ready) == ["connections", "runtime_environments", "control"]
    assert list(ready["connections"]) == ["infa_dev", "infa_test", "infa_prod"]
    assert ready["runtime_environments"]["infa_prod"] == "PROD_AGENTS"
    connection = ready["connections"]["infa_dev"]
    body = {"username": connection["login"], "password": connection["password"]}
    assert requests.post(f"{connection['host']}/saas/public/core/v3/login", json=body, timeout=10).ok
    orgs = requests.get(f"{ready['control']}/orgs", timeout=10).json()
    assert orgs["dev"]["settings"]["export_seconds"] == 3
    assert orgs["dev"]["settings"]["idle_timeout"] == 77
    assert orgs["prod"]["faults"][0]["paths"] == ["a/b", "c"]
    assert (tmp_path / "ready.json").stat().st_mode & 0o077 == 0
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert err == ""
    assert f"control: {ready['control']}" in out
    assert f"dev: ACME_DEV, login {connection['host']}, API " in out
    assert "export AIRFLOW_CONN_INFA_DEV=" in out
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]


def test_options(tmp_path, capsys):
    seed, ready = tmp_path / "seed.yaml", tmp_path / "ready.json"
    seed.write_text("settings: {job_seconds: 9}\norgs: {only: {}}\n")
    seen = {}

    def look_and_interrupt():
        while not ready.exists():
            time.sleep(0.005)
        try:
            content = json.loads(ready.read_text())
            seen["connections"] = content["connections"]
            seen.update(requests.get(f"{content['control']}/orgs", timeout=10).json()["only"]["settings"])
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=look_and_interrupt)
    thread.start()
    assert main(["--seed", str(seed), "--ready-file", str(ready)]) == 0
    thread.join()
    assert list(seen["connections"]) == ["infa_only"]
    assert (seen["import_seconds"], seen["idle_timeout"]) == (9, 1800)
    assert "AIRFLOW_CONN_INFA_ONLY" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--seed", "/nowhere.yaml"], 1, "nowhere.yaml"),
        (["--fault", "mars:throttle"], 1, "no org 'mars'"),
        (["--fault", "dev:flood"], 1, "unknown fault 'flood'"),
        (["--fault", "throttle"], 2, "is not ORG:KIND"),
    ],
)
def test_mistakes(capsys, arguments, status, text):
    try:
        returned = main(arguments)
    except SystemExit as error:
        returned = error.code
    assert returned == status
    assert text in capsys.readouterr().err


def test_imports_nothing_of_the_client():
    for file in Path(simulator.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                names = [node.module]
            for name in names:
                allowed = not name.startswith(("airflow", "requests"))
                assert allowed or f"{name}.".startswith("airflow_provider_infa.simulator."), (file, name)
