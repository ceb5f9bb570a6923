"""How many requests a session may have in flight: fewer when the org throttles, more again when it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from airflow_provider_infa.idmc.policy import Failure
from airflow_provider_infa.idmc.transport import Trouble


class _Limit:
    """
    The number, and what changes it.

    An answer "too many requests" halves it, once for all requests that were in flight together; a good answer raises
    it again, by about one for each round of good ones. No source tells how much IDMC bears.
    """

    def __init__(self, most: int, free: threading.Semaphore | asyncio.Semaphore) -> None:
        self._most = most
        self._limit = float(most)
        self._free = free
        self._slots = most  # free ones and those in use
        self._shrunk = 0
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._limit)

    @contextmanager
    def _taken(self) -> Iterator[None]:
        """For one exchange in a slot, whose :class:`Trouble` it looks at in passing."""
        shrunk, change = self._shrunk, 0.0
        try:
            yield
            change = 1 / self._limit
        except Trouble as trouble:
            if trouble.failure is Failure.THROTTLED:
                change = -self._limit / 2
            raise
        finally:
            with self._lock:
                # What was sent before the last time it shrank tells nothing about the ceiling since.
                if change > 0 or shrunk == self._shrunk:
                    self._shrunk += change < 0
                    self._limit = min(float(self._most), max(1.0, self._limit + change))
                self._give_back()

    def _give_back(self) -> None:
        self._slots -= 1
        while self._slots < self.limit:
            self._slots += 1
            self._free.release()


class Ceiling(_Limit):
    """
    Lets so many threads through at the same time, and adapts that number to what the org bears.

    :param most: The number to begin with, which is never exceeded. It never falls below one.
    """

    def __init__(self, most: int) -> None:
        self._semaphore = threading.Semaphore(most)
        super().__init__(most, self._semaphore)

    def slot(self) -> AbstractContextManager[None]:
        """Wait until another request may be sent; the context is that of one exchange, and has to be entered."""
        self._semaphore.acquire()
        return self._taken()


class AsyncCeiling(_Limit):
    """The same for tasks of one event loop. :param most: The number to begin with."""

    def __init__(self, most: int) -> None:
        self._semaphore = asyncio.Semaphore(most)
        super().__init__(most, self._semaphore)

    async def slot(self) -> AbstractContextManager[None]:
        """Wait until another request may be sent; the context is that of one exchange, and has to be entered."""
        await self._semaphore.acquire()
        return self._taken()
