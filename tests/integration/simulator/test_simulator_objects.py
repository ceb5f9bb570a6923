from __future__ import annotations

import pytest

FIELDS = [
    "id",
    "path",
    "type",
    "description",
    "updatedBy",
    "updateTime",
    "tags",
    "sourceControl",
    "customAttributes",
]


def test_rows_have_the_fields_of_the_docs(reader):
    (row,) = reader.list("location=='Sales' and type=='DTEMPLATE'")
    assert list(row) == FIELDS
    assert row | {"id": "", "tags": sorted(row["tags"])} == {
        "id": "",
        "path": "Sales/m_orders",
        "type": "DTEMPLATE",
        "description": "Orders from files into the warehouse",
        "updatedBy": "anna",
        "updateTime": "2026-03-02T09:15:00Z",
        "tags": ["release-1"],
        "sourceControl": None,
        "customAttributes": None,
    }
    assert len(row["id"]) == 22


def test_lookup_only_types_are_not_listed(reader):
    types = {row["type"] for row in reader.list()}
    assert types == {
        "Project", "Folder", "DTEMPLATE", "MTT", "TASKFLOW", "DSS", "DMAPPLET",
        "AI_SERVICE_CONNECTOR", "AI_CONNECTION", "PROCESS", "GUIDE",
    }  # fmt: skip
    assert reader.list("type=='CONNECTION'") == []


def test_empty_description_is_a_string(reader):
    (project,) = [row for row in reader.list("type=='project'") if row["path"] == "Default"]
    assert (project["description"], project["updatedBy"], project["type"]) == ("", "Informatica", "Project")


def test_source_control(serve, caller):
    control = {"checked_out_by": "anna", "checked_out_time": "2026-02-01T10:00:00Z", "hash": "abcdef12"}
    asset = {"path": "P/m", "type": "DTEMPLATE", "source_control": control}
    org = caller(serve({"orgs": {"one": {"assets": [asset, {"path": "P/n", "type": "MTT"}]}}}), "one")
    (row,) = org.list("sourceControl.hash=='abc*'")
    assert row["sourceControl"] == {
        "checkedOutBy": "anna",
        "checkedOutTime": "2026-02-01T10:00:00Z",
        "hash": "abcdef12",
        "lastCheckinBy": None,
        "lastCheckinTime": None,
        "lastPullTime": None,
        "sourceControlled": True,
    }
    assert org.paths("sourceControl.checkedOutBy==anna") == {"P/m"}
    assert org.paths("sourceControl.sourceControlled==false and type=='MTT'") == {"P/n"}
    assert org.paths("sourceControl.checkedOutTime<2026-03-01T00:00:00Z") == {"P/m"}
    assert "P/m" not in org.paths("sourceControl.hash!='abc*'")


def test_pages(serve, caller):
    generate = {"type": "MTT", "count": 450, "path": "Bulk/mt_{n:05d}"}
    org = caller(serve({"orgs": {"one": {"assets": [{"generate": generate}]}}}), "one")
    pages = [org.get("/objects", params={"limit": 200, "skip": skip}).json() for skip in (0, 200, 400, 600)]
    assert [len(page["objects"]) for page in pages] == [200, 200, 52, 0]
    assert {page["count"] for page in pages} == {452}
    assert len({row["id"] for page in pages for row in page["objects"]}) == 452
    assert len(org.get("/objects").json()["objects"]) == 100


@pytest.mark.parametrize("params", [{"limit": 201}, {"limit": 0}, {"limit": "x"}, {"limit": -1}, {"skip": "-1"}])
def test_bad_windows(reader, params, v3_error):
    v3_error(reader.get("/objects", params=params), 400, "V3API_007")


@pytest.mark.parametrize(
    "q",
    [
        "tag=='release-2'",
        'tag=="release-2"',
        "tag==release-2",
        "tag == 'release-2'",
        "  tag=='release-2'  ",
        "tag=='release\\-2'",
    ],
)
def test_spellings_of_one_query(reader, q):
    assert len(reader.list(q)) == 6


@pytest.mark.parametrize("joint", [" and ", ";", " ; "])
def test_parts_are_joined(reader, joint):
    assert reader.paths(f"tag=='release-1'{joint}type=='mtt'{joint}updatedBy!='bjoern'") == {"Sales/mt_orders"}


@pytest.mark.parametrize(
    ("q", "count"),
    [
        ("updateTime<2026-03-12T17:03:00Z", 1),
        ("updateTime<=2026-03-12T17:03:00.00Z", 2),
        ("updateTime==2026-03-12T17:03:00Z", 1),
        ("updateTime>2026-03-12T17:03:00Z", 1),
        ("updateTime>=2026-03-12T17:03:00.000Z", 2),
        ("updateTime=>'2026-03-12T17:03:00Z'", 2),
        ("updateTime!=2026-03-12T17:03:00Z", 2),
    ],
)
def test_times(reader, q, count):
    assert (
        len(reader.list(f"{q} and updatedBy=='anna' and updateTime>2026-03-12T00:00:00Z and tag=='release-2'")) == count
    )


def test_quoted_names(dev):
    dev.simulator.edit_asset("dev", "Sales/mt_R&D 'pilot'", "MTT", tags=["it's", 'say "hi"', "back\\slash"])
    for q in (
        r"tag=='it\'s'",
        '''tag=="it's"''',
        r"""tag=='say "hi"'""",
        r'tag=="say \"hi\""',
        r"tag=='back\\slash'",
    ):
        assert dev.paths(q) == {"Sales/mt_R&D 'pilot'"}, q


