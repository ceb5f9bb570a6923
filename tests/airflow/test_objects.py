"""Finding assets, as tasks do it."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from urllib.parse import parse_qs

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError, IdmcSettingsError, IdmcUnavailableError
from airflow_provider_infa.operators import objects as module
from airflow_provider_infa.operators.objects import InfaListObjectsOperator, InfaLookupObjectsOperator
from airflow_provider_infa.simulator import Simulator

RELEASE_1 = {
    "Sales/m_orders",
    "Sales/mt_orders",
    "Sales/Staging/m load customers",
    "Sales/Staging/mt load customers",
    "Sales/tf_sales_daily",
}


def listing(**arguments):
    return lambda: InfaListObjectsOperator(task_id="list", infa_conn_id="infa_dev", **arguments)


def lookup(**arguments):
    return lambda: InfaLookupObjectsOperator(task_id="lookup", infa_conn_id="infa_dev", **arguments)


def filters(sim: Simulator) -> list[str]:
    calls = [r for r in sim.requests("dev") if r["path"].endswith("/objects")]
    return [parse_qs(call["query"]).get("q", [""])[0] for call in calls]


def test_rows_are_compact_and_logged_in_once(sim, run):
    rows = run(listing(tag="release-1"))
    assert {row["path"] for row in rows} == RELEASE_1
    assert all(row.keys() == {"id", "path", "type"} for row in rows)
    assert sim.sessions("dev") == {**sim.sessions("dev"), "open": 0, "logins": 1, "logouts": 1}


def test_full_rows(sim, run):
    (row,) = run(listing(types="DTEMPLATE", location="Sales", full_rows="True"))
    assert row["tags"] == ["release-1"]
    assert row["update_time"] == "2026-03-02T09:15:00Z"
    assert {"description", "updated_by", "source_control", "custom_attributes"} <= row.keys()


@pytest.mark.parametrize("types", [
    ["MTT", "TASKFLOW"], ("MTT", "TASKFLOW"), "MTT,TASKFLOW", "MTT, TASKFLOW",
    '["MTT", "TASKFLOW"]', "['MTT', 'TASKFLOW']", "('MTT', 'TASKFLOW')",
])  # fmt: skip
def test_types_in_every_form_that_a_template_can_give_them(sim, run, types):
    rows = run(listing(types=types, tag="release-1"))
    assert {row["type"] for row in rows} == {"MTT", "TASKFLOW"}
    assert len(rows) == 3


@pytest.mark.parametrize("nothing", [None, "None", "", "[]", []])
def test_no_types_are_all_types(sim, run, nothing):
    assert len(run(listing(types=nothing, tag="release-1"))) == 5


def test_filters_are_joined(sim, run):
    rows = run(
        listing(
            types="MTT",
            tag="release-1",
            updated_by="anna",
            updated_after="2026-03-02T09:20:00+00:00",
            updated_before=datetime(2026, 3, 3, tzinfo=timezone.utc),
        )
    )
    assert [row["path"] for row in rows] == ["Sales/mt_orders"]
    (q,) = filters(sim)
    assert q.count(" and ") == 4


def test_an_interval_is_half_open(sim, run):
    moment = "2026-03-02T09:20:00+00:00"
    after = {row["path"] for row in run(listing(tag="release-1", updated_after=moment))}
    before = {row["path"] for row in run(listing(tag="release-1", updated_before=moment))}
    assert after | before == RELEASE_1
    assert not after & before


def test_location_and_limit(sim, run):
    assert {row["path"] for row in run(listing(location="Sales/Staging", types="MTT"))} == {
        "Sales/Staging/mt load customers"
    }
    assert "Sales/Staging/mt load customers" not in {row["path"] for row in run(listing(location="Sales"))}
    assert len(run(listing(tag="release-1", limit="2"))) == 2


def test_nothing_found_is_an_empty_list(sim, run):
    assert run(listing(tag="nobody-has-this")) == []
    assert run(listing(tag="nobody-has-this", batch_size=2)) == []


@pytest.mark.parametrize("size", [2, "2"])
def test_batches_for_mapped_tasks(sim, run, size):
    batches = run(listing(tag="release-1", batch_size=size))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert {row["path"] for batch in batches for row in batch} == RELEASE_1


def test_more_than_xcom_can_hold_asks_for_a_file(connect, run, tmp_path, monkeypatch):
    count = 10_001
    seed = {
        "orgs": {
            "dev": {
                "name": "BIG",
                "projects": [{"name": "Big"}],
                "assets": [{"generate": {"count": count, "path": "Big/mt_{n}", "type": "MTT", "tags": ["all"]}}],
            }
        }
    }
    with Simulator(seed) as sim:
        connect("infa_dev", sim.connections["infa_dev"])
        with pytest.raises(AirflowFailException, match="output_uri"):
            run(listing(tag="all"))
        assert len(run(listing(tag="all", limit=10_000))) == 10_000
        uri = f"file://{tmp_path}/rows.jsonl"
        assert run(listing(tag="all", output_uri=uri)) == uri
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert len({json.loads(line)["path"] for line in lines}) == count


def test_a_file_holds_full_rows(sim, run, tmp_path):
    uri = f"file://{tmp_path}/new folder/rows.jsonl"
    assert run(listing(tag="release-1", output_uri=uri)) == uri
    rows = [json.loads(line) for line in (tmp_path / "new folder" / "rows.jsonl").read_text().splitlines()]
    assert {row["path"] for row in rows} == RELEASE_1
    assert all("tags" in row for row in rows)
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["rows.jsonl"]


def test_a_listing_that_breaks_off_leaves_no_file(sim, run, tmp_path):
    sim.add_fault("dev", {"kind": "deny", "method": "GET", "path": "/objects$"})
    with pytest.raises(AirflowFailException):
        run(listing(output_uri=f"file://{tmp_path}/rows.jsonl"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [
    {"limit": 0}, {"limit": "many"}, {"batch_size": -1}, {"batch_size": "1.5"}, {"full_rows": "perhaps"},
    {"updated_after": "yesterday"}, {"updated_after": "2026-01-01"}, {"tag": "a'b\"c"}, {"types": "[1, 2]"},
    {"batch_size": 2, "output_uri": "file:///tmp/x"},
])  # fmt: skip
def test_what_cannot_be_sent_is_refused_by_name(sim, run, arguments):
    with pytest.raises(AirflowFailException) as error:
        run(listing(**arguments))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert next(iter(arguments)).replace("output_uri", "batch_size") in str(error.value)
    assert filters(sim) == []


@pytest.mark.parametrize("nothing", ["", "None", " "])
@pytest.mark.parametrize("name", ["location", "tag", "updated_by", "query"])
def test_a_filter_that_renders_to_nothing_lists_nothing(sim, run, name, nothing):
    # Without it, the whole org might be the release.
    given = {"types": "MTT", "tag": "release-1", name: nothing}
    with pytest.raises(AirflowFailException, match=f"^{name} came to nothing") as error:
        run(listing(**given))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert filters(sim) == []


def test_a_rendered_none_is_no_bound(sim, run):
    none = dict.fromkeys(("updated_after", "updated_before", "limit", "batch_size"), "None")
    rows = run(listing(**none, output_uri="None"))
    assert len(rows) > 10
    assert filters(sim) == [""]


@pytest.mark.parametrize("nothing", ["", "None"])
def test_a_manifest_that_renders_to_nothing_lists_nothing(sim, run, nothing):
    # Without it, the whole org would be the release.
    with pytest.raises(AirflowFailException, match="manifest is empty") as error:
        run(listing(manifest=nothing))
    assert isinstance(error.value.__cause__, IdmcInputError)
    assert filters(sim) == []


# --- failures ---------------------------------------------------------------------------------------------------------


def test_what_a_retry_cannot_mend_fails_for_good_with_code_and_request_id(sim, run):
    sim.add_fault("dev", {"kind": "deny", "method": "GET", "path": "/objects$"})
    with pytest.raises(AirflowFailException) as error:
        run(listing())
    cause = error.value.__cause__
    assert cause.status == 403
    assert cause.code
    assert cause.request_id
    assert cause.code in str(error.value)
    assert cause.request_id in str(error.value)
    assert "ACME_DEV" in str(error.value)
    assert sim.sessions("dev")["open"] == 0


def test_an_outage_is_left_to_the_retries_of_the_task(sim, run):
    sim.add_fault("dev", {"kind": "maintenance", "path": "/objects$"})
    with pytest.raises(IdmcUnavailableError) as error:
        run(listing())
    assert not isinstance(error.value, AirflowFailException)
    sim.clear_faults()
    assert sim.sessions("dev")["open"] == 0
    assert run(listing(tag="release-1"))


@pytest.mark.parametrize("fault", [
    {"kind": "maintenance"}, {"kind": "throttle"}, {"kind": "drop_before"}, {"kind": "drop_after"},
    {"kind": "server_error"}, {"kind": "expire_session"}, {"kind": "truncate"},
])  # fmt: skip
def test_a_blip_is_waited_out_by_the_call(sim, run, fault):
    sim.add_fault("dev", {**fault, "method": "GET", "path": "/objects$", "times": 1})
    assert {row["path"] for row in run(listing(tag="release-1"))} == RELEASE_1
    assert sim.faults("dev")[0]["struck"] == 1


def test_a_wrong_password_fails_for_good_after_one_try(sim, connect, run):
    connect("infa_dev", {**sim.connections["infa_dev"], "password": "forgotten-by-the-tests"})
    with pytest.raises(AirflowFailException) as error:
        run(listing())
    assert "forgotten" not in str(error.value)
    assert sim.sessions("dev")["failed_logins"] == 1


def test_an_incomplete_connection_fails_for_good(connect, run):
    connect("infa_dev", {"login": "ada"})
    with pytest.raises(AirflowFailException) as error:
        run(listing())
    assert isinstance(error.value.__cause__, IdmcSettingsError)


# --- lookup -----------------------------------------------------------------------------------------------------------


def test_lookup_by_id_and_by_path(sim, run):
    found = run(lookup(objects=[{"path": "Sales/mt_orders", "type": "MTT"}, {"path": "ora_dev", "type": "Connection"}]))
    assert [row["path"] for row in found] == ["Sales/mt_orders", "ora_dev"]
    assert run(lookup(objects=[row["id"] for row in found])) == found
    assert run(lookup(objects=json.dumps(found))) == found
    assert run(lookup(objects=str(found))) == found
    assert run(lookup(objects=found[0]["id"])) == found[:1]


def test_lookup_names_all_that_is_missing(sim, run):
    missing = [{"path": f"Sales/gone_{n}", "type": "MTT"} for n in range(3)]
    with pytest.raises(AirflowFailException) as error:
        run(lookup(objects=[{"path": "Sales/mt_orders", "type": "MTT"}, *missing]))
    assert isinstance(error.value.__cause__, IdmcNotFoundError)
    assert all(f"Sales/gone_{n}" in str(error.value) for n in range(3))
    assert "mt_orders" not in str(error.value)
    assert "ACME_DEV" in str(error.value)


@pytest.mark.parametrize("missing", ["omit", "error"])
def test_lookup_can_ignore_what_is_missing(sim, run, missing):
    sim.change_settings("dev", lookup_missing=missing)
    refs = [{"path": "Sales/gone", "type": "MTT"}, {"path": "Sales/mt_orders", "type": "MTT"}]
    assert [row["path"] for row in run(lookup(objects=refs, ignore_missing="True"))] == ["Sales/mt_orders"]


@pytest.mark.parametrize("objects", [[{"path": "x"}], [[1]], "{", 7, [""], [None]])
def test_lookup_refuses_what_is_no_object(sim, run, objects):
    with pytest.raises(AirflowFailException) as error:
        run(lookup(objects=objects))
    assert isinstance(error.value.__cause__, IdmcInputError)


def test_rows_of_a_listing_can_be_looked_up_through_a_file(sim, run, tmp_path):
    uri = run(listing(tag="release-1", output_uri=f"file://{tmp_path}/rows.jsonl"))
    assert {row["path"] for row in run(lookup(objects=uri))} == RELEASE_1


# --- templates --------------------------------------------------------------------------------------------------------


def test_templates_are_rendered(sim, context):
    task = listing(tag="{{ params.tag }}", limit="{{ params.limit }}", types="{{ params.types }}")()
    task.render_template_fields({**context, "params": {"tag": "release-1", "limit": 2, "types": ["MTT"]}})
    rows = task.execute(context)
    assert [row["type"] for row in rows] == ["MTT", "MTT"]


def test_the_limit_of_xcom_is_documented():
    assert f"{module.MAX_ROWS:,}" in (InfaListObjectsOperator.__doc__ or "")
