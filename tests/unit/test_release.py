"""The release manifest: what it may say, and what is said about one that is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests_mock
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.release import Release, TargetNames, find_objects, parse_release
from airflow_provider_infa.idmc.session import Session

from .idmc_doubles import ORG, V3

Mocker = requests_mock.Mocker

WHOLE = """\
# Everything that a manifest can say.
version: 1
name: Release 12
objects:
  - path: Sales/mt_orders
    type: MTT
  - {path: Sales/tf_daily, type: TASKFLOW}
include: ["Finance/*", "Sales/m?_x"]
exclude: [Finance/Old/*]
types: [MTT, DTEMPLATE]
default_conflict_resolution: REUSE
conflict_resolutions:
  MTT: OVERWRITE
  Sales/mt_orders:
    conflictResolution: OVERWRITE
    additionalProviderFlags: {mapping_conflict_existing: RETAIN}
targets:
  ACME_TEST:
    runtime_environments: {DEV_AGENTS: TEST_AGENTS}
    connections:
      ora_dev: ora_test
    projects: {Sales: Vertrieb}
    schedules: {Vertrieb/mt_orders: nightly}
  p123456789012345678901:
"""
LEAST = "version: 1\ninclude: [Sales/*]\n"


def parse(text: str) -> Release:
    return parse_release(text, "release.yaml")


def faults(text: str) -> list[str]:
    """What is wrong with a manifest, without its name."""
    with pytest.raises(errors.IdmcInputError) as caught:
        parse(text)
    found = str(caught.value).splitlines()
    assert all(line.startswith("release.yaml") for line in found)
    return [line.removeprefix("release.yaml").removeprefix(", ") for line in found]


# good ones --------------------------------------------------------------------------------------------------------


def test_everything() -> None:
    release = parse(WHOLE)
    assert release == Release(
        source="release.yaml",
        name="Release 12",
        objects=({"path": "Sales/mt_orders", "type": "MTT"}, {"path": "Sales/tf_daily", "type": "TASKFLOW"}),
        include=("Finance/*", "Sales/m?_x"),
        exclude=("Finance/Old/*",),
        types=("MTT", "DTEMPLATE"),
        default_conflict_resolution="REUSE",
        conflict_resolutions={
            "MTT": "OVERWRITE",
            "Sales/mt_orders": {
                "conflictResolution": "OVERWRITE",
                "additionalProviderFlags": {"mapping_conflict_existing": "RETAIN"},
            },
        },
        targets={
            "ACME_TEST": TargetNames(
                runtime_environments={"DEV_AGENTS": "TEST_AGENTS"},
                connections={"ora_dev": "ora_test"},
                projects={"Sales": "Vertrieb"},
                schedules={"Vertrieb/mt_orders": "nightly"},
            ),
            "p123456789012345678901": TargetNames(),
        },
    )


def test_the_least() -> None:
    release = parse(LEAST)
    assert release == Release(source="release.yaml", include=("Sales/*",))
    assert release.target("ACME_TEST", "x") == TargetNames()


def test_names_of_a_target_by_name_or_id() -> None:
    release = parse(WHOLE)
    assert release.target("ACME_TEST", "x").connections == {"ora_dev": "ora_test"}
    assert release.target("ACME_PROD", "p123456789012345678901") == TargetNames()
    with pytest.raises(errors.IdmcInputError) as caught:
        release.target("ACME_LAB", "l1")
    assert str(caught.value) == (
        "release.yaml: targets names 'ACME_TEST', 'p123456789012345678901', not org 'ACME_LAB' (l1)."
    )


def test_anchors_and_merge_keys() -> None:
    release = parse(
        "version: 1\ninclude: [Sales/*]\ntargets:\n"
        "  ACME_TEST: &test\n    connections: &all {sf: sf, ora: ora_test}\n"
        "  ACME_PROD:\n    <<: *test\n    connections: {<<: *all, ora: ora_prod}\n"
    )
    assert release.target("ACME_PROD", "").connections == {"sf": "sf", "ora": "ora_prod"}


@pytest.mark.parametrize("start", ["\ufeff", "---\n", "%YAML 1.1\n---\n", "# ü\n\n"])
def test_beginnings(start: str) -> None:
    assert parse(start + LEAST).include == ("Sales/*",)


def test_json_is_yaml() -> None:
    assert parse('{"version": 1, "objects": [{"path": "A/b", "type": "MTT"}]}').objects[0]["path"] == "A/b"


def test_names_of_any_kind() -> None:
    name = "Größe & 'so' \"x\" <b> | # * [1] {{ dag }}"
    text = yaml.safe_dump({"version": 1, "objects": [{"path": name, "type": "MTT"}], "targets": {name: {}}})
    release = parse(text)
    assert release.objects[0]["path"] == name
    assert release.target(name, "") == TargetNames()


# what is wrong, with its line -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: the manifest: None is not of type 'object'."),
        ("# nothing\n", "line 1: the manifest: None is not of type 'object'."),
        ("- a\n- b\n", "line 1: the manifest: ['a', 'b'] is not of type 'object'."),
        ("just text", "line 1: the manifest: 'just text' is not of type 'object'."),
        ("include: [x]\n", "line 1: the manifest: 'version' is a required property."),
        ("version: 2\ninclude: [x]\n", "line 1: version: 1 was expected."),
        ("include: [x]\n\nversion: '1'\n", "line 3: version: 1 was expected."),
        ("include: [x]\nversion: true\n", "line 2: version: 1 was expected."),
        ("version: 1\n", "line 1: a release needs objects or include."),
        ("# x\nversion: 1\nexclude: [x]\n", "line 2: a release needs objects or include."),
        (LEAST + "objects: []\n", "line 3: objects: [] should be non-empty."),
        ("version: 1\ninclude: Sales/*\n", "line 2: include: 'Sales/*' is not of type 'array'."),
        ("version: 1\ninclude:\n", "line 2: include: None is not of type 'array'."),
        ("version: 1\ninclude:\n - a\n - ''\n", "line 4: include.1: '' should be non-empty."),
        ("version: 1\ninclude:\n - a\n - 7\n", "line 4: include.1: 7 is not of type 'string'."),
        (
            "version: 1\nobjects:\n  - path: A/b\n    type: MTT\n  - path: A/c\n",
            "line 5: objects.1: 'type' is a required property.",
        ),
        (
            "version: 1\nobjects:\n  - path: A/b\n    type: MTT\n    kind: x\n",
            "line 5: objects.0 has the unknown key 'kind'; known are path, type.",
        ),
        ("version: 1\nobjects:\n  - A/b\n", "line 3: objects.0: 'A/b' is not of type 'object'."),
        (
            LEAST + "default_conflict_resolution: overwrite\n",
            "line 3: default_conflict_resolution: 'overwrite' is not ",
        ),
        (
            LEAST + "conflict_resolutions:\n  MTT: KEEP\n",
            "line 4: conflict_resolutions.MTT: 'KEEP' is neither OVERWRITE nor REUSE nor an object.",
        ),
        (LEAST + "targets: {}\n", "line 3: targets: {} should be non-empty."),
        (
            LEAST + "targets:\n  ACME_TEST:\n    conections: {}\n",
            "line 5: targets.ACME_TEST has the unknown key 'conections'; known are runtime_environments, connections, "
            "projects, schedules.",
        ),
        (
            LEAST + "targets:\n  ACME_TEST:\n    connections:\n      a: b\n      c:\n",
            "line 7: targets.ACME_TEST.connections.c: None is not of type 'string'.",
        ),
        (LEAST + "targets:\n  ACME_TEST:\n    projects: [a]\n", "line 5: targets.ACME_TEST.projects: ['a'] is not "),
        (LEAST + "name: ''\n", "line 3: name: '' should be non-empty."),
        (LEAST + "name: 12\n", "line 3: name: 12 is not of type 'string'."),
    ],
)
def test_what_does_not_fit(text: str, fault: str) -> None:
    (found,) = faults(text)
    assert found.startswith(fault)


@pytest.mark.parametrize("key", ["includes", "Include", "object", "source", "conflict_resolution", "__class__", "self"])
def test_unknown_keys_are_named(key: str) -> None:
    (found,) = faults(f"{LEAST}name: x\n{key}: [1]\n")
    assert found.startswith(f"line 4: the manifest has the unknown key {key!r}; known are version, name, objects, incl")


def test_all_faults_at_once_in_order() -> None:
    text = "version: 3\nfoo: 1\ninclude: [x]\nname: 7\nbar: 2\nname: x\n"
    found = faults(text)
    assert [line.partition(":")[0] for line in found] == ["line 1", "line 2", "line 5", "line 6"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (LEAST + "include: [Finance/*]\n", "line 3: 'include' occurs twice."),
        (LEAST + "targets:\n  A: {}\n  B: {}\n  A: {}\n", "line 6: 'A' occurs twice."),
        (LEAST + "targets:\n  A:\n    connections:\n      x: a\n      y: b\n      x: c\n", "line 8: 'x' occurs twice."),
        (LEAST + 'targets:\n  A: {}\n  "A": {}\n', "line 5: 'A' occurs twice."),
        ("version: 1\nobjects:\n - {path: a, type: b, path: c}\n", "line 3: 'path' occurs twice."),
    ],
)
def test_keys_that_occur_twice(text: str, fault: str) -> None:
    """YAML readers take the last one, in silence."""
    assert faults(text) == [fault]


# what is no YAML, or more of it than is meant ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (LEAST + "name: [a\n", 4),
        (LEAST + "name: 'a\n", 4),
        (LEAST + "\tname: x\n", 3),
        ("version: 1\ninclude:\n\t- a\n", 3),
        (LEAST + "name: a: b\n", 3),
        (LEAST + "name: *nowhere\n", 3),
        (LEAST + "name: {{ var.value.x }}\n", 3),
        (LEAST + "name: {? [a] : b}\n", 3),
        (LEAST + "---\nversion: 1\n", 3),
        (LEAST + "name: !!python/object/apply:os.system [echo]\n", 3),
        (LEAST + "name: !secret x\n", 3),
        (LEAST + "name: @x\n", 3),
        (LEAST + "name: %x\n", 3),
    ],
)
def test_what_is_no_yaml(text: str, line: int) -> None:
    (found,) = faults(text)
    assert found.startswith(f"line {line}: this is no YAML: ")


@pytest.mark.parametrize("text", [LEAST + "name: \x07\n", LEAST + "name: \x00\n", "\x1b[1m"])
def test_signs_that_yaml_does_not_allow(text: str) -> None:
    (found,) = faults(text)
    assert "this is no YAML" in found
    assert not any(ord(c) < 32 for c in found)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-01-31: x", "2026-01-31"),
        ("12: x", "12"),
        ("0123: x", "0123"),
        ("1_000: x", "1_000"),
        ("1.5: x", "1.5"),
        ("yes: x", "yes"),
        ("NO: x", "NO"),
        ("null: x", "null"),
        ("~: x", "~"),
        ("on: x", "on"),
    ],
)
@pytest.mark.parametrize("place", ["targets:\n  A:\n    connections:\n      ", "conflict_resolutions:\n  MTT:\n    "])
def test_keys_that_are_no_text(place: str, line: str, shown: str) -> None:
    """What looks like a name was read as a number, a date or a truth, and would never be found again."""
    found = faults(LEAST + place + line + "\n")
    number = (LEAST + place).count("\n") + 1
    assert any(f.startswith(f"line {number}: the key {shown} is no text: put it in quotes.") for f in found)


@pytest.mark.parametrize("key", ["NO", "123", "2026-01-31"])
def test_orgs_whose_names_are_no_text(key: str) -> None:
    assert faults(f"{LEAST}targets:\n  {key}: {{}}\n") == [f"line 4: the key {key} is no text: put it in quotes."]
    assert parse(f"{LEAST}targets:\n  '{key}': {{}}\n").target(key, "") == TargetNames()


@pytest.mark.parametrize("value", ["2026-01-31", "2026-01-31T12:00:00Z", "!!binary aGk=", "!!set {a}"])
@pytest.mark.parametrize("place", ["name: ", "conflict_resolutions:\n  MTT:\n    targetObjectId: "])
def test_values_that_json_does_not_know(place: str, value: str) -> None:
    """They could not become part of a plan."""
    text = LEAST + place + value + "\n"
    found = faults(text)
    assert any(f"line {text.count(chr(10))}: " in f and "put it in quotes" in f for f in found)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_that_json_does_not_know(value: str) -> None:
    found = faults(f"{LEAST}conflict_resolutions:\n  MTT:\n    x: {value}\n")
    assert found == [f"line 5: the value {value} is no text: put it in quotes."]


def bomb(levels: int) -> str:
    lines = ["  l0: &l0 {a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x, i: x}"]
    for n in range(1, levels):
        refs = ", ".join(f"{c}: *l{n - 1}" for c in "abcdefghi")
        lines.append(f"  l{n}: &l{n} {{{refs}}}")
    return LEAST + "conflict_resolutions:\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("levels", [6, 9, 30])
def test_bombs(levels: int) -> None:
    """A few lines that stand for billions of values."""
    started = time.monotonic()
    (found,) = faults(bomb(levels))
    assert "its anchors stand for more than" in found
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        LEAST + "conflict_resolutions: &x\n  MTT: *x\n",
        LEAST + "conflict_resolutions:\n  MTT: &x {a: [*x]}\n",
        "&x [*x]",
        "version: 1\ninclude: &x [*x]\n",
    ],
)
def test_anchors_that_hold_themselves(text: str) -> None:
    (found,) = faults(text)
    assert "an anchor holds itself" in found


def test_a_deep_manifest() -> None:
    (found,) = faults(LEAST + "name: " + "[" * 5000 + "]" * 5000 + "\n")
    assert "this is no YAML" in found


def test_a_large_manifest() -> None:
    objects = "".join(f"  - {{path: Sales/mt_{n}, type: MTT}}\n" for n in range(3000))
    assert len(parse(f"version: 1\nobjects:\n{objects}").objects) == 3000


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["version", "name", "objects", "include", "exclude", "types", "conflict_resolutions", "targets", "other"]
)


@settings(max_examples=150)
@given(st.dictionaries(KEYS, ANY, max_size=5), st.booleans())
def test_whatever_a_manifest_says_is_read_or_refused(data: dict[str, Any], good: bool) -> None:
    """Nothing but a release or one kind of error comes of it."""
    data = data | {"version": 1, "include": ["Sales/*"]} if good else data
    try:
        release = parse(yaml.safe_dump(data))
    except errors.IdmcInputError:
        return
    assert data["version"] == 1
    json.dumps(release.conflict_resolutions, allow_nan=False)
    assert all(isinstance(key, str) for key in release.conflict_resolutions)


@settings(max_examples=300)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t\x00<1", max_size=40))
def test_whatever_text_it_is(text: str) -> None:
    with pytest.raises(errors.IdmcInputError, match=r"^release\.yaml"):
        parse(text)


# finding what it names --------------------------------------------------------------------------------------------


class Org:
    """A source org that lists what lies directly in a container."""

    def __init__(self, wire: Mocker, *assets: tuple[str, str]) -> None:
        self.assets = assets
        self.listed: list[str] = []
        wire.get(f"{V3}/objects", json=self._list)
        wire.post(f"{V3}/lookup", json=self._lookup)

    def _row(self, path: str, type: str) -> dict[str, str]:
        return {"id": f"{type}:{path}", "path": path, "type": type}

    def _list(self, request: Any, context: Any) -> dict[str, Any]:
        (q,) = parse_qs(urlsplit(request.url).query).get("q", [""])
        self.listed.append(q)
        place = q.partition("==")[2].strip("'\"")
        rows = [self._row(p, t) for p, t in self.assets if not q or p.rpartition("/")[0] == place]
        return {"count": len(rows), "objects": rows}

    def _lookup(self, request: Any, context: Any) -> dict[str, Any]:
        wanted = [(ref["path"], ref["type"]) for ref in request.json()["objects"]]
        return {"objects": [self._row(p, t) for p, t in self.assets if (p, t) in wanted]}


@pytest.fixture
def org(wire: Mocker) -> Org:
    return Org(
        wire,
        ("Sales", "Project"),
        ("Sales/mt_orders", "MTT"),
        ("Sales/m_orders", "DTEMPLATE"),
        ("Sales/In", "Folder"),
        ("Sales/In/mt_in", "MTT"),
        ("Sales/In/Old", "Folder"),
        ("Sales/In/Old/mt_old", "MTT"),
        ("SalesOld", "Project"),
        ("SalesOld/mt_x", "MTT"),
        ("Fin's", "Project"),
        ("Fin's/m[1]", "DTEMPLATE"),
    )


def paths(session: Session, text: str) -> list[str]:
    return [asset.path for asset in find_objects(session, parse("version: 1\n" + text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("include: [Sales/*]", ["Sales/mt_orders", "Sales/m_orders", "Sales/In/mt_in", "Sales/In/Old/mt_old"]),
        ("include: [Sales/mt*]", ["Sales/mt_orders"]),
        ("include: [Sales/In/*]", ["Sales/In/mt_in", "Sales/In/Old/mt_old"]),
        ("include: [Sales/*/mt_*]", ["Sales/In/mt_in", "Sales/In/Old/mt_old"]),
        ("include: [Sales/mt_orders]", ["Sales/mt_orders"]),
        ("include: ['Sales/m?_orders']", ["Sales/mt_orders"]),
        ("include: ['Sales/[!x]_orders']", ["Sales/m_orders"]),
        ("include: ['*/mt_x']", ["SalesOld/mt_x"]),
        ("include: [Sales*/mt_x]", ["SalesOld/mt_x"]),
        ("include: [Sales/*]\nexclude: ['*/Old/*', Sales/m_*]", ["Sales/mt_orders", "Sales/In/mt_in"]),
        ("include: [Sales/*]\ntypes: [dtemplate]", ["Sales/m_orders"]),
        ("include: [Sales/*]\ntypes: [MTT]\nexclude: ['*']", []),
        ('include: ["Fin\'s/*"]', ["Fin's/m[1]"]),
        ('include: ["Fin\'s/m[[]1]"]', ["Fin's/m[1]"]),
        ("objects: [{path: Sales/In, type: Folder}]", ["Sales/In"]),
        (
            "objects: [{path: Sales/m_orders, type: DTEMPLATE}]\ninclude: [Sales/m*]\nexclude: [Sales/m_*]",
            ["Sales/m_orders", "Sales/mt_orders"],
        ),
    ],
)
def test_patterns(org: Org, session: Session, text: str, expected: list[str]) -> None:
    assert paths(session, text) == expected