def test_location_means_children_and_the_container(reader):
    assert reader.paths("location=='Sales'") == {
        "Sales",
        "Sales/m_orders",
        "Sales/mt_orders",
        "Sales/tf_sales_daily",
        "Sales/dss_accounts",
        "Sales/mt_R&D 'pilot'",
        "Sales/Staging",
    }
    assert reader.paths("location=='Finance/Abschlüsse'") == {
        "Finance/Abschlüsse",
        "Finance/Abschlüsse/m_jahresabschluß",
        "Finance/Abschlüsse/mt_jahresabschluß",
    }
    assert reader.paths("location=='Nowhere'") == set()


def test_type_may_be_negated(reader):
    assert {row["type"] for row in reader.list("type!='MTT' and tag=='release-1'")} == {
        "DTEMPLATE",
        "TASKFLOW",
    }


@pytest.mark.parametrize(
    "q",
    [
        "",
        "tag",
        "tag=",
        "tag==",
        "tag='x'",
        "tag!='x'",
        "path=='Sales'",
        "location!='Sales'",
        "type<'MTT'",
        "type=='MTT' or type=='DSS'",
        "type=='MTT',type=='DSS'",
        "(type=='MTT')",
        "type=='MTT' AND tag=='x'",
        "type=='MTT' and",
        "type=='MTT'andtag=='x'",
        "type=='MTT' tag=='x'",
        "location==My Project",
        "location=='open",
        "updateTime>'yesterday'",
        "updateTime>2026-01-01",
        "updateTime>2026-13-01T00:00:00Z",
        "sourceControl.sourceControlled==maybe",
        "Type=='MTT'",
    ],
)
def test_everything_else_is_refused(reader, q, v3_error):
    v3_error(reader.get("/objects", params={"q": q}), 400, "V3API_007")


def test_references(reader):
    id_ = reader.id("Sales/mt_orders", "MTT")
    body = reader.get(f"/objects/{id_}/references", params={"refType": "Uses"}).json()
    assert list(body) == ["count", "@id", "references"]
    assert (body["count"], body["@id"]) == (4, id_)
    fields = {"id", "appContextId", "path", "documentType", "description", "lastUpdatedTime"}
    assert all(row.keys() == fields for row in body["references"])
    assert {(row["path"], row["documentType"]) for row in body["references"]} == {
        ("DEV_AGENTS", "SAAS_RUNTIME_ENVIRONMENT"),
        ("Sales/m_orders", "MAPPING"),
        ("ff_landing", "SAAS_CONNECTION"),
        ("ora_dev", "SAAS_CONNECTION"),
    }
    mapping = next(row for row in body["references"] if row["documentType"] == "MAPPING")
    assert mapping["appContextId"][6:8] == "17"
    assert next(row for row in body["references"] if row["path"] == "ora_dev")["description"] is None


def test_references_the_other_way(reader):
    id_ = reader.id("Sales/m_orders", "DTEMPLATE")
    body = reader.get(f"/objects/{id_}/references", params={"refType": "usedBy", "limit": 1, "skip": 1}).json()
    assert body["count"] == 2
    assert len(body["references"]) == 1
    assert body["references"][0]["documentType"] == "MCT"


def test_references_have_pages_of_25(serve, caller):
    generate = {"type": "MTT", "count": 60, "path": "Bulk/mt_{n}", "uses": ["Bulk/m"]}
    org = caller(
        serve({"orgs": {"one": {"assets": [{"generate": generate}, {"path": "Bulk/m", "type": "DTEMPLATE"}]}}}),
        "one",
    )
    path = f"/objects/{org.id('Bulk/m', 'DTEMPLATE')}/references"
    body = org.get(path, params={"refType": "usedBy"}).json()
    assert (body["count"], len(body["references"])) == (60, 25)
    assert len(org.get(path, params={"refType": "usedBy", "limit": 50}).json()["references"]) == 50


@pytest.mark.parametrize("params", [{}, {"refType": "both"}, {"refType": "uses", "limit": 51}])
def test_bad_references(reader, params, v3_error):
    v3_error(
        reader.get(f"/objects/{reader.id('Sales/mt_orders', 'MTT')}/references", params=params),
        400,
        "V3API_007",
    )


def test_references_of_nothing(reader, v3_error):
    v3_error(reader.get("/objects/0000000000000000000000/references", params={"refType": "uses"}), 404)


def test_ids_differ_between_orgs(dev, test_org):
    for path, type_ in (("Sales/m_orders", "DTEMPLATE"), ("sf_crm", "Connection"), ("Sales", "Project")):
        assert dev.id(path, type_) != test_org.id(path, type_)


def test_what_changed_is_told_at_once(dev):
    def tags():
        rows = {row["path"]: row["tags"] for row in dev.list("type=='MTT' and location=='Sales'")}
        return rows.get("Sales/mt_orders")

    before = tags()
    assert tags() == before
    dev.simulator.edit_asset("dev", "Sales/mt_orders", "MTT", tags=["changed"])
    assert tags() == ["changed"] != before
    dev.simulator.remove_asset("dev", "Sales/mt_orders", "MTT")
    assert tags() is None


def test_pages_of_one_listing_do_not_mix_with_those_of_another(serve, caller):
    generated = {"path": "P/mt_{n}", "type": "MTT", "count": 30}
    assets = [{"generate": generated}, {"generate": generated | {"type": "DSS", "tags": ["x"]}}]
    org = caller(serve({"orgs": {"one": {"assets": assets}}}), "one")
    for q, count in (("type=='MTT'", 30), ("tag=='x'", 30), (None, 62), ("type=='MTT'", 30)):
        query = {"q": q} if q else {}
        pages = [org.get("/objects", params={"limit": 20, "skip": skip} | query).json() for skip in range(0, 80, 20)]
        rows = [row["id"] for page in pages for row in page["objects"]]
        assert [page["count"] for page in pages] == [count] * 4
        assert len(set(rows)) == len(rows) == count
