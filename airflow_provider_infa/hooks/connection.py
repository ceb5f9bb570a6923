"""From an Airflow connection to the settings of a session, and the form that a person fills in."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from airflow_provider_infa.get_provider_info import get_provider_info
from airflow_provider_infa.idmc.errors import IdmcSettingsError
from airflow_provider_infa.idmc.settings import Settings, login_url

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

log = logging.getLogger(__name__)

_INFO: Any = get_provider_info()
#: What the metadata says about our connection type.
CONNECTION_TYPE: dict[str, Any] = _INFO["connection-types"][0]
FIELDS: dict[str, Any] = CONNECTION_TYPE["conn-fields"]
_TEXTS = [name for name, field in FIELDS.items() if "string" in field["schema"]["type"]]
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def settings_of(conn: Connection) -> Settings:
    """
    Resolve a connection, or name everything that is wrong with it at once, by the labels of the form.

    Reads ``extra`` as text: Airflow's ``extra_dejson`` asks the supervisor to mask what it finds, and that call
    can block the event loop of a triggerer. There are no secrets in our extra.

    :param conn: The connection.
    :raises IdmcSettingsError: If it is incomplete or contradicts itself.
    """
    wrong: list[str] = []
    extra = _extra(conn.extra, wrong)
    if unknown := sorted(extra.keys() - FIELDS.keys()):
        log.warning("Connection %r: extra has unknown fields that are ignored: %s.", conn.conn_id, ", ".join(unknown))
    for label, value in (("Login", conn.login), ("Password", conn.password)):
        if not value:
            wrong.append(f"{label} is empty.")
    url = ""
    try:
        url = login_url(conn.host, port=conn.port, schema=conn.schema, region=extra.get("region"))
    except IdmcSettingsError as error:
        wrong.append(str(error))
    cai_url = None
    try:
        cai_url = login_url(extra["cai_host"]) if "cai_host" in extra else None
    except IdmcSettingsError as error:
        wrong.append(f"{FIELDS['cai_host']['label']}: {error}")
    patience = {
        name: seconds
        for name in ("connect_timeout", "read_timeout", "retry_timeout")
        if (seconds := _seconds(extra, name, wrong)) is not None
    }
    verify = _boolean(extra, "verify_tls", wrong)
    protected = _boolean(extra, "protected", wrong)
    if wrong:
        raise IdmcSettingsError(f"Connection {conn.conn_id!r} can't be used: {' '.join(wrong)}")
    return Settings(
        login_url=url,
        username=conn.login or "",
        password=conn.password or "",
        verify=extra.get("ca_bundle", True) if verify is not False else False,
        cai_url=cai_url,
        expected_org=extra.get("expected_org"),
        protected=protected is True,
        **patience,
    )


def form_widgets() -> dict[str, Any]:
    """Widgets of the form for Airflow before 3.2, made from the metadata."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, StringField

    def can_be_drawn(field: dict[str, Any]) -> bool:
        # Airflow 2 fills in only what counts as true: a box that is ticked by default would show, and save, a stored
        # false as true. There Extra, which its form shows too, is the place for it.
        return AIRFLOW_V_3_0_PLUS or field["schema"].get("default") is not True

    def widget(field: dict[str, Any]) -> Any:
        label, description, schema = lazy_gettext(field["label"]), field.get("description", ""), field["schema"]
        if "boolean" in schema["type"]:
            return BooleanField(label, description=description, default=schema.get("default"))
        # Airflow drops a hook whose form has any other class of field, a choice for example.
        if "enum" in schema:
            description += f" One of {', '.join(schema['enum'])}."
        return StringField(label, description=description, widget=BS3TextFieldWidget())

    return {name: widget(field) for name, field in FIELDS.items() if can_be_drawn(field)}


def field_behaviour() -> dict[str, Any]:
    """Behaviour of the standard fields for Airflow before 3.2, from the metadata."""
    behaviour = CONNECTION_TYPE["ui-field-behaviour"]
    return {
        "hidden_fields": behaviour["hidden-fields"],
        "relabeling": behaviour["relabeling"],
        "placeholders": behaviour["placeholders"],
    }


def _extra(text: str | None, wrong: list[str]) -> dict[str, Any]:
    """The fields that are filled in. Forms send empty ones as ``""`` or null."""
    try:
        extra = json.loads(text or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        wrong.append("Extra is no JSON object.")
        return {}
    filled = {}
    for name, value in extra.items():
        if value is None or value == "":
            continue
        if name in _TEXTS and not isinstance(value, str):
            wrong.append(f"{FIELDS[name]['label']} must be text, not {value!r}.")
            continue
        filled[name] = value
    return filled


def _seconds(extra: dict[str, Any], name: str, wrong: list[str]) -> float | None:
    """A number of seconds; a URI can only hold it as text."""
    if name not in extra:
        return None
    try:
        seconds = float(extra[name])
    except (TypeError, ValueError):
        seconds = -1.0
    # A timeout of zero would make every request fail; only repetition can be switched off.
    if not (0 < seconds < 1e9 or (seconds == 0 and name == "retry_timeout")):
        wrong.append(f"{FIELDS[name]['label']} must be a number of seconds, not {extra[name]!r}.")
        return None
    return seconds


def _boolean(extra: dict[str, Any], name: str, wrong: list[str]) -> bool | None:
    if name not in extra:
        return None
    word = str(extra[name]).lower()
    if word not in _TRUE + _FALSE:
        wrong.append(f"{FIELDS[name]['label']} must be true or false, not {extra[name]!r}.")
    return word in _TRUE
