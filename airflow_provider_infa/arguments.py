"""
Reading arguments that went through a template.

Every user-facing argument is a template field, and Jinja turns whatever it renders into text, unless the DAG asks for
native objects. So numbers, flags and structures are also taken as text.

Triggers use this as well, and an event loop waits while they are imported; so what reads files is imported when needed.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_infa.idmc.errors import IdmcInputError

if TYPE_CHECKING:
    from airflow_provider_infa.idmc.release import Release


def structure(value: Any, name: str) -> Any:
    """
    A list or mapping, also as JSON or as Python writes it.

    :param value: The argument.
    :param name: Its name, for the error.
    :raises IdmcInputError: If it is a text that is neither.
    """
    if not isinstance(value, str):
        return value
    if not value.strip() or value.strip() == "None":
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    raise IdmcInputError(f"{name} is neither JSON nor a Python literal: {value[:80]!r}.")


def given(**values: Any) -> frozenset[str]:
    """
    Names of the arguments that a DAG gives: what another task returns may still turn out to be nothing.

    :param values: The arguments, as they came to ``__init__``.
    """
    return frozenset(name for name, value in values.items() if value is not None)


def mapping(value: Any, name: str) -> dict[str, Any]:
    """
    A mapping with text keys; nothing means an empty one.

    :raises IdmcInputError: If it is something else.
    """
    value = structure(value, name)
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise IdmcInputError(f"{name} must be a mapping with names as keys, not {value!r}.")
    return dict(value)


def names(value: Any, name: str) -> dict[str, str]:
    """A mapping of names to names. :raises IdmcInputError: If a value is no name."""
    result = mapping(value, name)
    for key, target in result.items():
        if not isinstance(target, str) or not target:
            raise IdmcInputError(f"{name}[{key!r}] must be a name, not {target!r}.")
    return result


def objects(value: Any, name: str) -> list[dict[str, Any] | str]:
    """
    Objects as the operators hand them on: ids, rows, one of either, or the URI of a file with rows.

    :param value: The argument.
    :param name: Its name, for the error.
    :raises IdmcInputError: If it is something else.
    """
    from airflow_provider_infa.storage import read_rows

    if isinstance(value, str) and value.strip() and value.lstrip()[0] not in "[{(\"'":
        # An id has neither slash nor dot; the URI that the list operator returns has both.
        value = read_rows(value) if "/" in value else value if value.strip() == "None" else [value.strip()]
    value = structure(value, name)
    if value is None:
        return []
    entries = [value] if isinstance(value, Mapping | str) else value
    if not isinstance(entries, list | tuple) or not all(isinstance(e, Mapping | str) and e for e in entries):
        raise IdmcInputError(f"{name} must be a list of ids or of rows with id, or path and type, not {value!r}.")
    return [entry if isinstance(entry, str) else dict(entry) for entry in entries]


def flag(value: Any, name: str) -> bool:
    """A yes or no. :raises IdmcInputError: If it is neither."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in ("true", "false"):
        return word == "true"
    raise IdmcInputError(f"{name} must be True or False, not {value!r}.")


def seconds(value: Any, name: str) -> float:
    """A time span above zero, in seconds. :raises IdmcInputError: If it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < 1e9:
        raise IdmcInputError(f"{name} must be a number of seconds above zero, not {value!r}.")
    return number


def number(value: Any, name: str) -> int | None:
    """A whole number of at least 1, or nothing. :raises IdmcInputError: If it is something else."""
    if value is None or str(value).strip() in ("", "None"):
        return None
    try:
        result = int(str(value))
    except ValueError:
        result = 0
    if result < 1:
        raise IdmcInputError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return result


def choice(value: Any, name: str, choices: tuple[str, ...]) -> str:
    """One of a few words. :raises IdmcInputError: If it is another one."""
    if value not in choices:
        raise IdmcInputError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return str(value)


def text(value: Any) -> str | None:
    """A text; an empty one, or a rendered None, is nothing."""
    return None if value is None or str(value).strip() in ("", "None") else str(value)


def release(value: Any) -> Release:
    """
    A release manifest, read from where the argument says; an empty one if there is none.

    :param value: Path or URI of the YAML file.
    :raises IdmcInputError: If it is no manifest; every fault with its line and key.
    """
    from airflow_provider_infa.idmc.release import Release, parse_release
    from airflow_provider_infa.storage import read_text

    if value is None:
        return Release()
    if (uri := text(value)) is None:
        # Going on without one would promote all that there is.
        raise IdmcInputError("manifest is empty: name the YAML file, or leave the argument out.")
    return parse_release(read_text(uri), uri)
