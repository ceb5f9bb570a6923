"""Import one provider in this fresh interpreter; prints time, memory and number of modules. Used by ``parse``."""

# The standard library that this file needs is loaded before the clock starts, for all providers alike.
import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path

import airflow  # noqa: F401 - what every DAG file loads
from airflow.sdk import DAG  # noqa: F401

KINDS = ("hooks", "operators", "sensors", "triggers", "promotion")


def public_modules(package: str) -> list[str]:
    """Names of the public modules of a provider, found without importing any of them."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed")
    (folder,) = map(Path, spec.submodule_search_locations)
    files = [file for kind in KINDS for file in (folder / f"{kind}.py", *sorted((folder / kind).rglob("*.py")))]
    names = [".".join(file.relative_to(folder).with_suffix("").parts) for file in files if file.exists()]
    return [f"{package}.{name}" for name in names if not any(part.startswith("_") for part in name.split("."))]


def resident() -> float:
    """Resident memory in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


names = public_modules(sys.argv[1])
modules, memory, began = len(sys.modules), resident(), time.perf_counter()
for name in names:
    importlib.import_module(name)
took = time.perf_counter() - began
figures = {"ms": took * 1000, "modules": len(sys.modules) - modules, "imported": len(names), "mib": resident() - memory}
print(json.dumps(figures))
