"""
One package from dev to test, and when that went well, the very same package to prod.

The package is stored once. What prod gets is byte for byte what test got.
"""

import os

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.promotion import promote

# Any path that Airflow's object storage takes; workers on several machines need one that all of them see.
PACKAGES = os.environ.get("INFA_PACKAGES", "file:///tmp/infa-packages")

with DAG("promote_through_orgs", schedule=None, tags=["infa"], doc_md=__doc__):
    release = InfaListObjectsOperator(task_id="list_objects", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=release.output)
    package = InfaDownloadPackageOperator(
        task_id="download",
        infa_conn_id="infa_dev",
        export_job_id=export.output,
        package_uri=PACKAGES + "/promote_through_orgs/{{ run_id }}.zip",
    )
    to_test = promote(
        "to_test",
        package_uri=package.output,
        source_conn_id="infa_dev",
        target_conn_id="infa_test",
        runtime_environments={"DEV_AGENTS": "TEST_AGENTS"},
        connections={"ora_dev": "ora_test"},
    )
    to_prod = promote(
        "to_prod",
        package_uri=package.output,
        source_conn_id="infa_dev",
        target_conn_id="infa_prod",
        runtime_environments={"DEV_AGENTS": "PROD_AGENTS"},
        connections={"ora_dev": "ora_prod"},
    )
    to_test >> to_prod
