"""Fixtures of the fault suite: an Airflow, simulated orgs, their secrets, and promotions that no fault disturbs."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import leaks
import matrix
import pytest
from matrix import PROMOTED, ROLLED_BACK, Case
from promotions import Airflow, Promotion, Secrets, orgs, tail

from airflow_provider_infa.simulator import Simulator, session_book


@pytest.fixture(scope="session")
def airflow_tests(pytestconfig: pytest.Config) -> ModuleType:
    """The conftest of the Airflow tests, which has Airflow's processes; loading it makes a home for Airflow."""
    path = Path(__file__).parents[1] / "airflow" / "conftest.py"
    loaded = pytestconfig.pluginmanager.get_plugin(str(path))
    if loaded is None:
        spec = importlib.util.spec_from_file_location("airflow_tests", path)
        assert spec
        assert spec.loader
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def known_secrets() -> Iterator[Secrets]:
    """Every password and session id of this process's simulators, and whose it is."""
    known: Secrets = {}
    original = session_book.SessionBook.open

    @functools.wraps(original)
    def recorded(*args: Any, **kwargs: Any) -> session_book.Session:
        session = original(*args, **kwargs)
        known[tail(session.id)] = f"session {len(known)}"
        return session

    session_book.SessionBook.open = recorded  # type: ignore[method-assign]
    yield known
    session_book.SessionBook.open = original  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, known_secrets: Secrets) -> Iterator[Airflow]:
    """The Airflow of this process; when all its promotions are over, none of their secrets may stand anywhere."""
    airflow = Airflow(tmp_path_factory.mktemp("airflow"))
    airflow.start()
    yield airflow
    airflow.stop()
    assert leaks.search([airflow.home], known_secrets) == []


@pytest.fixture
def sim(known_secrets: Secrets) -> Iterator[Simulator]:
    with orgs(known_secrets) as simulator:
        yield simulator


@pytest.fixture(scope="session")
def new_orgs(known_secrets: Secrets) -> Callable[[], Any]:
    return lambda: orgs(known_secrets)


@pytest.fixture(scope="session")
def undisturbed(airflow, new_orgs) -> Promotion:
    with new_orgs() as sim:
        return Promotion(airflow, sim, Case({}, PROMOTED))


@pytest.fixture(scope="session")
def rolled_back(airflow, new_orgs) -> Promotion:
    with new_orgs() as sim:
        faults = {"start_import": {"test": [matrix.FAILING_IMPORT]}}
        return Promotion(airflow, sim, Case(faults, ROLLED_BACK))
