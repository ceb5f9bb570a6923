"""The assets that stand for projects: their URIs, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_infa.assets import asset_uri, asset_uris

from .idmc_doubles import ORG
from .idmc_plans import plan_of, row

NAME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)


def test_assets_of_what_changed() -> None:
    plan = plan_of(
        row("Kept", "Project", "reuse"),
        row("Kept/mt", "MTT", "reuse"),
        row("ora", "Connection", "create"),
        row("New", "Project", "create"),
        row("Sales/m", "DTEMPLATE"),
        row("Sales/In/mt", "MTT", "create"),
        row("Blocked/mt", "MTT", "blocked"),
        row("Archive/mt", "MTT", "map", overwrites=True),
        row("Fin & Co/tf", "TASKFLOW", "create"),
    )
    assert list(asset_uris(plan)) == [
        f"infa://{ORG}/Sales",
        f"infa://{ORG}/Archive",
        f"infa://{ORG}/Fin%20%26%20Co",
    ]


@given(NAME.filter(lambda name: "/" not in name), NAME)
def test_names_stay_in_their_place_in_the_uri(project: str, org: str) -> None:
    plan = plan_of(row(f"{project}/mt"), target_org={"id": "x", "name": org})
    (uri,) = asset_uris(plan)
    assert uri == asset_uri(org, project)
    assert uri.isascii()
    parts = urlsplit(uri)
    assert (parts.scheme, parts.query, parts.fragment) == ("infa", "", "")
    assert (unquote(parts.netloc), unquote(parts.path)) == (org, f"/{project}")


def test_a_dag_file_pays_nothing_for_it() -> None:
    code = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        "import airflow_provider_infa.assets\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    new = {name for name in json.loads(done.stdout) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert new == {"airflow_provider_infa", "airflow_provider_infa.assets"}
