"""JSON schemas of what files and tasks hand on, beside this module."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def validator(name: str) -> Any:
    """
    Validator for a schema.

    :param name: ``plan``, ``backup`` or ``release``.
    """
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(Path(__file__).with_name(f"{name}.schema.json").read_text(encoding="utf-8")))


def fault(name: str, data: Any) -> str | None:
    """
    What is wrong with data, in short; None if it fits.

    :param name: Name of the schema.
    :param data: JSON data.
    """
    for error in validator(name).iter_errors(data):
        # It repeats the value, however long that is.
        return f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message[-200:]}"
    return None
