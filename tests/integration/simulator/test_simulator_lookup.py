from __future__ import annotations

import pytest


def look(caller, *objects):
    return caller.post("/lookup", json={"objects": list(objects)})


def test_by_path_and_by_id_in_one_call(reader):
    id_ = reader.id("Sales/m_orders", "DTEMPLATE")
    answer = look(
        reader,
        {"path": "Sales/mt_orders", "type": "MTT"},
        {"path": "DEV_AGENTS", "type": "agentgroup"},
        {"path": "ora_dev", "type": "CONNECTION"},
        {"path": "Sales", "type": "PROJECT"},
        {"path": "Sales/Staging", "type": "folder"},
        {"path": "nightly", "type": "SCHEDULE"},
        {"id": id_},
    )
    assert list(answer.json()) == ["objects"]
    rows = answer.json()["objects"]
    assert [row["type"] for row in rows] == [
        "MTT", "AgentGroup", "Connection", "Project", "Folder", "SCHEDULE", "DTEMPLATE",
    ]  # fmt: skip
    assert [row["path"] for row in rows][:3] == ["Sales/mt_orders", "DEV_AGENTS", "ora_dev"]
    assert list(rows[0]) == ["id", "path", "type", "description", "updatedBy", "updateTime"]
    assert [row["description"] for row in rows[:3]] == ["", None, None]
    assert rows[-1]["id"] == id_


MISSING = [
    {"path": "Sales/nothing", "type": "MTT"},
    {"path": "Sales/mt_orders", "type": "DTEMPLATE"},
    {"path": "/Sales/mt_orders", "type": "MTT"},
    {"path": "Explore/Sales/mt_orders", "type": "MTT"},
    {"id": "0000000000000000000000"},
]


@pytest.mark.parametrize("entry", MISSING)
def test_missing_objects_are_left_out(reader, entry):
    assert [row["path"] for row in look(reader, entry, {"path": "Sales", "type": "Project"}).json()["objects"]] == [
        "Sales"
    ]


@pytest.mark.parametrize("entry", MISSING)
def test_missing_objects_can_be_an_error(dev, entry, v3_error):
    dev.simulator.change_settings("dev", lookup_missing="error")
    v3_error(look(dev, {"path": "Sales", "type": "Project"}, entry), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"objects": []},
        {"objects": {}},
        {"objects": [{}]},
        {"objects": [{"path": "Sales"}]},
        {"objects": [{"type": "MTT"}]},
        {"objects": [{"id": 5}]},
        {"objects": [{"id": "x", "name": "y"}]},
        {"objects": [{"id": "x"}], "limit": 5},
        {"objects": [{"id": "x"}] * 1001},
    ],
)
def test_bodies_are_checked(reader, body, v3_error):
    assert v3_error(reader.post("/lookup", json=body), 400, "V3API_007")["message"] == (
        "Bad Request. Please check your request."
    )


def test_a_thousand_at_once(reader):
    assert look(reader, *[{"path": "Sales", "type": "Project"}] * 1000).status_code == 200


def test_only_by_post(reader, v3_error):
    v3_error(reader.get("/lookup"), 405)
