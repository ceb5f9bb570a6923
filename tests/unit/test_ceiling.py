"""How many requests may be in flight: halved once per round of refusals, never below one, never above what was set."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_infa.idmc.ceiling import Ceiling
from airflow_provider_infa.idmc.errors import IdmcThrottledError
from airflow_provider_infa.idmc.policy import Failure
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.transport import Trouble

from .idmc_doubles import Answer, Received, TinyIdmc, error_body, settings


def good(ceiling: Ceiling, times: int = 1) -> None:
    for _ in range(times):
        with ceiling.slot():
            pass


def bad(ceiling: Ceiling, failure: Failure = Failure.THROTTLED) -> None:
    with contextlib.suppress(Trouble), ceiling.slot():
        raise Trouble(failure, "HTTP 429")


def rounds(ceiling: Ceiling, size: int, failure: Failure = Failure.THROTTLED) -> None:
    """So many requests that are in flight together, all of which end so."""
    slots = [ceiling.slot() for _ in range(size)]
    for slot in slots:
        slot.__enter__()
    for slot in slots:
        trouble = Trouble(failure, "x")
        with contextlib.suppress(Trouble):
            slot.__exit__(Trouble, trouble, None)


@pytest.mark.parametrize(("most", "steps"), [(16, [8, 4, 2, 1, 1, 1]), (8, [4, 2, 1, 1]), (5, [2, 1, 1]), (1, [1, 1])])
def test_each_refusal_of_a_round_of_its_own_halves(most: int, steps: list[int]) -> None:
    ceiling = Ceiling(most)
    assert ceiling.limit == most
    limits = []
    for _ in steps:
        bad(ceiling)
        limits.append(ceiling.limit)
    assert limits == steps


@pytest.mark.parametrize("size", [1, 2, 16])
def test_refusals_of_one_round_halve_once(size: int) -> None:
    ceiling = Ceiling(16)
    rounds(ceiling, size)
    assert ceiling.limit == 8
    rounds(ceiling, min(size, 8))
    assert ceiling.limit == 4


def test_a_late_refusal_of_an_earlier_round_tells_nothing_new() -> None:
    ceiling = Ceiling(8)
    late = ceiling.slot()
    late.__enter__()
    bad(ceiling)
    assert ceiling.limit == 4
    with contextlib.suppress(Trouble):
        late.__exit__(Trouble, Trouble(Failure.THROTTLED, "x"), None)
    assert ceiling.limit == 4


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure is not Failure.THROTTLED])
def test_other_failures_change_nothing(failure: Failure) -> None:
    ceiling = Ceiling(8)
    bad(ceiling)
    for _ in range(5):
        bad(ceiling, failure)
    assert ceiling.limit == 4


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, IdmcThrottledError])
def test_an_error_of_any_kind_gives_its_slot_back(error: type[BaseException]) -> None:
    ceiling = Ceiling(1)
    for _ in range(3):
        with pytest.raises(error), ceiling.slot():
            raise error("x")
    assert ceiling.limit == 1
    good(ceiling)


def test_it_recovers_by_about_one_a_round_and_never_beyond_what_was_set() -> None:
    ceiling = Ceiling(8)
    for _ in range(4):
        bad(ceiling)
    assert ceiling.limit == 1
    # One, then two, then three, ...: about 1 + 2 + ... + 7 good answers bring it back.
    limits = []
    for _ in range(100):
        good(ceiling)
        limits.append(ceiling.limit)
    assert limits == sorted(limits)
    assert 20 <= limits.index(8) <= 36
    assert max(limits) == 8
    bad(ceiling)
    assert ceiling.limit == 4


def test_good_answers_alone_change_nothing() -> None:
    ceiling = Ceiling(3)
    good(ceiling, 50)
    assert ceiling.limit == 3


def test_no_more_than_the_limit_run_together_and_all_come_through() -> None:
    ceiling, lock, running, most, barrier = Ceiling(4), threading.Lock(), 0, 0, threading.Barrier(4)

    def work() -> None:
        nonlocal running, most
        with ceiling.slot():
            with lock:
                running += 1
                most = max(most, running)
            # Nobody leaves before four are in: were the limit lower, this would break.
            barrier.wait(timeout=20)
            with lock:
                running -= 1

    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(work) for _ in range(40)]:
            done.result()
    assert most == 4


def test_who_waits_is_woken_when_the_limit_rises_again() -> None:
    ceiling = Ceiling(2)
    bad(ceiling)
    assert ceiling.limit == 1
    entered = threading.Event()

    def wait() -> None:
        with ceiling.slot():
            entered.set()

    holder = ceiling.slot()
    holder.__enter__()
    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.1)
    holder.__exit__(None, None, None)
    assert entered.wait(10)
    thread.join()


class Narrow:
    """An API that throttles what comes while more than so many requests are in flight."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.in_flight = 0
        self.lock = threading.Lock()
        self.answers: Counter[int] = Counter()

    def __call__(self, request: Received) -> Answer:
        with self.lock:
            self.in_flight += 1
            refused = self.in_flight > self.width
        time.sleep(0.01)
        with self.lock:
            self.in_flight -= 1
            self.answers[429 if refused else 200] += 1
        return Answer(429, error_body("X", "Too many requests")) if refused else Answer(body={"ok": True})


@pytest.mark.parametrize(("width", "most"), [(1, 200), (3, 70)])
def test_an_org_that_bears_little_gets_little_and_all_calls_come_through(width: int, most: int) -> None:
    api = Narrow(width)
    with (
        TinyIdmc(api) as idmc,
        Session(settings(idmc.server.url), connections=16, sleep=lambda seconds: time.sleep(seconds / 100)) as session,
        ThreadPoolExecutor(16) as pool,
    ):
        done = [pool.submit(session.get_json, "/things") for _ in range(100)]
        assert [each.result() for each in done] == [{"ok": True}] * 100
    assert api.answers[200] == 100
    # Sixteen at a time all along are refused 330 to 350 times and 115 to 170 times, these 74 to 103 and 17 to 26 times.
    assert 0 < api.answers[429] < most


def test_after_throttling_has_passed_as_many_run_as_at_first() -> None:
    throttled, barrier = threading.Event(), threading.Barrier(8)
    throttled.set()

    def api(request: Received) -> Answer:
        if throttled.is_set():
            return Answer(429, error_body("X", "Too many requests"))
        if request.path.endswith("/together"):
            barrier.wait(timeout=20)
        return Answer(body={"ok": True})

    with TinyIdmc(api) as idmc, Session(settings(idmc.server.url, retry_timeout=0.0), connections=8) as session:
        for _ in range(5):
            with pytest.raises(IdmcThrottledError):
                session.get_json("/things")
        throttled.clear()
        for _ in range(40):
            session.get_json("/things")
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(session.get_json, "/together") for _ in range(8)]
            assert [each.result() for each in done] == [{"ok": True}] * 8
