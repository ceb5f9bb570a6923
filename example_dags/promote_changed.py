"""
A promotion every night: what carries the tag and was changed since the last run that succeeded goes from dev to test.

The window ends where this run's data interval ends and begins where that of the last successful run ended, so that a
failed night is caught up by the next one and nothing is promoted twice. With nothing changed, what follows the
listing is skipped, and the run succeeds.

To run it by hand in Airflow 3, name a date, as only then there is a window:
``airflow dags trigger promote_changed -l "$(date -u +%FT%TZ)"``.
"""

from datetime import datetime, timezone

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.operators.exports import InfaExportOperator
from airflow_provider_infa.operators.imports import (
    InfaPlanImportOperator,
    InfaStartImportOperator,
    InfaUploadPackageOperator,
)
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.sensors.imports import InfaImportSensor

with DAG(
    "promote_changed",
    schedule="0 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    tags=["infa"],
    doc_md=__doc__,
):
    changed = InfaListObjectsOperator(
        task_id="list_changed",
        infa_conn_id="infa_dev",
        tag="release-2",
        updated_after="{{ prev_data_interval_end_success or dag.start_date }}",
        updated_before="{{ data_interval_end }}",
    )
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=changed.output)
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
    InfaImportSensor(task_id="wait", infa_conn_id="infa_test", import_job_id=start.output, timeout=3600)
