"""JSON of the right shape with something wrong in it, down to what no JSON writer would write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st

#: Values as they stand in the text. None leaves the member out.
VALUES = [
    None,
    *("null", "true", "false", "0", "-1", "1", "200", "1.5", "1e5", "[]", "{}", "[[]]", "[{}]", "[null]", '{"": null}'),
    *('""', '" "', '"x"', '"/"', '"a/b"', '"0"', '"null"', '"SUCCESSFUL"', '"IN_PROGRESS"', '"NOT_STARTED"'),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e400",
        "1" + "0" * 400,
        "-1" + "0" * 400,
        "9" * 5000,
        "0." + "1" * 500,
    ),
    *(
        '"\\ud800"',
        '"a\\udfffb"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"a\\nb"',
        '"a\\r\\nX: y"',
        '"é€"',
        '"\\u202e"',
        '"%2e%2e/"',
    ),
    *("[" * depth + "]" * depth for depth in (50, 300, 900)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (50, 300, 900)),
    "[" * 100_000 + "]" * 100_000,
    '"' + "x" * 100_000 + '"',
    "[" + "1," * 20_000 + "1]",
    *('{"a":1,"a":2}', "{'a':1}", "[1,]", "undefined", "1 2", '"a', "//"),
]

#: Members whose content is taken as it stands.
FREE = {"sourceControl", "customAttributes", "tags", "jobStatusDetail", "itemStatusDetail", "groups"}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document, as the keys and indices that lead there."""
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from places(value, (*path, index))


def write(data: Any, edits: dict[tuple[Any, ...], str | None], path: tuple[Any, ...] = ()) -> str:
    """JSON text of a document with some places replaced by other text, or left out."""
    if path in edits:
        return edits[path] or ""
    if isinstance(data, dict):
        kept = [key for key in data if edits.get((*path, key), "") is not None]
        return "{" + ",".join(f"{json.dumps(key)}:{write(data[key], edits, (*path, key))}" for key in kept) + "}"
    if isinstance(data, list):
        kept = [index for index in range(len(data)) if edits.get((*path, index), "") is not None]
        return "[" + ",".join(write(data[index], edits, (*path, index)) for index in kept) + "]"
    return json.dumps(data)


def odd(data: Any, echoes: Sequence[str] = (), *, anywhere: bool = False) -> st.SearchStrategy[bytes]:
    """
    A document with one to three places changed.

    :param data: As it is really answered.
    :param echoes: Secrets that are repeated. Where a text, or anything at all, may stand they would be data like other
        data, so they stand where they are of the wrong type.
    :param anywhere: Repeat them there as well.
    """
    there = list(places(data))
    typed = [place for place in there if anywhere or (not FREE & set(place) and not _is_text(data, place))]
    edit = st.tuples(st.sampled_from(there), st.sampled_from(VALUES))
    if echoes and typed:
        echo = st.tuples(st.sampled_from(typed), st.sampled_from(list(echoes)))
        edit = st.sampled_from([edit] * 4 + [echo]).flatmap(lambda chosen: chosen)
    edits = st.lists(edit, min_size=1, max_size=3).map(dict)
    return edits.map(lambda chosen: write(data, chosen).encode("utf-8", "surrogatepass"))


def _is_text(data: Any, place: tuple[Any, ...]) -> bool:
    for step in place:
        data = data[step]
    return data is None or isinstance(data, str)
