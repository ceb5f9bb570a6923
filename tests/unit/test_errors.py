"""What a wait outlasts, and what ends it."""

from __future__ import annotations

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.errors import IdmcError


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (errors.IdmcUnavailableError("", status=503), True),
        (errors.IdmcUnavailableError("", status=404), True),
        (errors.IdmcThrottledError("", status=429, code="X"), True),
        (errors.IdmcOutcomeUnknownError(""), True),
        # The login was not refused.
        (errors.IdmcSessionError("", status=401, code="X"), True),
        # Maybe of something in IDMC's stead; a worker fails at once.
        (errors.IdmcAnswerError(""), True),
        (errors.IdmcAnswerError("", status=302), True),
        # IDMC's word, with a code or without one.
        (errors.IdmcNotFoundError("", status=404, code="X"), False),
        (errors.IdmcNotFoundError("", status=404), False),
        (errors.IdmcPermissionError("", status=403, code="X"), False),
        (errors.IdmcRequestError("", status=400, code="X"), False),
        # Not an answer to what was asked.
        (errors.IdmcInputError(""), False),
        (errors.IdmcSettingsError(""), False),
        (errors.IdmcWrongOrgError(""), False),
        # Ten wrong tries lock the account.
        (errors.IdmcAuthenticationError("", status=403), False),
        (errors.IdmcAuthenticationError("", status=401, code="X"), False),
    ],
    ids=lambda value: f"{type(value).__name__}-{value.status}-{value.code}" if isinstance(value, IdmcError) else None,
)
def test_what_may_pass(error: IdmcError, passes: bool) -> None:
    assert error.may_pass is passes
    assert error.transient is (passes and not isinstance(error, errors.IdmcAnswerError))
