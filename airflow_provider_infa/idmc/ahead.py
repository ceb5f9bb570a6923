"""Several calls at the same time, their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(
    call: Callable[..., T], arguments: Iterable[tuple[Any, ...]], threads: int, *, wait: bool
) -> Generator[T, None, None]:
    """
    Results in the order of the arguments. Few of them wait to be taken, so memory stays flat. To be closed.

    :param call: Runs in several threads.
    :param arguments: Of each call.
    :param threads: Calls at the same time.
    :param wait: Whether whoever stops early, or is stopped by an error, waits for the calls that are under way.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="infa-ahead")
    left = iter(arguments)
    running = deque(pool.submit(call, *each) for each in islice(left, 2 * threads))
    try:
        while running:
            yield running.popleft().result()
            running.extend(pool.submit(call, *each) for each in islice(left, 1))
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)
