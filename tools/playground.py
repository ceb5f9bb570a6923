"""Three simulated orgs and an Airflow home of their own, which are gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Playground:
    """
    What the tools run in.

    :param folder: Temporary folder, the Airflow home.
    :param environment: For child processes.
    :param orgs: What the simulator wrote into its ready file.
    """

    folder: Path
    environment: dict[str, str]
    orgs: dict[str, Any]

    def airflow(self, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run an Airflow command to its end; what it prints goes to ``airflow.log``."""
        with (self.folder / "airflow.log").open("a") as log:
            return subprocess.run(
                [sys.executable, "-m", "airflow", *args],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                check=True,
                **options,
            )


@contextmanager
def playground(job_seconds: float) -> Iterator[Playground]:
    """
    Start the orgs and prepare the Airflow home.

    :param job_seconds: How long exports and imports take.
    """
    # Ctrl-C and a terminated make must both come through here as exceptions, so that everything is stopped; also in
    # the background, where shells have Ctrl-C ignored.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, lambda *_: sys.exit("\nStopped."))
    with tempfile.TemporaryDirectory(prefix="infa-playground-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "airflow_provider_infa.simulator", "--port", "0", "--ready-file", str(ready)]
        with (
            (folder / "simulator.log").open("w") as log,
            running([*command, "--job-seconds", str(job_seconds)], stdout=log, stderr=log) as simulator,
        ):
            while not ready.exists():
                if simulator.poll() is not None:
                    sys.exit("The simulator did not start:\n" + (folder / "simulator.log").read_text())
                time.sleep(0.05)
            orgs = json.loads(ready.read_text())
            environment = os.environ | {
                # standalone starts its parts by the name "airflow".
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "AIRFLOW_HOME": name,
                "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "example_dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
                "INFA_PACKAGES": (folder / "packages").as_uri(),
                "INFA_BACKUPS": (folder / "backups").as_uri(),
                "PYTHONWARNINGS": "ignore",
            }
            yield Playground(folder, environment, orgs)


@contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own; the whole group is ended afterwards."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        for number, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
            try:
                os.killpg(process.pid, number)
                process.wait(patience)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
