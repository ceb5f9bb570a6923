"""What the page about the simulator shows runs, and what it lists is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from airflow_provider_infa.simulator import Simulator
from airflow_provider_infa.simulator.cli import _parser
from airflow_provider_infa.simulator.control import control_app
from airflow_provider_infa.simulator.faults import JOB_KINDS, WIRE_KINDS

PAGE = "docs/simulator.md"


def test_the_test_passes_when_pasted(blocks, tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "python")
    (tmp_path / "test_pasted.py").write_text(code)
    env = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert "1 passed" in run.stdout, run.stdout + run.stderr


def test_the_seed_is_one(blocks) -> None:
    (text,) = blocks(PAGE, "yaml")
    with Simulator(yaml.safe_load(text)) as simulator:
        assert set(simulator.connections) == {"infa_dev", "infa_test"}
        assert simulator.connections["infa_dev"]["login"] == "deployer"
        assert {"Sales/mt_orders", "Sales/Staging/mt_500"} <= {asset["path"] for asset in simulator.assets("dev")}
        assert [fault["kind"] for fault in simulator.faults("test")] == ["throttle"]


def test_the_commands_are_understood(blocks) -> None:
    for block in blocks(PAGE, "console"):
        name, *arguments = shlex.split(block)
        assert name == "infa-simulator"
        for org, fault in _parser().parse_args(arguments).fault:
            Simulator().add_fault(org, fault)


def test_faults_and_calls_are_complete(root: Path) -> None:
    text = (root / PAGE).read_text()
    faults = text[text.index("## Faults") : text.index("## The control endpoint")]
    listed = {kind for line in re.findall(r"^\| (`.*?) \|", faults, re.M) for kind in re.findall(r"`(\w+)`", line)}
    assert listed == {*WIRE_KINDS, *JOB_KINDS}
    for name in (name for parameters in (WIRE_KINDS | JOB_KINDS).values() for name in parameters):
        assert f"`{name}`" in faults
    endpoint = text[text.index("## The control endpoint") :]
    for route in control_app({}).router.routes():
        if route.method != "HEAD":
            path = route.resource.canonical.replace("{org}", "<org>")
            lines = [line for line in endpoint.replace("…", "/orgs/<org>").splitlines() if f"{path}`" in line]
            assert any(route.method in line for line in lines), (route.method, path)
