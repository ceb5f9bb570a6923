"""The types of objects and the different names that each API has for them."""

from __future__ import annotations

CONTAINERS = frozenset({"Project", "Folder"})

# Kept outside projects; lookup finds them by bare name, the objects list never returns them
# (Informatica docs: Objects, Lookup).
SYSTEM = frozenset({"Connection", "AgentGroup", "Agent", "SCHEDULE", "SCHEDULE_JOB", "SCHEDULE_BLACKOUT"})

# Application Integration assets and taskflows travel as XML, not as an inner ZIP.
XML_TYPES = frozenset(
    {"TASKFLOW", "PROCESS", "GUIDE", "AI_CONNECTION", "AI_SERVICE_CONNECTOR", "PROCESS_OBJECT", "HUMAN_TASK"}
)

# What has to be published before it runs, in the order in which it depends on each other (h2l 1707; iics-cli).
PUBLISHED = ("AI_SERVICE_CONNECTOR", "AI_CONNECTION", "PROCESS", "GUIDE", "TASKFLOW")

_ASSETS = frozenset(
    {
        "DTEMPLATE", "MTT", "DSS", "DTT", "DMASK", "DRS", "DMAPPLET", "MAPPLET", "BSERVICE", "HSCHEMA",
        "PCS", "FWCONFIG", "CUSTOMSOURCE", "UDF", "WORKFLOW", "VISIOTEMPLATE", "MI_FILE_LISTENER",
        "MI_TASK", "DBMI_TASK", "APPMI_TASK", "CLEANSE", "DEDUPLICATE", "DICTIONARY", "EXCEPTION",
        "LABELER", "PARSE", "RULE_SPECIFICATION", "VERIFIER", "STRUCTURE_DISCOVERY", "B2BGW_MONITOR",
        "B2BGW_CUSTOMER", "B2BGW_SUPPLIER"
    }
)  # fmt: skip

# Asset codes are upper case; containers, connections and runtime environments come back in mixed case
# (captured in infapy docs, 2021).
_CANONICAL = {word.upper(): word for word in CONTAINERS | SYSTEM | XML_TYPES | _ASSETS}

_DOCUMENT_TYPES = {
    "DTEMPLATE": "MAPPING",
    "MTT": "MCT",
    "Connection": "SAAS_CONNECTION",
    "AgentGroup": "SAAS_RUNTIME_ENVIRONMENT",
    "BSERVICE": "SAAS_BSERVICES",
}

_CONTEXT_KINDS = {
    "Connection": "0B",
    "DTEMPLATE": "17",
    "MTT": "0Z",
    "DSS": "0I",
    "AgentGroup": "25",
    "Agent": "08",
    # Captured in infapy docs (2021) behind the org's whole id.
    "SCHEDULE": "D0",
}


def canonical(word: str) -> str | None:
    """Return the type as the server spells it; the input's case does not matter. None for no type."""
    return _CANONICAL.get(word.upper())


def document_type(type_: str) -> str:
    """Return the word that references use for a type (captured, 2021; MCT from client code)."""
    return _DOCUMENT_TYPES.get(type_, type_.upper())


def context_kind(type_: str) -> str | None:
    """Return the two characters that mark this type in v2 ids; None where v2 knows no such object."""
    return _CONTEXT_KINDS.get(type_)


def asset_types() -> list[str]:
    """Return the types of everything that lies inside projects and is no container."""
    return sorted(_ASSETS | XML_TYPES)
