"""Listing assets, and what they depend on."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from airflow_provider_infa.idmc.ahead import ahead
from airflow_provider_infa.idmc.answers import expect, optional
from airflow_provider_infa.idmc.errors import IdmcAnswerError, IdmcInputError
from airflow_provider_infa.idmc.models import Asset, Reference
from airflow_provider_infa.idmc.session import Session

log = logging.getLogger(__name__)

#: Entries, the number of all objects as IDMC told it with them, and how many of the entries came before already.
Page = tuple[list[Any], int | None, int]

#: Largest page of objects (Informatica's page "Objects").
PAGE_SIZE = 200
#: So many pages without anything new, one after the other, are no change of the org but a server that ignores where to
#: start.
STALE_PAGES = 20
#: Pages that are fetched at the same time, once the first one has told how many there are.
PAGES_AT_ONCE = 8
#: Largest page of references (Informatica's page "Objects", dependencies).
REFERENCES_PAGE_SIZE = 50


def build_query(
    *,
    type: str | None = None,
    location: str | None = None,
    tag: str | None = None,
    updated_after: datetime | str | None = None,
    updated_before: datetime | str | None = None,
    updated_by: str | None = None,
    query: str | None = None,
) -> str:
    """
    Build the filter of the objects call; its fields and operators are from Informatica's page "Finding an asset".

    :param type: Type code; case does not matter.
    :param location: Project or folder path; IDMC returns what lies directly in it.
    :param tag: Tag.
    :param updated_after: Changed at this moment or later.
    :param updated_before: Changed before this moment. Together with ``updated_after`` that makes half-open
        intervals: what changed between two runs is seen by exactly one of them.
    :param updated_by: User who changed it last.
    :param query: A filter of your own, appended as it stands.
    :return: The filters joined with ``and``; empty if there are none.
    :raises IdmcInputError: For a value that can't be quoted, or a time that is none.
    """
    terms = [
        f"{name}=={quoted(value, name)}"
        for name, value in (("type", type), ("location", location), ("tag", tag), ("updatedBy", updated_by))
        if value
    ]
    if updated_after:
        terms.append(f"updateTime>={_time(updated_after, 'updated_after')}")
    if updated_before:
        terms.append(f"updateTime<{_time(updated_before, 'updated_before')}")
    if query:
        terms.append(query)
    return " and ".join(terms)


def quoted(value: str, name: str) -> str:
    """
    Quote a value for a filter, so that nothing in it can end the value or start another filter.

    Informatica's pages use single quotes, clients also double ones; a value that holds both can't be sent, because
    no source tells how IDMC escapes.

    :param value: The value.
    :param name: What it is, for the error.
    :raises IdmcInputError: If the value holds both kinds of quotes, a backslash, a control character or half of one.
    """
    if any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in value) or ("'" in value and '"' in value) or "\\" in value:
        raise IdmcInputError(
            f"{name} {value!r} can't be part of a filter: IDMC documents no way to escape what is in it."
        )
    return f'"{value}"' if "'" in value else f"'{value}'"


def list_objects(
    session: Session,
    *,
    types: str | Sequence[str] | None = None,
    location: str | None = None,
    tag: str | None = None,
    updated_after: datetime | str | None = None,
    updated_before: datetime | str | None = None,
    updated_by: str | None = None,
    query: str | None = None,
    limit: int | None = None,
) -> Iterator[Asset]:
    """
    Find assets, page by page, several pages at a time. Assets that the user may not read are left out by IDMC without a
    word. If the org changes meanwhile, so that some may be missing, the log says so.

    :param session: Session with the org.
    :param types: One type code or several. IDMC's filters know no "or", so each type is a listing of its own.
    :param location: As all further filters, see :func:`build_query`.
    :param limit: Stop after so many assets.
    :raises IdmcInputError: If an argument can't be sent.
    """
    if limit is not None and limit < 1:
        raise IdmcInputError(f"limit must be at least 1, not {limit}.")
    names = [types] if isinstance(types, str) else list(types or [])
    kinds: list[str | None] = list({name.upper(): name for name in names}.values()) or [None]
    queries = [
        build_query(
            type=kind,
            location=location,
            tag=tag,
            updated_after=updated_after,
            updated_before=updated_before,
            updated_by=updated_by,
            query=query,
        )
        for kind in kinds
    ]
    left = limit
    for q in queries:
        for asset in _pages(session, q, left):
            yield asset
            left = None if left is None else left - 1
        if left == 0:
            return


def _pages(session: Session, q: str, limit: int | None) -> Iterator[Asset]:
    seen: set[str] = set()
    counts: set[int | None] = set()
    arrived = stale = 0
    last: Any = None
    joins = True
    with closing(_fetch_pages(session, q, limit)) as pages:
        for entries, count, overlap in pages:
            if overlap and entries:
                joins = joins and _id(entries[0]) == last
            last = _id(entries[-1]) if entries else None
            counts.add(count)
            arrived += max(0, len(entries) - overlap)
            before = len(seen)
            for entry in entries:
                asset = Asset.from_wire(entry)
                if asset.id not in seen:
                    seen.add(asset.id)
                    yield asset
                    if len(seen) == limit:
                        return
            stale = 0 if len(seen) > before else stale + 1
            if stale > STALE_PAGES and entries:
                told = f"The org answers with the same {len(seen)} objects again and again, and tells of {count}."
                raise IdmcAnswerError(told)
            if stale > STALE_PAGES:
                break
    # No order is documented and none can be asked for, so a change of the org between two pages shifts what they hold.
    counts.discard(None)
    if not joins or (counts and counts | {len(seen)} != {arrived}):
        log.warning(
            "The org changed while it was listed: %s objects were announced, %d arrived, %d of them different%s. "
            "Some may be missing; list again to be sure.",
            " or ".join(map(str, sorted(filter(None, counts)))) or "no",
            arrived,
            len(seen),
            "" if joins else ", and a page did not begin where the one before it ended",
        )


def _fetch_pages(session: Session, q: str, limit: int | None) -> Generator[Page, None, None]:
    """
    Pages in order.

    A page begins with the object that the one before it ended with. Else objects that were deleted, and as many that
    came, would hide others in between. With a limit nobody expects all, so there pages repeat nothing.
    """

    def fetch(skip: int, size: int) -> tuple[list[Any], int | None]:
        params = {"limit": str(size), "skip": str(skip)}
        answer = expect(session.get_json("/objects", {"q": q} | params if q else params), dict, "the list of objects")
        entries = optional(answer, "objects", list, "the list of objects") or []
        return entries, optional(answer, "count", int, "the list of objects")

    size = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit)
    entries, count = fetch(0, size)
    yield entries, count, 0
    skip = first = len(entries)
    overlap = 1 if first > 1 and limit is None else 0
    end = min(count or 0, limit or count or 0)
    # Only if the page was full: IDMC's largest page may be smaller than what was asked for, or lack what the user may
    # not read, and then only what came tells how to go on.
    if first == size and skip < end:
        starts = range(skip - overlap, end - overlap, size - overlap)
        pages = ((start, size if limit is None else min(size, end - start)) for start in starts)
        with closing(ahead(fetch, pages, PAGES_AT_ONCE, wait=False)) as fetched:
            for entries, count in fetched:
                yield entries, count, overlap
        skip = max(end, starts[-1] + len(entries))
    # Where IDMC told no number, or the org has grown meanwhile, what is left comes one page after the other.
    while first and (len(entries) >= first if count is None else skip < count):
        entries, count = fetch(skip - overlap, size)
        yield entries, count, overlap
        skip += max(len(entries) - overlap, 0) or size - overlap


def _id(entry: Any) -> Any:
    return entry.get("id") if isinstance(entry, dict) else None


def references(session: Session, id: str, ref_type: str = "uses") -> Iterator[Reference]:
    """
    Direct dependencies of an asset.

    :param session: Session with the org.
    :param id: Id of the asset.
    :param ref_type: ``uses`` for what it needs, ``usedBy`` for what needs it.
    :raises IdmcInputError: For another ``ref_type``.
    """
    if ref_type not in ("uses", "usedBy"):
        raise IdmcInputError(f"ref_type must be 'uses' or 'usedBy', not {ref_type!r}.")
    path = f"/objects/{quote(id, safe='')}/references"
    skip = 0
    last: list[Any] = []
    while True:
        params = {"refType": ref_type, "limit": str(REFERENCES_PAGE_SIZE), "skip": str(skip)}
        answer = expect(session.get_json(path, params), dict, "the list of references")
        entries = optional(answer, "references", list, "the list of references") or []
        if entries and entries == last:
            raise IdmcAnswerError(f"The org answers with the same references of {id} again and again.")
        last = entries
        yield from map(Reference.from_wire, entries)
        skip += len(entries)
        # Informatica's page warns that count may be wrong for a while, so a full page always asks for another.
        count = optional(answer, "count", int, "the list of references") or 0
        if not entries or (len(entries) < REFERENCES_PAGE_SIZE and skip >= count):
            return


def _time(value: datetime | str, name: str) -> str:
    """Write a moment as the examples of the documentation do: UTC with hundredths, unquoted."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise IdmcInputError(f"{name} {value!r} is no time; write it like 2026-01-31T12:00:00Z.") from None
    if value.tzinfo is None:
        raise IdmcInputError(f"{name} {value.isoformat()!r} has no time zone; write it like 2026-01-31T12:00:00Z.")
    try:
        value = value.astimezone(timezone.utc)
    except OverflowError:
        raise IdmcInputError(f"{name} {value.isoformat()!r} is out of range.") from None
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 10_000:02d}Z"
