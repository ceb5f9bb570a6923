"""Faults that are switched on per org: what strikes, which calls, how often."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What happens to a call, by kind, with the parameters it takes and their defaults.
WIRE_KINDS: dict[str, dict[str, Any]] = {
    "expire_session": {},
    "throttle": {"status": 429, "retry_after": None, "text": False},
    "maintenance": {"status": 503},
    "drop_before": {},
    "drop_after": {},
    "slow": {"seconds": 1.0},
    "truncate": {"part": 0.5},
    "deny": {},
    "server_error": {"status": 500},
}
# What happens to a job, decided when it starts.
JOB_KINDS: dict[str, dict[str, Any]] = {
    "never_end": {},
    "fail_job": {"message": "Internal error. Contact Informatica Global Customer Support."},
    "fail_objects": {"paths": [], "message": "Internal error while importing the object."},
    "fail_publish": {"paths": [], "message": "Internal error while publishing the asset."},
}
_PARAMETERS = WIRE_KINDS | JOB_KINDS

# Calls that a kind is meant for when the fault names none.
_DEFAULT_CALLS: dict[str, tuple[str | None, str]] = {
    "expire_session": (None, r"^/(saas|active-bpel)/(?!.*/log(in|out)$)"),
    "truncate": ("GET", r"/package$"),
    "deny": ("POST", r"/import/(?!package$)[^/]+$"),
    "fail_objects": ("POST", r"/import/[^/]+$"),
    "fail_publish": ("POST", r"/asset/v1/publish$"),
}


@dataclass
class Fault:
    """One fault.

    :param kind: what strikes.
    :param method: only calls with this method.
    :param path: only calls whose path matches this regular expression (searched, not anchored).
    :param times: strike so often, then never again; None for always.
    :param every: strike each n-th matching call only.
    :param parameters: what the kind takes besides.
    """

    kind: str
    method: str | None
    path: re.Pattern[str] | None
    times: int | None
    every: int
    parameters: dict[str, Any]
    seen: int = 0
    struck: int = 0

    @classmethod
    def read(cls, source: Mapping[str, Any]) -> Fault:
        """Read a fault from YAML, JSON or the command line.

        :raises ValueError: if the kind, a parameter or a value is not known.
        """
        values = dict(source)
        kind = values.pop("kind", None)
        if kind not in _PARAMETERS:
            raise ValueError(f"unknown fault {kind!r}; known: {', '.join(sorted(_PARAMETERS))}")
        method, path = values.pop("method", None), values.pop("path", None)
        if method is None and path is None:
            method, path = _DEFAULT_CALLS.get(kind, (None, None))
        times, every = values.pop("times", None), values.pop("every", 1)
        if times is not None and (not isinstance(times, int) or times < 1):
            raise ValueError(f"times must be a positive integer, not {times!r}")
        if not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a positive integer, not {every!r}")
        if unknown := sorted(values.keys() - _PARAMETERS[kind].keys()):
            raise ValueError(f"fault {kind} has no parameter {', '.join(unknown)}")
        return cls(
            kind=kind,
            method=method.upper() if method else None,
            path=re.compile(path) if path else None,
            times=times,
            every=every,
            parameters=_PARAMETERS[kind] | values,
        )

    @property
    def is_spent(self) -> bool:
        """Whether the fault has struck as often as it may."""
        return self.times is not None and self.struck >= self.times

    def strikes(self, method: str, path: str) -> bool:
        """Count a call and tell whether the fault strikes it."""
        if self.is_spent or (self.method and self.method != method):
            return False
        if self.path and not self.path.search(path):
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        self.struck += 1
        return True

    def failing(self, paths: Iterable[str]) -> dict[str, str]:
        """Return the messages of the objects that shall fail, by path.

        :param paths: all objects that there are; they all fail if the fault names none.
        """
        return dict.fromkeys(self.parameters["paths"] or paths, str(self.parameters["message"]))

    def view(self) -> dict[str, Any]:
        """Return the fault as the control endpoint shows it."""
        return {
            "kind": self.kind,
            "method": self.method,
            "path": self.path.pattern if self.path else None,
            "times": self.times,
            "every": self.every,
            **self.parameters,
            "seen": self.seen,
            "struck": self.struck,
        }


class FaultBook:
    """The faults of one org, in the order in which they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(self, source: Mapping[str, Any]) -> Fault:
        """Switch a fault on."""
        fault = Fault.read(source)
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Switch all faults off."""
        self._faults.clear()

    def view(self) -> list[dict[str, Any]]:
        """Return all faults, the spent ones too."""
        return [fault.view() for fault in self._faults]

    def strike_call(self, method: str, path: str) -> list[Fault]:
        """Return what strikes this call: any number of delays, then at most one other fault."""
        struck = []
        for fault in self._faults:
            if fault.kind in WIRE_KINDS and fault.strikes(method, path):
                struck.append(fault)
                if fault.kind != "slow":
                    break
        return struck

    def strike_job(self, method: str, path: str) -> dict[str, Fault]:
        """Return what strikes the job that this call starts, by kind."""
        struck: dict[str, Fault] = {}
        for fault in self._faults:
            if fault.kind in JOB_KINDS and fault.strikes(method, path):
                struck.setdefault(fault.kind, fault)
        return struck
