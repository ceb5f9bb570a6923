"""
One class for each thing that a caller can do about a failure.

Every error carries IDMC's own ``status``, ``code`` and ``request_id`` where there was an answer, so that a
message can be taken to Informatica support as it stands. No error ever holds a password or a session id.
"""

from __future__ import annotations


class IdmcError(Exception):
    """
    Base of all errors of this package.

    :param message: What failed, on what, and what to do next.
    :param status: HTTP status of the answer, if there was one.
    :param code: IDMC's error code, for example ``MigrationSvc_040``, if it gave one.
    :param request_id: IDMC's ``requestId`` of the failed call.
    :param retry_after: Seconds that IDMC asked to wait.
    """

    #: Whether the same call, or the same task tried again later, can succeed without anyone changing anything.
    transient = False

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether it is waited out where waiting costs nothing."""
        return self.transient


class IdmcSettingsError(IdmcError, ValueError):
    """The connection is incomplete or contradicts itself: correct the connection."""


class IdmcInputError(IdmcError, ValueError):
    """An argument can't be sent as it stands: correct the argument that the message names."""


class IdmcWrongOrgError(IdmcError):
    """A connection leads to another org than it should, or a package comes from another: nothing was changed."""


class IdmcAuthenticationError(IdmcError):
    """Login was refused. It is not tried again, because IDMC locks an account after ten wrong tries."""


class IdmcSessionError(IdmcAuthenticationError):
    """
    A login was taken, but its session is not accepted (HTTP 401).

    Either IDMC does not know it yet, or this user may not make that call.
    """

    transient = True


class IdmcPermissionError(IdmcError):
    """HTTP 403: the user of the connection may not do this in that org."""


class IdmcNotFoundError(IdmcError):
    """HTTP 404, or an object that the org does not have: check the id or the path."""


class IdmcRequestError(IdmcError):
    """IDMC refused the request (HTTP 400 and the other 4xx): correct what was asked for."""


class IdmcConflictError(IdmcRequestError):
    """HTTP 409: the thing is in a state that does not allow this call."""


class IdmcAnswerError(IdmcError):
    """
    IDMC answered something that this version can't read: report it together with the message.

    Or something else answered in its stead: to a login, this may be since the Host of the connection is wrong.
    """

    #: What answers in its stead may go away. A worker fails at once all the same: this version may be what is wrong.
    may_pass = True


class IdmcUnavailableError(IdmcError):
    """No answer, or a page of a gateway or of maintenance, whatever its status: IDMC may well answer later."""

    transient = True


class IdmcThrottledError(IdmcUnavailableError):
    """IDMC asked to slow down (HTTP 429 or "too many requests") for longer than the call was allowed to take."""


class IdmcOutcomeUnknownError(IdmcError):
    """
    A job start whose answer was lost, and whose outcome could not be found out.

    Trying again is safe: the job's state is asked for before anything is sent.
    """

    transient = True


class IdmcPackageError(IdmcError):
    """The export package is damaged, incomplete or unsafe: nothing of it was uploaded."""


class IdmcStorageError(IdmcError):
    """A file can't be read or written where it was asked for: correct the URI, or the permissions there."""

    transient = True


class IdmcPlanBlockedError(IdmcError):
    """The import can't succeed as planned; the message lists every obstacle and the argument that removes it."""


class IdmcApprovalError(IdmcError):
    """What is to be imported is not what was approved, or was not approved at all: nothing was imported."""


class IdmcPlanOutdatedError(IdmcError):
    """The target org is no longer what the plan assumed: plan again. Nothing was imported."""


class IdmcVerificationError(IdmcError):
    """After an import, the org does not hold what the plan said it would; the message lists every difference."""


class IdmcJobFailedError(IdmcError):
    """
    An export or import job ended, and not well.

    Deliberately no Airflow exception: a sensor's ``soft_fail`` skips on those, and a failed import
    must not look like a skipped one.
    """


class IdmcTimeoutError(IdmcError):
    """The job was still running at the deadline. It goes on in IDMC: look it up by its id, or wait again."""

    transient = True
