"""One Airflow process that runs the DAGs of this folder again and again; starting Airflow takes longer than a run.

Reads a line of JSON for each run, ``{"dag_id", "environment", "conf"}``, and answers with one, ``{"run_id", "state"}``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time

from airflow_provider_infa.idmc import imports, policy
from airflow_provider_infa.triggers import jobs

# Tenths of a second where the real ones begin with seconds. A start that was cut off must have the time to arrive.
policy.FIRST_DELAY = 0.05
policy.FIRST_POLL = 0.05
# No scheduler is there that could take a task which goes on at once for a lost one.
jobs.PAUSE = 0.05
imports.SETTLE_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6)


def leave_with(parent: int) -> None:
    """End when the tests are gone, also in the middle of a run."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main(answers: int) -> None:
    from airflow.dag_processing.dagbag import DagBag

    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    dags = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags
    with os.fdopen(answers, "w", buffering=1) as file:
        for line in sys.stdin:
            order = json.loads(line)
            os.environ.update(order["environment"])
            run = dags[order["dag_id"]].test(run_conf=order["conf"])
            file.write(json.dumps({"run_id": run.run_id, "state": str(run.state)}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
