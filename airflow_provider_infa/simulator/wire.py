"""How ids and moments look on the wire."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from datetime import UTC, datetime, timedelta

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 22

_ID = re.compile(r"[0-9A-Za-z]{22}")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


def new_id() -> str:
    """
    Return a fresh federated id: 22 characters, base 62 (captured in infapy docs, 2021). "eyJ" is in none of them, as
    Airflow takes what begins so for a token, and blacks it out in its logs.
    """
    while "eyJ" in (id_ := "".join(secrets.choice(BASE62) for _ in range(ID_LENGTH))):
        pass
    return id_


def new_number() -> str:
    """Return a fresh id of a publish job: 18 digits (Informatica docs: Publish)."""
    return str(10**17 + secrets.randbelow(9 * 10**17))


def stable_id(*parts: str) -> str:
    """Return the federated id that these parts always have, so that a seed gives the same org twice."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest(), "big")
    digits = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(digits)


def is_id(text: str) -> bool:
    """Tell whether the text has the form of a federated id."""
    return _ID.fullmatch(text) is not None


def org_prefix(org_id: str) -> str:
    """Return the six characters that all v2 ids of one org start with, e.g. ``01AU22``."""
    return "01" + stable_id("v2", org_id).upper()[:4]


def context_id(prefix: str, kind: str, number: int) -> str:
    """Return a v2 id: org prefix, kind, counter; e.g. ``015ZHE0Z0000000000F8`` (captured, 2021)."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = (string.digits + string.ascii_uppercase)[digit] + digits
    return f"{prefix}{kind}{digits:0>12}"


def now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)


def seconds(moment: datetime) -> str:
    """Write a moment as objects, lookup and references do: no milliseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def millis(moment: datetime) -> str:
    """Write a moment as the POST answers of jobs do: with milliseconds."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def offset(moment: datetime) -> str:
    """Write a moment as publish answers do, e.g. ``2022-03-21T07:42:42.000+0000`` (Informatica docs: Publish)."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000+0000"


def rounded(moment: datetime) -> str:
    """Write a moment as later GETs of a job do: ``38.898Z`` has become ``39.000Z``.

    The stored value is rounded, not cut (captured in infapy docs, 2021).
    """
    return millis((moment + timedelta(milliseconds=500)).replace(microsecond=0))


def parse_moment(text: str) -> datetime | None:
    """Read ``2018-11-21T12:00:00.00Z`` with or without a fraction; anything else is None."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment + timedelta(seconds=float(f"0.{match[2] or 0}"))
