"""The log of requests that one org has received, for tests to look into."""

from __future__ import annotations

import json
import re
from typing import Any

from airflow_provider_infa.simulator import wire

_SECRET = re.compile(r"pass|token|secret", re.IGNORECASE)


class Recorder:
    """Keeps what arrived and what was answered; secrets are masked before they are kept."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._number = 0

    def open(self, site: str, method: str, path: str, query: str, headers: list[str], media: str) -> dict[str, Any]:
        """Start the entry of a request; the answer's part is filled in later."""
        self._number += 1
        entry: dict[str, Any] = {
            "n": self._number,
            "time": wire.millis(wire.now()),
            "site": site,
            "method": method,
            "path": path,
            "query": query,
            "headers": headers,
            "content_type": media,
            "body": None,
            "status": None,
            "fault": None,
            "reason": None,
        }
        self._entries.append(entry)
        return entry

    def entries(self) -> list[dict[str, Any]]:
        """Return a copy of all entries, oldest first."""
        return [dict(entry) for entry in self._entries]

    def clear(self) -> None:
        """Forget all entries; numbers go on."""
        self._entries.clear()


def masked(body: bytes) -> Any:
    """Return a JSON body with its secrets masked; what is no JSON is shown by its length only."""
    try:
        return _mask(json.loads(body))
    except ValueError:
        return f"<{len(body)} bytes>" if body else None


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(key) else _mask(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mask(item) for item in value]
    return value
