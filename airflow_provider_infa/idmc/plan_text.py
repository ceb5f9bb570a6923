"""A plan as Markdown, for the people who decide about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_infa.idmc.planned import BLOCKED, CREATE, MAP, OVERWRITE, REUSE

#: Objects shown of each kind; the rest is counted.
SHOWN = 25
_HEADINGS = {
    BLOCKED: "Blocked",
    OVERWRITE: "Overwritten",
    CREATE: "Created",
    MAP: "Mapped to something else",
    REUSE: "Left as they are",
}
#: What is shown without being asked for: what the import leaves alone is only counted.
_FOLDED = (REUSE,)
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


def _lines(plan: Mapping[str, Any]) -> Iterator[str]:
    package, org = plan["package"], plan["target_org"]
    source = _text(package["source_org_name"] or package["source_org_id"] or "an unknown org")
    yield f"**{source} → {_text(org['name'])}**, {len(plan['objects'])} objects, as {_text(plan['user'])}."
    yield ""
    yield "| " + " | ".join(_HEADINGS.values()) + " |"
    yield "|" + " --- |" * len(_HEADINGS)
    yield "| " + " | ".join(str(plan["counts"][action]) for action in _HEADINGS) + " |"
    yield ""
    for warning in plan["warnings"]:
        yield f"- ⚠ {_text(warning)}"
    for note in notes(plan):
        yield f"- {_text(note)}"
    for action, heading in _HEADINGS.items():
        rows = [row for row in plan["objects"] if row["action"] == action]
        if rows and action not in _FOLDED:
            yield f"\n**{heading}** ({len(rows)})\n"
            yield from _shortened([_row(row) for row in rows])
    yield ""
    yield f"Plan `{plan['hash']}`, package SHA-256 `{package['sha256']}`."


def _row(row: Mapping[str, Any]) -> str:
    source, target = row["source"], row["target"]
    moved = f" → {_text(target['path'])}" if target["path"] != source["path"] else ""
    why = " ".join(filter(None, [row["reason"] if row["action"] == BLOCKED else None, row["drift"]]))
    return f"- {_text(source['type'])} {_text(source['path'])}{moved}{f': {_text(why)}' if why else ''}"


def notes(plan: Mapping[str, Any]) -> Iterator[str]:
    """
    What the counts do not tell, as sentences of plain text.

    :param plan: The plan as JSON.
    """
    scheduled = [f"{path} ({name})" for path, name in plan["schedules"].items()]
    for heading, names in (
        ("Changed there by others since the last promotion", plan["drift"]),
        ("Get a schedule after the import", scheduled),
        ("Arrive without a schedule", plan["unscheduled"]),
        ("New connections without a password", plan["without_password"]),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"{heading}: {', '.join(names[:SHOWN])}{more}"


def _shortened(lines: list[str]) -> list[str]:
    return lines[:SHOWN] + ([f"- … and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])


def _text(text: str) -> str:
    """A text in which no name of an asset can be taken for Markdown, HTML or a link, or hide what it is."""
    line = " ".join(str(text).split())
    line = "".join(c if c.isprintable() else f"(U+{ord(c):04X})" for c in line)
    line = "".join(f"\\{c}" if c in "\\`*_{}[]<>#|~&" else c for c in line)
    return _LINK.sub("\u2060", _LIST.sub(r"\1\\\2", line))
