"""Reading error bodies, pages that are no answer, and Retry-After."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_infa.idmc.answers import (
    ErrorBody,
    expect,
    first_words,
    member,
    optional,
    read_error,
    retry_after,
)
from airflow_provider_infa.idmc.errors import IdmcAnswerError

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=timezone.utc)


def test_v3_error() -> None:
    text = '{"error":{"code":"MigrationSvc_040","message":"Not allowed.","requestId":"abc","details":null}}'
    assert read_error(text) == ErrorBody("MigrationSvc_040", "Not allowed.", "abc")


def test_v3_error_with_details() -> None:
    details = [{"code": "a", "message": "first", "debugMessage": "x"}, {"message": "second"}, {"code": "only"}, "odd"]
    text = json.dumps({"error": {"code": "C", "message": "All", "requestId": "r", "details": details}})
    assert read_error(text) == ErrorBody("C", "All; first; second", "r")


def test_v3_error_whose_details_alone_tell() -> None:
    text = '{"error": {"code": "C", "message": null, "details": [{"message": "the reason"}]}}'
    assert read_error(text) == ErrorBody("C", "the reason", None)


def test_v2_error() -> None:
    text = '{"@type":"error","code":"APP_13436","description":"No such connection.","statusCode":403,"requestId":"q"}'
    assert read_error(text) == ErrorBody("APP_13436", "No such connection.", "q")


def test_error_of_publishing() -> None:
    error = {"id": "req_uid=7", "status": "403", "code": "FORBIDDEN", "title": "Forbidden", "detail": "Not allowed."}
    assert read_error(json.dumps({"errors": [error, {"code": "X"}]})) == ErrorBody(
        "FORBIDDEN", "Not allowed.", "req_uid=7"
    )
    assert read_error('{"errors": [{"title": "Forbidden"}]}') == ErrorBody(None, "Forbidden", None)


@pytest.mark.parametrize("errors", ["[]", "null", "{}", '["words"]', "3"])
def test_errors_that_are_none(errors: str) -> None:
    assert read_error(f'{{"errors": {errors}}}') is None


def test_data_with_errors_is_an_answer() -> None:
    assert read_error('{"errors": [{"code": "X"}], "data": {}}') is None


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "3", '"error"', "{}", '{"@type": "user"}', '{"error": "words"}', "<html></html>", '{"error": {'],
)
def test_no_error_body(text: str) -> None:
    assert read_error(text) is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (ErrorBody("X_1", "Wrong.", "r1"), "X_1: Wrong. (requestId r1)"),
        (ErrorBody("X_1", None, None), "X_1"),
        (ErrorBody(None, "Wrong.", None), "Wrong."),
        (ErrorBody(), ""),
    ],
)
def test_error_body_as_text(body: ErrorBody, shown: str) -> None:
    assert str(body) == shown


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("IDS_085", "Login and Password"),
        ("UI_10000", "Login and Password"),
        ("IDS_086", "locked"),
        ("MigrationSvc_040", "privileges"),
        ("MigrationSvc_072", "mapping"),
        ("V3API_007", "schema"),
    ],
)
def test_known_codes_tell_what_to_do(code: str, words: str) -> None:
    assert words in str(ErrorBody(code, "No.", "r"))


@given(st.text())
@example("[" * 20_000)
@example('{"error":' * 5_000)
@example('{"error": ' + "1" * 5000 + "}")
@example('{"error": {"code": {"a": 1}, "message": ["x"], "details": {"message": "y"}}}')
def test_no_text_makes_reading_an_error_fail(text: str) -> None:
    error = read_error(text)
    assert error is None or isinstance(str(error), str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "code", "message", "details", "@type", "description", "requestId"]), inner
            )
        ),
        max_leaves=10,
    )
)
def test_no_json_makes_reading_an_error_fail(data: object) -> None:
    error = read_error(json.dumps(data))
    assert error is None or isinstance(str(error), str)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("<html><head><title>503 Service Unavailable</title></head></html>", "503 Service Unavailable"),
        ("<h1>Down</h1>\n\n<p>for   maintenance</p>", "Down for maintenance"),
        ("<style>body { color: red }</style><script>alert('x')</script>Sorry", "Sorry"),
        ("<script>never closed", ""),
        ("Fish &amp; chips &lt;soon&gt;", "Fish & chips <soon>"),
        ("<!-- hidden --> shown", "shown"),
        ("plain words", "plain words"),
        ("", ""),
        ("<p unclosed", ""),
    ],
)
def test_first_words(page: str, words: str) -> None:
    assert first_words(page) == words


def test_first_words_are_few() -> None:
    assert first_words("word " * 1000, 20) == "word word word word…"
    assert len(first_words("x" * 100_000)) == 160


@given(st.text(), st.integers(1, 200))
def test_first_words_are_one_short_line(text: str, length: int) -> None:
    line = first_words(text, length)
    assert len(line) <= length
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("99999999999999999999", None),
        ("Sat, 31 Jan 2026 12:01:30 GMT", 90.0),
        ("Sat, 31 Jan 2026 13:01:30 +0100", 90.0),
        ("Sat, 31 Jan 2026 11:59:00 GMT", 0.0),
        ("Saturday, 31-Jan-26 12:00:10 GMT", 10.0),
        ("Sat Jan 31 12:00:10 2026", 10.0),
        ("Sat, 32 Jan 2026 12:01:30 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_retry_after_counts_from_now() -> None:
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=60), usegmt=True)
    seconds = retry_after(date)
    assert seconds is not None
    assert 55 < seconds <= 60


@given(st.text() | st.from_regex(r"\w{3}, \d{1,3} \w{3} \d{1,6} \d{1,3}:\d{1,3}:\d{1,3} [+-]?\w{1,25}", fullmatch=True))
@example("Wed, 21 Oct 2026 07:28:00 +99999999999999999999")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
def test_no_header_makes_retry_after_fail(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or seconds >= 0


def test_expect() -> None:
    assert expect({"a": 1}, dict, "it") == {"a": 1}
    with pytest.raises(IdmcAnswerError, match="the list should be a list but is a whole number"):
        expect(3, list, "the list")


def test_member_and_optional() -> None:
    data = {"a": "x", "n": None}
    assert member(data, "a", str, "the answer") == "x"
    assert optional(data, "n", str, "the answer") is None
    assert optional(data, "absent", str, "the answer") is None
    with pytest.raises(IdmcAnswerError, match="'n' of the answer"):
        member(data, "n", str, "the answer")
    with pytest.raises(IdmcAnswerError, match="'a' of the answer should be a whole number but is a text"):
        optional(data, "a", int, "the answer")
