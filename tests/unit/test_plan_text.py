"""A plan as Markdown: what the approver reads, and that no name can change what it looks like."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from airflow_provider_infa.idmc.plan_text import SHOWN, in_full, markdown
from airflow_provider_infa.idmc.planned import ACTIONS

from .idmc_doubles import ORG, USER
from .idmc_plans import plan_of, row

#: CommonMark with the extensions of GitHub that Airflow's UI knows, too; raw HTML is passed on, so that it shows.
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
#: GitHub's "autolink literals", which readers find in the text after everything else, also behind a backslash.
AUTOLINK = re.compile(r"https?://|ftp://|www\.[-\w]|[-.\w+]@[-\w]+\.", re.I)


def tokens(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield token
        yield from token.children or ()


def shape(text: str) -> list[str]:
    """The structure of a text: every token that is not mere text."""
    return [token.type for token in tokens(text) if token.type not in ("text", "text_special", "inline", "softbreak")]


def words(text: str) -> str:
    """What a person sees."""
    return "\n".join(
        "".join(child.content for child in token.children or ())
        for token in PARSER.parse(text)
        if token.type == "inline"
    )


def lines(plan: dict[str, Any]) -> list[str]:
    return markdown(plan).splitlines()


# what is shown ----------------------------------------------------------------------------------------------------


def test_a_plan() -> None:
    plan = plan_of(
        row("Sales", "Project", "reuse"),
        row("ora_dev", "Connection", "map", target={"path": "ora_test"}),
        row("Sales/m", "DTEMPLATE", "blocked", reason="carla has it."),
        row("Sales/mt", drift="Last changed there by carla."),
        row("Sales/tf", "TASKFLOW", "create"),
        schedules={"Sales/new": "nightly"},
        unscheduled=["Sales/mt"],
        without_password=["sf"],
        warnings=["connections names 'x'."],
    )
    assert lines(plan) == [
        f"**ACME\\_DEV → ACME\\_TEST**, 5 objects, as {USER}.",
        "",
        "| Blocked | Overwritten | Created | Mapped to something else | Left as they are |",
        "| --- | --- | --- | --- | --- |",
        "| 1 | 1 | 1 | 1 | 1 |",
        "",
        "- ⚠ connections names 'x'.",
        "- Last changed there by someone else: Sales/mt",
        "- Get a schedule after the import: Sales/new (nightly)",
        "- Arrive without a schedule: Sales/mt",
        "- New connections without a password: sf",
        "",
        "**Blocked** (1)",
        "",
        "- DTEMPLATE Sales/m: carla has it.",
        "",
        "**Overwritten** (1)",
        "",
        "- MTT Sales/mt: Last changed there by carla.",
        "",
        "**Created** (1)",
        "",
        "- TASKFLOW Sales/tf",
        "",
        "**Mapped to something else** (1)",
        "",
        "- Connection ora\\_dev → ora\\_test",
        "",
        f"Plan `{plan['hash']}`, package SHA-256 `{'0' * 64}`.",
    ]


def test_what_is_left_alone_is_only_counted() -> None:
    plan = plan_of(*[row(f"Sales/mt{n}", action="reuse") for n in range(7)])
    assert "Sales/mt" not in markdown(plan)
    assert "| 0 | 0 | 0 | 0 | 7 |" in lines(plan)


def test_long_lists_are_cut_and_counted() -> None:
    rows = [row(f"Sales/mt{n:03}", drift="By carla.") for n in range(SHOWN + 3)]
    plan = plan_of(*rows, *[row(f"Sales/tf{n:03}", action="create") for n in range(SHOWN)])
    text = markdown(plan)
    assert text.count("- … and 3 more, listed in the log of the plan task") == 1
    assert f"Sales/mt{SHOWN - 1:03} and 3 more, listed in the log of the plan task" in text
    assert f"- MTT Sales/mt{SHOWN:03}" not in text
    assert f"- MTT Sales/tf{SHOWN - 1:03}" in text
    assert f"**Overwritten** ({SHOWN + 3})" in text


def test_the_log_cuts_nothing() -> None:
    names = [f"Sales/mt{n:03}" for n in range(SHOWN + 3)]
    rows = [row(name) for name in names]
    plan = plan_of(
        *rows, row("Sales/kept", action="reuse"), schedules=dict.fromkeys(names, "nightly"), unscheduled=names
    )
    assert dict(in_full(plan)) == {
        "Overwritten": [f"MTT {name}: Because of {name}." for name in names],
        "Left as they are": ["MTT Sales/kept: Because of Sales/kept."],
        "Get a schedule after the import": [f"{name} (nightly)" for name in names],
        "Arrive without a schedule": names,
    }


def test_what_needs_a_second_look_comes_first() -> None:
    rows = [row(f"Sales/mt{n:03}") for n in range(SHOWN + 5)]
    rows[SHOWN + 4]["drift"] = "By carla."
    plan = plan_of(*rows, import_specification=sent("Sales/mt028", {"mergeTags": True}))
    shown = [line for line in lines(plan) if line.startswith("- MTT")]
    assert shown[:3] == ["- MTT Sales/mt029: By carla.", "- MTT Sales/mt028 (mergeTags: true)", "- MTT Sales/mt000"]
    assert len(shown) == SHOWN


def test_what_is_mapped_onto_another_asset_overwrites_it() -> None:
    plan = plan_of(
        row("Sales/mt", action="map", overwrites=True, target={"path": "Support/mt"}, drift="By carla."),
        row("ora_dev", "Connection", "map", target={"path": "ora_test"}),
        import_specification=sent("Sales/mt", {"targetObjectId": "x" * 22, "conflictResolution": "OVERWRITE"}),
    )
    text = markdown(plan)
    assert "| 0 | 1 | 0 | 1 | 0 |" in text
    assert "**Overwritten** (1)\n\n- MTT Sales/mt → Support/mt: By carla.\n" in text
    assert "**Mapped to something else** (1)\n\n- Connection ora\\_dev → ora\\_test\n" in text
    # The heading tells it, and nobody reads ids.
    assert "x" * 22 not in text


def test_drift_that_blocks_is_told_once_and_is_in_the_way() -> None:
    reason = "By carla. The import would overwrite it."
    plan = plan_of(row("Sales/mt", action="blocked", overwrites=True, reason=reason, drift="By carla."))
    assert f"**Blocked** (1)\n\n- MTT Sales/mt: {reason}\n" in markdown(plan)
    assert "| 1 | 0 | 0 | 0 | 0 |" in lines(plan)
    assert ("Blocked", [f"MTT Sales/mt: {reason}"]) in list(in_full(plan))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        (
            {"additionalProviderFlags": [{"key": "a", "value": "RESET"}, {"key": "b", "value": False}]},
            "additionalProviderFlags: a=RESET b=false",
        ),
        ({"mergeTags": True, "x": "y", "n": None}, "mergeTags: true, x: y, n: null"),
        # What is written otherwise is shown as it is sent.
        ({"flags": [{"key": "a", "value": 1, "more": "é"}]}, 'flags: [{"key": "a", "value": 1, "more": "é"}]'),
        ({"flags": [{"key": "a", "value": 1}, "b"]}, 'flags: [{"key": "a", "value": 1}, "b"]'),
        ({"flags": [], "deep": {"a": {"b": 1}}}, 'flags: [], deep: {"a": {"b": 1}}'),
    ],
)
@pytest.mark.parametrize("action", ACTIONS)
def test_what_else_is_sent_is_shown(action: str, fields: dict[str, Any], shown: str) -> None:
    """Also about what is otherwise only counted."""
    specification = sent("Sales/mt1", {"conflictResolution": "REUSE", **fields})
    plan = plan_of(row("Sales/mt0", action=action), row("Sales/mt1", action=action), import_specification=specification)
    (line,) = [line for line in words(markdown(plan)).splitlines() if line.startswith("MTT Sales/mt1")]
    assert line.startswith(f"MTT Sales/mt1 ({shown})")
    assert ("and 1 more, listed in the log" in markdown(plan)) == (action == "reuse")


def sent(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A specification with fields for one object."""
    return {"objectSpecification": [{**fields, "sourceObjectId": f"source-{path}"}]}


