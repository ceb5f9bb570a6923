"""What the objects of a package need, although the package does not hold it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from airflow_provider_infa.idmc.errors import IdmcNotFoundError, IdmcRequestError
from airflow_provider_infa.idmc.lookup import lookup, says_missing
from airflow_provider_infa.idmc.models import CONNECTION, RUNTIME_ENVIRONMENT, Asset, same_type
from airflow_provider_infa.idmc.objects import references
from airflow_provider_infa.idmc.package import Package, PackageObject
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.wishes import Wishes, is_asset, target_reference

#: An object in the source org, its path in the target org, and the paths of those that need it.
Missing = tuple[PackageObject, str, Sequence[str]]
#: Objects named in a sentence.
SHOWN = 3


def missing_dependencies(
    target: Session, source: Session | None, package: Package, arriving: Sequence[PackageObject], wishes: Wishes
) -> tuple[list[Missing], list[str]]:
    """
    Find what neither the package nor the target org has.

    The package's manifest tells what its objects refer to. An object for which it does not is asked for in the source
    org, and so is what turns out to be missing, so that everything that has to come along is named at once; each once.

    :param target: Session with the target org.
    :param source: Session with the org that exported the package.
    :param package: The package.
    :param arriving: What of it the import creates or overwrites, without containers.
    :param wishes: What the user wants.
    :return: What is missing, and remarks for the user.
    """
    held = {o.id for o in package.objects}
    users: dict[str, list[str]] = {}

    def note(user: str, ids: Iterable[str]) -> list[str]:
        """Remember who needs what; return the ids that are new."""
        new = []
        for id in dict.fromkeys(ids):  # packages may list a reference twice
            if id not in held:
                if id not in users:
                    new.append(id)
                users.setdefault(id, []).append(user)
        return new

    # Exported without dependencies: it is not known whether the manifest then still tells all of them.
    is_bare = not any(same_type(o.type, fixed) for o in package.objects for fixed in (CONNECTION, RUNTIME_ENVIRONMENT))
    unlisted = [o for o in arriving if is_bare or not o.lists_refs]
    wanted = [id for o in arriving for id in note(o.path, o.refs)]
    if source is None:
        return [], list(_unknown(len(users), len(unlisted), target.login().org_name))
    hidden: list[str] = []
    for o in unlisted:
        wanted += note(o.path, _needs(source, o, hidden))

    missing: list[Missing] = []
    strangers = 0
    while wanted:
        assets = lookup(source, wanted, ignore_missing=True)
        known = [_as_object(asset) for asset in assets if asset is not None]
        strangers += len(wanted) - len(known)
        # Names are mapped for objects of the package only; a connection outside it has to be there under its own name.
        refs = [target_reference(o, wishes, {}) if is_asset(o) else {"path": o.path, "type": o.type} for o in known]
        there = lookup(target, refs, ignore_missing=True)
        lacking = [(o, ref["path"]) for o, ref, asset in zip(known, refs, there, strict=True) if asset is None]
        missing += [(o, place, users[o.id]) for o, place in lacking]
        wanted = []
        for o, _ in lacking:
            if is_asset(o):
                wanted += note(o.path, _needs(source, o, hidden))
    return missing, list(_not_shown(strangers, hidden, source.login().org_name))


def some(paths: Sequence[str]) -> str:
    """The first of them, and how many more there are. :param paths: Paths of objects."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(paths[:SHOWN]) + more


def _needs(source: Session, o: PackageObject, hidden: list[str]) -> list[str]:
    """Ids of what an object needs, as the source org tells; the path of one that it hides goes to ``hidden``."""
    try:
        return [reference.id for reference in references(source, o.id)]
    except (IdmcNotFoundError, IdmcRequestError) as error:
        if not says_missing(error):
            raise
        hidden.append(o.path)
        return []


def _as_object(asset: Asset) -> PackageObject:
    return PackageObject(id=asset.id, name=asset.path.rpartition("/")[2], type=asset.type, path=asset.path)


def _unknown(outside: int, unlisted: int, org: str) -> Iterable[str]:
    if outside:
        yield (
            f"The package refers to {outside} objects that it does not hold. Set source_conn_id, so that the plan can "
            f"tell whether org {org} has them."
        )
    if unlisted:
        yield (
            f"The package does not tell what {unlisted} of its objects need. Set source_conn_id, so that the plan can "
            "ask."
        )


def _not_shown(strangers: int, hidden: Sequence[str], org: str) -> Iterable[str]:
    if strangers:
        yield (
            f"The package refers to {strangers} objects that org {org} does not show: removed since, or the user may "
            "not read them. Whether the import needs them is not known."
        )
    if hidden:
        yield (
            f"What these objects need could not be looked up, because org {org} does not show them: {some(hidden)}. "
            "They were removed since, or the user may not read them. Whether the import lacks anything is not known."
        )
