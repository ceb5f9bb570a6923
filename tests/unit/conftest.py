"""Fixtures of the unit tests: no network beyond loopback, no time that really passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests_mock as requests_mock_module

from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import LOGIN, LOGOUT, Clock, login_answer, new_session


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine that runs the tests must not see them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire() -> Iterator[requests_mock_module.Mocker]:
    """All HTTP of a test; login and logout work, anything else has to be registered."""
    with requests_mock_module.Mocker(case_sensitive=True) as mocker:
        mocker.post(LOGIN, json=login_answer())
        mocker.post(LOGOUT, json={})
        yield mocker


@pytest.fixture
def session(wire: requests_mock_module.Mocker, clock: Clock) -> Iterator[Session]:
    with new_session(clock) as session:
        yield session
