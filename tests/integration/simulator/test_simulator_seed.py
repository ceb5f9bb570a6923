from __future__ import annotations

import pytest

from airflow_provider_infa.simulator import Simulator


def test_connections(simulator):
    assert list(simulator.connections) == ["infa_dev", "infa_test", "infa_prod"]
    connection = simulator.connections["infa_test"]
    assert connection.keys() == {"conn_type", "host", "login", "password"}
    assert (connection["conn_type"], connection["login"]) == ("infa", "deployer")
    assert connection["host"].startswith("http://127.0.0.1:")
    assert simulator.runtime_environments == {
        "infa_dev": "DEV_AGENTS",
        "infa_test": "TEST_AGENTS",
        "infa_prod": "PROD_AGENTS",
    }


def test_passwords_are_random_unless_given():
    def passwords(**options):
        return {c["password"] for c in Simulator(**options).connections.values()}

    assert len(passwords()) == 3
    assert passwords() != passwords()
    assert passwords(passwords="one") == {"one"}
    assert "of-dev" in passwords(passwords={"dev": "of-dev"})
    users = [{"name": "u", "password": "own"}]
    assert passwords(seed={"orgs": {"a": {"users": users}}}, passwords="one") == {"own"}


def test_ids_are_the_same_each_time():
    first, second = Simulator().assets("dev"), Simulator().assets("dev")
    assert first == second
    assert len({row["id"] for row in first}) == len(first)


def test_containers_come_with_their_assets(serve, caller):
    org = caller(serve({"orgs": {"one": {"assets": [{"path": "P/F/G/m", "type": "mtt"}]}}}), "one")
    assert {(row["path"], row["type"]) for row in org.list()} == {
        ("Default", "Project"), ("P", "Project"), ("P/F", "Folder"), ("P/F/G", "Folder"), ("P/F/G/m", "MTT"),
    }  # fmt: skip


def test_generated_assets():
    generate = {
        "type": "MTT",
        "count": 3,
        "first": 8,
        "path": "P/t_{n:03d}",
        "uses": ["P/m_{n}", "c"],
        "tags": ["x"],
    }
    mappings = {"type": "DTEMPLATE", "count": 3, "first": 8, "path": "P/m_{n}"}
    org = {"connections": [{"name": "c"}], "assets": [{"generate": generate}, {"generate": mappings}]}
    rows = {row["path"]: row for row in Simulator({"orgs": {"one": org}}).assets("one")}
    assert [path for path in rows if path.startswith("P/t")] == ["P/t_008", "P/t_009", "P/t_010"]
    assert [use["path"] for use in rows["P/t_010"]["uses"]] == ["c", "P/m_10"]


def test_one_path_two_types():
    assets = [
        {"path": "P/a", "type": "DTEMPLATE"},
        {"path": "P/a", "type": "MTT", "uses": ["P/a"]},
        {"path": "P/b", "type": "TASKFLOW", "uses": [{"path": "P/a", "type": "MTT"}]},
    ]
    rows = Simulator({"orgs": {"one": {"assets": assets}}}).assets("one")
    assert next(row for row in rows if row["path"] == "P/b")["uses"][0]["type"] == "MTT"


def test_settings_and_faults_in_a_seed(tmp_path):
    file = tmp_path / "seed.yaml"
    file.write_text(
        "settings: {job_seconds: 1}\n"
        "orgs:\n"
        "  a: {settings: {lookup_missing: error}, faults: [{kind: throttle, times: 2}]}\n"
        "  b: {}\n"
    )
    orgs = Simulator(file).orgs()
    assert orgs["a"]["settings"]["lookup_missing"] == "error"
    assert orgs["a"]["settings"]["export_seconds"] == orgs["b"]["settings"]["import_seconds"] == 1
    assert orgs["a"]["faults"][0]["kind"] == "throttle"
    assert Simulator(file, job_seconds=2).orgs()["a"]["settings"]["export_seconds"] == 2


@pytest.mark.parametrize(
    ("seed", "text"),
    [
        ({}, "at least one org"),
        ({"orgs": {"a": {"asset": []}}}, "org a: the org has unknown keys: asset"),
        ({"orgs": {"a": {"assets": [{"path": "P/x", "type": "WHAT"}]}}}, "P/x: unknown type WHAT"),
        ({"orgs": {"a": {"assets": [{"path": "x", "type": "MTT"}]}}}, "x: outside a project"),
        (
            {"orgs": {"a": {"assets": [{"path": "P/x", "type": "MTT", "uses": ["P/y"]}]}}},
            "P/y', which does not exist",
        ),
        ({"orgs": {"a": {"assets": [{"path": "P/x", "type": "MTT"}] * 2}}}, "there twice"),
        ({"orgs": {"a": {"assets": [{"path": "P/x", "type": "MTT", "id": "short"}]}}}, "22 letters"),
        ({"orgs": {"a": {"assets": [{"path": "P/x", "type": "MTT", "update_time": "soon"}]}}}, "no moment"),
        ({"orgs": {"a": {"connections": [{"name": "c", "runtime_environment": "r"}]}}}, "does not exist"),
        ({"orgs": {"a": {"users": [{"name": "u", "privileges": ["fly"]}]}}}, "unknown privileges fly"),
        ({"orgs": {"a": {"settings": {"speed": 1}}}}, "unknown setting 'speed'"),
        ({"orgs": {"a": {"faults": [{"kind": "flood"}]}}}, "unknown fault"),
    ],
)
def test_mistakes_are_named(seed, text):
    with pytest.raises(ValueError, match=text):
        Simulator(seed)


def test_a_port_in_use(serve):
    port = int(serve().control.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Simulator(port=port).start()
