"""How many requests a session may have in flight: fewer when the org throttles, more again when it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from airflow_provider_infa.idmc.policy import Failure
from airflow_provider_infa.idmc.transport import Trouble


class Ceiling:
    """
    Lets so many threads through at the same time, and adapts that number to what the org bears.

    An answer "too many requests" halves it, once for all requests that were in flight together; a good answer raises
    it again, by about one for each round of good ones. No source tells how much IDMC bears.

    :param most: The number to begin with, which is never exceeded. It never falls below one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(most)
        self._in_flight = 0
        self._shrunk = 0
        self._change = threading.Condition()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return int(self._limit)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until another request may be sent; for one exchange, whose :class:`Trouble` it looks at in passing."""
        with self._change:
            self._change.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1
            shrunk = self._shrunk
        try:
            yield
        except Trouble as trouble:
            if trouble.failure is Failure.THROTTLED:
                self._shrink(shrunk)
            raise
        else:
            self._grow()
        finally:
            with self._change:
                self._in_flight -= 1
                self._change.notify_all()

    def _shrink(self, shrunk: int) -> None:
        with self._change:
            # What was sent before the last time tells nothing about the ceiling since.
            if shrunk == self._shrunk:
                self._limit = max(1.0, self._limit / 2)
                self._shrunk += 1

    def _grow(self) -> None:
        with self._change:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
