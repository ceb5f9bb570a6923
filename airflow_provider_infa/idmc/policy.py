"""
What to do after a failure, and how long until the next poll: pure functions, tested by tables.

The session (:mod:`airflow_provider_infa.idmc.session`) only obeys.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

#: Codes that refuse a login, whatever the status: documented as 403, seen as 400, and for the last one nobody tells.
#: Sources: Informatica's page "Error object", and change notes of iics-cli (2026).
LOGIN_REFUSALS = ("UI_10000", "IDS_085", "IDS_086")
#: A growing delay starts with about this many seconds ...
FIRST_DELAY = 0.5
#: ... and never grows beyond about this many.
LONGEST_DELAY = 30.0
#: HTTP 500 may be a passing fault or a bug in IDMC that no repetition mends: so many of them in all.
SERVER_ERROR_TRIES = 3
#: Seconds to wait before each look at a job whose start was not answered. A request that was cut off can
#: still be on its way through the gateway, so one look that finds the job not started proves nothing.
SETTLE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
#: A start that again and again leaves no trace is given up after so many.
START_TRIES = 5
#: Polls of a running job begin about a second apart ...
FIRST_POLL = 1.0
#: ... and each waits so much longer than the one before, until the interval is reached.
POLL_GROWTH = 1.5


#: Seconds for which waits keep to what IDMC asks for at most: a clock that is wrong somewhere must not end them all.
LONGEST_SILENCE = 300.0


class Failure(Enum):
    """What went wrong with one exchange, told apart by what may be done next."""

    NOT_CONNECTED = "could not connect"
    LOST = "connection lost or timed out before the answer was complete"
    UNAVAILABLE = "IDMC is not available"
    SERVER_ERROR = "server error"
    UNAUTHORIZED = "session not accepted"
    THROTTLED = "too many requests"
    REFUSED = "refused"


class Kind(Enum):
    """Whether a call may be sent again when nobody knows what became of it."""

    #: Reads, lookup, upload and export start: a second one does no harm.
    REPEATABLE = "repeatable"
    #: Login: repeatable, but never after a refusal, because ten wrong tries lock the account.
    LOGIN = "login"
    #: Import start: must happen once.
    ONCE = "once"


class Step(Enum):
    """What to do next."""

    REPEAT = "repeat after the delay"
    LOGIN = "log in again, then repeat"
    ASK_STATE = "outcome unknown: ask for the state"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Decision:
    """:param step: What to do next. :param delay: Seconds to wait before it."""

    step: Step
    delay: float = 0.0


def judge(status: int, text: str, *, readable: bool, code: str | None = None) -> Failure | None:
    """
    Tell what is wrong with an answer.

    :param status: HTTP status.
    :param text: The beginning of the body as text; may be empty for a success.
    :param readable: Whether the body is what the call was to return: JSON that parses, a log, a package.
    :param code: IDMC's error code, if the body holds one.
    :return: None for a good answer.
    """
    if code in LOGIN_REFUSALS:
        return Failure.REFUSED
    refused = status >= 400 or not readable
    # Informatica's pages on objects, export, import and users promise no status for throttling, only these words.
    if status == 429 or (refused and "too many requests" in text.lower()):
        return Failure.THROTTLED
    if status == 401:
        return Failure.UNAUTHORIZED
    # 408 is a gateway's as well: it waited in vain for the whole request, which may be sent again (RFC 9110).
    if status in (408, 502, 503, 504):
        return Failure.UNAVAILABLE
    if status >= 500:
        return Failure.SERVER_ERROR
    if status >= 300:
        return Failure.REFUSED
    return None if readable else Failure.UNAVAILABLE


def next_step(
    failure: Failure,
    kind: Kind,
    *,
    tries: int,
    elapsed: float,
    retry_timeout: float,
    server_errors: int = 0,
    retry_after: float | None = None,
    session_was_good: bool = True,
    rng: Callable[[], float] = random.random,
) -> Decision:
    """
    Decide what to do after a failed exchange.

    :param failure: What happened.
    :param kind: Whether the call may be repeated blindly.
    :param tries: How often this call was sent so far, at least 1.
    :param elapsed: Seconds since the first failure of this call.
    :param retry_timeout: Seconds after the first failure at which the call is given up.
    :param server_errors: How many of its tries met a server error.
    :param retry_after: Seconds that IDMC asked to wait, if it did.
    :param session_was_good: False when the session that was not accepted has never been accepted: then a
        further login would only produce another one.
    :param rng: Source of randomness between 0 and 1, so that many clients do not return in step.
    """
    if failure is Failure.REFUSED:
        return Decision(Step.GIVE_UP)
    if failure is Failure.UNAUTHORIZED:
        if kind is Kind.LOGIN or not session_was_good:
            return Decision(Step.GIVE_UP)
        return Decision(Step.LOGIN)
    unclear = failure in (Failure.LOST, Failure.UNAVAILABLE, Failure.SERVER_ERROR)
    if kind is Kind.ONCE and unclear:
        return Decision(Step.ASK_STATE)
    if server_errors >= SERVER_ERROR_TRIES:
        return Decision(Step.GIVE_UP)
    # An answer that asks to come back after no time at all must not make a hot loop.
    delay = retry_after if retry_after and retry_after > 0 else growing_delay(tries, rng)
    if elapsed + delay > retry_timeout:
        return Decision(Step.GIVE_UP)
    return Decision(Step.REPEAT, delay)


def growing_delay(tries: int, rng: Callable[[], float] = random.random) -> float:
    """
    Seconds to wait after the given number of tries: doubling, bounded, and spread by half to either side.

    :param tries: How often was tried so far, at least 1.
    :param rng: Source of randomness between 0 and 1.
    """
    # The exponent is bounded because an outage of days must not overflow a float.
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(tries - 1, 10)) * (0.5 + rng())


def silence(retry_after: float | None) -> float:
    """
    Seconds for which IDMC is not to be asked again by any wait.

    :param retry_after: Seconds that it asked for, if it did.
    """
    return min(retry_after or 0.0, LONGEST_SILENCE)


def next_poll(polls: int, poll_interval: float, rng: Callable[[], float] = random.random) -> float:
    """
    Seconds until the next look at a running job.

    :param polls: How often was looked so far, at least 1.
    :param poll_interval: Seconds between two looks once the job has run for a while.
    :param rng: Source of randomness between 0 and 1; the result lies within ten percent of the plain value.
    """
    return spread(min(poll_interval, FIRST_POLL * POLL_GROWTH ** min(polls - 1, 30)), rng)


def spread(seconds: float, rng: Callable[[], float] = random.random) -> float:
    """
    A pause of about so many seconds, by up to a tenth longer or shorter, so that many waits do not keep step.

    :param seconds: The plain value.
    :param rng: Source of randomness between 0 and 1.
    """
    return seconds * (0.9 + 0.2 * rng())
