"""POD or region to login host."""

from __future__ import annotations

import pytest

from airflow_provider_infa.idmc.errors import IdmcSettingsError
from airflow_provider_infa.idmc.regions import PODS, cai_base, login_host


@pytest.mark.parametrize(
    ("word", "label"),
    [
        # POD, any case
        ("USW1", "dm-us"),
        ("use6", "dm-us"),
        ("USW1-1", "dm1-us"),
        ("usw3-1", "dm1-us"),
        ("USW1-2", "dm2-us"),
        ("CAC1", "dm-na"),
        ("APSE1", "dm-ap"),
        ("APSE2", "dm1-apse"),
        ("APNE1", "dm1-ap"),
        ("APNE2", "dm-apne"),
        ("APAUC1", "dm1-apau"),
        ("EMW1", "dm-em"),
        ("EMC1", "dm1-em"),
        ("UK1", "dm-uk"),
        # first label of a login host
        ("dm-us", "dm-us"),
        ("DM1-APSE", "dm1-apse"),
        # whole login host
        ("dm-em.informaticacloud.com", "dm-em"),
        ("DM2-US.InformaticaCloud.com", "dm2-us"),
        # short region
        ("us", "dm-us"),
        ("EM", "dm-em"),
        (" ap ", "dm-ap"),
        ("uk", "dm-uk"),
        ("na", "dm-na"),
    ],
)
def test_login_host(word: str, label: str) -> None:
    assert login_host(word) == f"{label}.informaticacloud.com"


@pytest.mark.parametrize("pod", PODS)
def test_every_pod(pod: str) -> None:
    assert login_host(pod) == login_host(pod.lower()) == f"{PODS[pod]}.informaticacloud.com"


@pytest.mark.parametrize(
    "word",
    [
        "eu",
        "USW9",
        "",
        "dm-",
        "dm-us.informaticacloud.com.evil.example",
        "evil-informaticacloud.com",
        ".informaticacloud.com",
        "https://dm-us.informaticacloud.com",
        "dm-us/../x",
    ],
)
def test_unknown_region_lists_the_known_ones(word: str) -> None:
    with pytest.raises(IdmcSettingsError) as caught:
        login_host(word)
    text = str(caught.value)
    assert repr(word) in text
    for known in ("USW5", "EMC1", "APAUC1", "em", "us", "apne"):
        assert known in text
    assert "Host" in text


@pytest.mark.parametrize(
    ("api", "cai"),
    [
        ("https://usw5.dm-us.informaticacloud.com", "https://usw5-cai.dm-us.informaticacloud.com"),
        ("https://emc1.dm1-em.informaticacloud.com", "https://emc1-cai.dm1-em.informaticacloud.com"),
        ("https://na1.dm-us.informaticacloud.com", "https://na1.ai.dm-us.informaticacloud.com"),
        ("https://na2.dm-us.informaticacloud.com", "https://na2.ai.dm-us.informaticacloud.com"),
        ("https://nac1.dm-na.informaticacloud.com", "https://nac1-cai.dm-na.informaticacloud.com"),
        ("https://na10.dm-us.informaticacloud.com", "https://na10-cai.dm-us.informaticacloud.com"),
        ("https://usw5.dm-us.informaticacloud.com:443", "https://usw5-cai.dm-us.informaticacloud.com:443"),
        # One host for everything: on this machine, by address, or by a name without a domain.
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://10.1.2.3:8443", "https://10.1.2.3:8443"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("http://[::ffff:127.0.0.1]:8081", "http://[::ffff:127.0.0.1]:8081"),
        ("http://localhost:8081", "http://localhost:8081"),
        # idmc-cai.example would be somebody else's domain.
        ("https://idmc.example", "https://idmc.example"),
        ("https://idmc.example:8443", "https://idmc.example:8443"),
        ("https://informaticacloud.com.", "https://informaticacloud.com."),
        ("http://dev.localhost:8081", "http://dev.localhost:8081"),
    ],
)
def test_host_of_application_integration(api: str, cai: str) -> None:
    assert cai_base(api) == cai
