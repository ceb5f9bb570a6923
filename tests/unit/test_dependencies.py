"""What the objects of a package need, although the package does not hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pytest
import requests_mock

from airflow_provider_infa.idmc import errors
from airflow_provider_infa.idmc.package import Package
from airflow_provider_infa.idmc.plan import plan_import
from airflow_provider_infa.idmc.planned import Plan
from airflow_provider_infa.idmc.session import Session
from airflow_provider_infa.idmc.settings import Settings
from airflow_provider_infa.idmc.wishes import Wishes

from .idmc_doubles import ORG, PASSWORD, USER, Clock, Target, login_answer
from .idmc_packages import Packed, package_of

Mocker = requests_mock.Mocker

DEV_LOGIN = "https://dm-em.informaticacloud.com"
DEV_BASE = "https://emw1.dm-em.informaticacloud.com/saas"
DEV_V3 = f"{DEV_BASE}/public/core/v3"
DEV_ID = "fg1dzqDZ1K3lbHp8uq5vQB"

SALES = Packed("Sales", "Project")
MAPPLET = Packed("Shared/mplt", "DMAPPLET")
MAPPING = Packed("Sales/m_orders", "DTEMPLATE", ("Shared/mplt", "ora"))
TASK = Packed("Sales/mt_orders", "MTT", ("Sales/m_orders", "AGENTS"))
ORACLE = Packed("ora", "Connection", ("AGENTS",))
AGENTS = Packed("AGENTS", "AgentGroup")
#: Something that shows that a package was exported with its dependencies; nothing here refers to it.
LOCAL = Packed("LOCAL", "AgentGroup")
ALL = (SALES, Packed("Shared", "Project"), MAPPLET, MAPPING, TASK, ORACLE, AGENTS)


def package(*held: Packed, known: tuple[Packed, ...] = ALL, lists_refs: bool = True) -> Package:
    """A package that holds some objects, and refers to others of the same org by their ids."""
    ids = {o.path: o.id for o in known}
    made = package_of(*held)
    objects = []
    for o, packed in zip(made.objects, held, strict=True):
        refs = tuple(ids.get(ref, ref) for ref in packed.refs) if lists_refs else ()
        objects.append(dataclasses.replace(o, refs=refs, lists_refs=lists_refs))
    return dataclasses.replace(made, objects=tuple(objects))


class Source:
    """The org that exported the package: it answers lookups by id, and what an object refers to."""

    def __init__(self, wire: Mocker, *objects: Packed, hidden: tuple[str, ...] = ()) -> None:
        self.by_id = {o.id: o for o in objects}
        self.ids = {o.path: o.id for o in objects}
        self.hidden = hidden
        self.looked_up: list[str] = []
        self.asked: list[str] = []
        self.sizes: list[int] = []
        answer = login_answer("session-of-dev", DEV_BASE)
        answer["userInfo"] |= {"orgId": DEV_ID, "orgName": "ACME_DEV"}
        wire.post(f"{DEV_LOGIN}/saas/public/core/v3/login", json=answer)
        wire.post(f"{DEV_LOGIN}/saas/public/core/v3/logout", json={})
        wire.post(f"{DEV_V3}/lookup", json=self._lookup)
        wire.get(requests_mock.ANY, json=self._references, additional_matcher=lambda r: r.url.startswith(DEV_V3))

    def _lookup(self, request: Any, context: Any) -> dict[str, Any]:
        ids = [ref["id"] for ref in request.json()["objects"]]
        self.looked_up += ids
        self.sizes.append(len(ids))
        shown = [self.by_id[id] for id in ids if id in self.by_id and self.by_id[id].path not in self.hidden]
        return {"objects": [{"id": o.id, "path": o.path, "type": o.type} for o in shown]}

    def _references(self, request: Any, context: Any) -> dict[str, Any]:
        id = unquote(request.path.split("/objects/")[1].partition("/references")[0])
        o = self.by_id[id]
        self.asked.append(o.path)
        refs = [{"id": self.ids.get(ref, ref)} for ref in o.refs]
        return {"count": len(refs), "references": refs}


@pytest.fixture
def source_session(wire: Mocker, clock: Clock) -> Session:
    return Session(Settings(DEV_LOGIN, USER, PASSWORD), sleep=clock.sleep, clock=clock)


def make(session: Session, package: Package, source: Session | None, **wishes: Any) -> Plan:
    return plan_import(session, package, Wishes(**wishes), source=source)


def missing(plan: Plan) -> Mapping[str, str]:
    """What is planned beyond the package: path in the source to path in the target."""
    held = {o.id for o in plan.package.objects}
    rows = [p for p in plan.objects if p.source.id not in held]
    assert {p.action for p in rows} <= {"blocked"}
    return {p.source.path: p.target_path for p in rows}


# what is missing --------------------------------------------------------------------------------------------------


def test_all_is_there(wire: Mocker, session: Session, source_session: Session) -> None:
    Source(wire, *ALL)
    Target(wire, *[(o.path, o.type) for o in ALL])
    plan = make(session, package(SALES, TASK), source_session)
    assert missing(plan) == {}
    assert plan.warnings == ()
    plan.check()


def test_everything_that_has_to_come_along_is_named_at_once(
    wire: Mocker, session: Session, source_session: Session
) -> None:
    """Also what the missing ones need in turn; connections and agents have to be there under their own names."""
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"))
    plan = make(session, package(SALES, LOCAL, TASK), source_session)
    assert missing(plan) == {o.path: o.path for o in (MAPPING, MAPPLET, ORACLE, AGENTS)}
    with pytest.raises(errors.IdmcPlanBlockedError) as caught:
        plan.check()
    text = str(caught.value)
    assert f"Neither the package nor org {ORG} has it, and it is needed by Sales/m_orders." in text
    assert "include_dependencies=True for the export, or 'Shared/mplt' among its objects" in text
    # Only of assets is asked what they need: what a connection needs, its org knows.
    assert sorted(source.asked) == ["Sales/m_orders", "Shared/mplt"]


def test_what_the_target_has_is_not_followed(wire: Mocker, session: Session, source_session: Session) -> None:
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (MAPPING.path, MAPPING.type), (AGENTS.path, AGENTS.type))
    plan = make(session, package(SALES, LOCAL, TASK), source_session)
    assert missing(plan) == {}
    assert source.asked == []


def test_the_type_has_to_fit_too(wire: Mocker, session: Session, source_session: Session) -> None:
    Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (MAPPING.path, "MTT"), (AGENTS.path, AGENTS.type))
    assert MAPPING.path in missing(make(session, package(SALES, TASK), source_session))


def test_only_what_arrives_needs_something(wire: Mocker, session: Session, source_session: Session) -> None:
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (TASK.path, TASK.type))
    plan = make(session, package(SALES, TASK), source_session, default_conflict_resolution="REUSE")
    assert missing(plan) == {}
    assert source.looked_up == source.asked == []


def test_mapped_projects(wire: Mocker, session: Session, source_session: Session) -> None:
    """What is missing is looked for where it would land."""
    Source(wire, *ALL)
    target = Target(wire, ("Vertrieb", "Project"), (AGENTS.path, AGENTS.type), (MAPPING.path, MAPPING.type))
    wishes = {"projects": {"Sales": "Vertrieb"}}
    plan = make(session, package(SALES, TASK), source_session, **wishes)
    assert missing(plan)[MAPPING.path] == "Vertrieb/m_orders"
    target.ids[("Vertrieb/m_orders", "DTEMPLATE")] = "there"
    assert missing(make(session, package(SALES, TASK), source_session, **wishes)) == {}


def test_who_needs_it_is_named_once_each(wire: Mocker, session: Session, source_session: Session) -> None:
    tasks = [Packed(f"Sales/mt_{n}", "MTT", ("AGENTS", "AGENTS")) for n in range(5)]
    Source(wire, *ALL, *tasks)
    Target(wire, ("Sales", "Project"), (LOCAL.path, LOCAL.type))
    plan = make(session, package(SALES, LOCAL, *tasks, known=(*ALL, *tasks)), source_session)
    (blocked,) = plan.blocked
    assert "needed by Sales/mt_0, Sales/mt_1, Sales/mt_2 and 2 more." in blocked.reason


def test_names_of_any_kind(wire: Mocker, session: Session, source_session: Session) -> None:
    odd = Packed("Größe <b>|#/m 'x' \"y\" & [z](u)", "DTEMPLATE")
    task = Packed("Sales/mt", "MTT", (odd.path,))
    Source(wire, *ALL, odd, task)
    Target(wire, ("Sales", "Project"))
    assert missing(make(session, package(SALES, task, known=(odd,)), source_session)) == {odd.path: odd.path}


# how it is asked --------------------------------------------------------------------------------------------------


def test_each_id_is_asked_once(wire: Mocker, session: Session, source_session: Session) -> None:
    """However many need it, and at however many levels."""
    shared = Packed("Shared/mplt", "DMAPPLET", ("Shared/m0",))
    chain = [Packed(f"Shared/m{n}", "DTEMPLATE", (f"Shared/m{n + 1}", "Shared/mplt", "ora")) for n in range(5)]
    tasks = [Packed(f"Sales/mt_{n}", "MTT", ("Shared/m0", f"Shared/m{n % 5}", "Shared/mplt")) for n in range(40)]
    known = (SALES, ORACLE, AGENTS, shared, *chain, *tasks)
    source = Source(wire, *known)
    Target(wire, ("Sales", "Project"))
    plan = make(session, package(SALES, LOCAL, *tasks, known=known), source_session)
    assert set(missing(plan)) == {o.path for o in (shared, *chain, ORACLE)}
    assert len(source.looked_up) == len(set(source.looked_up))
    assert len(source.asked) == len(set(source.asked)) == 6


def test_cycles_end(wire: Mocker, session: Session, source_session: Session) -> None:
    one = Packed("Shared/one", "TASKFLOW", ("Shared/two", "Shared/one", "Sales/mt"))
    two = Packed("Shared/two", "TASKFLOW", ("Shared/one",))
    task = Packed("Sales/mt", "TASKFLOW", ("Shared/one", "Sales/mt"))
    source = Source(wire, SALES, one, two, task)
    Target(wire, ("Sales", "Project"))
    plan = make(session, package(SALES, LOCAL, task, known=(one, two, task)), source_session)
    assert set(missing(plan)) == {"Shared/one", "Shared/two"}
    assert sorted(source.asked) == ["Shared/one", "Shared/two"]


def test_many_are_asked_in_few_calls(wire: Mocker, session: Session, source_session: Session) -> None:
    mappings = [Packed(f"Shared/m{n}", "DTEMPLATE") for n in range(450)]
    tasks = [Packed(f"Sales/mt{n}", "MTT", (m.path,)) for n, m in enumerate(mappings)]
    source = Source(wire, SALES, *mappings, *tasks)
    Target(wire, ("Sales", "Project"), *[(m.path, m.type) for m in mappings])
    plan = make(session, package(SALES, *tasks, known=tuple(mappings)), source_session)
    assert missing(plan) == {}
    assert source.sizes == [200, 200, 50]


def test_a_package_that_does_not_tell_what_it_needs(wire: Mocker, session: Session, source_session: Session) -> None:
    """As the official tool writes them: its objects are asked for, and only those that arrive."""
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (AGENTS.path, AGENTS.type), (MAPPLET.path, MAPPLET.type), ("ora", "Connection"))
    plan = make(session, package(SALES, TASK, lists_refs=False), source_session)
    assert set(missing(plan)) == {MAPPING.path}
    assert source.asked == [TASK.path, MAPPING.path]


def test_a_package_that_tells_for_some_only(wire: Mocker, session: Session, source_session: Session) -> None:
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"))
    made = package(SALES, LOCAL, TASK, MAPPING)
    objects = [dataclasses.replace(o, refs=(), lists_refs=o.path != MAPPING.path) for o in made.objects]
    plan = make(session, dataclasses.replace(made, objects=tuple(objects)), source_session)
    assert set(missing(plan)) == {MAPPLET.path, ORACLE.path}
    assert source.asked == [MAPPING.path, MAPPLET.path]


def test_a_whole_package_asks_the_source_nothing(wire: Mocker, session: Session, source_session: Session) -> None:
    source = Source(wire, *ALL)
    Target(wire, (AGENTS.path, AGENTS.type))
    plan = make(session, package(*ALL), source_session)
    assert not plan.blocked
    assert source.looked_up == source.asked == []


# packages without any connection or runtime environment ------------------------------------------------------------


def silent(*held: Packed) -> Package:
    """A package whose manifest claims that nothing in it needs anything."""
    return package(*[dataclasses.replace(o, refs=()) for o in held])


def test_a_bare_package_is_not_believed(wire: Mocker, session: Session, source_session: Session) -> None:
    """Exported without dependencies, its manifest may leave out what was not exported."""
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"))
    plan = make(session, silent(SALES, TASK), source_session)
    assert set(missing(plan)) == {MAPPING.path, MAPPLET.path, ORACLE.path, AGENTS.path}
    assert source.asked == [TASK.path, MAPPING.path, MAPPLET.path]
    assert plan.blocked


@pytest.mark.parametrize("type", ["Connection", "CONNECTION", "AgentGroup", "agentgroup"])
def test_a_package_with_either_is_believed(wire: Mocker, session: Session, source_session: Session, type: str) -> None:
    source = Source(wire, *ALL)
    held = Packed("LOCAL", type)
    Target(wire, ("Sales", "Project"), (held.path, held.type))
    plan = make(session, silent(SALES, TASK, held), source_session)
    assert missing(plan) == {}
    assert source.asked == []


def test_a_bare_package_that_tells_part_of_it(wire: Mocker, session: Session, source_session: Session) -> None:
    """Both count, what its manifest tells and what the source org does; each id once."""
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (MAPPING.path, MAPPING.type))
    extra = Packed("Shared/extra", "DTEMPLATE")
    told = dataclasses.replace(TASK, refs=("AGENTS", extra.path))
    source.by_id[extra.id] = extra
    plan = make(session, package(SALES, told, known=(*ALL, extra)), source_session)
    assert set(missing(plan)) == {AGENTS.path, extra.path}
    assert source.asked == [TASK.path, extra.path]
    assert sorted(source.looked_up) == sorted([AGENTS.id, extra.id, MAPPING.id])


def test_of_a_bare_package_only_what_arrives_is_asked_for(
    wire: Mocker, session: Session, source_session: Session
) -> None:
    kept = Packed("Sales/mt_kept", "MTT", ("ora",))
    source = Source(wire, *ALL, kept)
    Target(wire, ("Sales", "Project"), (kept.path, kept.type))
    plan = make(session, silent(SALES, TASK, MAPPING, kept), source_session, conflict_resolutions={"MTT": "REUSE"})
    assert source.asked == [TASK.path, MAPPING.path, MAPPLET.path]
    # What the package holds is not missing.
    assert set(missing(plan)) == {MAPPLET.path, ORACLE.path, AGENTS.path}


def test_a_bare_package_of_containers(wire: Mocker, session: Session, source_session: Session) -> None:
    source = Source(wire, *ALL)
    Target(wire)
    assert not make(session, silent(SALES, Packed("Sales/In", "Folder")), source_session).blocked
    assert source.asked == source.looked_up == []


def test_a_bare_package_without_the_source(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales", "Project"))
    outside, unlisted = make(session, package(SALES, TASK), None).warnings
    assert "refers to 2 objects that it does not hold. Set source_conn_id" in outside
    assert "does not tell what 1 of its objects need. Set source_conn_id" in unlisted
    (only,) = make(session, silent(SALES, TASK, MAPPING), None).warnings
    assert "does not tell what 2 of its objects need" in only


# what can't be known ----------------------------------------------------------------------------------------------


def test_ids_that_the_source_does_not_show(wire: Mocker, session: Session, source_session: Session) -> None:
    """Removed since, system objects, or nothing that this user may read: no obstacle, but a remark."""
    Source(wire, *ALL, hidden=(MAPPING.path,))
    Target(wire, ("Sales", "Project"))
    task = dataclasses.replace(TASK, refs=(*TASK.refs, "x" * 22))
    plan = make(session, package(SALES, task), source_session)
    assert set(missing(plan)) == {AGENTS.path}
    (warning,) = plan.warnings
    assert "refers to 2 objects that org ACME_DEV does not show" in warning


def test_without_the_source_it_says_what_it_could_do_with_it(wire: Mocker, session: Session) -> None:
    Target(wire, ("Sales", "Project"))
    plan = make(session, package(SALES, LOCAL, TASK), None)
    (warning,) = plan.warnings
    assert "refers to 2 objects that it does not hold. Set source_conn_id" in warning
    (warning,) = make(session, package(SALES, LOCAL, TASK, lists_refs=False), None).warnings
    assert "does not tell what 1 of its objects need. Set source_conn_id" in warning


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, {"code": "V3API_004"}), (404, {"message": "Not found."}), (400, {"code": "V3API_LookupError_012"})],
)
def test_objects_of_the_package_that_are_gone(
    wire: Mocker, session: Session, source_session: Session, status: int, error: dict[str, str]
) -> None:
    """Stored packages outlive what they were made of. What their manifests tell is known all the same."""
    source = Source(wire, *ALL)
    Target(wire, ("Sales", "Project"), (AGENTS.path, AGENTS.type))
    wire.get(f"{DEV_V3}/objects/{TASK.id}/references", status_code=status, json={"error": error})
    plan = make(session, package(SALES, TASK), source_session)
    # Those of the mapping, which is still there, are asked for.
    assert set(missing(plan)) == {MAPPING.path, MAPPLET.path, ORACLE.path}
    assert source.asked == [MAPPING.path, MAPPLET.path]
    (warning,) = plan.warnings
    assert "could not be looked up, because org ACME_DEV does not show them: Sales/mt_orders. They" in warning
    # Nothing is known of the only one: no obstacle, and the same warning.
    plan = make(session, silent(SALES, TASK), source_session)
    assert (missing(plan), plan.warnings) == ({}, (warning,))


def test_what_goes_while_it_is_asked_for(wire: Mocker, session: Session, source_session: Session) -> None:
    """Found a moment ago: still missing in the target, so still an obstacle."""
    Source(wire, *ALL, hidden=(AGENTS.path,))
    Target(wire, ("Sales", "Project"))
    wire.get(f"{DEV_V3}/objects/{MAPPING.id}/references", status_code=404, json={"error": {"code": "V3API_004"}})
    plan = make(session, package(SALES, LOCAL, TASK), source_session)
    assert set(missing(plan)) == {MAPPING.path}
    strangers, hidden = plan.warnings
    assert "refers to 1 objects that org ACME_DEV does not show" in strangers
    assert "does not show them: Sales/m_orders." in hidden


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 401, "json": {}},
        {"status_code": 403, "json": {}},
        {"status_code": 503, "json": {}},
        # Of a gateway, which knows nothing of objects; and of a request that is wrong by itself.
        {"status_code": 404, "json": {}},
        {"status_code": 404, "text": "<html>Not Found</html>"},
        {"status_code": 400, "json": {"error": {"code": "V3API_007"}}},
    ],
)
def test_a_source_that_does_not_answer(
    wire: Mocker, session: Session, source_session: Session, answer: dict[str, Any]
) -> None:
    Source(wire, *ALL)
    Target(wire, ("Sales", "Project"))
    wire.get(requests_mock.ANY, **answer, additional_matcher=lambda r: r.url.startswith(DEV_V3))
    with pytest.raises(errors.IdmcError, match="ACME_DEV"):
        make(session, package(SALES, TASK), source_session)


def test_answers_that_can_not_be_read(wire: Mocker, session: Session, source_session: Session) -> None:
    Source(wire, *ALL)
    Target(wire, ("Sales", "Project"))
    wire.get(
        requests_mock.ANY,
        json={"references": [{"path": "no id"}]},
        additional_matcher=lambda r: r.url.startswith(DEV_V3),
    )
    with pytest.raises(errors.IdmcAnswerError, match="'id' of a reference"):
        make(session, package(SALES, TASK, lists_refs=False), source_session)


# wrong orgs -------------------------------------------------------------------------------------------------------


def test_a_package_of_the_target_org_itself(wire: Mocker, session: Session) -> None:
    made = dataclasses.replace(package(SALES, TASK), source_org_id=session.login().org_id)
    with pytest.raises(errors.IdmcWrongOrgError, match=r"same org.*InfaRestoreOperator"):
        make(session, made, None)
    assert [r.path.rpartition("/")[2] for r in wire.request_history] == ["login"]


def test_one_org_for_both(wire: Mocker, session: Session) -> None:
    with pytest.raises(errors.IdmcWrongOrgError, match=f"Both connections lead to org {ORG}"):
        make(session, package(SALES, TASK), session)


def test_a_package_of_a_third_org(wire: Mocker, session: Session, source_session: Session) -> None:
    Source(wire, *ALL)
    made = dataclasses.replace(package(SALES, TASK), source_org_id="z" * 22, source_org_name="ACME_LAB")
    with pytest.raises(errors.IdmcWrongOrgError, match=r"of org ACME_LAB does not come from org ACME_DEV"):
        make(session, made, source_session)


def test_a_package_that_does_not_tell_its_org(wire: Mocker, session: Session, source_session: Session) -> None:
    Source(wire, *ALL)
    Target(wire, *[(o.path, o.type) for o in ALL])
    made = dataclasses.replace(package(SALES, TASK), source_org_id=None, source_org_name=None)
    make(session, made, source_session).check()
