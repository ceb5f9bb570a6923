"""
A package of 1 GiB from one org into another: fetched, verified and uploaded by us, against ``curl`` down and up.

``curl`` verifies nothing. The simulated orgs run in a process of their own; what they take by themselves is shown
beside the figures: ``curl`` into nothing, and the same upload from a bare socket. The last line is one JSON object.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from benchmarks import common

ASSETS = 64
ASSET_BYTES = 16 << 20
ROUNDS = 3


def seed() -> dict[str, Any]:
    """Two orgs with the same large assets, of bytes that do not compress."""
    generated = {"path": "Bulk/m_{n:02d}", "type": "DTEMPLATE", "payload_bytes": ASSET_BYTES, "count": ASSETS}
    return {"orgs": {name: {"assets": [{"generate": generated}]} for name in ("dev", "test")}}


def export(connection: dict[str, Any]) -> dict[str, Any]:
    """Have the package made; every download of it is the same file."""
    from airflow_provider_infa.idmc import exports, jobs
    from airflow_provider_infa.idmc.models import JobKind
    from airflow_provider_infa.idmc.objects import list_objects

    with common.session(connection) as session:
        job = exports.start_export(session, [asset.id for asset in list_objects(session, types="DTEMPLATE")])
        jobs.wait(session, JobKind.EXPORT, job.id, deadline=time.time() + 600, poll_interval=0.5)
        return {"id": job.id}


def ours(source: dict[str, Any], target: dict[str, Any], job: str, file: Path) -> dict[str, Any]:
    """Fetch, verify and upload as tasks do it; memory is told beyond what the imports alone take."""
    import javaproperties  # noqa: F401 - imported on demand otherwise

    from airflow_provider_infa.idmc import exports, imports
    from airflow_provider_infa.idmc.package import read_package

    idle = common.rss_mib()
    with common.session(source) as dev, common.session(target) as test:
        dev.login()
        test.login()
        common.reset_peak()
        moments, busy = [time.perf_counter()], time.process_time()
        got = exports.download_package(dev, job, file)
        moments.append(time.perf_counter())
        if read_package(file).sha256 != got.sha256:
            raise SystemExit("the package is not what was fetched")
        moments.append(time.perf_counter())
        imports.upload_package(test, file)
        moments.append(time.perf_counter())
    down, verify, up = (after - before for before, after in pairwise(moments))
    figures = {"seconds": moments[-1] - moments[0], "down": down, "verify": verify, "up": up}
    return figures | {"cpu": time.process_time() - busy, "idle": idle, "peak": common.rss_mib(peak=True)}


class Curl:
    """The same with ``curl``, and what the server takes by itself."""

    def __init__(self, source: dict[str, Any], target: dict[str, Any], job: str, file: Path) -> None:
        self._file = file
        self._sessions = [common.session(source), common.session(target)]
        dev, test = (session.login() for session in self._sessions)
        self._down = ["-H", f"INFA-SESSION-ID: {dev.session_id}", f"{dev.api_base}/public/core/v3/export/{job}/package"]
        self._session_id = test.session_id
        self._url = f"{test.api_base}/public/core/v3/import/package"

    def close(self) -> None:
        """Log out."""
        for session in self._sessions:
            session.close()

    def down(self, target: Path) -> float:
        """Seconds to fetch the package."""
        began = time.perf_counter()
        self._run("-o", str(target), *self._down)
        return time.perf_counter() - began

    def up(self) -> float:
        """Seconds to upload it."""
        began = time.perf_counter()
        part = f"package=@{self._file};type=application/zip"
        answer = self._run("-H", f"INFA-SESSION-ID: {self._session_id}", "-F", part, self._url)
        if json.loads(answer)["checksumValid"] is not True:
            raise SystemExit("the server did not take the package")
        return time.perf_counter() - began

    def bare_up(self) -> tuple[float, float]:
        """Seconds until the upload was sent from a bare socket, and until it was answered."""
        url = urlsplit(self._url)
        head = b'--b\r\nContent-Disposition: form-data; name="package"; filename="package.zip"\r\n\r\n'
        tail = b"\r\n--b--\r\n"
        size = len(head) + self._file.stat().st_size + len(tail)
        lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", f"INFA-SESSION-ID: {self._session_id}"]
        lines += ["Content-Type: multipart/form-data; boundary=b", f"Content-Length: {size}", "Connection: close"]
        began = time.perf_counter()
        with socket.create_connection((url.hostname, url.port)) as http, self._file.open("rb") as file:
            http.sendall("\r\n".join([*lines, "", ""]).encode() + head)
            http.sendfile(file)
            http.sendall(tail)
            sent = time.perf_counter() - began
            answer = b"".join(iter(lambda: http.recv(1 << 16), b""))
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit("the server did not take the package")
        return sent, time.perf_counter() - began

    def _run(self, *arguments: str) -> bytes:
        command = ["curl", "--silent", "--show-error", "--fail", *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603 - our own command


def measure(server: common.Server, folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], int]:
    """Figures of ours, of curl and of the server alone, and the bytes of the package."""
    source, target = (server.connections[name] for name in ("infa_dev", "infa_test"))
    job = common.in_own_process("benchmarks.package", json.dumps(["export", source]))["id"]
    file = folder / "package.zip"
    call = json.dumps(["ours", source, target, job, str(file)])
    curl = Curl(source, target, job, file)
    mine, theirs = [], []
    nothing = curl.down(Path("/dev/null"))
    for _ in range(ROUNDS):
        mine.append(common.in_own_process("benchmarks.package", call))
        theirs.append({"down": curl.down(file), "up": curl.up()})
    used = server.cpu_seconds()
    sent, answered = curl.bare_up()
    alone = {"down": nothing, "sent": sent, "answered": answered, "cpu_up": server.cpu_seconds() - used}
    curl.close()
    for each in theirs:
        each["seconds"] = each["down"] + each["up"]
    return _medians(mine), _medians(theirs), _medians([alone]), file.stat().st_size


def _medians(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(median(row[name] for row in rows), 2) for name in rows[0]}


def main() -> None:
    """Measure and print."""
    if shutil.which("curl") is None:
        raise SystemExit("This benchmark compares with curl, which is not on this machine: apt-get install curl")
    with common.serving(seed()) as server, tempfile.TemporaryDirectory(prefix="infa-benchmark-") as folder:
        mine, theirs, alone, size = measure(server, Path(folder))
        server_peak = round(server.peak_mib(), 1)
    ratio, above = round(theirs["seconds"] / mine["seconds"], 2), round(mine["peak"] - mine["idle"], 1)
    print(f"{size / 2**30:.2f} GiB, {ASSETS} assets; medians of {ROUNDS} rounds")
    print(
        f"ours   {mine['seconds']:6.2f} s  down {mine['down']:.2f}, verify {mine['verify']:.2f}, up {mine['up']:.2f}; "
        f"{mine['cpu']:.2f} s of CPU; {above:.1f} MiB above {mine['idle']:.0f} MiB when idle"
    )
    print(f"curl   {theirs['seconds']:6.2f} s  down {theirs['down']:.2f}, up {theirs['up']:.2f}; verifies nothing")
    print(
        f"server alone: down {alone['down']:.2f} s into nothing; up {alone['answered']:.2f} s from a bare socket, "
        f"of which {alone['answered'] - alone['sent']:.2f} s are its own verification; peak {server_peak:.0f} MiB"
    )
    common.report(
        {"bytes": size, "ours": mine, "curl": theirs, "server": alone | {"peak": server_peak}}
        | {"ratio": ratio, "rss_above_idle": above},
        {
            f"at least 0.8 times the throughput of curl: {ratio}": ratio >= 0.8,
            f"less than 64 MiB above idle: {above}": above < 64,
        },
    )


if __name__ == "__main__":
    if sys.argv[1:]:
        part, *arguments = json.loads(sys.argv[1])
        if part == "ours":
            arguments[-1] = Path(arguments[-1])
        print(json.dumps({"export": export, "ours": ours}[part](*arguments)))
    else:
        main()