#: Texts that JSON writes as they are, and that hold no whitespace, which Markdown folds.
NAME = st.text(alphabet=[*string.ascii_letters, *"ß<>&*_[]|~`#.:-"], min_size=1, max_size=8)
VALUE = st.recursive(
    NAME | st.booleans() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(NAME, inner, max_size=2)
        | st.lists(st.fixed_dictionaries({"key": NAME, "value": inner}), max_size=2)
    ),
    max_leaves=6,
)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS), st.booleans(), st.sampled_from([None, "By carla."]), st.dictionaries(NAME, VALUE)
    ),
    max_size=SHOWN + 10,
)


def parts(value: Any) -> Iterator[str]:
    """All keys and values of a structure, as one writes them."""
    if isinstance(value, dict):
        # Of a flag, key and value are shown, and not that they are called so.
        yield from (key for key in value if key not in ("key", "value"))
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from parts(each)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


@settings(max_examples=100)
@given(ROWS)
def test_the_form_shows_all_that_is_approved(drawn: list[tuple[str, bool, str | None, dict[str, Any]]]) -> None:
    rows, entries = [], []
    for n, (action, overwrites, drift, fields) in enumerate(drawn):
        rows.append(row(f"Sales/mt{n}", action=action, overwrites=overwrites or action == "overwrite", drift=drift))
        rule = {"targetObjectId": "id"} if action == "map" else {"conflictResolution": "OVERWRITE"}
        entries.append({"sourceObjectId": f"source-Sales/mt{n}", **rule, **fields})
    plan = plan_of(*rows, import_specification={"objectSpecification": entries})
    text = words(markdown(plan)).replace("\u2060", "")
    told = dict(re.findall(r"^(.+) \((\d+)\)$", text, re.M))
    overwritten = sum(row["overwrites"] and row["action"] != "blocked" for row in rows)
    assert int(told.get("Overwritten", 0)) == overwritten
    counts = next(line for line in lines(plan) if line.startswith("| ") and "Blocked" not in line and "---" not in line)
    assert [int(n) for n in counts.strip("| ").split(" | ")][1] == overwritten
    in_log = "\n".join(line for _, found in in_full(plan) for line in found)
    # The log holds all, the form all of a list that is not cut.
    for shown in [in_log] if "more, listed in the log of the plan task" in text else [in_log, text]:
        for _, _, _, fields in drawn:
            assert [part for part in parts(fields) if part not in shown] == []


