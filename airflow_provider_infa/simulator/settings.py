"""What can be switched per org while the simulator runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

_CHOICES = {
    "lookup_missing": ("omit", "error"),
    "partial_state": ("FAILED", "WARNING", "SUCCESSFUL"),
    "publish_partial_state": ("WARNING", "ERROR", "FAILED"),
    "publish_failed_state": ("FAILED", "ERROR"),
    "session_kind": ("sliding", "jwt"),
}

_KINDS = ("export", "import", "publish", "source_control")


@dataclass(frozen=True)
class Settings:
    """The switches of one org.

    :param export_seconds: how long an export runs.
    :param import_seconds: how long an import runs.
    :param publish_seconds: how long publishing and unpublishing run.
    :param source_control_seconds: how long checkouts, checkins and their undoing run.
    :param idle_timeout: seconds until a session ends (Informatica docs: Session IDs, 30 minutes).
    :param session_kind: ``sliding`` ids live on with each call; ``jwt`` ones are long and end at a fixed
        time.
    :param lookup_missing: leave missing objects out of a lookup's answer (``omit``) or answer 404
        (``error``); neither is documented.
    :param partial_state: state of an import in which some objects failed and some did not; not documented.
    :param publish_partial_state: state of a publish job in which some assets failed and some did not; several
        words are in use, the docs print ``ERROR`` for unpublishing.
    :param publish_failed_state: state of a publish job in which all assets failed.
    :param max_login_attempts: wrong passwords until the account locks (captured in infapy docs, 2021).
    """

    export_seconds: float = 0.0
    import_seconds: float = 0.0
    publish_seconds: float = 0.0
    source_control_seconds: float = 0.0
    idle_timeout: float = 1800.0
    session_kind: str = "sliding"
    lookup_missing: str = "omit"
    partial_state: str = "FAILED"
    publish_partial_state: str = "WARNING"
    publish_failed_state: str = "FAILED"
    max_login_attempts: int = 10

    def changed(self, changes: Mapping[str, Any]) -> Settings:
        """Return these settings with changes; ``job_seconds`` is a number or ``{export, import, publish,
        source_control}``.

        :raises ValueError: if a name or value is not known.
        """
        values = dict(changes)
        if (span := values.pop("job_seconds", None)) is not None:
            by_kind = span if isinstance(span, Mapping) else dict.fromkeys(_KINDS, span)
            for kind, seconds in by_kind.items():
                if kind not in _KINDS:
                    raise ValueError(f"job_seconds: unknown kind {kind!r}")
                values.setdefault(f"{kind}_seconds", seconds)
        for name, value in values.items():
            self._check(name, value)
        return replace(self, **values)

    def _check(self, name: str, value: Any) -> None:
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"unknown setting {name!r}")
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                raise ValueError(f"{name} must be one of {', '.join(_CHOICES[name])}, not {value!r}")
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ValueError(f"{name} must be a number of at least 0, not {value!r}")
