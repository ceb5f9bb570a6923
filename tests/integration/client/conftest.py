"""The client of this distribution against the simulator, over real HTTP."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.simulator import Simulator

PASSWORD = "not-a-secret"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(passwords=PASSWORD, job_seconds=0.05) as running:
        yield running


@pytest.fixture
def connect(simulator: Simulator) -> Iterator[Callable[..., Session]]:
    """Open a session with an org; whatever is still open is closed at the end."""
    opened: list[Session] = []

    def open_session(org: str, **changes: Any) -> Session:
        connection = simulator.connections[f"infa_{org}"]
        settings = Settings(connection["host"], connection["login"], connection["password"])
        settings = dataclasses.replace(settings, **changes)
        # A hundredth of each pause: the order of things stays, the time does not.
        opened.append(Session(settings, sleep=lambda seconds: time.sleep(seconds / 100)))
        return opened[-1]

    yield open_session
    for session in opened:
        session.close()
