"""
A release as a careful team does it: what the release manifest names goes from dev to test with an approved plan (by the
DAG itself, or by a person with INFA_APPROVAL=person), a backup, a rollback should anything fail, publishing,
verification and an audit record.
"""

import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_infa.promotion import promote

# Any path that Airflow's object storage takes; workers on several machines need one that all of them see.
BACKUPS = os.environ.get("INFA_BACKUPS", "file:///tmp/infa-backups")
# A person approves in the Airflow UI, which needs Airflow 3.1 or newer. "automatic" is for where nobody can be asked.
APPROVAL = os.environ.get("INFA_APPROVAL", "automatic")

# Without retries, a short outage of IDMC would fail a task, and the rollback undo a good import.
RETRIES = {"retries": 3, "retry_delay": timedelta(minutes=2)}

with DAG("promote_release", schedule=None, default_args=RETRIES, tags=["infa"], doc_md=__doc__):
    promote(
        group_id="to_test",
        source_conn_id="infa_dev",
        target_conn_id="infa_test",
        manifest=str(Path(__file__).with_name("release.yaml")),
        approval=True if APPROVAL == "person" else "automatic",
        backup_uri=BACKUPS,
        rollback="on_failure",
        publish=True,
    )
