"""What README shows works when it is pasted, and what it says of commands and names is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from airflow_provider_infa.simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_hook_example_prints_the_assets(environment) -> None:
    code = next(block for block in BLOCKS if "InfaHook" in block)
    with Simulator() as simulator:
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment(simulator), capture_output=True, text=True, timeout=100
        )
        assert simulator.sessions("dev")["open"] == 0
    assert run.returncode == 0, run.stderr
    assert "MTT Sales/mt_orders" in run.stdout
    assert "DEV_AGENTS" in run.stdout


@pytest.mark.slow
def test_dag_promotes_when_pasted(environment, airflow, tmp_path: Path) -> None:
    code = next(block for block in BLOCKS if "with DAG(" in block)
    code = code.replace("file:///tmp/infa-backups", (tmp_path / "backups").as_uri())
    (tmp_path / "dags" / "pasted.py").write_text(code)
    with Simulator() as simulator:
        env = environment(simulator)
        airflow(env, "db", "migrate")
        airflow(env, "dags", "test", "promote")
        jobs = [job for job in simulator.jobs("test") if job["kind"] == "import"]
        assert [job["state"] for job in jobs] == ["SUCCESSFUL"]
        assert {"Sales/tf_sales_daily", "Sales/Staging/mt load customers"} <= {
            a["path"] for a in simulator.assets("test")
        }
    assert [file.name for file in tmp_path.glob("backups/*/*/*/backup.json")] == ["backup.json"]


@pytest.mark.slow
def test_demo_shows_the_promotion_and_cleans_up(tmp_path: Path) -> None:
    env = os.environ | {"TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "demo.py")], env=env, capture_output=True, text=True, timeout=170
    )
    assert run.returncode == 0, run.stdout + run.stderr
    steps = ("list_objects", "export", "plan", "backup", "upload", "start_import", "wait", "publish", "verify")
    for step in (*steps, "restore", "record"):
        assert f"\nto_test.{step}\n" in run.stdout
    for line in (
        r"SUCCESSFUL +created +TASKFLOW +Sales/tf_sales_daily",
        r"SUCCESSFUL +overwritten +MTT +Sales/mt_orders",
        r"SUCCESSFUL +reused +Connection +ora_dev -> ora_test",
        r"Get a schedule after the import \(1\)\n +Sales/mt_orders \(nightly\)",
        r"Stored the backup of 2 objects",
        r"SUCCESS +TASKFLOW +Sales/tf_sales_daily",
        r"holds all 11 objects as planned",
        r"Promotion into org ACME_TEST: promoted",
    ):
        assert re.search(line, run.stdout), run.stdout
    assert list(tmp_path.iterdir()) == []


def test_names_in_the_table_exist() -> None:
    names = re.findall(r"`((?:operators|sensors)\.\w+)\.(Infa\w+)`", README)
    assert len(names) >= 9
    for module, name in names:
        assert hasattr(import_module(f"airflow_provider_infa.{module}"), name), name


def test_links_lead_somewhere() -> None:
    for file in (ROOT / "README.md", *ROOT.glob("docs/*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / link).exists(), f"{file.name}: {link}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?make (\w[\w-]*)", README)) - {"both"} <= targets
