"""
One package from dev to several orgs at once, with mapped tasks: add an org by adding a line.

Each org has its own plan, upload and import; one that fails does not stop the others.
"""

import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.sensors.imports import InfaImportSensor

# Any path that Airflow's object storage takes; workers on several machines need one that all of them see.
PACKAGES = os.environ.get("INFA_PACKAGES", "file:///tmp/infa-packages")

TARGETS = [
    {
        "infa_conn_id": "infa_test",
        "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"},
        "connections": {"ora_dev": "ora_test"},
    },
    {
        "infa_conn_id": "infa_prod",
        "runtime_environments": {"DEV_AGENTS": "PROD_AGENTS"},
        "connections": {"ora_dev": "ora_prod"},
    },
]
CONNECTIONS = [target["infa_conn_id"] for target in TARGETS]

with DAG("promote_to_many", schedule=None, tags=["infa"], doc_md=__doc__):
    release = InfaListObjectsOperator(task_id="list_objects", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=release.output)
    package = InfaDownloadPackageOperator(
        task_id="download",
        infa_conn_id="infa_dev",
        export_job_id=export.output,
        package_uri=PACKAGES + "/promote_to_many/{{ run_id }}.zip",
    )
    plan = InfaPlanImportOperator.partial(task_id="plan", package_uri=package.output).expand_kwargs(TARGETS)
    # Each mapped task takes what the one with the same index before it returned.
    upload = InfaUploadPackageOperator.partial(
        task_id="upload",
        package_uri=package.output,
        package_sha256="{{ ti.xcom_pull(task_ids='plan', map_indexes=ti.map_index)['package']['sha256'] }}",
    ).expand(infa_conn_id=CONNECTIONS)
    start = InfaStartImportOperator.partial(
        task_id="start_import",
        import_job_id="{{ ti.xcom_pull(task_ids='upload', map_indexes=ti.map_index) }}",
        import_specification=(
            "{{ ti.xcom_pull(task_ids='plan', map_indexes=ti.map_index)['import_specification'] | tojson }}"
        ),
    ).expand(infa_conn_id=CONNECTIONS)
    wait = InfaImportSensor.partial(
        task_id="wait",
        import_job_id="{{ ti.xcom_pull(task_ids='start_import', map_indexes=ti.map_index) }}",
        timeout=3600,
    ).expand(infa_conn_id=CONNECTIONS)
    plan >> upload >> start >> wait
