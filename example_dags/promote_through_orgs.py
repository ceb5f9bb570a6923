"""
One package from dev to test, and when that went well, the very same package to prod.

The package is stored once. What prod gets is byte for byte what test got.
"""

import os

from airflow.providers.common.compat.sdk import DAG, TaskGroup

from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.operators.objects import InfaListObjectsOperator

# Any path that Airflow's object storage takes; workers on several machines need one that all of them see.
PACKAGES = os.environ.get("INFA_PACKAGES", "file:///tmp/infa-packages")

# How the names of dev are called in the next orgs.
TARGETS = {
    "test": {"runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"}, "connections": {"ora_dev": "ora_test"}},
    "prod": {"runtime_environments": {"DEV_AGENTS": "PROD_AGENTS"}, "connections": {"ora_dev": "ora_prod"}},
}

with DAG("promote_through_orgs", schedule=None, tags=["infa"], doc_md=__doc__):
    release = InfaListObjectsOperator(task_id="list_objects", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=release.output)
    previous = package = InfaDownloadPackageOperator(
        task_id="download",
        infa_conn_id="infa_dev",
        export_job_id=export.output,
        package_uri=PACKAGES + "/promote_through_orgs/{{ run_id }}.zip",
    )
    for org, names in TARGETS.items():
        with TaskGroup(f"to_{org}"):
            plan = InfaPlanImportOperator(
                task_id="plan", infa_conn_id=f"infa_{org}", package_uri=package.output, **names
            )
            upload = InfaUploadPackageOperator(
                task_id="upload",
                infa_conn_id=f"infa_{org}",
                package_uri=package.output,
                package_sha256=plan.output["package_sha256"],
            )
            start = InfaStartImportOperator(
                task_id="import",
                infa_conn_id=f"infa_{org}",
                import_job_id=upload.output,
                import_specification=plan.output["import_specification"],
                wait_for_completion=True,
            )
            previous >> plan
            previous = start
