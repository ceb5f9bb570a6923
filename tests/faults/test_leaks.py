"""The search for secrets finds them: in every form, and in every place where an Airflow may have left one."""

from __future__ import annotations

import base64
import json
import sqlite3
from urllib.parse import quote

import leaks
import pytest

SECRET = 'P"ä/\\+ %planted0123'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"https://me:{quote(SECRET, safe='')}@localhost/",
        json.dumps({"password": SECRET}),
        json.dumps(json.dumps({"password": SECRET})),
        json.dumps({"password": SECRET}, ensure_ascii=False),
        *(base64.b64encode(f"{'u' * n}:{SECRET}!".encode()).decode() for n in range(3)),
        *(base64.urlsafe_b64encode(f"{'u' * n}:{SECRET}!".encode()).decode() for n in range(3)),
    ],
)
def test_every_form_is_found(tmp_path, text):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "attempt=1.log").write_text(f"before {text} after")
    assert any("planted" in line for line in leaks.search([tmp_path], {SECRET: "planted"}))
    assert leaks.search([tmp_path], {SECRET[::-1]: "another"}) == []


def test_a_database_is_searched_with_what_is_not_yet_in_it(tmp_path):
    base = sqlite3.connect(tmp_path / "airflow.db")
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("CREATE TABLE xcom (value TEXT)")
    base.commit()
    # So long that it lies on several pages, with the secret somewhere on their edges.
    base.executemany("INSERT INTO xcom VALUES (?)", [("x" * n + SECRET + "x" * 9000,) for n in range(4000, 4100)])
    base.commit()
    found = leaks.search([tmp_path], {SECRET: "planted"})
    assert any("airflow.db-wal: planted" in line for line in found)
    assert any(line.endswith("xcom: planted (plain)") for line in found)
    base.close()


@pytest.mark.slow
def test_what_a_task_gives_away_is_found(airflow):
    # Not one of the secrets for which this home is searched in the end.
    done = airflow.run("leaky", {"PLANTED": SECRET}, {})
    assert done["state"] == "success"
    found = leaks.search([airflow.home], {SECRET: "planted"})
    for place, form in {
        "printed": "base64",
        "/store/planted": "URL-encoded",
        "/xcom": "JSON",
        "/rendered_task_instance_fields": "JSON",
    }.items():
        assert [line for line in found if f"{place}: planted ({form}" in line], (place, found)
