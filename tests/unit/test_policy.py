"""The table "After a failure": what each kind of call does after each failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.idmc.policy import (
    FIRST_DELAY,
    FIRST_POLL,
    LONGEST_DELAY,
    SERVER_ERROR_TRIES,
    Decision,
    Failure,
    Kind,
    Step,
    growing_delay,
    judge,
    next_poll,
    next_step,
)

JSON_ERROR = '{"error": {"code": "X_1", "message": "no", "requestId": "r", "details": null}}'
HTML = "<html><body>Maintenance</body></html>"


def decide(failure: Failure, kind: Kind, **changes: object) -> Decision:
    arguments: dict[str, object] = {"tries": 1, "elapsed": 0.0, "retry_timeout": 300.0, "rng": lambda: 0.5}
    return next_step(failure, kind, **(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "text", "readable", "expected"),
    [
        (200, "{}", True, None),
        (201, "{}", True, None),
        (204, "", True, None),
        (200, HTML, False, Failure.UNAVAILABLE),
        (200, "", False, Failure.UNAVAILABLE),
        (200, '{"count": 1, "objec', False, Failure.UNAVAILABLE),
        (502, HTML, False, Failure.UNAVAILABLE),
        (503, HTML, False, Failure.UNAVAILABLE),
        (504, "", False, Failure.UNAVAILABLE),
        (503, JSON_ERROR, True, Failure.UNAVAILABLE),
        (408, HTML, False, Failure.UNAVAILABLE),
        (408, JSON_ERROR, True, Failure.UNAVAILABLE),
        (500, JSON_ERROR, True, Failure.SERVER_ERROR),
        (501, HTML, False, Failure.SERVER_ERROR),
        (401, JSON_ERROR, True, Failure.UNAUTHORIZED),
        (401, HTML, False, Failure.UNAUTHORIZED),
        (429, "", False, Failure.THROTTLED),
        (429, JSON_ERROR, True, Failure.THROTTLED),
        (400, JSON_ERROR, True, Failure.REFUSED),
        (403, JSON_ERROR, True, Failure.REFUSED),
        (404, JSON_ERROR, True, Failure.REFUSED),
        (409, JSON_ERROR, True, Failure.REFUSED),
        (415, HTML, False, Failure.REFUSED),
        (301, "", False, Failure.REFUSED),
        (302, HTML, False, Failure.REFUSED),
        (307, "", True, Failure.REFUSED),
        # Documented is no status for throttling, only these words.
        (400, "Too many requests.", False, Failure.THROTTLED),
        (403, '{"error": {"message": "TOO MANY REQUESTS"}}', True, Failure.THROTTLED),
        (500, "too many requests", False, Failure.THROTTLED),
        (503, "<p>Too Many Requests</p>", False, Failure.THROTTLED),
        (200, "too many requests", False, Failure.THROTTLED),
        # A good answer may hold these words: the description of an asset, a line of a log.
        (200, '{"description": "too many requests"}', True, None),
    ],
)
def test_judge(status: int, text: str, readable: bool, expected: Failure | None) -> None:
    assert judge(status, text, readable=readable) is expected


TABLE = [
    # failure, repeatable call, login, import start
    (Failure.NOT_CONNECTED, Step.REPEAT, Step.REPEAT, Step.REPEAT),
    (Failure.LOST, Step.REPEAT, Step.REPEAT, Step.ASK_STATE),
    (Failure.UNAVAILABLE, Step.REPEAT, Step.REPEAT, Step.ASK_STATE),
    (Failure.SERVER_ERROR, Step.REPEAT, Step.REPEAT, Step.ASK_STATE),
    (Failure.UNAUTHORIZED, Step.LOGIN, Step.GIVE_UP, Step.LOGIN),
    (Failure.THROTTLED, Step.REPEAT, Step.REPEAT, Step.REPEAT),
    (Failure.REFUSED, Step.GIVE_UP, Step.GIVE_UP, Step.GIVE_UP),
]


def test_the_table_has_every_failure() -> None:
    assert {row[0] for row in TABLE} == set(Failure)


@pytest.mark.parametrize(("failure", "repeatable", "login", "once"), TABLE)
def test_after_a_failure(failure: Failure, repeatable: Step, login: Step, once: Step) -> None:
    steps = [decide(failure, kind).step for kind in (Kind.REPEATABLE, Kind.LOGIN, Kind.ONCE)]
    assert steps == [repeatable, login, once]


@pytest.mark.parametrize("kind", list(Kind))
def test_an_unaccepted_new_session_is_not_replaced_by_another(kind: Kind) -> None:
    assert decide(Failure.UNAUTHORIZED, kind, session_was_good=False).step is Step.GIVE_UP


@pytest.mark.parametrize("failure", [Failure.NOT_CONNECTED, Failure.LOST, Failure.UNAVAILABLE, Failure.THROTTLED])
@pytest.mark.parametrize("kind", [Kind.REPEATABLE, Kind.LOGIN])
def test_retry_timeout(failure: Failure, kind: Kind) -> None:
    # The plain delay after the first try is half a second.
    assert decide(failure, kind, elapsed=299.4).step is Step.REPEAT
    assert decide(failure, kind, elapsed=299.6).step is Step.GIVE_UP
    assert decide(failure, kind, elapsed=301.0).step is Step.GIVE_UP
    assert decide(failure, kind, tries=10_000, elapsed=1e6, retry_timeout=1e9).step is Step.REPEAT


def test_no_retry_at_all() -> None:
    assert decide(Failure.LOST, Kind.REPEATABLE, retry_timeout=0.0).step is Step.GIVE_UP


def test_a_start_waits_for_a_connection_no_longer_than_any_call() -> None:
    assert decide(Failure.NOT_CONNECTED, Kind.ONCE, elapsed=300.0).step is Step.GIVE_UP
    assert decide(Failure.THROTTLED, Kind.ONCE, elapsed=300.0).step is Step.GIVE_UP


@pytest.mark.parametrize("kind", [Kind.REPEATABLE, Kind.LOGIN])
def test_server_errors_are_tried_a_few_times_only(kind: Kind) -> None:
    few, many = SERVER_ERROR_TRIES - 1, SERVER_ERROR_TRIES
    assert decide(Failure.SERVER_ERROR, kind, tries=few, server_errors=few).step is Step.REPEAT
    assert decide(Failure.SERVER_ERROR, kind, tries=many, server_errors=many).step is Step.GIVE_UP
    # Other troubles before it don't count.
    assert decide(Failure.SERVER_ERROR, kind, tries=many, server_errors=1).step is Step.REPEAT


@pytest.mark.parametrize("kind", list(Kind))
def test_retry_after_is_obeyed(kind: Kind) -> None:
    assert decide(Failure.THROTTLED, kind, retry_after=17.0) == Decision(Step.REPEAT, 17.0)
    assert decide(Failure.THROTTLED, kind, retry_after=17.0, tries=9) == Decision(Step.REPEAT, 17.0)


def test_retry_after_beyond_the_timeout_gives_up_at_once() -> None:
    assert decide(Failure.THROTTLED, Kind.REPEATABLE, retry_after=301.0).step is Step.GIVE_UP
    assert decide(Failure.THROTTLED, Kind.REPEATABLE, retry_after=300.0).step is Step.REPEAT
    assert decide(Failure.THROTTLED, Kind.REPEATABLE, retry_after=11.0, elapsed=290.0).step is Step.GIVE_UP


@pytest.mark.parametrize("retry_after", [0.0, -5.0])
def test_retry_after_of_nothing_makes_no_hot_loop(retry_after: float) -> None:
    # "Retry-After: 0", or a date that a clock running ahead has passed already: the calls of five minutes without
    # any pause would be thousands, against a server that asked for fewer.
    decision = decide(Failure.THROTTLED, Kind.REPEATABLE, retry_after=retry_after, tries=6)
    assert decision.step is Step.REPEAT
    assert decision.delay > 0


def test_delays_grow_and_are_bounded() -> None:
    delays = [growing_delay(tries, lambda: 0.5) for tries in range(1, 40)]
    assert delays[0] == FIRST_DELAY
    assert delays == sorted(delays)
    assert delays[1] == 2 * delays[0]
    assert delays[-1] == LONGEST_DELAY


@given(tries=st.integers(1, 10**9), random=st.floats(0, 1, exclude_max=True))
def test_delays_are_positive_and_spread_by_half(tries: int, random: float) -> None:
    plain = growing_delay(tries, lambda: 0.5)
    delay = growing_delay(tries, lambda: random)
    assert 0 < plain * 0.5 <= delay <= plain * 1.5 <= LONGEST_DELAY * 1.5


def test_an_outage_of_five_minutes_is_asked_a_reasonable_number_of_times() -> None:
    elapsed, tries = 0.0, 1
    while (decision := decide(Failure.UNAVAILABLE, Kind.REPEATABLE, tries=tries, elapsed=elapsed)).step is Step.REPEAT:
        elapsed, tries = elapsed + decision.delay, tries + 1
    assert 8 <= tries <= 30
    assert 300 - 2 * LONGEST_DELAY < elapsed <= 300


def test_polls_begin_fast_and_slow_down_to_the_interval() -> None:
    waits = [next_poll(polls, 30.0, lambda: 0.5) for polls in range(1, 20)]
    assert waits[0] == pytest.approx(FIRST_POLL)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(30.0)
    assert sum(waits[:4]) < 10


def test_a_short_interval_is_kept_from_the_first_poll_on() -> None:
    assert next_poll(1, 0.2, lambda: 0.5) == pytest.approx(0.2)


@given(
    polls=st.integers(1, 10**9),
    interval=st.floats(0.01, 3600),
    random=st.floats(0, 1, exclude_max=True),
)
def test_poll_jitter_is_ten_percent(polls: int, interval: float, random: float) -> None:
    plain = next_poll(polls, interval, lambda: 0.5)
    wait = next_poll(polls, interval, lambda: random)
    assert plain * 0.9 * 0.999 <= wait <= plain * 1.1 * 1.001
    assert 0 < wait <= interval * 1.1 * 1.001


@given(
    failure=st.sampled_from(Failure),
    kind=st.sampled_from(Kind),
    tries=st.integers(1, 10**6),
    elapsed=st.floats(0, 1e7),
    retry_timeout=st.floats(0, 1e7),
    retry_after=st.none() | st.floats(0, 1e9),
    session_was_good=st.booleans(),
    random=st.floats(0, 1, exclude_max=True),
)
def test_every_situation_has_a_safe_decision(
    failure: Failure,
    kind: Kind,
    tries: int,
    elapsed: float,
    retry_timeout: float,
    retry_after: float | None,
    session_was_good: bool,
    random: float,
) -> None:
    decision = next_step(
        failure,
        kind,
        tries=tries,
        elapsed=elapsed,
        retry_timeout=retry_timeout,
        retry_after=retry_after,
        session_was_good=session_was_good,
        rng=lambda: random,
    )
    assert isinstance(decision.step, Step)
    assert decision.delay >= 0
    if kind is Kind.ONCE and failure in (Failure.LOST, Failure.UNAVAILABLE, Failure.SERVER_ERROR):
        assert decision.step is Step.ASK_STATE
    if kind is not Kind.ONCE:
        assert decision.step is not Step.ASK_STATE
    if kind is Kind.LOGIN:
        assert decision.step is not Step.LOGIN
    if failure in (Failure.REFUSED, Failure.UNAUTHORIZED):
        assert decision.step is not Step.REPEAT
    if decision.step is Step.REPEAT:
        assert elapsed + decision.delay <= retry_timeout


@given(
    failure=st.sampled_from(Failure),
    kind=st.sampled_from(Kind),
    tries=st.integers(1, 100),
    earlier=st.floats(0, 1000),
    later=st.floats(0, 1000),
)
def test_what_is_given_up_stays_given_up(
    failure: Failure, kind: Kind, tries: int, earlier: float, later: float
) -> None:
    """Time only ever moves a call towards giving up."""
    earlier, later = sorted((earlier, later))
    if decide(failure, kind, tries=tries, elapsed=earlier).step is Step.GIVE_UP:
        assert decide(failure, kind, tries=tries, elapsed=later).step is Step.GIVE_UP
