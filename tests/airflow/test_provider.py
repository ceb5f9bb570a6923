"""What Airflow's provider discovery finds, and what finding it costs."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution, entry_points, version
from pathlib import Path

import pytest

from airflow_provider_infa.get_provider_info import get_provider_info
from airflow_provider_infa.idmc.regions import PODS

INFO = get_provider_info()
MODULES = sorted(
    module
    for room in ("hooks", "operators", "sensors", "triggers")
    for entry in INFO.get(room, [])
    for module in entry["python-modules"]
)
HAS_APPROVAL = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 1)
#: What people approve with exists from Airflow 3.1 on.
IMPORTABLE = [module for module in MODULES if HAS_APPROVAL or module != "airflow_provider_infa.operators.approval"]
PACKAGE = Path(importlib.import_module("airflow_provider_infa").__file__).parent


def python(code: str) -> str:
    """Run code in a fresh interpreter, return what it printed last."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def loaded_by(first: str, then: str) -> set[str]:
    code = f"import json, sys\n{first}\nbefore = set(sys.modules)\n{then}\n"
    return set(json.loads(python(code + "print(json.dumps(sorted(set(sys.modules) - before)))")))


def test_the_metadata_imports_nothing_else():
    # Airflow calls it while it is itself half imported: whatever it imports could stop all of Airflow from starting.
    new = loaded_by(
        "pass", "from airflow_provider_infa.get_provider_info import get_provider_info; get_provider_info()"
    )
    assert new == {"airflow_provider_infa", "airflow_provider_infa.get_provider_info"}


def test_the_package_itself_is_a_version_and_nothing_more():
    assert loaded_by("pass", "import airflow_provider_infa") == {"airflow_provider_infa"}
    names = json.loads(
        python("import json, airflow_provider_infa as p; print(json.dumps([n for n in vars(p) if n[:2] != '__']))")
    )
    assert names == []
    version = importlib.import_module("airflow_provider_infa").__version__
    assert version == distribution("airflow-provider-infa").version


def test_the_entry_point_is_what_airflow_looks_for():
    found = [e for e in entry_points(group="apache_airflow_provider") if e.dist.name == "airflow-provider-infa"]
    assert [e.value for e in found] == ["airflow_provider_infa.get_provider_info:get_provider_info"]
    assert found[0].load()() == INFO
    assert INFO["package-name"] == "airflow-provider-infa"


def schema(name: str) -> dict:
    import airflow

    path = Path(airflow.__file__).parent / name
    if not path.exists():
        pytest.skip(f"this Airflow ships no {name}")
    return json.loads(path.read_text())


def test_the_metadata_fits_the_runtime_schema():
    import jsonschema

    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_the_connection_type_fits_the_full_schema():
    import jsonschema

    full = schema("provider.yaml.schema.json")
    types = full["properties"]["connection-types"]
    if "conn-fields" not in json.dumps(types):
        pytest.skip("this Airflow describes no fields of connections in its schema")
    if "hook-name" not in types["items"]["properties"]:
        # Known from 3.3 on; older versions allow unknown keys where it counts, in the runtime schema.
        types["items"]["properties"]["hook-name"] = {"type": "string"}
    jsonschema.validate(INFO["connection-types"], {**types, "definitions": full.get("definitions", {})})


@pytest.mark.parametrize("module", IMPORTABLE)
def test_every_listed_module_imports(module):
    importlib.import_module(module)


def test_every_public_module_is_listed():
    there = {
        f"airflow_provider_infa.{path.parent.name}.{path.stem}"
        for room in ("operators", "sensors", "triggers")
        for path in (PACKAGE / room).glob("*.py")
        if re.search(r"^class Infa\w+(Operator|Sensor|Trigger)\b", path.read_text(), re.M)
    }
    # The bases are nothing that anybody would use by itself.
    assert there - {"airflow_provider_infa.sensors.jobs", "airflow_provider_infa.operators.jobs"} == {
        m for m in MODULES if ".hooks." not in m
    }


