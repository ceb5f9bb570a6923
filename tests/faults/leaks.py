"""Searches everything that an Airflow has written for secrets, in every form in which one may have been written."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str) -> dict[str, str]:
    """What a secret may look like, by the name of the form."""
    once = json.dumps(secret)[1:-1]
    found = {
        "plain": secret,
        "URL-encoded": quote(secret, safe=""),
        "URL-encoded, slashes kept": quote(secret),
        "form-encoded": quote_plus(secret),
        "JSON": once,
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1],
        "JSON in JSON": json.dumps(once)[1:-1],
    }
    for start in range(3):
        # Inside a longer text, where the first and the last characters depend on what stands beside the secret.
        shifted = b"\0" * start + secret.encode()
        inner = base64.b64encode(shifted)[4 if start else 0 : len(shifted) // 3 * 4].decode()
        found[f"base64, {start}"] = inner
        found[f"base64 for URLs, {start}"] = inner.replace("+", "-").replace("/", "_")
    return found


def search(places: Iterable[Path], secrets: Mapping[str, str]) -> list[str]:
    """Search files and folders.

    :param places: what to search; of SQLite databases, both the bytes and the values, which may be spread over pages.
    :param secrets: by value, what each is.
    :return: a line for each that was found: where, what, and in which form.
    """
    needles = {form: f"{name} ({kind})" for value, name in secrets.items() for kind, form in forms(value).items()}
    assert all(len(needle) >= 12 for needle in needles), "too short to tell from other text"
    with tempfile.TemporaryDirectory() as folder:
        places = list(places)
        dumps = Path(folder, "dumps")
        dumps.mkdir()
        for place in places:
            for file in [place] if place.is_file() else place.rglob("*.db"):
                if file.suffix == ".db":
                    _dump(file, dumps / quote(str(file), safe=""))
        patterns = Path(folder, "patterns")
        patterns.write_text("\n".join(needles) + "\n")
        # Thousands of needles in one pass; with Python's own means this takes minutes.
        command = ["grep", "-raoFH", "--null", "-f", str(patterns), *map(str, [*places, dumps])]
        done = subprocess.run(command, capture_output=True, env={**os.environ, "LC_ALL": "C"})
        assert done.returncode in (0, 1), done.stderr.decode(errors="replace")
        lines = {line for line in done.stdout.splitlines() if line}
    found = set()
    for line in lines:
        path, _, needle = line.decode().partition("\0")
        found.add(f"{Path(path)}: {needles[needle]}")
    return sorted(found)


def _dump(database: Path, to: Path) -> None:
    """Write every value of every table to a folder, in a file for each table."""
    to.mkdir()
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as base:
        base.text_factory = bytes
        tables = [name.decode() for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            with (to / table).open("wb") as file:
                for row in base.execute(f'SELECT * FROM "{table}"'):
                    for value in row:
                        file.write(value if isinstance(value, bytes) else str(value).encode())
                        file.write(b"\n")
