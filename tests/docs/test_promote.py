"""What the pages about promotions show works when it is pasted, and what they say of plans and manifests is true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.planned import Plan, PlannedObject
from airflow_provider_infa.idmc.release import parse_release
from airflow_provider_infa.simulator import Simulator


def test_the_manifest_is_one(blocks) -> None:
    (text,) = blocks("docs/promote.md", "yaml")
    release = parse_release(text, "docs/promote.md")
    assert release.target("ACME_TEST", "").schedules == {"Sales/mt_orders": "nightly"}


def test_a_plan_has_the_members_of_its_page(blocks) -> None:
    (text,) = blocks("docs/plan.md", "json")
    shown = json.loads(text)
    source = PackageObject("id", "mt_orders", "MTT", "Sales/mt_orders")
    package = Package(Path("release.zip"), "0" * 64, 1, None, None, None, (source,))
    plan = Plan(package, "org", "ACME_TEST", "deployer", (PlannedObject(source, None, source.path, "create", ""),), {})
    real = plan.to_json()
    assert list(shown) == list(real)
    for member in ("package", "target_org", "counts"):
        assert list(shown[member]) == list(real[member])
    assert list(shown["objects"][0]) == list(real["objects"][0])
    assert list(shown["objects"][0]["target"]) == list(real["objects"][0]["target"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_dags_work_when_pasted(blocks, environment, airflow, tmp_path) -> None:
    for number, code in enumerate(blocks("docs/promote.md", "python")):
        # Nobody can be asked here; that a person can is shown by the tests with a scheduler.
        code = code.replace("approval=True", 'approval="automatic"')
        code = code.replace("file:///tmp/infa-backups", (tmp_path / "backups").as_uri())
        (tmp_path / "dags" / f"pasted_{number}.py").write_text(code)
    with Simulator() as simulator:
        env = environment(simulator)
        before = simulator.state("test")
        airflow(env, "db", "migrate")
        airflow(env, "dags", "test", "release")
        (backup,) = (file.parent for file in tmp_path.glob("backups/*/*/*/backup.json"))
        record = json.loads((backup / "record.json").read_text())
        assert record["state"] == "promoted"
        job_id = record["import_job"]["id"]
        assert (backup / f"import-{job_id}.log").read_text()
        airflow(env, "dags", "test", "after_sales")
        conf = {"backup_uri": str(backup), "import_job_id": job_id}
        airflow(env, "dags", "test", "restore_release", "--conf", json.dumps(conf))
        # All that was there is as it was; what the promotion created stays.
        created = {o["path"] for o in record["objects"] if o["planned"] == "create"}
        assert [a for a in simulator.state("test") if a["path"] not in created] == before
        assert simulator.sessions("test")["open"] == 0
