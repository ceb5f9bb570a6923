"""
Waiting for 1,000 imports in one real triggerer, over TLS with an own authority: ours against the http provider.

Each side gets a fresh simulator (a process of its own), a fresh Airflow home with SQLite, and one ``airflow triggerer``
with Airflow's default settings. 1,000 deferred task instances are stored at once through Airflow's own models; the
triggerer takes 50 of them every second, in order, so the n-th wait begins after about n/50 seconds, and its import is
made to end 60 s after that moment. Both look at a job every ``--interval`` seconds. Measured until the last event:

* CPU of the process that runs the triggers (the runner) and of its supervisor, from /proc;
* memory of the runner: its peak, and what that is above the same triggerer when it runs nothing but the ticker;
* what the server saw;
* the longest time by which a tick every 5 ms came late in the same event loop (``waits_ticker``), how much of that the
  loop's thread was running, and the longest after the first 5 s, in which the triggerer imports what it needs;
* the time from a job's end, known to the server, to Airflow's own log line "Trigger fired event".

The other side is the trigger of the http provider's deferrable sensor, unchanged. It gets the session id of a login
done for it, and takes 404 for "not yet", which the server says to it alone (``waits_server``), as it could not wait for
an IDMC job otherwise. It trusts the authority through SSL_CERT_FILE; our connection names it as ``ca_bundle``.

A third side are triggers that only sleep: what Airflow itself takes for so many, and holds up its event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_infa.idmc import exports, imports, jobs
from airflow_provider_infa.idmc.login import Login
from airflow_provider_infa.idmc.models import JobKind
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.session import Session
from benchmarks.common import Server, certificates, cpu_seconds, report, rss_mib, serving, session
from benchmarks.waits_server import NOT_YET_HEADER

ROOT = Path(__file__).resolve().parents[1]
#: So many waits begin in one round of the triggerer (Airflow's default), and rounds take a second.
PER_SECOND = 50
#: Seconds for which the triggerer is watched with nothing but the ticker.
IDLE = 10.0
#: Seconds after the last job's end until all events must be there.
PATIENCE = 120.0
#: Seconds after which code and first connections are there, so that further blocks have other reasons.
STARTING = 5.0
#: Airflow's words for the moment at which a trigger hands over its event.
FIRED = "Trigger fired event"
#: Seconds of a delayed tick that nobody notices.
SHORT = 0.05
SEED = {
    "orgs": {
        name: {
            "name": f"ACME_{name.upper()}",
            "users": ["deployer"],
            "runtime_environments": ["AGENTS"],
            "projects": [{"name": "Bulk"}],
            "assets": [{"path": "Bulk/mt_1", "type": "MTT", "uses": ["AGENTS"]}],
        }
        for name in ("dev", "test")
    }
}


@dataclass(frozen=True)
class Plan:
    """:param waits: So many. :param seconds: How long each takes. :param interval: Seconds between two looks."""

    waits: int
    seconds: float
    interval: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=5.0)
    parser.add_argument("--side", choices=list(SIDES), action="append", help="only this side; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder to leave homes and logs in")
    options = parser.parse_args()
    plan = Plan(options.waits, options.seconds, options.interval)
    with certificates() as tls, tempfile.TemporaryDirectory(prefix="infa-benchmark-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        sides = {name: measure(name, plan, folder / name, tls) for name in options.side or SIDES}
    if len(sides) < len(SIDES):
        print(json.dumps(sides))
        return
    ours, theirs = sides["ours"], sides["http"]
    compared = ("cpu_seconds", "cpu_ms_per_request", "supervisor_cpu_seconds", "rss_above_idle_mib", "requests")
    ratios = {name: round(ours[name] / theirs[name], 3) for name in (*compared, "p50_seconds", "p95_seconds")}
    own = sides["nothing"]["cpu_seconds"]
    ratios["cpu_beyond_airflow_per_request"] = round(
        (ours["cpu_seconds"] - own) / ours["requests"] / ((theirs["cpu_seconds"] - own) / theirs["requests"]), 3
    )
    report(
        {"waits": plan.waits, "seconds": plan.seconds, "interval": plan.interval, **sides, "ratios": ratios},
        {
            "CPU at most 1/3 of the http provider's": ratios["cpu_seconds"] <= 1 / 3,
            "memory above idle at most 1/2": ratios["rss_above_idle_mib"] <= 1 / 2,
            "event loop never blocked for 50 ms": ours["longest_block_ms"] < SHORT * 1000,
            "one login": ours["logins"] == 1,
            # The pause between two looks varies by a tenth.
            "95 of 100 ends seen within one interval": ours["p95_seconds"] <= 1.1 * plan.interval,
        },
    )


def measure(name: str, plan: Plan, folder: Path, tls: list[str]) -> dict[str, Any]:
    """
    Run one side.

    :param name: Which one.
    :param folder: For its Airflow home; made.
    :param tls: Options of the simulator.
    """
    folder.mkdir()
    with serving(SEED, *tls, module="benchmarks.waits_server") as server:
        connection = server.connections["infa_test"]
        authority = connection["extra"]["ca_bundle"]
        with session(connection) as helper, triggerer(folder, authority, plan.waits + 1) as airflow:
            airflow.defer("ticker", {"ticker": {"conn_type": "http"}}, [airflow.ticker], at=0)
            idle = airflow.watch_idle()
            begin, ends = start_imports(server, helper, plan, folder)
            connections, triggers = SIDES[name](server, helper.login(), ends, plan)
            logins = server.ask("GET", "/orgs/test/sessions")["logins"]
            server.ask("DELETE", "/orgs/test/requests")
            airflow.defer(name, connections, triggers, at=begin)
            server_cpu = server.cpu_seconds()
            found = airflow.watch(name, plan, begin, max(ends.values()))
            requests = [each for each in server.ask("GET", "/orgs/test/requests") if "/import/" in each["path"]]
            late = sorted(fired - end for fired, end in zip(found.pop("fired"), ends.values(), strict=True))
            cpu = found["runner_cpu"] - idle["runner_cpu_per_second"] * found["elapsed"]
            figures = {
                # Of the runner, without what it needs anyway.
                "cpu_seconds": round(cpu, 2),
                "cpu_ms_per_request": round(1000 * cpu / len(requests), 3) if requests else None,
                "runner_cpu_seconds": round(found["runner_cpu"], 2),
                "supervisor_cpu_seconds": round(found["supervisor_cpu"], 2),
                "elapsed_seconds": round(found["elapsed"], 1),
                "peak_rss_mib": round(found["peak_rss"], 1),
                "idle_rss_mib": round(idle["rss"], 1),
                "rss_above_idle_mib": round(found["peak_rss"] - idle["rss"], 1),
                "requests": len(requests),
                "logins": server.ask("GET", "/orgs/test/sessions")["logins"] - logins,
                "longest_block_ms": round(1000 * found["longest"], 1),
                "longest_block_running_ms": round(1000 * found["running"], 1),
                "longest_block_later_ms": round(1000 * found["later"], 1),
                "longest_block_idle_ms": round(1000 * idle["longest"], 1),
                "p50_seconds": round(statistics.median(late), 2),
                "p95_seconds": round(late[int(0.95 * (len(late) - 1))], 2),
                "latest_seconds": round(late[-1], 2),
                "server_cpu_seconds": round(server.cpu_seconds() - server_cpu, 2),
                "server_ceiling_per_second": round(ceiling(helper, next(iter(ends)), authority)),
                "load": round(os.getloadavg()[0], 2),
            }
    if late[0] < -0.1:
        raise SystemExit(f"{name}: an event {-late[0]:.1f} s before the end of its job")
    print(f"{name}: {json.dumps(figures)}", flush=True)
    return figures


#: Connections by id, and triggers as Airflow stores them.
Stored = tuple[dict[str, Any], list[dict[str, Any]]]


def start_imports(server: Server, helper: Session, plan: Plan, folder: Path) -> tuple[float, dict[str, float]]:
    """
    Start one import for each wait.

    :return: When the waits are to begin, and the time at which each job ends, by its id.
    """
    package = folder / "package.zip"
    server.ask("PATCH", "/orgs/dev", {"job_seconds": 0})
    with session(server.connections["infa_dev"]) as dev:
        export = exports.start_export(dev, [asset.id for asset in list_objects(dev, types="MTT")])
        jobs.wait(dev, JobKind.EXPORT, export.id, deadline=time.time() + 60, poll_interval=0.1)
        exports.download_package(dev, export.id, package)
    ids = [imports.upload_package(helper, package) for _ in range(plan.waits)]
    # The starts take about a hundredth of a second each, and their times have to lie before all ends.
    begin = time.time() + 5 + 0.03 * plan.waits
    ends = {}
    for index, id in enumerate(ids):
        left = begin + index / PER_SECOND + plan.seconds - time.time()
        server.ask("PATCH", "/orgs/test", {"job_seconds": {"import": left}})
        started = helper.post_json(f"/import/{id}", {"name": f"wait-{index}"})["startTime"]
        ends[id] = datetime.fromisoformat(started).timestamp() + left
    if time.time() > begin - 3:
        raise SystemExit("starting the imports took too long")
    return begin, ends


def ours(server: Server, _login: Login, ends: dict[str, float], plan: Plan) -> Stored:
    """Connections and triggers of our side, as our sensor defers them."""
    from airflow_provider_infa.triggers.jobs import InfaJobTrigger

    deadline = time.time() + 24 * 3600
    triggers = [InfaJobTrigger("infa_test", "import", id, plan.interval, deadline) for id in ends]
    return {"infa_test": server.connections["infa_test"]}, [stored(trigger) for trigger in triggers]


def nothing(_server: Server, _login: Login, ends: dict[str, float], _plan: Plan) -> Stored:
    """As many triggers that only sleep: what Airflow itself takes."""
    from benchmarks.waits_ticker import SleepTrigger

    return {}, [stored(SleepTrigger(end)) for end in ends.values()]


def http(_server: Server, login: Login, ends: dict[str, float], plan: Plan) -> Stored:
    """Connections and triggers of the http provider's side, as its sensor defers them."""
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    headers = {"INFA-SESSION-ID": login.session_id, "Accept": "application/json", NOT_YET_HEADER: "1"}
    triggers = [
        HttpSensorTrigger(
            endpoint=f"public/core/v3/import/{id}",
            http_conn_id="http_test",
            method="GET",
            data={},
            headers=headers,
            extra_options={},
            poke_interval=plan.interval,
        )
        for id in ends
    ]
    return {"http_test": {"conn_type": "http", "host": login.api_base}}, [stored(each) for each in triggers]


