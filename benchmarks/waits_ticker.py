"""A trigger that runs beside those that are measured and finds out how long the event loop was blocked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.connection import get_async_connection
from airflow.triggers.base import BaseTrigger, TriggerEvent

#: Seconds between two ticks.
TICK = 0.005


class TickTrigger(BaseTrigger):
    """
    Tick, and note for every second the longest time by which a tick came late.

    First fetches a connection, which has Airflow's supervisor load its API once for all. Never fires; the benchmark
    ends with its triggerer. A line of the file is one second: the time, the longest delay, and how much of it the
    loop's own thread was running, all in seconds. The rest of a delay is another thread that held the interpreter's
    lock, or another process that held the core.

    :param path: File for the lines.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        return "benchmarks.waits_ticker.TickTrigger", {"path": self.path}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Tick forever."""
        await get_async_connection("ticker")
        with Path(self.path).open("a", buffering=1) as file:
            while True:
                print(json.dumps(await self._second()), file=file)
        yield TriggerEvent({})

    async def _second(self) -> dict[str, float]:
        longest = running = 0.0
        ticks = 0
        now, busy = time.monotonic(), time.thread_time()
        end = now + 1
        while now < end:
            await asyncio.sleep(TICK)
            before, busy_before = now, busy
            now, busy = time.monotonic(), time.thread_time()
            ticks += 1
            if now - before - TICK > longest:
                longest, running = now - before - TICK, busy - busy_before
        return {"time": time.time(), "longest": longest, "running": running, "ticks": ticks}


class SleepTrigger(BaseTrigger):
    """
    The least that a wait can be: what Airflow itself takes for so many triggers.

    :param until: Time at which it fires.
    """

    def __init__(self, until: float) -> None:
        super().__init__()
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        return "benchmarks.waits_ticker.SleepTrigger", {"until": self.until}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire when it is time."""
        await asyncio.sleep(max(0.0, self.until - time.time()))
        yield TriggerEvent(self.until)
