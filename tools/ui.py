"""``make ui``: a real Airflow with the example DAGs and three simulated orgs, until Ctrl-C."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request

from playground import Playground, playground, running

PASSWORDS = "simple_auth_manager_passwords.json.generated"


def main() -> None:
    """Run until Ctrl-C."""
    print("Starting a simulated IDMC with the orgs dev, test and prod ...")
    with playground(job_seconds=5.0) as ground:
        port = free_port(8080)
        address = f"http://127.0.0.1:{port}"
        ground.environment |= {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": address,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
            "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
            "INFA_APPROVAL": "person",
        }
        print("Preparing Airflow's database (about 20 seconds) ...")
        ground.airflow("db", "migrate")
        (ground.folder / "connections.json").write_text(json.dumps(ground.orgs["connections"]))
        ground.airflow("connections", "import", str(ground.folder / "connections.json"))
        (ground.folder / "connections.json").unlink()
        print("Starting Airflow: API server, scheduler, DAG processor and triggerer (about 30 seconds) ...")
        with (
            (ground.folder / "airflow.log").open("a") as log,
            running(
                [sys.executable, "-m", "airflow", "standalone"], env=ground.environment, stdout=log, stderr=log
            ) as airflow,
        ):
            wait_until_up(ground, airflow, address)
            name, password = next(iter(json.loads((ground.folder / PASSWORDS).read_text()).items()))
            print(f"\nAirflow:  {address}\nLogin:    {name}\nPassword: {password}\n")
            print("Trigger promote_release there, and approve its plan under Required Action. Ctrl-C stops all.")
            sys.stdout.flush()
            airflow.wait()


def wait_until_up(ground: Playground, airflow: subprocess.Popen[bytes], address: str) -> None:
    """Return when Airflow answers and its scheduler and triggerer are alive."""
    for _ in range(240):
        if airflow.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/api/v2/monitor/health", timeout=2) as answer:
                health = json.load(answer)
            if all(
                (health[part] or {}).get("status") == "healthy" for part in ("scheduler", "triggerer", "dag_processor")
            ):
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.5)
    sys.exit("Airflow did not start:\n" + (ground.folder / "airflow.log").read_text()[-10_000:])


def free_port(wanted: int) -> int:
    """The wanted port if it is free, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port")


if __name__ == "__main__":
    main()
