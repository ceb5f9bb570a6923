"""Finding objects by id, or by path and type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_infa.idmc.answers import expect, optional
from airflow_provider_infa.idmc.errors import IdmcError, IdmcInputError, IdmcNotFoundError, IdmcRequestError
from airflow_provider_infa.idmc.models import Asset, plain_path
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.session import Session

#: So many objects of one container are rather looked up than found by listing it.
FEW = 8
#: Objects in one lookup call. Informatica names no limit; this is the size of the other calls' largest pages.
LOOKUP_BATCH = 200


def lookup(
    session: Session, refs: Iterable[Mapping[str, str] | str], *, ignore_missing: bool = False
) -> list[Asset | None]:
    """
    Find objects by id, or by path and type.

    :param session: Session with the org.
    :param refs: Ids, or mappings with ``id`` or with ``path`` and ``type``. The path of a connection or runtime
        environment (types ``Connection`` and ``AgentGroup``) is its bare name.
    :param ignore_missing: Return None in the place of an object that the org does not have, instead of failing.
    :return: One asset for each reference, in their order.
    :raises IdmcNotFoundError: If the org lacks any of the objects; the message names all of them.
    :raises IdmcInputError: For a reference that is neither.
    """
    wanted = [_reference(ref) for ref in refs]
    unique = list({tuple(sorted(ref.items())): ref for ref in wanted}.values())
    # Projects, connections and runtime environments first: they mostly exist, and one that does in a batch where others
    # don't shows that IDMC leaves out what is missing.
    unique.sort(key=lambda ref: "/" in ref.get("path", "/"))
    found = _find(session, unique)
    by_id = {asset.id: asset for asset in found}
    by_path = {(asset.path, asset.type.upper()): asset for asset in found}

    def match(ref: Mapping[str, str]) -> Asset | None:
        return by_id.get(ref["id"]) if "id" in ref else by_path.get((ref["path"], ref["type"].upper()))

    result = [match(ref) for ref in wanted]
    missing = [_name(ref) for ref, asset in zip(wanted, result, strict=True) if asset is None]
    if missing and not ignore_missing:
        raise IdmcNotFoundError(f"Org {session.login().org_name} has no {', no '.join(dict.fromkeys(missing))}.")
    return result


def written(ref: Mapping[str, str] | str) -> Mapping[str, str] | str:
    """A reference as people write it, made fit for :func:`lookup`. :param ref: Its path may begin with ``Explore/``."""
    return {**ref, "path": plain_path(str(ref["path"]))} if isinstance(ref, Mapping) and ref.get("path") else ref


def _find(session: Session, refs: Sequence[Mapping[str, str]]) -> list[Asset]:
    """
    Those of the objects that exist.

    No source tells what a lookup of a missing object answers, and clients expect a shorter list, an empty one or an
    error. A shorter list can be trusted. After one of the others, what is left is found otherwise.
    """
    found: list[Asset] = []
    leaves_out = False
    for start in range(0, len(refs), LOOKUP_BATCH):
        batch = refs[start : start + LOOKUP_BATCH]
        answer = _lookup(session, batch)
        if answer is None or (not answer and len(batch) > 1 and not leaves_out):
            return found + _find_missing(session, refs[start:])
        found += answer
        leaves_out |= 0 < len(answer) < len(batch)
    return found


def _find_missing(session: Session, refs: Sequence[Mapping[str, str]]) -> list[Asset]:
    """
    Like :func:`_find`, where one missing object spoils the answer for all.

    Halving a batch until the missing ones stand alone takes two calls for each of them. So what lies in a project or
    folder is found by listing that, unless it is only a few objects.
    """
    in_containers: dict[str, list[Mapping[str, str]]] = {}
    others: list[Mapping[str, str]] = []
    for ref in refs:
        container = ref.get("path", "").rpartition("/")[0]
        (in_containers.setdefault(container, []) if container else others).append(ref)
    found: list[Asset] = []
    for container, wanted in in_containers.items():
        if len(wanted) <= FEW:
            others += wanted
            continue
        keys = {(ref["path"], ref["type"].upper()) for ref in wanted}
        try:
            inside = list(list_objects(session, location=container))
        except (IdmcNotFoundError, IdmcRequestError) as error:
            if not says_missing(error):
                raise
            inside = []  # nor is it known what a listing of a missing container answers
        found += [asset for asset in inside if (asset.path, asset.type.upper()) in keys]
    return found + _halve(session, others)


def _halve(session: Session, refs: Sequence[Mapping[str, str]]) -> list[Asset]:
    if not refs:
        return []
    found = _lookup(session, refs)
    if found or len(refs) == 1:
        return found or []
    half = len(refs) // 2
    return _halve(session, refs[:half]) + _halve(session, refs[half:])


def _lookup(session: Session, refs: Sequence[Mapping[str, str]]) -> list[Asset] | None:
    """One call. None, if IDMC answers with an error that an object is missing."""
    try:
        answer = expect(session.post_json("/lookup", {"objects": list(refs)}), dict, "the answer to lookup")
    except (IdmcNotFoundError, IdmcRequestError) as error:
        if not says_missing(error):
            raise
        return None
    entries = optional(answer, "objects", list, "the answer to lookup") or []
    return [Asset.from_wire(entry, "an object of lookup") for entry in entries if entry]


def _reference(ref: Mapping[str, str] | str) -> dict[str, str]:
    if isinstance(ref, str):
        ref = {"id": ref}
    if isinstance(ref, Mapping):
        if ref.get("id"):
            return {"id": ref["id"]}
        if ref.get("path") and ref.get("type"):
            return {"path": ref["path"], "type": ref["type"]}
    raise IdmcInputError(f"{ref!r} is no reference to an object: give an id, or a path and a type.")


def _name(ref: Mapping[str, str]) -> str:
    return f"object with id {ref['id']!r}" if "id" in ref else f"{ref['type']} {ref['path']!r}"


def says_missing(error: IdmcError) -> bool:
    """
    Whether a refusal may be IDMC's way to say that an object is missing.

    Not if it says that the request itself is wrong.
    """
    return error.status in (400, 404) and error.code != "V3API_007"
