"""Errors as IDMC words them, in the v3 and in the v2 form.

Codes with a source are real. Where the documentation names none, the code here is our choice; the comment
says so.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from airflow_provider_infa.simulator import wire


class ApiError(Exception):
    """An answer that is an error.

    :param status: HTTP status.
    :param code: IDMC error code.
    :param message: text for the caller.
    :param reason: what the simulator objects to; shown in the request log only, as IDMC does not tell it.
    :param headers: extra response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        reason: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.reason = reason
        self.headers = dict(headers or {})

    def v3(self) -> dict[str, Any]:
        """Return the v3 body (Informatica docs: Error object)."""
        return {"error": {"code": self.code, "message": self.message, "requestId": wire.new_id(), "details": None}}

    def v2(self) -> dict[str, Any]:
        """Return the v2 body (Informatica docs: Error object)."""
        return {"@type": "error", "code": self.code, "description": self.message, "statusCode": self.status}

    def jsonapi(self) -> dict[str, Any]:
        """Return the body of the publish resource (recorded by iics-cli; the codes of other errors are chosen)."""
        return {
            "errors": [
                {
                    "id": f"req_uid={uuid.uuid4()}",
                    "status": str(self.status),
                    "code": self.code,
                    "title": self.code.replace("_", " ").title(),
                    "detail": self.message,
                }
            ]
        }


class HtmlError(Exception):
    """An answer that is an error page of some server in front of IDMC."""

    def __init__(self, status: int, html: str) -> None:
        super().__init__(html)
        self.status = status
        self.html = html


def bad_request(reason: str) -> ApiError:
    """Return the one answer to every body that does not fit its schema (recorded by iics-cli)."""
    return ApiError(400, "V3API_007", "Bad Request. Please check your request.", reason=reason)


def not_json() -> ApiError:
    """Return the answer to a JSON resource called with another media type. Chosen: not documented."""
    return ApiError(415, "V3API_008", "Unsupported media type. Use application/json.")


def not_found(what: str) -> ApiError:
    """Return the answer to an unknown id or URI. Chosen: v3 bodies of 404 are not documented."""
    return ApiError(404, "V3API_004", f"{what} was not found.")


def no_session() -> ApiError:
    """Return the answer to a missing, unknown or expired session.

    Only the status 401 is certain (Informatica docs: REST API responses); code and text are chosen.
    """
    return ApiError(401, "AUTH_01", "Session is invalid or has expired. Log in again.")


def wrong_password() -> ApiError:
    """Return the v3 answer to a wrong login (Informatica docs: Error object; status recorded by iics-cli)."""
    return ApiError(400, "IDS_085", "User name or password is not valid.")


def locked() -> ApiError:
    """Return the answer after too many wrong logins (code recorded by iics-cli; status chosen as for
    IDS_085).
    """
    return ApiError(400, "IDS_086", "The user account is locked. Contact your administrator.")


def wrong_password_v2() -> ApiError:
    """Return the v2 answer to a wrong login; the body says 403 in the docs, the status seen is 400."""
    return ApiError(400, "UI_10000", "User name or password is not valid.")


def no_connection(name: str) -> ApiError:
    """Return the v2 answer to an unknown connection name: 403, not 404 (recorded by iics-cli)."""
    return ApiError(403, "APP_13436", f"The connection {name} does not exist.")


def no_named(kind: str, name: str) -> ApiError:
    """Return the v2 answer to another unknown name. Chosen: as for connections."""
    return ApiError(403, "APP_13437", f"The {kind} {name} does not exist.")


def not_checked_out(path: str) -> ApiError:
    """Return the v2 answer to a change of an asset that the user has not checked out. Chosen: not documented."""
    return ApiError(403, "APP_13438", f"The asset {path} is source controlled and not checked out by you.")


def not_an_id(value: str) -> ApiError:
    """Return the v2 answer to an id of the wrong kind: 403 "not a valid argument" (recorded by iics-cli)."""
    return ApiError(403, "APP_13400", f"{value} is not a valid argument.")


def no_privilege() -> ApiError:
    """Return the answer to a job start without the privilege (Informatica docs: Starting an import job).

    The status is not documented; 403 is chosen from the general table of responses.
    """
    return ApiError(403, "MigrationSvc_040", "User does not have required permissions.")


def unknown_objects(ids: list[str]) -> ApiError:
    """Return the answer to an export of ids that this org does not have. Chosen: not documented."""
    return ApiError(400, "MigrationSvc_010", f"The following objects were not found: {', '.join(ids)}.")


def not_finished(job_id: str) -> ApiError:
    """Return the answer to a download before the end of the export. Chosen: not documented."""
    return ApiError(400, "MigrationSvc_020", f"The package of job {job_id} is not available.")


def already_started(job_id: str) -> ApiError:
    """Return the answer to a second start of one import job. Chosen: not documented."""
    return ApiError(409, "MigrationSvc_030", f"The import job {job_id} has already been started.")


def bad_package(reason: str) -> ApiError:
    """Return the answer to an upload that is no export package. Chosen: not documented."""
    return ApiError(400, "MigrationSvc_070", f"The import package is not valid: {reason}.", reason=reason)


def bad_checksum(paths: list[str]) -> ApiError:
    """Return the answer to a changed package that was uploaded without relaxing. Chosen: not documented."""
    shown = ", ".join(paths[:5])
    return ApiError(400, "MigrationSvc_071", f"The package does not match its checksum file: {shown}.")


def frozen_content(paths: list[str]) -> ApiError:
    """Return the answer to changed mappings, which no relaxing lets in (code recorded in client code)."""
    return ApiError(
        400,
        "MigrationSvc_072",
        f"The package contains object types that require unchanged checksums: {', '.join(paths[:5])}.",
    )


def bad_specification(reason: str) -> ApiError:
    """Return the answer to a well-formed import specification that does not fit. Chosen: not documented."""
    return ApiError(400, "MigrationSvc_050", f"The import specification is not valid: {reason}.", reason=reason)


def not_acceptable() -> ApiError:
    """Return the answer to a publish call that does not accept JSON:API (recorded by iics-cli)."""
    text = "javax.ws.rs.NotAcceptableException:RESTEASY003635: No match for accept header"
    return ApiError(500, "INTERNAL_ERROR", text)


def not_jsonapi() -> ApiError:
    """Return the answer to a publish call with another media type (its kin of RESTEasy). Chosen: not
    documented.
    """
    text = "javax.ws.rs.NotSupportedException:RESTEASY003065: Cannot consume content type"
    return ApiError(415, "UNSUPPORTED_MEDIA_TYPE", text)


def no_publish_privilege() -> ApiError:
    """Return the answer to publishing without the privilege. Chosen: not documented."""
    return ApiError(403, "FORBIDDEN", "User does not have required permissions.")
