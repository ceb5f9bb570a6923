"""
The smallest promotion: what is tagged for the release goes from dev to test.

list -> export -> plan -> upload -> start -> wait
"""

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.sensors.imports import InfaImportSensor

with DAG("promote_minimal", schedule=None, tags=["infa"], doc_md=__doc__):
    release = InfaListObjectsOperator(task_id="list_objects", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=release.output)
    package = {"source_conn_id": "infa_dev", "export_job_id": export.output}
    plan = InfaPlanImportOperator(
        task_id="plan",
        infa_conn_id="infa_test",
        **package,
        runtime_environments={"DEV_AGENTS": "TEST_AGENTS"},
        connections={"ora_dev": "ora_test"},
    )
    upload = InfaUploadPackageOperator(
        task_id="upload", infa_conn_id="infa_test", **package, package_sha256=plan.output["package_sha256"]
    )
    start = InfaStartImportOperator(
        task_id="start_import",
        infa_conn_id="infa_test",
        import_job_id=upload.output,
        plan=plan.output,
        package_sha256=upload.output["package_sha256"],
    )
    wait = InfaImportSensor(task_id="wait", infa_conn_id="infa_test", import_job_id=start.output, timeout=3600)