def test_ten_thousand_objects_are_still_readable() -> None:
    plan = plan_of(*[row(f"Sales/mt{n}", action=("create", "overwrite", "blocked")[n % 3]) for n in range(10_000)])
    assert len(markdown(plan)) < 20_000


def test_an_empty_plan() -> None:
    assert shape(markdown(plan_of())).count("table_open") == 1


@pytest.mark.parametrize(
    ("package", "shown"),
    [
        ({"source_org_name": None, "source_org_id": "abc"}, "abc → "),
        ({"source_org_name": None, "source_org_id": None}, "an unknown org → "),
        ({"source_org_name": "", "source_org_id": ""}, "an unknown org → "),
    ],
)
def test_a_package_that_does_not_tell_its_org(package: dict[str, Any], shown: str) -> None:
    plan = plan_of(row("Sales/mt"))
    plan["package"] |= package
    assert shown + ORG in words(markdown(plan))


# names that mean something in Markdown ----------------------------------------------------------------------------


def plan_with(name: str) -> dict[str, Any]:
    """A plan in which everything that somebody else may name bears this name."""
    rows = [
        row(name, name, action, reason=name, drift=name, target={"path": f"{name}{n}"})
        for n, action in enumerate(("blocked", "overwrite", "create", "map", "reuse"))
    ]
    plan = plan_of(
        *rows,
        schedules={name: name},
        unscheduled=[name, name],
        without_password=[name],
        warnings=[name],
        user=name,
        import_specification=sent(name, {name: name, "flags": [{"key": name, "value": name}]}),
    )
    plan["package"] |= {"source_org_name": name, "name": name}
    plan["target_org"]["name"] = name
    return plan


