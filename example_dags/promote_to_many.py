"""One release to several orgs at once, as a mapped task group: an org that fails does not hold up the others."""

import os

from airflow.providers.common.compat.sdk import DAG, task_group

from airflow_provider_infa.operators.exports import InfaDownloadPackageOperator, InfaExportOperator
from airflow_provider_infa.operators.objects import InfaListObjectsOperator
from airflow_provider_infa.promotion import promote

# Any path that Airflow's object storage takes; workers on several machines need one that all of them see.
PACKAGES = os.environ.get("INFA_PACKAGES", "file:///tmp/infa-packages")

TARGETS = [
    {
        "target_conn_id": "infa_test",
        "runtime_environments": {"DEV_AGENTS": "TEST_AGENTS"},
        "connections": {"ora_dev": "ora_test"},
    },
    {
        "target_conn_id": "infa_prod",
        "runtime_environments": {"DEV_AGENTS": "PROD_AGENTS"},
        "connections": {"ora_dev": "ora_prod"},
    },
]

with DAG("promote_to_many", schedule=None, tags=["infa"], doc_md=__doc__):
    release = InfaListObjectsOperator(task_id="list_objects", infa_conn_id="infa_dev", tag="release-1")
    export = InfaExportOperator(task_id="export", infa_conn_id="infa_dev", objects=release.output)
    package = InfaDownloadPackageOperator(
        task_id="download",
        infa_conn_id="infa_dev",
        export_job_id=export.output,
        package_uri=PACKAGES + "/promote_to_many/{{ run_id }}.zip",
    )

    @task_group
    def to_each(target_conn_id, runtime_environments, connections):
        promote(
            "promotion",
            package_uri=package.output,
            source_conn_id="infa_dev",
            target_conn_id=target_conn_id,
            runtime_environments=runtime_environments,
            connections=connections,
            # The orgs differ, so their imports may run at the same time. Other DAGs that promote into one of them are
            # not waited for: that would need a pool for each org.
            pool="default_pool",
        )

    to_each.expand_kwargs(TARGETS)
