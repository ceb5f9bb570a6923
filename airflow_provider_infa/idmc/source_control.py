"""Source control: which assets of an org an import must not overwrite."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from airflow_provider_infa.idmc.errors import IdmcInputError, IdmcNotFoundError, IdmcRequestError
from airflow_provider_infa.idmc.models import Asset
from airflow_provider_infa.idmc.objects import list_objects
from airflow_provider_infa.idmc.session import Session

log = logging.getLogger(__name__)

#: Informatica's page "Finding an asset" has the field, and that it is a Boolean; how to write one is not on it.
CONTROLLED = "sourceControl.sourceControlled==true"


def source_controlled(session: Session, assets: Sequence[Asset]) -> dict[str, Asset]:
    """
    Those of the assets that are source controlled, by id, with their state. Lookup does not tell it.

    One call, unless much in the org is source controlled. An org that refuses the filter is asked container by
    container.

    :param session: Session with the org.
    :param assets: The assets.
    """
    if not assets:
        return {}
    try:
        return _pick(list_objects(session, query=CONTROLLED), assets)
    except IdmcRequestError as error:
        log.info("The org does not filter by source control, so the containers are listed: %s", error)
        return _pick(_siblings(session, assets), assets)


def obstacle(asset: Asset, user: str) -> str | None:
    """
    Why IDMC refuses to overwrite an asset (Informatica's page "Asset import": it has to be checked out).

    :param asset: As objects shows it.
    :param user: Who imports.
    :return: None if nothing is in the way.
    """
    state = asset.source_control or {}
    holder = state.get("checkedOutBy")
    if not state.get("sourceControlled", bool(holder)) or holder == user:
        return None
    if holder:
        since = state.get("checkedOutTime")
        return f"{holder} has it checked out there{f' since {since}' if since else ''}, and IDMC does not overwrite it."
    return "It is source controlled there and not checked out, and IDMC does not overwrite it."


def _pick(listed: Iterator[Asset], assets: Sequence[Asset]) -> dict[str, Asset]:
    wanted = {asset.id for asset in assets}
    found = {}
    for asset in listed:
        if asset.id in wanted:
            found[asset.id] = asset
            wanted.discard(asset.id)
        if not wanted:
            break
    return found


def _siblings(session: Session, assets: Sequence[Asset]) -> Iterator[Asset]:
    for container in dict.fromkeys(asset.path.rpartition("/")[0] for asset in assets):
        try:
            yield from list_objects(session, location=container)
        except (IdmcNotFoundError, IdmcRequestError, IdmcInputError) as error:  # the last: its name fits no filter
            log.warning("Whether assets in %r are checked out is not known: %s", container, error)
