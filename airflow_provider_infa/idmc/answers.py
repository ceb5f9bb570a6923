"""Reading what IDMC answers: error bodies of both API generations, pages that are no answer at all, odd shapes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from airflow_provider_infa.idmc.errors import IdmcAnswerError

T = TypeVar("T")

#: Characters of a message, code or id of an error that are kept.
LONGEST = 2_000
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
#: What to do about a code. Sources: Informatica's pages "Error object" and "Starting an import job", and for
#: IDS_086 and V3API_007 the change notes of the open source iics-cli, which record calls to real orgs in 2026.
_WRONG_LOGIN = (
    "Check Login and Password of the connection; it is not tried again, because ten wrong tries lock the account."
)
HINTS = {
    "IDS_085": _WRONG_LOGIN,
    "IDS_086": "The account is locked: an administrator of the org has to unlock it.",
    "UI_10000": _WRONG_LOGIN,
    "V3API_007": "The body does not fit IDMC's schema: check names and types of fields that were passed through.",
    "MigrationSvc_040": "The user needs import and export privileges in this org, for example by the Designer role.",
    "MigrationSvc_072": "A mapping inside the package was changed; IDMC takes mappings only as they were exported.",
}


def load_json(text: str) -> Any:
    """
    Parse JSON. Texts that are no Unicode are a fault, as are NaN and Infinity: neither could be stored or sent on.

    :param text: The JSON text.
    :raises ValueError: If it is none.
    :raises RecursionError: If it is nested too deeply.
    """
    data = _DECODER.decode(text)
    if "\\u" in text and _SURROGATE.search(text):
        json.dumps(data, ensure_ascii=False).encode()
    return data


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


@dataclass(frozen=True)
class ErrorBody:
    """What an error answer says. :param code: IDMC's code. :param message: Its text. :param request_id: For support."""

    code: str | None = None
    message: str | None = None
    request_id: str | None = None

    def cleaned(self, redact: Callable[[str], str]) -> ErrorBody:
        """The same without secrets, and of bearable length. :param redact: Takes secrets out of a text."""
        parts = (self.code, self.message, self.request_id)
        return ErrorBody(*(part and redact(part)[:LONGEST] for part in parts))

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.code and self.message else self.code or self.message or ""
        if self.request_id:
            text += f" (requestId {self.request_id})"
        hint = HINTS.get(self.code or "")
        return f"{text} {hint}" if hint else text


def read_error(text: str) -> ErrorBody | None:
    """
    Read an error body: v3 ``{"error": {code, message, requestId}}``, v2 ``{"@type": "error", code, description}``, or
    that of publishing, ``{"errors": [{id, code, title, detail}]}``.

    The first two from Informatica's page "Error object", the last one recorded by iics-cli (2026).

    :return: None if the text is no such body.
    """
    try:
        return error_in(load_json(text))
    except (ValueError, RecursionError):
        return None


def error_in(data: Any) -> ErrorBody | None:
    """As :func:`read_error`, of JSON data."""
    if not isinstance(data, dict):
        return None
    # JSON:API: an answer holds either data or errors.
    several = data.get("errors") if "data" not in data else None
    if isinstance(several, list) and several and isinstance(several[0], dict):
        data = several[0]
    elif isinstance(data.get("error"), dict):
        data = data["error"]
    elif data.get("@type") != "error":
        return None

    def word(*names: str) -> str | None:
        return next((str(data[name]) for name in names if data.get(name)), None)

    message = word("message", "description", "detail", "title")
    details = data.get("details")
    if isinstance(details, list):
        said = [str(d["message"]) for d in details if isinstance(d, dict) and d.get("message")]
        message = "; ".join(filter(None, [message, *said])) or None
    return ErrorBody(word("code"), message, word("requestId", "id"))


def first_words(text: str, length: int = 160, redact: Callable[[str], str] = str) -> str:
    """
    The beginning of a page or text as one readable line: without markup, styles and scripts.

    :param text: The text.
    :param length: So many characters at most.
    :param redact: Takes secrets out; before the markup goes, and again before the line is cut.
    """
    text = redact(text)
    text = re.sub(r"(?is)<(script|style)\b.*?(</\1\s*>|$)|<!--.*?(-->|$)|<[^>]*(>|$)", " ", text[:20_000])
    line = redact(" ".join(html.unescape(text).split()))
    return line if len(line) <= length else line[: length - 1] + "…"


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """
    Seconds asked for by a ``Retry-After`` header, which holds seconds or a date (RFC 9110).

    :param value: The header's value.
    :param now: The present, for a date.
    :return: None if there is no usable value.
    """
    if not value:
        return None
    if re.fullmatch(r"[ \t]*[0-9]{1,9}(\.[0-9]+)?[ \t]*", value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - (now or datetime.now(timezone.utc))).total_seconds())


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def expect(data: Any, kind: type[T], what: str) -> T:
    """
    Return ``data`` if it is of the expected kind.

    :param data: A part of a parsed answer.
    :param kind: The type it must have.
    :param what: Which part of which answer, for the error.
    :raises IdmcAnswerError: If it is of another kind.
    """
    if not isinstance(data, kind):
        # What it is, not what it holds: that may be a session id.
        raise IdmcAnswerError(f"{what} should be {_NAMES[kind]} but is {_NAMES.get(type(data), 'something else')}.")
    return data


def member(data: Mapping[str, Any], name: str, kind: type[T], what: str) -> T:
    """Like :func:`expect`, for one required member of an object."""
    value = data.get(name)
    # Words are made only where they are needed: a listing passes here a hundred thousand times.
    return value if isinstance(value, kind) else expect(value, kind, f"{name!r} of {what}")


def optional(data: Mapping[str, Any], name: str, kind: type[T], what: str) -> T | None:
    """Like :func:`member`, for a member that may be null or absent."""
    value = data.get(name)
    return value if value is None or isinstance(value, kind) else expect(value, kind, f"{name!r} of {what}")
