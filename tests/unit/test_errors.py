"""What a wait outlasts, and what ends it."""

from __future__ import annotations

import pytest

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.errors import IdmcError


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (errors.IdmcUnavailableError("", status=503), True),
        (errors.IdmcThrottledError("", status=429, code="X"), True),
        (errors.IdmcUnavailableError("no connection"), True),
        # Without an error body of IDMC's: a gateway's.
        (errors.IdmcNotFoundError("", status=404), True),
        (errors.IdmcPermissionError("", status=403), True),
        (errors.IdmcRequestError("", status=400), True),
        (errors.IdmcRequestError("", status=408), True),
        (errors.IdmcRequestError("", status=408, code="X"), True),
        # With one, also if it names no code.
        (errors.IdmcNotFoundError("", status=404, code="X"), False),
        (errors.IdmcNotFoundError("", status=404, code=""), False),
        (errors.IdmcPermissionError("", status=403, code="X"), False),
        (errors.IdmcAnswerError("", status=302, code="X"), False),
        # Not an answer to what was asked, or none at all.
        (errors.IdmcAnswerError(""), False),
        (errors.IdmcAnswerError("", status=302), True),
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
