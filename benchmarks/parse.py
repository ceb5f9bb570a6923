"""
What a DAG file pays for importing a provider: ours against http, dbt Cloud and Databricks.

Everything public is imported: all modules of hooks, operators, sensors and triggers, and our ``promotion``. Each import
happens in a fresh interpreter that has already run ``import airflow`` and ``from airflow.sdk import DAG``, which every
DAG file does anyway; what these two lines cost is not counted. One round is thrown away, because it compiles.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from benchmarks.common import in_own_process, report

OURS = "airflow_provider_infa"
RIVALS = {
    "http": "airflow.providers.http",
    "dbt Cloud": "airflow.providers.dbt.cloud",
    "Databricks": "airflow.providers.databricks",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    providers = {"ours": OURS, **RIVALS}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in providers}
    # In turn, so that a busy moment of the machine hits all of them.
    for each in range(rounds + 1):
        for name, package in providers.items():
            run = in_own_process("benchmarks.parse_one", package)
            if each:
                runs[name].append(run)
    figures = {name: summary(found) for name, found in runs.items()}
    for name, found in figures.items():
        spread = f"({found['fastest_ms']:.0f} to {found['slowest_ms']:.0f})"
        print(f"{name:12} {found['ms']:7.0f} ms {spread:>16} {found['modules']:5} modules {found['mib']:6.1f} MiB")
    lightest = min(RIVALS, key=lambda name: figures[name]["ms"])
    ratio = figures["ours"]["ms"] / figures[lightest]["ms"]
    report(
        {"rounds": rounds, "providers": figures, "lightest": lightest, "ratio": round(ratio, 3)},
        {f"less than the lightest of the others, {lightest}": ratio < 1},
    )


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of many runs, and what is the same in all."""
    times = [run["ms"] for run in runs]
    return {
        "ms": round(statistics.median(times), 1),
        "fastest_ms": round(min(times), 1),
        "slowest_ms": round(max(times), 1),
        "mib": round(statistics.median(run["mib"] for run in runs), 1),
        "modules": runs[0]["modules"],
        "imported": runs[0]["imported"],
    }


if __name__ == "__main__":
    main()