PLAIN = shape(markdown(plan_with("plain")))
NASTY = [
    "# heading",
    "x\n# heading",
    "x\r\n\r\n| a | b |\n| - | - |",
    "a | b",
    "|",
    "\\",
    "\\|",
    "`code`",
    "``",
    "*bold*",
    "**",
    "_under_ __dunder__",
    "~~gone~~",
    "[text](https://evil.example)",
    "![picture](https://evil.example/x.png)",
    "[ref]: https://evil.example",
    "<https://evil.example>",
    "<script>alert(1)</script>",
    "<!-- hidden",
    "<b",
    "&lt;b&gt; &#42; &amp;",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "1) item",
    "> quote",
    "---",
    "===",
    "    code",
    "\tcode",
    "```\nfence",
    "~~~\nfence",
    "https://evil.example/path",
    "HTTP://evil.example",
    "ftp://evil.example",
    "www.evil.example",
    "xwww.evil.example",
    "anna@evil.example",
    "mailto:anna@evil.example",
    "mt_R&D 'pilot' \"x\"",
    "$x$ {{ dag }} {% raw %}",
    "a\u2028# b\u2029c\x85d\x0be\x0cf\x1cg",
    "[ ] task",
    "[x] task",
    "[^1]: note",
    ":smile:",
    "a  \nb",
    "a\\\nb",
]


@pytest.mark.parametrize("name", NASTY)
def test_names_stay_names(name: str) -> None:
    text = markdown(plan_with(name))
    assert shape(text) == PLAIN
    assert not AUTOLINK.search(words(text))
    # It can still be read: nothing of it is lost.
    seen = words(text).replace("\u2060", "")
    assert seen.count(" ".join(name.split())) >= 30


@settings(max_examples=300)
@given(st.text(alphabet=st.sampled_from([*string.printable, *"äß€\u2028\u00a0\ufeff"]), max_size=30))
@example("&quot;")
@example("")
@example("sourceObjectId")
def test_no_name_changes_the_structure(name: str) -> None:
    text = markdown(plan_with(name))
    if name.strip():
        assert shape(text) == PLAIN
        assert len(text.splitlines()) == len(markdown(plan_with("plain")).splitlines())
    else:
        assert set(shape(text)) <= set(PLAIN)
    assert not AUTOLINK.search(words(text))


@settings(max_examples=200)
@given(st.lists(st.sampled_from(NASTY), min_size=2, max_size=4).map("".join))
def test_nor_does_any_of_them_joined(name: str) -> None:
    text = markdown(plan_with(name))
    assert shape(text) == PLAIN
    assert not AUTOLINK.search(words(text))


@pytest.mark.parametrize("char", ["\u202e", "\u2066", "\u200f", "\u200b", "\u00ad", "\x00", "\x1b", "\x07", "\ufeff"])
def test_signs_that_can_not_be_seen_are_shown(char: str) -> None:
    """Among them those that turn the direction of writing: the approver must read what is meant."""
    text = markdown(plan_with(f"Sales/mt{char}drowssap"))
    assert char not in text
    assert f"Sales/mt(U+{ord(char):04X})drowssap" in words(text)
