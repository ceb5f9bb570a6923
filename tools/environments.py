"""
Make the virtual environments that a make target needs below ``.venv/``: ``3.3.2`` for that Airflow version,
``3.3.2-bench`` for the same with one more dependency group, ``3.3.2-python3.13`` for the same with another Python.
They get the Python that runs this.

Old Airflow versions stop working with the newest releases of what they depend on, so each is installed as of a day
shortly after its own release. Needs nothing but Python and the package registry.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEWEST = "3.3.2"
#: Airflow version to the day as of which its environment is installed.
DAYS = {
    "2.11.2": "2026-04-20",
    "3.0.6": "2025-09-30",
    "3.1.8": "2026-04-20",
    "3.2.2": "2026-06-30",
    "3.3.2": "2026-11-15",
}
#: What has to be newer than that day: the compatibility layer of that time lacks what we build on, and the simulator
#: needs its own aiohttp.
LATER = {"3.0.6": {"apache-airflow-providers-common-compat": "2026-01-31", "aiohttp": "2025-10-31"}}


def main() -> None:
    """Make the environments named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[NEWEST], help="Airflow versions, maybe with a group: 3.3.2-lint")
    for name in parser.parse_args().names:
        make(name)


def make(name: str) -> Path:
    """
    Make or update an environment; does nothing if it is up to date.

    :param name: Airflow version; after a hyphen, a dependency group that it holds beside the tests', or a Python.
    :return: Its folder.
    """
    version, _, group = name.partition("-")
    folder = ROOT / ".venv" / name
    groups = ["test", *([group] if group and not group.startswith("python") else [])]
    source = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes() + repr((groups, sys.version)).encode()
    stamp, fingerprint = folder / "installed", hashlib.sha256(source).hexdigest()
    if stamp.exists() and stamp.read_text() == fingerprint:
        return folder
    print(f"Installing Airflow {version} and this provider into .venv/{name} (a minute or two the first time) ...")
    uv = _uv()
    python = folder / "bin" / "python"
    _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
    later = [f"--exclude-newer-package={name}={day}" for name, day in LATER.get(version, {}).items()]
    command = [uv, "pip", "install", "--quiet", "--python", str(python), f"--exclude-newer={DAYS[version]}", *later]
    command += [f"apache-airflow=={version}", "--editable", f"{ROOT}[simulator]"]
    for group in groups:
        command += ["--group", f"{ROOT / 'pyproject.toml'}:{group}"]
    _run(command)
    stamp.write_text(fingerprint)
    return folder


def _uv() -> str:
    """The installer: the one on the path, or one in an environment of its own."""
    if found := shutil.which("uv"):
        return found
    folder = ROOT / ".venv" / "uv"
    uv = folder / "bin" / "uv"
    if not uv.exists():
        venv.create(folder, with_pip=True)
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv>=0.9"])
    return str(uv)


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if subprocess.run(command, env=environment, check=False).returncode:
        sys.exit(f"This command failed: {' '.join(command)}")


if __name__ == "__main__":
    if sys.version_info < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}. Try: make PYTHON=python3.12 ...")
    main()
