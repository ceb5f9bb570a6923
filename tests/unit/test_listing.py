"""Listing at scale: several pages at a time over real connections, through faults, and while the org changes."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_infa.idmc.errors import IdmcPermissionError, IdmcThrottledError
from airflow_provider_infa.idmc.objects import PAGES_AT_ONCE, list_objects

from .idmc_doubles import Answer, Clock, Received, TinyIdmc, error_body, new_session

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


class Org:
    """
    Assets that are named by numbers, listed in order.

    :param total: How many there are.
    :param counts: Whether answers tell how many.
    :param cap: Rows of a page, whatever is asked for.
    :param before: Called before each answer with the number of the request, from 1, and the request; it may return an
        answer to give instead.
    """

    def __init__(
        self,
        total: int,
        *,
        counts: bool = True,
        cap: int = 200,
        before: Callable[[int, Received], Answer | None] = lambda number, request: None,
    ) -> None:
        self.assets: Any = range(total)
        self.counts, self.cap, self.before = counts, cap, before
        self.asked: list[tuple[int, int]] = []
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()

    def __call__(self, request: Received) -> Answer:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        skip, limit = int(query["skip"]), int(query["limit"])
        with self.lock:
            self.asked.append((skip, limit))
            number = len(self.asked)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if answer := self.before(number, request):
                return answer
            with self.lock:
                page = self.assets[skip : skip + min(limit, self.cap)]
                count = len(self.assets)
            kind = query.get("q", "type=='MTT'").split("'")[1]
            body = {"objects": [{"id": f"{kind}-{n}", "path": f"Sales/{kind}_{n}", "type": kind} for n in page]}
            return Answer(body=body | ({"count": count} if self.counts else {}))
        finally:
            with self.lock:
                self.in_flight -= 1


@pytest.fixture
def listing(clock: Clock) -> Iterator[Callable[..., Iterator[str]]]:
    """List the ids of an org over real connections."""
    with contextlib.ExitStack() as stack:

        def start(org: Org, retry_timeout: float = 300.0, **filters: Any) -> Iterator[str]:
            listing.idmc = idmc = stack.enter_context(TinyIdmc(org))  # type: ignore[attr-defined]
            session = stack.enter_context(new_session(clock, idmc.server.url, retry_timeout=retry_timeout))
            return (asset.id for asset in list_objects(session, **filters))

        yield start


def ids(numbers: Any, kind: str = "MTT") -> list[str]:
    return [f"{kind}-{n}" for n in numbers]


def starts(total: int, page: int = 200) -> list[int]:
    """Where pages begin: each repeats the last of the one before it, so that shifts are seen."""
    step = max(1, page - 1)
    return [0, *range(page - (page > 1), total - (page > 1), step)] if total > page else [0]


def page_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("infa-ahead")]


def no_threads_left() -> bool:
    until = time.monotonic() + 20
    while page_threads() and time.monotonic() < until:
        time.sleep(0.01)
    return not page_threads()


# how much, how many at a time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [20_000, 19_999, 3_201, 1_600, 201])
def test_all_arrive_in_order_by_as_few_requests_as_can_be(
    listing: Any, total: int, caplog: pytest.LogCaptureFixture
) -> None:
    org = Org(total)
    assert list(listing(org)) == ids(range(total))
    assert sorted(org.asked) == [(skip, 200) for skip in starts(total)]
    assert org.most_in_flight <= PAGES_AT_ONCE
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "infa" in r.name]
    assert no_threads_left()


def test_pages_that_take_differently_long_arrive_in_order(listing: Any) -> None:
    def before(number: int, request: Received) -> None:
        time.sleep((number * 7 % 5) / 100)

    assert list(listing(Org(4_000, before=before))) == ids(range(4_000))


def test_eight_pages_at_a_time_and_no_more(listing: Any) -> None:
    assert PAGES_AT_ONCE == 8
    barrier = threading.Barrier(8)

    def before(number: int, request: Received) -> None:
        # After the first page nobody is answered before eight are there; were there fewer, this would break.
        if number > 1:
            barrier.wait(timeout=20)

    org = Org(200 + 4 * 8 * 199, before=before)
    assert len(list(listing(org))) == len(org.assets)
    assert org.most_in_flight == 8


def test_the_first_page_comes_alone_and_nothing_is_fetched_that_nobody_wants(listing: Any) -> None:
    org = Org(20_000)
    rows = listing(org)
    assert org.asked == []
    assert list(itertools.islice(rows, 200)) == ids(range(200))
    assert org.asked == [(0, 200)]
    next(rows)
    rows.close()
    assert no_threads_left()
    # Twice as many pages as come at a time are asked for ahead, and at most as many on top as are under way.
    assert len(org.asked) <= 1 + 2 * PAGES_AT_ONCE + 1
    asked = len(org.asked)
    time.sleep(0.2)
    assert len(org.asked) == asked


def test_a_slow_consumer_is_not_flooded(listing: Any) -> None:
    org = Org(20_000)
    for position, _ in enumerate(itertools.islice(listing(org), 2_000)):
        assert len(org.asked) <= 1 + position // 200 + 2 * PAGES_AT_ONCE + 1


@pytest.mark.parametrize("total", [0, 1, 200, 450, 600])
def test_without_a_count_one_page_after_the_other(listing: Any, total: int, caplog: pytest.LogCaptureFixture) -> None:
    org = Org(total, counts=False)
    assert list(listing(org)) == ids(range(total))
    # A page that is not full ends it; the first one may be as small as it is because IDMC makes no larger ones.
    assert org.asked[: len(starts(total))] == [(skip, 200) for skip in starts(total)]
    assert len(org.asked) <= len(starts(total)) + 1
    assert org.most_in_flight == 1
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "infa" in r.name]


@pytest.mark.parametrize(
    ("total", "cap"), [(0, 1), (1, 1), (30, 1), (31, 7), (149, 7), (149, 150), (450, 150), (451, 150), (451, 199)]
)
def test_pages_smaller_than_asked_for_leave_nothing_out(
    listing: Any, total: int, cap: int, caplog: pytest.LogCaptureFixture
) -> None:
    org = Org(total, cap=cap)
    assert list(listing(org)) == ids(range(total))
    assert sorted(skip for skip, _ in org.asked) == starts(total, cap)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "infa" in r.name]


def test_pages_that_become_smaller_on_the_way_are_told_of(listing: Any, caplog: pytest.LogCaptureFixture) -> None:
    org = Org(2_000)

    def before(number: int, request: Received) -> None:
        org.cap = 200 if number == 1 else 150

    org.before = before
    got = list(listing(org))
    assert len(set(got)) == len(got)
    # Either nothing is missing, or somebody hears of it.
    assert set(got) == set(ids(range(2_000))) or "Some may be missing" in caplog.text


@pytest.mark.parametrize(
    ("limit", "pages"),
    [
        (1, [(0, 1)]),
        (200, [(0, 200)]),
        (201, [(0, 200), (200, 1)]),
        (450, [(0, 200), (200, 200), (400, 50)]),
        (20_000, [(skip, 200) for skip in range(0, 2_000, 200)]),
    ],
)
def test_a_limit(listing: Any, limit: int, pages: list[tuple[int, int]], caplog: pytest.LogCaptureFixture) -> None:
    org = Org(2_000)
    assert list(listing(org, limit=limit)) == ids(range(min(limit, 2_000)))
    assert sorted(org.asked) == pages
    assert "changed" not in caplog.text
    assert no_threads_left()


@pytest.mark.parametrize("limit", [1, 200, 201, 450])
def test_a_limit_without_a_count(listing: Any, limit: int) -> None:
    assert list(listing(Org(2_000, counts=False), limit=limit)) == ids(range(limit))


@pytest.mark.parametrize("limit", [None, 1_100])
def test_several_types_one_after_the_other(listing: Any, limit: int | None) -> None:
    org = Org(1_000)
    expected = ids(range(1_000), "MTT") + ids(range(1_000), "TASKFLOW")
    assert list(listing(org, types=["MTT", "TASKFLOW"], limit=limit)) == expected[:limit]
    assert org.most_in_flight <= PAGES_AT_ONCE


def test_memory_stays_flat(listing: Any) -> None:
    def peak(total: int) -> int:
        rows = listing(Org(total))
        next(rows)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        assert sum(1 for _ in rows) == total - 1
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        peak(4_000)  # what is made once
        small, large = peak(4_000), peak(20_000)
    finally:
        tracemalloc.stop()
    # 16,000 rows more: their ids, which are kept to tell duplicates, take about 150 bytes each. The rows take 1,500.
    assert large - small < 6 << 20


# the org changes ------------------------------------------------------------------------------------------------------


def changing(total: int, change: Callable[[list[int]], None], at: int = 2) -> Org:
    """An org that changes right before it answers a request; with the second one, page one is there already."""
    org = Org(total)
    org.assets = list(range(total))

    def before(number: int, request: Received) -> None:
        if number == at:
            with org.lock:
                change(org.assets)

    org.before = before
    return org


@pytest.mark.parametrize("at", [2, 5])
def test_an_org_that_grows_is_listed_to_its_end_and_told_of(
    listing: Any, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    got = list(listing(changing(2_000, lambda assets: assets.extend(range(2_000, 2_250)), at)))
    # Where the number only became known with the last page, what is new came all the same.
    assert got == ids(range(2_250))
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning == (
        "The org changed while it was listed: 2000 or 2250 objects were announced, 2250 arrived, 2250 of them "
        "different. Some may be missing; list again to be sure."
    )


@pytest.mark.parametrize(
    "change", [lambda assets: assets.pop(0), lambda assets: (assets.pop(0), assets.append(9_999))], ids=["-1", "-1+1"]
)
def test_a_deletion_at_its_beginning_is_told_of(listing: Any, change: Any, caplog: pytest.LogCaptureFixture) -> None:
    # One of page one is deleted, so all that follows moves up. Where another one comes the number tells nothing.
    got = list(listing(changing(2_000, change)))
    assert len(got) == len(set(got))
    assert set(got) >= set(ids(range(1, 2_000)))
    assert "a page did not begin where the one before it ended. Some may be missing" in caplog.text


@pytest.mark.parametrize("at", [2, 5, 9])
def test_larger_shifts_may_leave_out_some_and_are_told_of(
    listing: Any, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    def change(assets: list[int]) -> None:
        del assets[:50]
        assets.extend(range(5_000, 5_050))

    got = list(listing(changing(2_000, change, at)))
    assert len(got) == len(set(got))
    assert "Some may be missing" in caplog.text


def test_an_org_that_shrinks_to_nothing_ends(listing: Any, caplog: pytest.LogCaptureFixture) -> None:
    got = list(listing(changing(2_000, lambda assets: assets.clear())))
    assert got[:200] == ids(range(200))
    assert "objects were announced" in caplog.text


def test_an_insertion_brings_a_duplicate_which_comes_once(listing: Any, caplog: pytest.LogCaptureFixture) -> None:
    got = list(listing(changing(2_000, lambda assets: assets.insert(0, 9_999))))
    assert len(got) == len(set(got))
    # The new one lies on a page that was read before; that it exists is all that can be told.
    assert set(got) == set(ids(range(2_000)))
    assert "2000 or 2001 objects were announced, 2001 arrived, 2000 of them different" in caplog.text


def test_a_limit_in_an_org_that_changes_is_kept(listing: Any) -> None:
    got = list(listing(changing(2_000, lambda assets: assets.insert(0, 9_999)), limit=1_000))
    assert len(got) == len(set(got)) == 1_000


# faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "17"}])
def test_throttling_during_the_pages_costs_time_and_nothing_else(
    listing: Any, clock: Clock, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def before(number: int, request: Received) -> Answer | None:
        return Answer(429, error_body("X", "Too many requests"), headers) if number > 1 and number % 3 == 0 else None

    org = Org(8_000, before=before)
    assert list(listing(org)) == ids(range(8_000))
    assert len(clock.sleeps) == len(org.asked) - len(starts(8_000)) > 10
    assert not headers or set(clock.sleeps) == {17.0}
    assert "changed" not in caplog.text


def test_fewer_at_a_time_after_throttling(listing: Any) -> None:
    """Where eight at a time are refused, fewer are tried."""
    org = Org(200 * 60)

    def before(number: int, request: Received) -> Answer | None:
        time.sleep(0.02)
        with org.lock:
            refused = org.in_flight > 4
        refusals[refused] += 1
        return Answer(429, error_body("X", "Too many requests")) if refused else None

    refusals: Counter[bool] = Counter()
    org.before = before
    assert list(listing(org)) == ids(range(200 * 60))
    # At eight all the time, every second request would be refused.
    assert 0 < refusals[True] < refusals[False] / 2


def test_a_session_that_dies_under_eight_pages_is_one_new_login(clock: Clock) -> None:
    barrier = threading.Barrier(8)

    def before(number: int, request: Received) -> Answer | None:
        if number == 1 or request.session_id != "session-1":
            return None
        barrier.wait(timeout=20)
        return Answer(401, error_body("AUTH_01", "Session expired."))

    org = Org(200 + 40 * 199, before=before)
    with TinyIdmc(org) as idmc, new_session(clock, idmc.server.url) as session:
        assert [asset.id for asset in list_objects(session)] == ids(range(200 + 40 * 199))
        assert idmc.logins == 2
    assert len(org.asked) == 41 + 8


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(403, error_body("MigrationSvc_040", "Not allowed.")), IdmcPermissionError),
        (Answer(429, error_body("X", "Too many requests")), IdmcThrottledError),
    ],
)
def test_a_page_that_fails_for_good_ends_the_listing(listing: Any, answer: Answer, error: type[Exception]) -> None:
    def before(number: int, request: Received) -> Answer | None:
        return answer if "skip=995" in request.path else None

    org = Org(20_000, before=before)
    got: list[str] = []
    rows = listing(org, retry_timeout=5.0)
    with pytest.raises(error):
        got.extend(rows)  # what came before the error stays
    assert got == ids(range(996))
    assert no_threads_left()
    # Nothing beyond what was under way when the error was seen.
    assert max(skip for skip, _ in org.asked) <= 995 + 2 * PAGES_AT_ONCE * 200
    asked = len(org.asked)
    time.sleep(0.2)
    assert len(org.asked) == asked
    # The generator has ended; it does not begin again.
    assert list(rows) == []


def test_closing_a_listing_does_not_wait_for_pages_under_way(listing: Any) -> None:
    release = threading.Event()

    def before(number: int, request: Received) -> None:
        if "skip=0" not in request.path and "skip=199" not in request.path:
            release.wait(10)

    rows = listing(Org(20_000, before=before))
    list(itertools.islice(rows, 201))
    began = time.monotonic()
    rows.close()
    assert time.monotonic() - began < 2
    release.set()
    assert no_threads_left()
