"""Receives the multipart body of a package upload without holding it in memory."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiohttp import BodyPartReader, web

from airflow_provider_infa.simulator import errors
from airflow_provider_infa.simulator.gate import note

# As much as has arrived: smaller pieces of a large package cost more than its hash.
_CHUNK = 1 << 20


async def receive(request: web.Request, target: Path) -> str:
    """Write the one part named ``package`` to a file and return the SHA-256 of its bytes.

    :raises ApiError: 400 if the body has another form (Informatica docs: Uploading an import package).
    """
    if request.content_type != "multipart/form-data":
        raise errors.bad_request("the body must be multipart/form-data")
    names: list[str] = []
    digest = hashlib.sha256()
    size = 0
    try:
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            if not isinstance(part, BodyPartReader):
                raise errors.bad_request("the body has nested parts")
            names.append(part.name or "")
            with target.open("wb") as file:
                while chunk := await part.read_chunk(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
            if part.name == "package" and part.filename is None:
                raise errors.bad_request("the part package must be a file")
    except ValueError as error:
        raise errors.bad_request(f"the body is no multipart body: {error}") from None
    note(parts=names, package_sha256=digest.hexdigest(), package_bytes=size)
    if names != ["package"]:
        raise errors.bad_request(f"the body must have exactly one part, named package, not {names}")
    return digest.hexdigest()
