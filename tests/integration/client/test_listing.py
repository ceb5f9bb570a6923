"""Listing an org in many pages, through faults and while it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from airflow_provider_infa.idmc import objects
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.simulator import Simulator

Connect = Callable[..., Session]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed is small; pages of three make many of it."""
    monkeypatch.setattr(objects, "PAGE_SIZE", 3)


def everything(simulator: Simulator) -> set[str]:
    return {asset["id"] for asset in simulator.assets("dev")}


def listed(connect: Connect) -> list[str]:
    return [asset.id for asset in list_objects(connect("dev"))]


def test_small_pages_bring_what_one_large_one_brings(
    simulator: Simulator, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small = listed(connect)
    pages = [r for r in simulator.requests("dev") if r["path"].endswith("/objects")]
    monkeypatch.setattr(objects, "PAGE_SIZE", 200)
    assert small == listed(connect)
    assert set(small) <= everything(simulator)
    assert len(pages) > objects.PAGES_AT_ONCE
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("kind", ["throttle", "maintenance", "drop_before", "drop_after", "server_error"])
def test_faults_between_pages_cost_nothing_but_time(
    simulator: Simulator, connect: Connect, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = listed(connect)
    # HTTP 500 is tried three times in all, and a page may be hit by each of several in a row.
    often = {"times": 2} if kind == "server_error" else {"every": 3}
    simulator.add_fault("dev", {"kind": kind, "method": "GET", "path": "/objects$", **often})
    assert listed(connect) == whole
    assert simulator.faults("dev")[0]["struck"] >= (2 if kind == "server_error" else 3)
    assert "The org changed" not in caplog.text


def test_a_session_that_expires_between_pages(simulator: Simulator, connect: Connect) -> None:
    whole = listed(connect)
    before = simulator.sessions("dev")["logins"]
    rows = list_objects(connect("dev"))
    got = [next(rows).id]
    simulator.expire_sessions("dev")
    got += [asset.id for asset in rows]
    assert got == whole
    assert simulator.sessions("dev")["logins"] - before == 2


def test_an_asset_that_is_deleted_meanwhile_is_told_of(
    simulator: Simulator, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    whole = listed(connect)
    rows = list_objects(connect("dev"))
    first = next(rows)
    simulator.remove_asset("dev", first.path, first.type)
    got = [first.id, *(asset.id for asset in rows)]
    assert "Some may be missing; list again to be sure." in caplog.text
    assert len(got) == len(set(got))
    # The pages overlap, so a shift by one leaves nothing out that is still there.
    assert set(got) >= set(whole[1:]) & everything(simulator)
