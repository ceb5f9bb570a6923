"""What became of single objects of an import, as job results and logs tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_infa.simulator import joblog, jobs
from airflow_provider_infa.simulator.assets import Asset
from airflow_provider_infa.simulator.unpack import PackagedObject

CREATED = "Create object"
OVERWRITTEN = "Overwrite existing object"
REUSED = "Reuse existing object"


@dataclass
class Outcome:
    """What became of one object of the package.

    :param target: the object in the target org; None if there is none after a failure.
    :param missing: dependencies that were not found, as ``name/path`` texts.
    """

    source: PackagedObject
    path: str
    state: str
    message: str
    target: Asset | None = None
    missing: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """Return the entry of the job's ``objects``; target id and status are always null (captured)."""
        source, system = self.source, self.source.is_system
        parent, _, name = self.path.rpartition("/")
        return {
            "sourceObject": {
                "id": source.guid,
                "name": source.name,
                "path": source.job_path,
                "type": source.type,
                "description": source.content.description,
            },
            "targetObject": {
                "id": None,
                "name": self.path if system else name,
                "path": None if system else f"/{parent}",
                "type": source.type,
                "description": None,
                "status": None,
            },
            "status": {"state": self.state, "message": self.message},
        }

    def log_line(self, moment: datetime) -> str | None:
        """Return the line of the log; objects that were reused have none (captured, 2021)."""
        source = self.source
        folder = "/SYS" if source.is_system else "/Explore"
        what = f"[{folder}/{source.path}] of type [{source.type}] id [{source.guid}]"
        if self.missing:
            listed = " ".join(f"[{entry}]" for entry in self.missing)
            text = f"Object {what} is missing the following dependencies {listed}"
            return joblog.line("OIE_008", "ERROR", moment, text)
        if self.state == jobs.FAILED:
            # Chosen: no line of another failure is documented.
            return joblog.line("OIE_007", "ERROR", moment, f"Failed to import object {what}: {self.message}")
        if self.message == REUSED:
            return None
        text = f"Successfully imported object {what} to [{folder}/{self.path}]"
        return joblog.line("OIE_006", "INFO", moment, text)