def stored(trigger: Any) -> dict[str, Any]:
    """A trigger as Airflow stores it."""
    classpath, kwargs = trigger.serialize()
    return {"classpath": classpath, "kwargs": kwargs}


SIDES = {"nothing": nothing, "ours": ours, "http": http}


class Airflow:
    """
    A triggerer and its home.

    :param folder: The home; made.
    :param authority: PEM file that its processes trust.
    :param capacity: How many triggers it may run.
    """

    def __init__(self, folder: Path, authority: str, capacity: int) -> None:
        self.home = folder / "home"
        self.ticks = folder / "ticks"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._env = inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__TRIGGERER__CAPACITY": str(max(1000, capacity)),
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": authority,
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.home.mkdir(parents=True)
        self._run("airflow", "db", "migrate")
        self._log_file = folder / "triggerer.log"
        self._log = self._log_file.open("wb")
        command = [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"]
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            command, env=self._env, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT
        )

    def stop(self) -> None:
        """End the triggerer."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    @property
    def ticker(self) -> dict[str, Any]:
        """The benchmark's own trigger."""
        return {"classpath": "benchmarks.waits_ticker.TickTrigger", "kwargs": {"path": str(self.ticks)}}

    @property
    def runner(self) -> int:
        """The process that runs the triggers: the one child of the supervisor."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if len(children) != 1:
            raise SystemExit(f"the triggerer has {len(children)} child processes, not one")
        return int(children[0])

    def defer(self, dag_id: str, connections: dict[str, Any], triggers: list[dict[str, Any]], at: float) -> None:
        """Store task instances that wait for these triggers. :param at: Not before this time."""
        wanted = {"dag_id": dag_id, "connections": connections, "triggers": triggers, "at": at}
        self._run("benchmarks.waits_rows", stdin=json.dumps(wanted))

    def watch_idle(self) -> dict[str, float]:
        """What the triggerer needs when it only ticks."""
        until = time.monotonic() + 60
        while not self.ticks.exists():
            self._check(until, "it does not tick")
        time.sleep(5)
        before, began = cpu_seconds(self.runner), time.time()
        time.sleep(IDLE)
        used = cpu_seconds(self.runner) - before
        ticks = self._blocks(began)
        return {
            "runner_cpu_per_second": used / (time.time() - began),
            "rss": rss_mib(pid=self.runner),
            "longest": ticks[-1]["longest"],
        }

    def watch(self, dag_id: str, plan: Plan, begin: float, end: float) -> dict[str, Any]:
        """Watch the waits until each has fired. :param end: Time of the last job's end."""
        runner, supervisor = self.runner, self._process.pid
        Path(f"/proc/{runner}/clear_refs").write_text("5")  # the peak of memory starts anew
        runner_cpu, supervisor_cpu = cpu_seconds(runner), cpu_seconds(supervisor)
        until = time.monotonic() + end - time.time() + PATIENCE
        while time.time() < end:
            self._check(until, "")
        while len(fired := self._fired(dag_id)) < plan.waits:
            time.sleep(1)
            self._check(until, f"only {len(fired)} of {plan.waits} waits have fired")
        last = max(fired.values())
        blocks = self._blocks(begin, last)
        later = self._blocks(begin + STARTING, last)
        return {
            "fired": [fired[index] for index in range(plan.waits)],
            "elapsed": time.time() - begin,
            "runner_cpu": cpu_seconds(runner) - runner_cpu,
            "supervisor_cpu": cpu_seconds(supervisor) - supervisor_cpu,
            "peak_rss": rss_mib(peak=True, pid=runner),
            "longest": blocks[-1]["longest"],
            "running": blocks[-1]["running"],
            "later": later[-1]["longest"],
        }

    def _blocks(self, since: float, until: float = float("inf")) -> list[dict[str, float]]:
        """The seconds of the ticker, the one with the longest delay last."""
        seconds = [json.loads(line) for line in self.ticks.read_text().splitlines()]
        return sorted((s for s in seconds if since <= s["time"] <= until), key=lambda s: s["longest"])

    def _fired(self, dag_id: str) -> dict[int, float]:
        """
        When each wait fired, by its number, as Airflow's own log of the trigger says.

        The line of a trigger that Airflow has forgotten before it came to the line is in the triggerer's own log.
        """
        found = {}
        for file in (self.home / "logs" / f"dag_id={dag_id}").rglob("map_index=*/*"):
            for line in file.read_text().splitlines():
                entry = json.loads(line)
                if entry["event"] == FIRED:
                    found[int(file.parent.name.removeprefix("map_index="))] = entry["timestamp"]
        for line in self._log_file.read_text(errors="replace").splitlines():
            if FIRED in line and f"dag_id={dag_id} " in line and (number := re.search(r"map_index=(\d+)", line)):
                found[int(number[1])] = line.split()[0]
        return {number: datetime.fromisoformat(moment).timestamp() for number, moment in found.items()}

    def _check(self, until: float, trouble: str) -> None:
        if self._process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"triggerer: {trouble or 'ended'}; see {self._log_file}")
        time.sleep(0.5)

    def _run(self, module: str, *arguments: str, stdin: str | None = None) -> None:
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, env=self._env, input=stdin, capture_output=True, text=True)  # noqa: S603
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


