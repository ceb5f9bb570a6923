"""
POD or region to login host.

Source: the table "POD, region and login URL" of Informatica's page "Login" (REST API v2 and v3, current
edition). The login host serves only login and logout; the host for everything else comes with the login's answer.
"""

from __future__ import annotations

import re

from airflow_provider_infa.idmc.errors import IdmcSettingsError

DOMAIN = "informaticacloud.com"

#: POD name, as the organization's page in Administrator shows it, to the first label of its login host.
PODS: dict[str, str] = {
    "USW1": "dm-us",
    "USE2": "dm-us",
    "USW3": "dm-us",
    "USE4": "dm-us",
    "USW5": "dm-us",
    "USE6": "dm-us",
    "USW1-1": "dm1-us",
    "USW3-1": "dm1-us",
    "USW1-2": "dm2-us",
    "CAC1": "dm-na",
    "APSE1": "dm-ap",
    "APSE2": "dm1-apse",
    "APNE1": "dm1-ap",
    "APNE2": "dm-apne",
    "APAUC1": "dm1-apau",
    "EMW1": "dm-em",
    "EMC1": "dm1-em",
    "UK1": "dm-uk",
}


def login_host(region: str) -> str:
    """
    Login host of a POD or region.

    :param region: A POD (``USW5``), the first label of a login host (``dm-us``), the whole host
        (``dm-us.informaticacloud.com``), or a region as in ``dm-<region>`` (``us``, ``em``, ``ap``), in any case.
    :raises IdmcSettingsError: For any other word; the message lists the known ones.
    """
    word = region.strip().lower().removesuffix("." + DOMAIN)
    labels = set(PODS.values())
    by_pod = {pod.lower(): label for pod, label in PODS.items()}
    for label in (by_pod.get(word, ""), word, f"dm-{word}"):
        if label in labels:
            return f"{label}.{DOMAIN}"
    regions = sorted(label.removeprefix("dm-") for label in labels if label.startswith("dm-"))
    raise IdmcSettingsError(
        f"Unknown region {region!r}. Known PODs: {', '.join(PODS)}; known regions: {', '.join(regions)}. "
        "For any other login host leave the region empty and put the address into Host."
    )


def cai_base(api_host: str) -> str:
    """
    Address of Application Integration that goes with an API host.

    ``usw5.dm-us…`` has ``usw5-cai.dm-us…`` (publish logs of iics-cli, 2026, and other clients), the old PODs ``na1``
    and ``na2`` have ``na1.ai.dm-us…`` (public scripts). An address stands for both, and so does a name without a domain
    of its own: ``idmc-cai.example`` would be somebody else's than ``idmc.example``, and the session would go there.

    :param api_host: Scheme and host of the API.
    """
    scheme, _, host = api_host.partition("://")
    first, _, rest = host.partition(".")
    if "." not in rest.rstrip(".") or re.fullmatch(r"[\d.]+(:\d+)?|\[.*", host):
        return api_host
    return f"{scheme}://{first}.ai.{rest}" if re.fullmatch(r"na\d", first) else f"{scheme}://{first}-cai.{rest}"
