"""Lines in the log while something large moves, so that people see that it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds between two lines.
EVERY = 5.0
MIB = 1 << 20


class Progress:
    """
    Logs, every few seconds, how many bytes have moved; what is over sooner gets no line.

    :param what: What moves, for example ``Download of package.zip``.
    :param total: Bytes in all, if that is known.
    :param clock: Seconds on a clock that never jumps; tests pass their own.
    """

    def __init__(self, what: str, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._of = f" of {total / MIB:,.0f}" if total else ""
        self._clock = clock
        self._told = 0
        self._last = clock()

    def at(self, size: int) -> None:
        """
        Tell how much has moved.

        :param size: Bytes since the beginning.
        """
        now = self._clock()
        if now - self._last >= EVERY:
            speed = (size - self._told) / MIB / (now - self._last)
            log.info("%s: %s%s MiB, %.1f MiB/s.", self._what, f"{size / MIB:,.0f}", self._of, speed)
            self._told, self._last = size, now
