"""``make demo``: promote a release from dev to test on real Airflow, and show each step."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

from playground import Playground, playground

DAG_ID = "promote_release"
JOB_SECONDS = 2.0
#: A task starting, and a line logged by this provider, as ``airflow dags test`` prints them.
STEP = re.compile(r".*\[DAG TEST\] starting task_id=(?P<task>\S+)")
LINE = re.compile(r"\S+ \[(?P<level>\w+) *\] (?P<text>.*?) *\[[\w.]*airflow_provider_infa[\w.]*\]")


def main() -> None:
    """Run the demo; exits with 1 if the promotion failed."""
    began = time.monotonic()
    print("Starting a simulated IDMC with the orgs dev, test and prod ...")
    with playground(JOB_SECONDS) as ground:
        for name, conn in ground.orgs["connections"].items():
            print(f"  {name}: {conn['host']}")
        print("Preparing Airflow's database (about 20 seconds) ...", flush=True)
        ground.airflow("db", "migrate")
        print(f"Running example_dags/{DAG_ID}.py with `airflow dags test {DAG_ID}` (about 30 seconds;")
        print(
            f"exports and imports take {JOB_SECONDS:.0f} seconds, as long as small ones do in the real thing) ...",
            flush=True,
        )
        printed, failed = run(ground)
    if failed:
        sys.exit("".join(printed[-200:]) + "\nThe promotion failed; what Airflow printed last is above.")
    print(f"\nDone in {time.monotonic() - began:.0f} s, and everything is stopped. To see it in Airflow's UI: make ui")


def run(ground: Playground) -> tuple[list[str], bool]:
    """Run the DAG, show what the provider says meanwhile, and return all that was printed and whether it failed."""
    orgs = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(conn) for name, conn in ground.orgs["connections"].items()}
    printed: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "airflow", "dags", "test", DAG_ID],
        env=ground.environment | orgs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            printed.append(line)
            if step := STEP.match(line):
                print(f"\n{step['task']}", flush=True)
            elif (said := LINE.match(line)) and said["text"] != "::endgroup::":
                print(f"  {said['text'].removeprefix('::group::')}", flush=True)
    return printed, process.returncode != 0


if __name__ == "__main__":
    main()
