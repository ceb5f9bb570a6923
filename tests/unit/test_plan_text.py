"""A plan as Markdown: what the approver reads, and that no name can change what it looks like."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from airflow_provider_infa.idmc.plan_text import SHOWN, markdown

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
        "- Changed there by others since the last promotion: Sales/mt",
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
    assert text.count("- … and 3 more") == 1
    assert f"Sales/mt{SHOWN - 1:03} and 3 more" in text
    assert f"- MTT Sales/mt{SHOWN:03}" not in text
    assert f"- MTT Sales/tf{SHOWN - 1:03}" in text
    assert f"**Overwritten** ({SHOWN + 3})" in text


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
        *rows, schedules={name: name}, unscheduled=[name, name], without_password=[name], warnings=[name], user=name
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
    assert seen.count(" ".join(name.split())) >= 14


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from([*string.printable, *"äß€\u2028\u00a0\ufeff"]), max_size=30))
@example("&quot;")
@example("")
def test_no_name_changes_the_structure(name: str) -> None:
    text = markdown(plan_with(name))
    if name.strip():
        assert shape(text) == PLAIN
        assert len(text.splitlines()) == len(markdown(plan_with("plain")).splitlines())
    else:
        assert set(shape(text)) <= set(PLAIN)
    assert not AUTOLINK.search(words(text))


@settings(max_examples=200, deadline=None)
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
