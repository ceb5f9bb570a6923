"""
The simulator for ``waits``: besides what it always does, it can wait in the words of the http provider's sensor.

The trigger of that sensor goes on while the answer is 404 and ends with any good one, so it can't wait for an IDMC job,
which tells its state with 200 from the start on. For callers that ask for it with a header, a job is "not found" until
it has ended; the route, the session check and the work are the same. Options are those of ``infa-simulator``.
"""

from __future__ import annotations

import sys

from aiohttp import web

from airflow_provider_infa.simulator import cli, errors, imports

#: Header of callers that take 404 for "not yet".
NOT_YET_HEADER = "Not-Yet-Is-404"

_state = imports.state


async def state(request: web.Request) -> web.Response:
    """GET /import/{id}."""
    answer = await _state(request)
    if NOT_YET_HEADER in request.headers and b'"state": "IN_PROGRESS"' in answer.body:
        raise errors.not_found("The job that has ended")
    return answer


if __name__ == "__main__":
    imports.state = state
    sys.exit(cli.main())
