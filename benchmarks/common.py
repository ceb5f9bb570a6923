"""What the benchmarks share: a server in a process of its own, certificates for it, and how memory is measured."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings

_PATIENCE = 60.0


@dataclass(frozen=True)
class Server:
    """
    A simulator in a process of its own, so that it does not share the interpreter's lock with what is measured.

    :param pid: Its process.
    :param connections: A connection for each org, as ``infa_<org>``.
    :param control: Address of its control endpoint.
    """

    pid: int
    connections: dict[str, Any]
    control: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control endpoint, for example ``ask("POST", "/orgs/dev/faults", {"kind": "slow"})``."""
        answer = requests.request(method, self.control + path, json=body, timeout=_PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def cpu_seconds(self) -> float:
        """Seconds of CPU that the server has used so far."""
        return cpu_seconds(self.pid)

    def peak_mib(self) -> float:
        """The most memory that the server has had so far."""
        return rss_mib(peak=True, pid=self.pid)


@contextmanager
def serving(
    seed: Mapping[str, Any], *options: str, module: str = "airflow_provider_infa.simulator"
) -> Iterator[Server]:
    """
    Run a simulator.

    :param seed: What its orgs hold.
    :param options: Further options of ``infa-simulator``.
    :param module: What to run, if not the simulator as it is.
    """
    with tempfile.TemporaryDirectory(prefix="infa-benchmark-") as folder:
        seed_file, ready_file = Path(folder) / "seed.yaml", Path(folder) / "ready.json"
        seed_file.write_text(json.dumps(seed))  # JSON is YAML
        command = [sys.executable, "-m", module, "--seed", str(seed_file)]
        command += ["--ready-file", str(ready_file), *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        try:
            deadline = time.monotonic() + _PATIENCE
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the simulator did not start")
                time.sleep(0.02)
            ready = json.loads(ready_file.read_text())
            yield Server(process.pid, ready["connections"], ready["control"])
        finally:
            process.terminate()
            process.wait()


@contextmanager
def certificates() -> Iterator[list[str]]:
    """Make an authority and a certificate for this machine; yields the simulator's options to use them."""
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    with tempfile.TemporaryDirectory(prefix="infa-benchmark-") as folder:
        files = {name: Path(folder) / f"{name}.pem" for name in ("cert", "key", "ca")}
        certificate.private_key_pem.write_to_path(files["key"])
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(files["cert"], append=True)
        authority.cert_pem.write_to_path(files["ca"])
        yield [text for name, file in files.items() for text in (f"--tls-{name}", str(file))]


def session(connection: Mapping[str, Any], **options: Any) -> Session:
    """
    A session of ours with an org of the simulator.

    :param options: Passed on to the session.
    """
    verify = connection.get("extra", {}).get("ca_bundle", True)
    settings = Settings(connection["host"], connection["login"], connection["password"], verify=verify)
    return Session(settings, **options)


def in_own_process(module: str, *arguments: str) -> dict[str, Any]:
    """
    Run a part of a benchmark alone, so that memory and CPU are its own.

    :param module: Module to run; the last line that it prints is a JSON object.
    :return: That object.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own command
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def rss_mib(*, peak: bool = False, pid: int | str = "self") -> float:
    """
    Resident memory of a process in MiB, from Linux: the peak that ``getrusage`` tells includes the parent's.

    :param peak: The highest since the last :func:`reset_peak`, instead of the current one.
    :param pid: The process, if not this one.
    """
    name = "VmHWM:" if peak else "VmRSS:"
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def reset_peak() -> None:
    """Let the peak of memory start anew."""
    Path("/proc/self/clear_refs").write_text("5")


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used so far, all threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(figures: Mapping[str, Any], goals: Mapping[str, bool]) -> None:
    """
    Say whether the goals are met, and print everything as one JSON object: the last line of a benchmark.

    :param figures: What was measured.
    :param goals: Each goal in words, and whether it is met.
    """
    for goal, met in goals.items():
        print(f"{'met    ' if met else 'NOT MET'} {goal}")
    machine = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
    }
    print(json.dumps({**figures, "goals": dict(goals), **machine}))
