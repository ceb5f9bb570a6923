"""A plan for people: as Markdown for those who decide about it, and in full for the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_infa.idmc.planned import BLOCKED, CREATE, MAP, OVERWRITE, REUSE

#: Shown of each list in Markdown; the rest is counted.
SHOWN = 25
_HEADINGS = {
    BLOCKED: "Blocked",
    OVERWRITE: "Overwritten",
    CREATE: "Created",
    MAP: "Mapped to something else",
    REUSE: "Left as they are",
}
#: What the import leaves alone is only counted, unless something is sent about it all the same.
_FOLDED = _HEADINGS[REUSE]
#: Fields of IDMC's ``objectSpecification`` that the heading and the paths tell already.
_TOLD = ("sourceObjectId", "targetObjectId", "conflictResolution")
#: What begins a list, or underlines a heading.
_LIST = re.compile(r"^(\d*)([-+=.)])")
#: Where readers of Markdown see an address, even behind backslashes; a sign without width (U+2060) keeps them from it.
_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)


def markdown(plan: Mapping[str, Any]) -> str:
    """
    Describe a plan: counts on top, what is in the way first, long lists cut short.

    :param plan: The plan as JSON.
    """
    return "\n".join(_lines(plan))


def in_full(plan: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """
    All lists of a plan, uncut and with the reasons: headings, each with its lines of plain text.

    :param plan: The plan as JSON.
    """
    sent = _sent(plan)
    for heading, rows in grouped(plan).items():
        if rows:
            yield heading, [_line(row, sent, reason=True) for row in rows]
    yield from _notes(plan)


def grouped(plan: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """
    The objects, under headings that say what happens to them.

    What replaces something is "Overwritten", also if it is mapped there; but not if it is in the way.

    :param plan: The plan as JSON.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {heading: [] for heading in _HEADINGS.values()}
    for row in plan["objects"]:
        action = OVERWRITE if row["overwrites"] and row["action"] != BLOCKED else row["action"]
        groups[_HEADINGS[action]].append(row)
    return groups


def _lines(plan: Mapping[str, Any]) -> Iterator[str]:
    package, org = plan["package"], plan["target_org"]
    groups, sent = grouped(plan), _sent(plan)
    source = _text(package["source_org_name"] or package["source_org_id"] or "an unknown org")
    yield f"**{source} → {_text(org['name'])}**, {len(plan['objects'])} objects, as {_text(plan['user'])}."
    yield ""
    yield "| " + " | ".join(groups) + " |"
    yield "|" + " --- |" * len(groups)
    yield "| " + " | ".join(str(len(rows)) for rows in groups.values()) + " |"
    yield ""
    for warning in plan["warnings"]:
        yield f"- ⚠ {_text(warning)}"
    for heading, names in _notes(plan):
        more = f" and {_more(names[SHOWN:])}" if names[SHOWN:] else ""
        yield f"- {_text(heading + ': ' + ', '.join(names[:SHOWN]) + more)}"
    for heading, rows in groups.items():
        # What needs a second look comes first, because the list may be cut.
        rows = sorted(rows, key=lambda row: (not row["drift"], row["source"]["id"] not in sent))
        shown = [row for row in rows if heading != _FOLDED or row["source"]["id"] in sent][:SHOWN]
        if not shown:
            continue
        yield f"\n**{heading}** ({len(rows)})\n"
        yield from (f"- {_text(_line(row, sent, reason=row['action'] == BLOCKED))}" for row in shown)
        if rest := rows[len(shown) :]:
            yield f"- … and {_more(rest)}"
    yield ""
    yield f"Plan `{plan['hash']}`, package SHA-256 `{package['sha256']}`."


def _line(row: Mapping[str, Any], sent: Mapping[str, str], *, reason: bool) -> str:
    source, target = row["source"], row["target"]
    moved = f" → {target['path']}" if target["path"] != source["path"] else ""
    fields = f" ({sent[source['id']]})" if source["id"] in sent else ""
    told, drift = row["reason"] if reason else "", row["drift"] or ""
    # Drift that blocks is part of the reason.
    why = told if drift in told else f"{told} {drift}".strip()
    return f"{source['type']} {source['path']}{moved}{fields}{f': {why}' if why else ''}"


def _sent(plan: Mapping[str, Any]) -> dict[str, str]:
    """What else is sent about objects, by their ids in the package."""
    sent = {}
    for entry in plan["import_specification"].get("objectSpecification", ()):
        fields = [f"{key}: {_plain(value)}" for key, value in entry.items() if key not in _TOLD]
        if fields:
            sent[entry["sourceObjectId"]] = ", ".join(fields)
    return sent


def _plain(value: Any) -> str:
    """Flags and texts as people write them, anything else as it is sent."""
    items = value if isinstance(value, list) else []
    flags = [item for item in items if isinstance(item, Mapping) and item.keys() == {"key", "value"}]
    if flags and flags == items:
        return " ".join(f"{flag['key']}={_plain(flag['value'])}" for flag in flags)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _notes(plan: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What the objects by themselves do not tell."""
    for heading, names in (
        ("Last changed there by someone else", plan["drift"]),
        ("Get a schedule after the import", [f"{path} ({name})" for path, name in plan["schedules"].items()]),
        ("Arrive without a schedule", plan["unscheduled"]),
        ("New connections without a password", plan["without_password"]),
    ):
        if names:
            yield heading, names


def _more(rest: Sequence[Any]) -> str:
    return f"{len(rest)} more, listed in the log of the plan task"


def _text(text: str) -> str:
    """A text in which no name of an asset can be taken for Markdown, HTML or a link, or hide what it is."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else f"(U+{ord(c):04X})" for c in line)
    line = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|~&" else c for c in line)
    return _LINK.sub("\u2060", _LIST.sub(r"\1\\\2", line))
