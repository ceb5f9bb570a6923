"""How much is tried, and what every example has to keep to, however odd what it gets."""

from __future__ import annotations

import gc
import logging
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, settings

#: ``INFA_FUZZ_EXAMPLES=10000`` tries so many packages and so many answers; else it is a few hundred in all.
EXAMPLES = int(os.environ.get("INFA_FUZZ_EXAMPLES", "150"))
#: CPU seconds of one example, threads included.
CPU_SECONDS = 2.0
#: What the process may grow by in one example, beside a multiple of what the example consists of: parsed JSON takes
#: some forty times its text at worst.
GROWTH = 48 << 20
TIMES = 40
#: Characters of an error or a line of the log: people have to read them.
LONGEST_MESSAGE = 20_000


def examples(share: float) -> settings:
    """
    Settings of a test, the same on every run and every machine.

    :param share: Its part of all the packages, or of all the answers.
    """
    return settings(
        max_examples=max(4, round(EXAMPLES * share)),
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


def peak() -> int:
    """Most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def bounded(size: int = 0) -> Iterator[None]:
    """Fail if what is done takes too long, or more memory than its input explains. :param size: Bytes of the input."""
    memory, began = peak(), time.process_time()
    # A collection in the depths of nested JSON would have no stack left for the finalizers of what other tests left.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    seconds = time.process_time() - began
    assert seconds < CPU_SECONDS, f"{seconds:.1f} s of CPU for {size} bytes"
    grown = peak() - memory
    assert grown < GROWTH + TIMES * size, f"{grown >> 20} MiB for {size} bytes"


class Lines(logging.Handler):
    """Everything that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def logged() -> Iterator[list[str]]:
    """The lines that our own code writes to the log of a task."""
    handler, ours = Lines(), logging.getLogger("airflow_provider_infa")
    before = ours.level, ours.propagate
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False  # else pytest keeps the lines of thousands of examples
    try:
        yield handler.lines
    finally:
        ours.removeHandler(handler)
        ours.level, ours.propagate = before


def texts_of(error: BaseException) -> list[str]:
    """All that an error, and what caused it, may show to somebody."""
    texts = []
    chain: BaseException | None = error
    while chain is not None:
        texts += [str(chain), repr(chain), repr(vars(chain))]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return texts


def readable(error: BaseException) -> None:
    """Fail if nobody can read what an error says."""
    assert 0 < len(str(error)) < LONGEST_MESSAGE
