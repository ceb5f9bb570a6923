"""Pages as their blocks of code, and an Airflow for what they show."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_infa.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def blocks() -> Callable[[str, str], list[str]]:
    """The blocks of a language on a page."""

    def find(page: str, language: str) -> list[str]:
        found = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.S)
        assert found, f"{page} has no {language}"
        return found

    return find


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[Simulator], dict[str, str]]:
    """Environment of an Airflow home of its own, with connections to the simulated orgs."""
    (tmp_path / "dags").mkdir()

    def make(simulator: Simulator) -> dict[str, str]:
        connections = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in simulator.connections.items()}
        return (
            os.environ
            | connections
            | {
                "AIRFLOW_HOME": str(tmp_path),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
            }
        )

    return make


@pytest.fixture
def airflow() -> Callable[..., None]:
    """Run an Airflow command, which must succeed."""

    def call(env: dict[str, str], *command: str) -> None:
        run = subprocess.run(
            [sys.executable, "-m", "airflow", *command], env=env, capture_output=True, text=True, timeout=110
        )
        assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-5000:]

    return call