def test_every_listed_class_imports():
    for path in [t["hook-class-name"] for t in INFO["connection-types"]] + list(INFO.get("extra-links", [])):
        module, _, name = path.rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name)), path
    for plugin in INFO.get("plugins", []):
        module, _, name = plugin["plugin-class"].rpartition(".")
        assert inspect.isclass(getattr(importlib.import_module(module), name)), plugin


def test_the_form_offers_the_pods_that_the_client_knows():
    region = INFO["connection-types"][0]["conn-fields"]["region"]
    assert region["schema"]["enum"] == list(PODS)


def test_the_hook_says_what_the_metadata_says():
    from airflow_provider_infa.hooks.infa import InfaHook

    connection_type = INFO["connection-types"][0]
    assert (InfaHook.conn_type, InfaHook.hook_name) == (
        connection_type["connection-type"],
        connection_type["hook-name"],
    )
    assert inspect.signature(InfaHook).parameters[InfaHook.conn_name_attr].default == InfaHook.default_conn_name


@pytest.fixture(scope="module")
def answers(airflow):
    """What Airflow's command line knows of us."""
    extra = json.dumps({"region": "USW5", "read_timeout": 60})
    commands = {
        "migrate": "db migrate",
        "add": f"connections add infa_added --conn-type infa --conn-login ada --conn-extra {shlex.quote(extra)}",
        "get": "connections get infa_added --output json",
        "providers": "providers list --output json",
        "hooks": "providers hooks --output json",
    }
    texts = dict(zip(commands, airflow(*commands.values()), strict=True))
    return {
        name: json.loads(re.search(r"^\[\{.*\}\]$", texts[name], re.M)[0]) for name in ("get", "providers", "hooks")
    }


def test_airflow_lists_the_provider(answers):
    ours = [p for p in answers["providers"] if p["package_name"] == "airflow-provider-infa"]
    assert [p["version"] for p in ours] == [distribution("airflow-provider-infa").version]
    assert INFO["description"].split(".")[0] in ours[0]["description"]


def test_airflow_adds_a_connection_of_our_type(answers):
    # A type that no provider defines is stored as "generic".
    (row,) = answers["get"]
    assert (row["conn_type"], row["login"]) == ("infa", "ada")
    assert "USW5" in str(row["extra_dejson"])


def test_airflow_finds_the_hook_of_the_type(answers):
    assert [h["conn_id_attribute_name"] for h in answers["hooks"] if h["connection_type"] == "infa"] == ["infa_conn_id"]


#: What a DAG file has imported before it comes to us. Airflow 2 has no SDK.
AIRFLOW = """
from airflow.providers.common.compat.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, conf
DAG, BaseHook, BaseOperator, BaseSensorOperator, conf
import airflow.models
"""


def test_dag_files_pay_for_no_library_of_ours():
    # One HTTP library on top level costs each parse of each DAG file many times what our own modules do.
    dag_modules = [m for m in IMPORTABLE if ".triggers." not in m]
    new = loaded_by(AIRFLOW, "import " + ", ".join(dag_modules))
    tops = {name.partition(".")[0] for name in new}
    heavy = {"requests", "urllib3", "aiohttp", "httpx", "fsspec", "javaproperties", "requests_toolbelt", "yaml"}
    assert tops & heavy == set()
    assert not [name for name in new if "simulator" in name]
    ours = {name for name in new if name.startswith("airflow_provider_infa")}
    assert {"airflow_provider_infa.operators.imports", "airflow_provider_infa.sensors.imports"} <= ours
    assert len(new - ours) < 60, sorted(new - ours)


def test_nothing_of_ours_uses_what_airflow_deprecates():
    files = [str(file) for file in (PACKAGE.parent / "example_dags").glob("*.py")]
    code = (
        "import importlib, json, runpy, warnings\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    [importlib.import_module(name) for name in {IMPORTABLE!r}]\n"
        f"    [runpy.run_path(file) for file in {files!r}]\n"
        "print(json.dumps([[w.filename, f'{w.category.__name__}: {w.message}'] for w in caught]))"
    )
    caught = json.loads(python(code))
    ours = (str(PACKAGE), str(PACKAGE.parent / "example_dags"))
    assert [each for each in caught if each[0].startswith(ours)] == []
