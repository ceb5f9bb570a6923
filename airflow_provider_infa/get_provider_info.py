"""
Provider metadata. Imports nothing: Airflow reads it while it is itself half imported (3.2 and later).

The connection form is described here once. Airflow 3.2 and later draw it from this table, older versions from the
methods of the hook, which read the same table.
"""


def get_provider_info() -> dict[str, object]:
    """Metadata as Airflow's provider discovery wants it."""
    integration = "Informatica IDMC"
    return {
        "package-name": "airflow-provider-infa",
        "name": integration,
        "description": "Promote assets between organizations of Informatica IDMC (IICS).",
        "integrations": [
            {
                "integration-name": integration,
                "external-doc-url": "https://docs.informatica.com/integration-cloud/b2b-gateway/current-version/rest-api-reference/",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {"integration-name": integration, "python-modules": ["airflow_provider_infa.hooks.infa"]},
        ],
        "operators": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_infa.operators.objects",
                    "airflow_provider_infa.operators.exports",
                    "airflow_provider_infa.operators.imports",
                    "airflow_provider_infa.operators.approval",
                    "airflow_provider_infa.operators.backup",
                    "airflow_provider_infa.operators.publish",
                    "airflow_provider_infa.operators.schedules",
                    "airflow_provider_infa.operators.verify",
                    "airflow_provider_infa.operators.record",
                ],
            }
        ],
        "sensors": [
            {
                "integration-name": integration,
                "python-modules": [
                    "airflow_provider_infa.sensors.exports",
                    "airflow_provider_infa.sensors.imports",
                ],
            }
        ],
        "triggers": [
            {"integration-name": integration, "python-modules": ["airflow_provider_infa.triggers.jobs"]},
        ],
        "connection-types": [
            {
                "connection-type": "infa",
                "hook-class-name": "airflow_provider_infa.hooks.infa.InfaHook",
                "hook-name": integration,
                "conn-fields": {
                    "region": {
                        "label": "Region (POD)",
                        "description": "POD of the organization, as its page in Administrator shows it. "
                        "Leave it empty to use Host.",
                        "schema": {
                            "type": ["string", "null"],
                            "enum": [
                                "USW1",
                                "USE2",
                                "USW3",
                                "USE4",
                                "USW5",
                                "USE6",
                                "USW1-1",
                                "USW3-1",
                                "USW1-2",
                                "CAC1",
                                "APSE1",
                                "APSE2",
                                "APNE1",
                                "APNE2",
                                "APAUC1",
                                "EMW1",
                                "EMC1",
                                "UK1",
                            ],
                        },
                    },
                    "expected_org": {
                        "label": "Expected organization",
                        "description": "Name or id of the organization. A login that leads elsewhere is refused.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "protected": {
                        "label": "Protected",
                        "description": "Imports into this organization need an approved plan.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "cai_host": {
                        "label": "Application Integration host",
                        "description": "Where its assets are published, if not on the usual host of the POD, "
                        "for example https://usw5-cai.dm-us.informaticacloud.com.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "verify_tls": {
                        "label": "Verify TLS certificate",
                        "description": "Switch off only to find a fault.",
                        "schema": {"type": ["boolean", "null"], "default": True},
                    },
                    "ca_bundle": {
                        "label": "CA bundle",
                        "description": "File on the workers with the certificates to trust instead of the usual ones.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "connect_timeout": {
                        "label": "Connect timeout (s)",
                        "description": "Seconds to wait for a connection; 10 by default.",
                        "schema": {"type": ["number", "null"]},
                    },
                    "read_timeout": {
                        "label": "Read timeout (s)",
                        "description": "Seconds without a byte after which an answer is given up; 120 by default.",
                        "schema": {"type": ["number", "null"]},
                    },
                    "retry_timeout": {
                        "label": "Retry timeout (s)",
                        "description": "Seconds for which a worker tries a failed call again; 300 by default.",
                        "schema": {"type": ["number", "null"]},
                    },
                },
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {"host": "Host (instead of a region)"},
                    "placeholders": {
                        "login": "User name in IDMC",
                        "host": "https://dm-us.informaticacloud.com",
                    },
                },
            }
        ],
    }
