"""From a failed exchange to the error that a caller sees."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.answers import ErrorBody
from airflow_provider_infa.idmc.policy import LOGIN_REFUSALS, Failure, Kind, Step
from airflow_provider_infa.idmc.transport import Trouble


def error_of(
    trouble: Trouble, what: str, kind: Kind, step: Step, tries: int, redact: Callable[[str], str]
) -> errors.IdmcError:
    """
    The error to raise when a call is given up.

    :param trouble: Its last exchange.
    :param what: The call and the org.
    :param kind: Whether the call may be repeated.
    :param step: What the policy decided.
    :param tries: How often it was sent.
    :param redact: Takes secrets out of a text.
    """
    message = f"{what}: {trouble.tell(redact)}"
    if trouble.failure is Failure.UNAUTHORIZED and kind is not Kind.LOGIN:
        message += ". A new login did not help: may this user use the REST API in this org?"
    if tries > 1 and trouble.failure is not Failure.REFUSED:
        message += f" (given up after {tries} tries)"
    body = trouble.error(redact)
    return _class_of(trouble, kind, step, body)(
        message,
        status=trouble.status,
        code=body.code if body else None,
        request_id=body.request_id if body else None,
        retry_after=trouble.wait,
    )


def _class_of(trouble: Trouble, kind: Kind, step: Step, body: ErrorBody | None) -> type[errors.IdmcError]:
    if step is Step.ASK_STATE:
        return errors.IdmcOutcomeUnknownError
    if trouble.final is not None:
        return trouble.final
    status = trouble.status or 0
    # A page with such a status is a gateway's and tells nothing of the password. Anything else does: when in doubt, the
    # password is not tried again, as that might lock the account.
    said_so = body is not None and body.code in LOGIN_REFUSALS
    login_refused = kind is Kind.LOGIN and (said_so or (status in (400, 403) and not trouble.is_page))
    if trouble.failure is Failure.UNAUTHORIZED and kind is not Kind.LOGIN:
        return errors.IdmcSessionError
    if trouble.failure is Failure.UNAUTHORIZED or login_refused:
        return errors.IdmcAuthenticationError
    if trouble.failure is Failure.REFUSED:
        if body is None:
            # A gateway's word. Only a login goes to the Host of the connection, which may be wrong; the API host comes
            # from the login's answer, so anything else that a gateway refuses it may let through later.
            return errors.IdmcAnswerError if kind is Kind.LOGIN else errors.IdmcUnavailableError
        by_status = {403: errors.IdmcPermissionError, 404: errors.IdmcNotFoundError, 409: errors.IdmcConflictError}
        return by_status.get(status, errors.IdmcRequestError)
    return errors.IdmcThrottledError if trouble.failure is Failure.THROTTLED else errors.IdmcUnavailableError
