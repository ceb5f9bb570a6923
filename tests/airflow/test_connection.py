"""From an Airflow connection to a session, and the form in which people fill it in."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from airflow.providers.common.compat.sdk import BaseHook
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_infa.get_provider_info import get_provider_info
from airflow_provider_infa.hooks import infa as hook_module
from airflow_provider_infa.hooks.connection import settings_of
from airflow_provider_infa.hooks.infa import InfaHook
from airflow_provider_infa.idmc.errors import IdmcAuthenticationError, IdmcSettingsError
from airflow_provider_infa.idmc.settings import Settings

TYPE = get_provider_info()["connection-types"][0]
FIELDS = TYPE["conn-fields"]
LOGIN = {"login": "ada", "password": "not a real one: /?#&%"}
#: Airflow 2 can't show that a box is cleared which is ticked by default.
DRAWN = [name for name in FIELDS if AIRFLOW_V_3_0_PLUS or name != "verify_tls"]
EXTRA = {"region": "USW5", "verify_tls": True, "connect_timeout": 5, "read_timeout": 60, "retry_timeout": 0}


def settings(conn_id: str) -> Settings:
    return settings_of(BaseHook.get_connection(conn_id))


# --- forms of one connection ------------------------------------------------------------------------------------------


def test_uri_json_and_fields_are_the_same_connection(connect):
    login = ":".join(quote(text, safe="") for text in LOGIN.values())
    # In a URI all values are text.
    connect("infa_uri", f"infa://{login}@/?{urlencode(EXTRA)}")
    connect("infa_json", {**LOGIN, "extra": EXTRA})
    # As the form stores it: extra as text, every field there, the empty ones as "" or null.
    empty = dict.fromkeys(FIELDS, "")
    connect("infa_form", {**LOGIN, "host": "", "extra": json.dumps({**empty, **EXTRA, "ca_bundle": None})})
    expected = Settings(
        login_url="https://dm-us.informaticacloud.com",
        username="ada",
        password=LOGIN["password"],
        connect_timeout=5.0,
        read_timeout=60.0,
        retry_timeout=0.0,
    )
    assert [settings(f"infa_{form}") for form in ("uri", "json", "form")] == [expected] * 3


def test_a_host_in_all_forms(connect):
    connect("infa_uri", "infa://ada:pw@dm-em.informaticacloud.com")
    connect("infa_uri_port", "infa://ada:pw@dm-em.informaticacloud.com:443")
    connect("infa_json", {"login": "ada", "password": "pw", "host": "https://dm-em.informaticacloud.com/"})
    connect("infa_name", {"login": "ada", "password": "pw", "host": "dm-em.informaticacloud.com", "port": 443})
    urls = {name: settings(f"infa_{name}").login_url for name in ("uri", "json", "uri_port", "name")}
    assert urls["uri"] == urls["json"] == "https://dm-em.informaticacloud.com"
    assert urls["uri_port"] == urls["name"] == "https://dm-em.informaticacloud.com:443"


@pytest.mark.parametrize(("verify_tls", "ca_bundle", "verify"), [
    (None, None, True),
    (True, "/etc/own.pem", "/etc/own.pem"),
    ("false", None, False),
    (False, "/etc/own.pem", False),
    ("", "/etc/own.pem", "/etc/own.pem"),
])  # fmt: skip
def test_certificates(connect, verify_tls, ca_bundle, verify):
    connect("infa_c", {**LOGIN, "extra": {"region": "UK1", "verify_tls": verify_tls, "ca_bundle": ca_bundle}})
    assert settings("infa_c").verify == verify


@pytest.mark.parametrize(("value", "protected"), [
    (True, True), ("true", True), ("1", True), (False, False), ("false", False), ("", False), (None, False),
])  # fmt: skip
def test_protected_orgs(connect, value, protected):
    connect("infa_c", {**LOGIN, "extra": {"region": "UK1", "protected": value}})
    assert settings("infa_c").protected is protected
    assert settings("infa_c").expected_org is None


def test_the_guards_in_all_forms(connect):
    extra = {"region": "USW5", "protected": True, "expected_org": "ACME PROD", "cai_host": "cai.informaticacloud.com"}
    connect("infa_uri", f"infa://ada:pw@/?{urlencode(extra)}")
    connect("infa_json", {"login": "ada", "password": "pw", "extra": extra})
    connect(
        "infa_form", {"login": "ada", "password": "pw", "extra": json.dumps({**dict.fromkeys(FIELDS, ""), **extra})}
    )
    for form in ("uri", "json", "form"):
        read = settings(f"infa_{form}")
        assert (read.protected, read.expected_org) == (True, "ACME PROD")
        assert read.cai_url == "https://cai.informaticacloud.com"


def test_guards_that_are_none(connect):
    extra = {"region": "USW5", "protected": "perhaps", "expected_org": 7, "cai_host": "http://cai.informaticacloud.com"}
    connect("infa_c", {**LOGIN, "extra": extra})
    with pytest.raises(IdmcSettingsError) as error:
        settings("infa_c")
    for label in ("Protected", "Expected organization", "Application Integration host"):
        assert label in str(error.value)


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_everything_missing_is_named_at_once_by_the_labels_of_the_form(connect):
    connect("infa_empty", {})
    with pytest.raises(IdmcSettingsError) as error:
        settings("infa_empty")
    message = str(error.value)
    assert "'infa_empty'" in message
    for label in ("Login", "Password", "Region", "Host"):
        assert label in message
    assert FIELDS["region"]["label"].startswith("Region")
    assert TYPE["ui-field-behaviour"]["relabeling"]["host"].startswith("Host")


@pytest.mark.parametrize("value", [0, -1, "soon", "", "1e99", True, [1], float("nan")])
@pytest.mark.parametrize("name", ["connect_timeout", "read_timeout", "retry_timeout"])
def test_timeouts(connect, name, value):
    connect("infa_t", {**LOGIN, "extra": json.dumps({"region": "USW5", name: value})})
    if value == "" or (value == 0 and value is not True and name == "retry_timeout"):
        assert getattr(settings("infa_t"), name) == (0.0 if value == 0 else getattr(Settings("", "", ""), name))
    elif value is True:
        # Python's True is 1; as a timeout that is harmless.
        assert getattr(settings("infa_t"), name) == 1.0
    else:
        with pytest.raises(IdmcSettingsError, match="(?i)" + name.replace("_", " ")):
            settings("infa_t")


def test_several_faults_in_one_message(connect):
    connect("infa_bad", {"extra": {"region": "MARS1", "read_timeout": "soon", "verify_tls": "perhaps"}})
    with pytest.raises(IdmcSettingsError) as error:
        settings("infa_bad")
    for part in ("Login is empty", "Password is empty", "MARS1", FIELDS["read_timeout"]["label"], "Verify TLS"):
        assert part in str(error.value)


@pytest.mark.parametrize("extra", ["no json", "[1, 2]", '"text"'])
def test_extra_that_is_no_object(extra):
    # Some versions of Airflow refuse it themselves where a connection is made; the database can still hold it.
    connection = SimpleNamespace(conn_id="infa_bad", **LOGIN, host="localhost", port=None, schema=None, extra=extra)
    with pytest.raises(IdmcSettingsError, match="Extra"):
        settings_of(connection)


def test_unknown_extras_are_named_and_ignored(connect, logged):
    connect("infa_odd", {**LOGIN, "extra": {"region": "USW5", "reed_timeout": 7, "pod": "x"}})
    assert settings("infa_odd").read_timeout == Settings("", "", "").read_timeout
    assert re.search(r"warning.*'infa_odd'.*pod, reed_timeout", logged())


def test_no_password_in_what_a_bad_connection_tells(connect):
    connect("infa_bad", {"login": "ada", "password": "hunter-of-the-tests", "host": "ftp://x"})
    with pytest.raises(IdmcSettingsError) as error:
        settings("infa_bad")
    assert "hunter" not in str(error.value)
    connect("infa_good", {"login": "ada", "password": "hunter-of-the-tests", "host": "localhost"})
    assert "hunter" not in repr(settings("infa_good"))


# --- the hook ---------------------------------------------------------------------------------------------------------


def test_test_connection_logs_in_and_out(sim):
    good, message = InfaHook("infa_dev").test_connection()
    assert good
    assert "deployer" in message
    assert "ACME_DEV" in message
    assert sim.sessions("dev") == {**sim.sessions("dev"), "open": 0, "logins": 1, "logouts": 1}


def test_test_connection_with_a_wrong_password(sim, connect):
    connect("infa_dev", {**sim.connections["infa_dev"], "password": "forgotten-by-the-tests"})
    good, message = InfaHook("infa_dev").test_connection()
    assert not good
    assert "forgotten" not in message
    assert "Password" in message
    # One more would be one step nearer to a locked account.
    assert sim.sessions("dev")["failed_logins"] == 1


def test_test_connection_tells_what_is_missing(connect):
    connect("infa_empty", {})
    good, message = InfaHook("infa_empty").test_connection()
    assert not good
    assert "Password" in message


def test_test_connection_when_nobody_answers(connect):
    connect("infa_gone", {**LOGIN, "host": "http://127.0.0.1:9", "extra": {"retry_timeout": 0.1}})
    good, message = InfaHook("infa_gone").test_connection()
    assert not good
    assert "127.0.0.1:9" in message


def test_the_hook_logs_in_late_and_out_at_the_end(sim):
    with InfaHook("infa_dev") as hook:
        assert sim.sessions("dev")["logins"] == 0
        assert next(hook.list_objects(tag="release-1")).path
        assert next(hook.list_objects(tag="release-2")).path
        assert sim.sessions("dev")["open"] == 1
    assert sim.sessions("dev") == {**sim.sessions("dev"), "open": 0, "logins": 1, "logouts": 1}


def test_the_hook_logs_out_after_an_error(sim):
    with pytest.raises(ZeroDivisionError), InfaHook("infa_dev") as hook:
        len(hook.org_name) / 0
    assert sim.sessions("dev")["logins"] == 1
    assert sim.sessions("dev")["open"] == 0


def test_a_closed_hook_can_be_used_again(sim):
    hook = InfaHook("infa_dev")
    with hook:
        assert hook.org_name
    with hook:
        assert hook.org_name
    assert sim.sessions("dev") == {**sim.sessions("dev"), "open": 0, "logins": 2}


def test_the_session_id_is_masked_in_logs(sim, redact):
    with InfaHook("infa_dev") as hook:
        session_id = hook.get_conn().login().session_id
        assert redact(f"sent {session_id} to the server") == "sent *** to the server"
    # Else the masker would mask everything, and the line above would show nothing.
    assert redact("sent nothing to the server") == "sent nothing to the server"


def test_a_session_of_another_thread_is_masked_by_the_main_one(sim, redact, monkeypatch):
    told = []
    tell = hook_module._mask
    monkeypatch.setattr(hook_module, "_mask", lambda secret: (told.append(threading.current_thread()), tell(secret)))
    with InfaHook("infa_dev") as hook:
        # The threads that fetch the pages of a listing log in again when the session dies meanwhile.
        thread = threading.Thread(target=hook.get_conn().login)
        thread.start()
        thread.join()
        assert told == []
        session_id = hook.get_conn().login().session_id
        assert redact(f"sent {session_id} to the server") == "sent *** to the server"
    assert told == [threading.main_thread()]


def test_a_login_that_is_refused_is_not_tried_again(sim, connect):
    connect("infa_dev", {**sim.connections["infa_dev"], "password": "forgotten-by-the-tests"})
    with InfaHook("infa_dev") as hook:
        for _ in range(3):
            with pytest.raises(IdmcAuthenticationError):
                next(hook.list_objects())
    assert sim.sessions("dev")["failed_logins"] == 1


# --- the form ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def form_library(monkeypatch):
    """What the form of Airflow before 3.2 is made of; where it is not installed, stubs that keep what they are told."""
    if importlib.util.find_spec("flask_appbuilder"):
        return

    def field(kind: str):
        def make(label=None, validators=None, **kwargs):
            return SimpleNamespace(field_class=kind, args=(label,), kwargs=kwargs | {"validators": validators})

        return make

    kinds = ("StringField", "BooleanField", "IntegerField", "PasswordField", "SelectField")
    modules = {
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": dict.fromkeys(("BS3TextFieldWidget", "Select2Widget"), object),
        "flask_babel": {"lazy_gettext": str},
        "wtforms": {kind: field(kind) for kind in kinds},
        "wtforms.validators": {"any_of": list, "Optional": object, "optional": object, "AnyOf": list},
    }
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def test_the_form_of_the_methods_is_that_of_the_metadata(form_library):
    widgets = InfaHook.get_connection_form_widgets()
    assert list(widgets) == DRAWN
    for name, widget in widgets.items():
        label = widget.kwargs.get("label") or widget.args[0]
        description = widget.kwargs.get("description")
        assert str(label) == FIELDS[name]["label"]
        # A field that is no choice here has to tell in words what can be chosen.
        assert str(description).startswith(FIELDS[name]["description"])
        assert all(choice in str(description) for choice in FIELDS[name]["schema"].get("enum", []))
        kind = getattr(widget.field_class, "__name__", widget.field_class)
        # Airflow before 3.2 drops the whole connection type over a field of any other class.
        assert kind in ("StringField", "IntegerField", "PasswordField", "BooleanField")
        assert (kind == "BooleanField") == ("boolean" in FIELDS[name]["schema"]["type"])
        assert widget.kwargs.get("default") == FIELDS[name]["schema"].get("default")


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="this form is Airflow 2's")
@pytest.mark.parametrize("value", [True, False, "false", None])
@pytest.mark.parametrize("field", ["verify_tls", "protected"])
def test_editing_a_connection_keeps_its_switches(field, value):
    from airflow.www.views import ConnectionModelView
    from werkzeug.datastructures import MultiDict
    from wtforms import Form, StringField, TextAreaField

    widgets = {f"extra__infa__{name}": widget for name, widget in InfaHook.get_connection_form_widgets().items()}
    names = ("conn_id", "conn_type", "login", "password")
    standard = {name: StringField() for name in names} | {"extra": TextAreaField()}
    form_class = type("ConnectionForm", (Form,), {**standard, **widgets})
    fields = [(key, key.removeprefix("extra__infa__"), False) for key in widgets]
    view = SimpleNamespace(_iter_extra_field_names_and_sensitivity=lambda: fields)
    stored = {"region": "USW5"} | ({} if value is None else {field: value})
    connection = {"conn_id": "infa_c", "conn_type": "infa", **LOGIN, "host": None, "port": None, "schema": None}

    form = form_class(obj=SimpleNamespace(**connection, extra=json.dumps(stored)))
    ConnectionModelView.prefill_form(view, form, 1)
    # A browser sends the boxes that are ticked, and all texts.
    sent = {name: "y" if shown is True else shown or "" for name, shown in form.data.items() if shown is not False}
    form = form_class(formdata=MultiDict(sent))
    ConnectionModelView.process_form(view, form, False)

    before = settings_of(SimpleNamespace(**connection, extra=json.dumps(stored)))
    assert settings_of(SimpleNamespace(**connection, extra=form.extra.data)) == before


def test_the_behaviour_of_the_methods_is_that_of_the_metadata():
    behaviour = TYPE["ui-field-behaviour"]
    assert InfaHook.get_ui_field_behaviour() == {key.replace("-", "_"): value for key, value in behaviour.items()}
    standard = {"host", "schema", "login", "password", "port", "extra", "description"}
    assert set(behaviour["hidden-fields"]) | set(behaviour["relabeling"]) <= standard
    assert set(behaviour["placeholders"]) <= standard | set(FIELDS)


#: What Airflow shows, whichever of methods and metadata it reads: the new UI's answer, or else what the old one draws.
SHOWN = """
import json
try:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
except ImportError:
    from airflow.providers_manager import ProvidersManager
    manager = ProvidersManager()
    widgets = list(manager.connection_form_widgets)
    shown = {
        name: {
            "name": hook and hook.hook_name,
            "fields": [w.removeprefix(f"extra__{name}__") for w in widgets if w.startswith(f"extra__{name}__")],
            "host": manager.field_behaviours.get(name, {}).get("relabeling", {}).get("host"),
            "hidden": manager.field_behaviours.get(name, {}).get("hidden_fields", []),
        }
        for name, hook in manager.hooks.items()
    }
else:
    shown = {
        meta.connection_type: {
            "name": meta.hook_name,
            "fields": list(meta.extra_fields or {}),
            "host": standard and standard.host and standard.host.title,
            "hidden": [n for n in ("port", "url_schema") if standard and getattr(getattr(standard, n), "hidden", None)],
        }
        for meta in HookMetaService.hook_meta_data()
        for standard in [meta.standard_fields]
    }
print(json.dumps(shown))
"""


def test_airflow_shows_the_form():
    # A fresh interpreter, because Airflow reads all of this once and keeps it.
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert "infa" in shown, "Airflow dropped the connection type"
    if not any(meta["fields"] for name, meta in shown.items() if name != "infa"):
        pytest.skip("this Airflow draws forms only with the FAB provider, which is not installed")
    assert shown["infa"]["name"] == "Informatica IDMC"
    assert set(shown["infa"]["fields"]) == set(DRAWN)
    assert shown["infa"]["host"] == TYPE["ui-field-behaviour"]["relabeling"]["host"]
    assert len(shown["infa"]["hidden"]) == len(TYPE["ui-field-behaviour"]["hidden-fields"])
