"""List, lookup and references."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote

import pytest
import requests_mock
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.idmc.errors import (
    IdmcAnswerError,
    IdmcError,
    IdmcInputError,
    IdmcNotFoundError,
    IdmcRequestError,
)
from airflow_provider_infa.idmc.lookup import lookup, written
from airflow_provider_infa.idmc.objects import build_query, list_objects, quoted, references
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import LOGIN, ORG, V3, error_body

Mocker = requests_mock.Mocker


def asset(n: int | str, type: str = "MTT") -> dict[str, Any]:
    return {"id": f"id-{n}", "path": f"Sales/mt_{n}", "type": type, "description": ""}


def calls(wire: Mocker, ending: str) -> list[Any]:
    return [r for r in wire.request_history if r.path.endswith(ending)]


# build_query ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({}, ""),
        ({"type": "MTT"}, "type=='MTT'"),
        ({"location": "Sales/Ord ers"}, "location=='Sales/Ord ers'"),
        ({"tag": "release-1"}, "tag=='release-1'"),
        ({"updated_by": "anna@acme.example"}, "updatedBy=='anna@acme.example'"),
        ({"location": "Finance/Abschlüsse"}, "location=='Finance/Abschlüsse'"),
        ({"location": "R&D"}, "location=='R&D'"),
        ({"tag": "100% #1 + more; a=b"}, "tag=='100% #1 + more; a=b'"),
        ({"tag": "it's"}, 'tag=="it\'s"'),
        ({"tag": 'so "called"'}, "tag=='so \"called\"'"),
        ({"query": "sourceControl.hash=='abc*'"}, "sourceControl.hash=='abc*'"),
        (
            {
                "type": "MTT",
                "location": "Sales",
                "tag": "t",
                "updated_by": "u",
                "query": "customAttributes.publishedBy==x",
            },
            "type=='MTT' and location=='Sales' and tag=='t' and updatedBy=='u' and customAttributes.publishedBy==x",
        ),
        ({"type": "", "location": None, "query": ""}, ""),
    ],
)
def test_build_query(filters: dict[str, Any], query: str) -> None:
    assert build_query(**filters) == query


@pytest.mark.parametrize(
    ("attempt", "quote"),
    [
        ("x' or type=='MTT", '"'),
        ("x' and updatedBy!='y", '"'),
        ("x';type=='MTT", '"'),
        ('x" and type=="MTT', "'"),
        ("x and type==MTT", "'"),
    ],
)
def test_a_value_can_not_become_a_filter(attempt: str, quote: str) -> None:
    query = build_query(tag=attempt)
    assert query == f"tag=={quote}{attempt}{quote}"
    assert quote not in attempt


@pytest.mark.parametrize("value", ["a'b\"c", "x\\", "x\\' and type=='MTT", "a\nb", "a\tb", "a\0b"])
def test_what_can_not_be_quoted_is_refused_by_name(value: str) -> None:
    for name in ("type", "location", "tag", "updated_by"):
        field = "updatedBy" if name == "updated_by" else name
        with pytest.raises(IdmcInputError, match=field) as caught:
            build_query(**{name: value})
        assert repr(value) in str(caught.value)


@given(st.text())
def test_a_quoted_value_ends_where_it_should(value: str) -> None:
    try:
        text = quoted(value, "tag")
    except IdmcInputError:
        return
    assert text[0] == text[-1]
    assert text[0] in "'\""
    assert text[1:-1] == value
    assert text[0] not in value
    assert not value.endswith("\\")


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.00Z"),
        ("2026-01-31T13:30:00+01:30", "2026-01-31T12:00:00.00Z"),
        ("2026-01-31 12:00:00.129+00:00", "2026-01-31T12:00:00.12Z"),
        (" 2026-01-31T12:00:00Z ", "2026-01-31T12:00:00.00Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone.utc), "2026-01-31T12:00:00.00Z"),
        (datetime(2026, 1, 31, 23, 0, 0, 999999, tzinfo=timezone(timedelta(hours=11))), "2026-01-31T12:00:00.99Z"),
    ],
)
def test_times(moment: datetime | str, shown: str) -> None:
    assert build_query(updated_after=moment) == f"updateTime>={shown}"
    assert build_query(updated_before=moment) == f"updateTime<{shown}"


def test_times_make_half_open_intervals() -> None:
    query = build_query(updated_after="2026-01-30T00:00:00Z", updated_before="2026-01-31T00:00:00Z")
    assert query == "updateTime>=2026-01-30T00:00:00.00Z and updateTime<2026-01-31T00:00:00.00Z"


@pytest.mark.parametrize("name", ["updated_after", "updated_before"])
@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2026-01-31",
        "2026-01-31T12:00:00",
        datetime(2026, 1, 31),
        "2026-13-31T12:00:00Z",
        "2026-01-31T12:00:00Z and type=='MTT'",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_what_is_no_time_is_refused_by_name(name: str, value: datetime | str) -> None:
    with pytest.raises(IdmcInputError, match=name):
        build_query(**{name: value})  # type: ignore[arg-type]


# list -------------------------------------------------------------------------------------------------------------


def serve_list(wire: Mocker, answer: Callable[[int, int, str | None], dict[str, Any]]) -> None:
    """Answer the list call by a function of skip, limit and filter."""

    def respond(request: Any, context: Any) -> dict[str, Any]:
        query = request.qs
        q = query["q"][0] if "q" in query else None
        return answer(int(query["skip"][0]), int(query["limit"][0]), q)

    wire.get(f"{V3}/objects", json=respond)


def serve_org(wire: Mocker, total: int, page: int = 200) -> None:
    everything = [asset(n) for n in range(total)]
    serve_list(
        wire,
        lambda skip, limit, q: {"count": total, "objects": everything[skip : skip + min(limit, page)]},
    )


def ids(session: Session, **filters: Any) -> list[str]:
    return [a.id for a in list_objects(session, **filters)]


@pytest.mark.parametrize(
    ("total", "requests"), [(0, 1), (1, 1), (199, 1), (200, 1), (201, 2), (399, 2), (400, 3), (1001, 6)]
)
def test_list_pages(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture, total: int, requests: int
) -> None:
    serve_org(wire, total)
    with caplog.at_level(logging.WARNING):
        assert ids(session) == [f"id-{n}" for n in range(total)]
    pages = calls(wire, "/objects")
    # Several at a time, so the order in which they are asked for does not matter.
    asked = sorted((p.qs["limit"], int(p.qs["skip"][0])) for p in pages)
    assert asked == [(["200"], 199 * n) for n in range(requests)]
    assert not caplog.records


def test_list_sends_no_empty_filter(wire: Mocker, session: Session) -> None:
    serve_org(wire, 1)
    ids(session)
    assert "q" not in calls(wire, "/objects")[0].qs


def test_list_filter_on_the_wire(wire: Mocker, session: Session) -> None:
    serve_org(wire, 1)
    assert ids(session, types="MTT", location="R&D/Abschlüsse + x", tag="it's")
    url = calls(wire, "/objects")[0].url
    q = url.split("?", 1)[1].split("&")[0]
    # Blanks as %20: a plus is a plus to strict servers, and a bare & would end the filter.
    assert "+" not in q
    assert unquote(q) == "q=type=='MTT' and location=='R&D/Abschlüsse + x' and tag==\"it's\""


def test_list_is_lazy(wire: Mocker, session: Session) -> None:
    serve_org(wire, 1000)
    objects = list_objects(session)
    assert not wire.request_history
    next(objects)
    assert len(calls(wire, "/objects")) == 1


def test_list_short_pages_do_not_end_it(wire: Mocker, session: Session) -> None:
    serve_org(wire, 450, page=100)
    assert ids(session) == [f"id-{n}" for n in range(450)]


def test_list_without_count_ends_with_a_page_that_is_not_full(wire: Mocker, session: Session) -> None:
    everything = [asset(n) for n in range(250)]
    serve_list(wire, lambda skip, limit, q: {"objects": everything[skip : skip + limit]})
    assert len(ids(session)) == 250
    assert len(calls(wire, "/objects")) == 2


@pytest.mark.parametrize("objects", [None, []])
def test_list_null_objects(wire: Mocker, session: Session, objects: list[Any] | None) -> None:
    serve_list(wire, lambda skip, limit, q: {"count": 0, "objects": objects})
    assert ids(session) == []


def test_list_that_stops_before_its_count_ends_and_warns(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    everything = [asset(n) for n in range(200)]
    serve_list(wire, lambda skip, limit, q: {"count": 400, "objects": everything[skip : skip + limit] or None})
    assert len(ids(session)) == 200
    assert "400 objects were announced, 200 arrived" in caplog.text


def test_list_count_that_grows_is_followed_and_warned_of(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    everything = [asset(n) for n in range(450)]
    serve_list(wire, lambda skip, limit, q: {"count": 390 if skip == 0 else 450, "objects": everything[skip:][:limit]})
    assert len(ids(session)) == 450
    assert "The org changed" in caplog.text


def test_list_count_that_shrinks_is_warned_of(wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture) -> None:
    everything = [asset(n) for n in range(300)]
    serve_list(wire, lambda skip, limit, q: {"count": 301 if skip == 0 else 300, "objects": everything[skip:][:limit]})
    assert len(ids(session)) == 300
    assert "The org changed" in caplog.text


def test_list_duplicates_come_once_and_are_warned_of(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    # Something was inserted before page two, and something else deleted behind it: the numbers agree, the pages do not.
    def answer(skip: int, limit: int, q: str | None) -> dict[str, Any]:
        return {"count": 300, "objects": [asset(n) for n in (range(200) if skip == 0 else range(198, 299))]}

    serve_list(wire, answer)
    assert ids(session) == [f"id-{n}" for n in range(299)]
    assert "300 arrived, 299 of them different, and a page did not begin where the one before it ended" in caplog.text


def test_what_slips_through_between_two_pages_is_warned_of(
    wire: Mocker, session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    # Two were deleted before page two and two others added at the end: 200 is in neither page, and every number agrees.
    def answer(skip: int, limit: int, q: str | None) -> dict[str, Any]:
        return {"count": 300, "objects": [asset(n) for n in (range(200) if skip == 0 else range(201, 302))]}

    serve_list(wire, answer)
    assert "id-200" not in ids(session)
    assert "a page did not begin where the one before it ended" in caplog.text


@pytest.mark.parametrize("entry", [None, "x", {}, {"id": "i", "path": "p"}])
def test_list_entry_that_can_not_be_read(wire: Mocker, session: Session, entry: object) -> None:
    serve_list(wire, lambda skip, limit, q: {"count": 1, "objects": [entry]})
    with pytest.raises(IdmcAnswerError):
        ids(session)


@pytest.mark.parametrize("answer", [[], None, "x", {"count": "1", "objects": []}, {"count": 1, "objects": {}}])
def test_list_answer_that_can_not_be_read(wire: Mocker, session: Session, answer: Any) -> None:
    wire.get(f"{V3}/objects", text=json.dumps(answer))
    with pytest.raises(IdmcAnswerError):
        ids(session)


def test_list_several_types(wire: Mocker, session: Session) -> None:
    def answer(skip: int, limit: int, q: str | None) -> dict[str, Any]:
        number = {"type=='MTT' and tag=='t'": 3, "type=='DTEMPLATE' and tag=='t'": 2}[q or ""]
        return {"count": number, "objects": [asset(f"{q}-{n}") for n in range(number)]}

    serve_list(wire, answer)
    assert len(ids(session, types=["MTT", "DTEMPLATE", "MTT"], tag="t")) == 5
    assert len(calls(wire, "/objects")) == 2


def test_list_the_same_type_in_two_spellings(wire: Mocker, session: Session) -> None:
    # IDMC's types are case-insensitive, so both listings would be the same.
    serve_org(wire, 3)
    assert ids(session, types=["MTT", "mtt"]) == ["id-0", "id-1", "id-2"]


@pytest.mark.parametrize(
    ("limit", "pages"),
    [(1, [("1", "0")]), (200, [("200", "0")]), (250, [("200", "0"), ("50", "200")])],
)
def test_list_limit(wire: Mocker, session: Session, limit: int, pages: list[tuple[str, str]]) -> None:
    serve_org(wire, 1000)
    assert ids(session, limit=limit) == [f"id-{n}" for n in range(limit)]
    assert [(p.qs["limit"][0], p.qs["skip"][0]) for p in calls(wire, "/objects")] == pages


def test_list_limit_holds_over_several_types(wire: Mocker, session: Session) -> None:
    serve_list(wire, lambda skip, limit, q: {"count": 3, "objects": [asset(f"{q}{n}") for n in range(3)][:limit]})
    assert len(ids(session, types=["A", "B", "C"], limit=4)) == 4
    assert len(calls(wire, "/objects")) == 2


def test_list_limit_holds_even_if_the_server_sends_more(wire: Mocker, session: Session) -> None:
    serve_list(wire, lambda skip, limit, q: {"count": 10, "objects": [asset(n) for n in range(10)]})
    assert len(ids(session, limit=4)) == 4
    assert len(ids(session, types=["A", "B"], limit=4)) == 4


@pytest.mark.parametrize("limit", [0, -1])
def test_list_limit_of_nothing(wire: Mocker, session: Session, limit: int) -> None:
    with pytest.raises(IdmcInputError, match="limit"):
        ids(session, limit=limit)


def test_list_refuses_bad_filters_before_anything_is_sent(wire: Mocker, session: Session) -> None:
    with pytest.raises(IdmcInputError):
        ids(session, types=["MTT", "a'b\"c"])
    assert not wire.request_history


# lookup -----------------------------------------------------------------------------------------------------------


class Org:
    """An org that answers lookups; what it answers for a missing object is up to the test."""

    def __init__(self, wire: Mocker, assets: list[dict[str, Any]], missing: tuple[int, Any] | None = None) -> None:
        self.bodies: list[list[dict[str, str]]] = []
        self._assets = assets
        self._missing = missing
        wire.post(f"{V3}/lookup", json=self._respond)

    def _find(self, ref: dict[str, str]) -> dict[str, Any] | None:
        for entry in self._assets:
            if ref.get("id") == entry["id"]:
                return entry
            if ref.get("path") == entry["path"] and ref.get("type", "").upper() == entry["type"].upper():
                return entry
        return None

    def _respond(self, request: Any, context: Any) -> Any:
        body = request.json()
        assert set(body) == {"objects"}
        self.bodies.append(body["objects"])
        found = [self._find(ref) for ref in body["objects"]]
        if None in found and self._missing:
            context.status_code, answer = self._missing
            return answer
        # Not in the order of the question: no source promises that.
        return {"objects": [entry for entry in reversed(found) if entry]}


ASSETS = [
    asset(1),
    asset(2),
    {"id": "id-c", "path": "ora_dev", "type": "Connection", "description": None},
    {"id": "id-r", "path": "DEV_AGENTS", "type": "AgentGroup", "description": None},
    {"id": "id-p", "path": "Sales", "type": "Project"},
]


def test_lookup_keeps_order_and_duplicates(wire: Mocker, session: Session) -> None:
    org = Org(wire, ASSETS)
    refs: list[Any] = [
        "id-2",
        {"path": "Sales/mt_1", "type": "MTT"},
        {"id": "id-c"},
        "id-2",
        {"path": "DEV_AGENTS", "type": "AGENTGROUP"},
        {"path": "Sales", "type": "project"},
    ]
    found = lookup(session, refs)
    assert [a and a.id for a in found] == ["id-2", "id-1", "id-c", "id-2", "id-r", "id-p"]
    # Each once; what lies in no container first.
    assert org.bodies == [
        [
            {"path": "DEV_AGENTS", "type": "AGENTGROUP"},
            {"path": "Sales", "type": "project"},
            {"id": "id-2"},
            {"path": "Sales/mt_1", "type": "MTT"},
            {"id": "id-c"},
        ]
    ]


def test_lookup_takes_rows_and_paths_as_people_write_them(wire: Mocker, session: Session) -> None:
    org = Org(wire, ASSETS)
    rows = [
        {"id": "id-1", "path": "Sales/mt_1", "type": "MTT", "updated_by": "anna"},
        {"path": "/Explore/Sales/mt_2", "type": "MTT"},
        {"path": "/Sales/mt_1", "type": "MTT"},
    ]
    assert [a and a.id for a in lookup(session, map(written, rows))] == ["id-1", "id-2", "id-1"]
    # Only what the schema knows goes out: IDMC refuses unknown fields.
    assert org.bodies[0] == [
        {"id": "id-1"},
        {"path": "Sales/mt_2", "type": "MTT"},
        {"path": "Sales/mt_1", "type": "MTT"},
    ]


def test_lookup_of_nothing(wire: Mocker, session: Session) -> None:
    assert lookup(session, []) == []
    assert not wire.request_history


@pytest.mark.parametrize(("number", "sizes"), [(200, [200]), (201, [200, 1]), (1000, [200] * 5)])
def test_lookup_batches(wire: Mocker, session: Session, number: int, sizes: list[int]) -> None:
    org = Org(wire, [asset(n) for n in range(number)])
    found = lookup(session, (f"id-{n}" for n in range(number)))
    assert [a and a.id for a in found] == [f"id-{n}" for n in range(number)]
    assert [len(body) for body in org.bodies] == sizes


MISSING = {
    "short list": None,
    "404": (404, error_body("V3API_004", "The object was not found.")),
    "404 without a code": (404, {"error": {"message": "Resource does not exist"}}),
    "400": (400, error_body("X_1", "Object does not exist.")),
    "400 could not find": (400, error_body("X_1", "Could not find the object")),
}


@pytest.mark.parametrize("missing", MISSING.values(), ids=list(MISSING))
def test_lookup_missing(wire: Mocker, session: Session, missing: tuple[int, Any] | None) -> None:
    Org(wire, ASSETS, missing)
    refs: list[Any] = ["id-1", {"path": "Sales/nope", "type": "MTT"}, "id-2", "id-none", "id-none", "id-c"]
    found = lookup(session, refs, ignore_missing=True)
    assert [a and a.id for a in found] == ["id-1", None, "id-2", None, None, "id-c"]
    with pytest.raises(IdmcNotFoundError) as caught:
        lookup(session, refs)
    text = str(caught.value)
    assert "MTT 'Sales/nope'" in text
    assert text.count("'id-none'") == 1
    assert ORG in text
    assert "id-1" not in text


@pytest.mark.parametrize("missing", MISSING.values(), ids=list(MISSING))
def test_lookup_of_missing_objects_alone(wire: Mocker, session: Session, missing: tuple[int, Any] | None) -> None:
    Org(wire, [], missing)
    assert lookup(session, ["id-1", "id-2", "id-3"], ignore_missing=True) == [None, None, None]


@pytest.mark.parametrize("objects", [[], None, [None, None]])
def test_lookup_empty_answers(wire: Mocker, session: Session, objects: Any) -> None:
    wire.post(f"{V3}/lookup", json={"objects": objects})
    assert lookup(session, ["id-1", "id-2"], ignore_missing=True) == [None, None]


@pytest.mark.parametrize("status", [400, 404])
def test_lookup_of_few_missing_among_many_takes_few_calls(wire: Mocker, session: Session, status: int) -> None:
    org = Org(wire, [asset(n) for n in range(199)], (status, error_body("V3API_004", "It was not found.")))
    found = lookup(session, [f"id-{n}" for n in range(200)], ignore_missing=True)
    assert [n for n, a in enumerate(found) if a is None] == [199]
    assert len(org.bodies) <= 20


def test_lookup_schema_error_is_not_taken_for_missing(wire: Mocker, session: Session) -> None:
    org = Org(wire, [], (400, error_body("V3API_007", "Bad Request. Please check your request.")))
    with pytest.raises(IdmcRequestError) as caught:
        lookup(session, ["id-1", "id-2"], ignore_missing=True)
    assert caught.value.code == "V3API_007"
    assert len(org.bodies) == 1


def test_lookup_page_of_a_gateway_is_not_taken_for_missing(wire: Mocker, session: Session) -> None:
    # Otherwise a plan against a proxy that lost its route would say "create" for everything.
    wire.post(f"{V3}/lookup", status_code=404, text="<html><body><h1>404 Not Found</h1><hr>nginx</body></html>")
    with pytest.raises(IdmcError, match="404"):
        lookup(session, ["id-1", "id-2"], ignore_missing=True)


@pytest.mark.parametrize(
    "ref", ["", {}, {"path": "Sales/x"}, {"type": "MTT"}, {"id": "", "path": ""}, None, 7, {"id": None}]
)
def test_lookup_of_no_reference(wire: Mocker, session: Session, ref: Any) -> None:
    with pytest.raises(IdmcInputError, match="no reference"):
        lookup(session, ["id-1", ref])
    assert not wire.request_history


@pytest.mark.parametrize("answer", [[], None, {"objects": {}}, {"objects": [{"id": "x"}]}, {"objects": ["x"]}])
def test_lookup_answer_that_can_not_be_read(wire: Mocker, session: Session, answer: Any) -> None:
    wire.post(f"{V3}/lookup", text=json.dumps(answer))
    with pytest.raises(IdmcAnswerError):
        lookup(session, ["id-1"])


# references -------------------------------------------------------------------------------------------------------


def serve_references(wire: Mocker, total: int, count: Callable[[int], Any], page: int = 50) -> None:
    """References of one asset, in the shape of the answer that infapy captured."""

    def respond(request: Any, context: Any) -> dict[str, Any]:
        skip, limit = int(request.qs["skip"][0]), int(request.qs["limit"][0])
        rows = [{"id": f"r-{n}", "documentType": "MAPPING"} for n in range(total)]
        return {"count": count(skip), "@id": "a/b", "references": rows[skip : skip + min(page, limit)]}

    wire.get(f"{V3}/objects/a%2Fb/references", json=respond)


@pytest.mark.parametrize("total", [0, 3, 49, 50, 51, 120])
@pytest.mark.parametrize(
    ("count", "page"),
    # A server with smaller pages than it was asked for can't be told from one at its end without a count.
    [("right", 50), ("zero", 50), ("too many", 50), ("too few", 50), ("null", 50), ("right", 25), ("too many", 25)],
)
def test_references(wire: Mocker, session: Session, total: int, count: str, page: int) -> None:
    said = {"right": total, "zero": 0, "too many": total + 7, "too few": max(0, total - 7), "null": None}[count]
    serve_references(wire, total, lambda skip: said, page)
    found = [r.id for r in references(session, "a/b", "usedBy")]
    assert found == [f"r-{n}" for n in range(total)]
    assert all(r.qs["refType"] == ["usedBy"] for r in calls(wire, "/references"))
    assert len(calls(wire, "/references")) <= total / page + 2


def test_references_uses_by_default(wire: Mocker, session: Session) -> None:
    serve_references(wire, 1, lambda skip: 1)
    list(references(session, "a/b"))
    assert calls(wire, "/references")[0].qs == {"refType": ["uses"], "limit": ["50"], "skip": ["0"]}


@pytest.mark.parametrize("ref_type", ["", "Uses", "usedby", "all"])
def test_references_of_an_unknown_kind(wire: Mocker, session: Session, ref_type: str) -> None:
    with pytest.raises(IdmcInputError, match="usedBy"):
        list(references(session, "i", ref_type))
    assert not wire.request_history


def test_references_null(wire: Mocker, session: Session) -> None:
    wire.get(f"{V3}/objects/i/references", json={"count": 0, "@id": "i", "references": None})
    assert list(references(session, "i")) == []


def test_login_happens_once_for_all(wire: Mocker, session: Session) -> None:
    Org(wire, ASSETS)
    serve_org(wire, 300)
    ids(session)
    lookup(session, ["id-1"])
    assert sum(r.url == LOGIN for r in wire.request_history) == 1