def test_only_what_may_fit_is_listed(org: Org, session: Session) -> None:
    paths(session, "include: [Sales/In/*]")
    assert org.listed == ["location=='Sales/In'", "location=='Sales/In/Old'"]


@pytest.mark.parametrize("pattern", ["Sales/mt_ordres", "sales/*", "/Sales/*", "Sales", "Sales/In"])
def test_a_pattern_that_finds_nothing(org: Org, session: Session, pattern: str) -> None:
    """Also one that fits containers only: what lies in them is not meant by it."""
    with pytest.raises(errors.IdmcInputError) as caught:
        paths(session, f"include: [Sales/*, {pattern}]")
    assert str(caught.value) == f"release.yaml: include has {pattern!r}, but org {ORG} has nothing like it."


def test_a_type_that_leaves_nothing(org: Org, session: Session) -> None:
    with pytest.raises(errors.IdmcInputError, match="nothing like it"):
        paths(session, "include: [Sales/*]\ntypes: [TASKFLOW]")


def test_objects_that_are_missing_are_named_all_at_once(org: Org, session: Session) -> None:
    rows = "{path: Sales/a, type: MTT}, {path: Sales/mt_orders, type: MTT}, {path: Sales/b, type: DSS}"
    with pytest.raises(errors.IdmcNotFoundError, match=r"no MTT 'Sales/a', no DSS 'Sales/b'"):
        paths(session, f"objects: [{rows}]")


def test_folders_that_hold_each_other_end(wire: Mocker, session: Session) -> None:
    """No org has them; but some list a project in itself."""
    Org(wire, ("A", "Folder"), ("A/A", "Folder"), ("A/A/x", "MTT"))
    wire.get(
        f"{V3}/objects",
        json={
            "count": 2,
            "objects": [{"id": "1", "path": "A", "type": "Folder"}, {"id": "2", "path": "A/x", "type": "MTT"}],
        },
    )
    assert paths(session, "include: [A/*]") == ["A/x"]


def test_the_schema_is_packaged() -> None:
    assert Path(parse_release.__code__.co_filename).with_name("release.schema.json").is_file()
