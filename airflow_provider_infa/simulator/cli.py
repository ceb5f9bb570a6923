"""The console script ``infa-simulator``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from airflow_provider_infa.simulator import seed as seeds
from airflow_provider_infa.simulator.faults import JOB_KINDS, WIRE_KINDS
from airflow_provider_infa.simulator.server import Simulator

# An import of three assets took so long (captured in infapy docs, 2021).
_JOB_SECONDS = 3.0

_EPILOG = """\
A fault is written ORG:KIND[,NAME=VALUE...], for example

  --fault test:throttle,times=3,retry_after=2
  --fault 'dev:truncate,path=/package$,times=1'
  --fault 'prod:fail_objects,paths=[Sales/mt_orders]'

Kinds: {}.
All take method and path, which calls; times, how often; every, only each n-th.
""".format(textwrap.fill(", ".join([*WIRE_KINDS, *JOB_KINDS]), 100, subsequent_indent="  "))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key belong together")
    try:
        seed = dict(seeds.load(options.seed))
        seed["settings"] = {"job_seconds": _JOB_SECONDS, **seed.get("settings", {})}
        simulator = Simulator(
            seed,
            job_seconds=options.job_seconds,
            idle_timeout=options.idle_timeout,
            host=options.host,
            port=options.port,
            tls=(options.tls_cert, options.tls_key) if options.tls_cert else None,
            tls_ca=options.tls_ca,
        )
        for org, fault in options.fault:
            simulator.add_fault(org, fault)
        simulator.run(lambda running: _announce(running, options.ready_file))
    except (OSError, ValueError, LookupError, yaml.YAMLError) as error:
        sys.stderr.write(f"infa-simulator: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="infa-simulator",
        description="Several Informatica IDMC organizations on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=Path, metavar="F", help="YAML file with what the orgs hold")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="first of the ports; 0 picks free ones (default)"
    )
    parser.add_argument("--ready-file", type=Path, metavar="F", help="JSON file to write when everything is up")
    parser.add_argument(
        "--job-seconds",
        type=float,
        metavar="X",
        help=f"how long jobs run (default: as the seed says, else {_JOB_SECONDS})",
    )
    parser.add_argument("--idle-timeout", type=float, metavar="X", help="seconds until an idle session ends")
    parser.add_argument("--tls-cert", type=Path, metavar="F", help="PEM file with a certificate: speak https")
    parser.add_argument("--tls-key", type=Path, metavar="F", help="PEM file with its private key")
    parser.add_argument(
        "--tls-ca", type=Path, metavar="F", help="PEM file with its authority, for the connections to name as ca_bundle"
    )
    parser.add_argument(
        "--fault",
        type=_fault,
        action="append",
        default=[],
        metavar="ORG:SPEC",
        help="a fault, may be repeated",
    )
    return parser


def _fault(text: str) -> tuple[str, dict[str, Any]]:
    """Read ``org:kind,name=value,…``; values are written as in YAML."""
    org, _, rest = text.partition(":")
    kind, *pairs = _split(rest)
    if not org or not kind or any("=" not in pair for pair in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not ORG:KIND[,NAME=VALUE...]")
    values: dict[str, Any] = {"kind": kind}
    for pair in pairs:
        name, _, value = pair.partition("=")
        # A path is a regular expression, whatever YAML might make of it.
        values[name] = value if name == "path" else yaml.safe_load(value)
    return org, values


def _split(text: str) -> list[str]:
    """Split at commas that stand in no brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "[{(") - (char in "]})")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _announce(simulator: Simulator, ready_file: Path | None) -> None:
    """Say where everything is, and write the ready file."""
    lines = [
        f"{key}: {org['name']}, login {org['login_url']}, API {org['api_url']}" for key, org in simulator.orgs().items()
    ]
    lines.append(f"control: {simulator.control}")
    for name, connection in simulator.connections.items():
        lines.append(f"export AIRFLOW_CONN_{name.upper()}={shlex.quote(json.dumps(connection))}")
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    if ready_file is not None:
        _write(ready_file, simulator.ready)


def _write(target: Path, content: dict[str, Any]) -> None:
    """Write a file in one step, readable by its owner only: it holds passwords."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    Path(name).replace(target)