@contextmanager
def triggerer(folder: Path, authority: str, capacity: int) -> Iterator[Airflow]:
    """Run a triggerer; see :class:`Airflow`."""
    airflow = Airflow(folder, authority, capacity)
    try:
        yield airflow
    finally:
        airflow.stop()


def ceiling(helper: Session, job_id: str, authority: str, connections: int = 8, seconds: float = 3.0) -> float:
    """Answers per second that the server gives at most about a job, over TLS connections that are kept."""
    return asyncio.run(_ceiling(helper, job_id, authority, connections, seconds))


async def _ceiling(helper: Session, job_id: str, authority: str, connections: int, seconds: float) -> float:
    login = helper.login()
    url = urlsplit(f"{login.api_base}/public/core/v3/import/{job_id}")
    context = ssl.create_default_context(cafile=authority)
    head = f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nINFA-SESSION-ID: {login.session_id}\r\n\r\n".encode()
    end = time.monotonic() + seconds

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
        answers = 0
        while time.monotonic() < end:
            writer.write(head)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().partition(b"content-length:")[2].split(None, 1)[0]))
            answers += answer.startswith(b"HTTP/1.1 200 ")
        writer.close()
        return answers

    return sum(await asyncio.gather(*(ask() for _ in range(connections)))) / seconds


if __name__ == "__main__":
    main()
