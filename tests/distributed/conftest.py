"""Airflow as it is deployed on several machines: Celery workers, Postgres and Redis, each in processes of its own."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The environment of "make test-distributed" has it, the others do not.
collect_ignore = [] if importlib.util.find_spec("celery") else ["test_distributed.py"]


def airflow_tests(config: pytest.Config) -> Any:
    """
    What the tests of one Airflow start their processes with.

    That file settles where Airflow lives when it is loaded, so it must not be loaded again where those tests run too.
    """
    path = ROOT / "tests" / "airflow" / "conftest.py"
    if found := config.pluginmanager.get_plugin(str(path)):
        return found
    spec = importlib.util.spec_from_file_location("airflow_tests", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAID = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Have a line shown at the end, whatever the outcome is."""
    return pytestconfig.stash.setdefault(SAID, []).append


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for line in config.stash.get(SAID, []):
        terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def services() -> Iterator[Any]:
    """Postgres and Redis of our own."""
    sys.path.insert(0, str(ROOT / "tools"))
    import services

    # A run that is ended from outside must come through here as well.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with services.services() as started:
            yield started
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The processes of Airflow, with the orgs and DAGs of the test file; everything is stopped afterwards."""
    sys.modules.setdefault("airflow_tests", airflow_tests(request.config))
    from cluster import Cluster

    folder = tmp_path_factory.mktemp("cluster")
    started = Cluster(folder, services)
    try:
        started.migrate()
        yield started
    finally:
        started.stop()
        assert started.left() == []
