"""A promotion with everything switched on; faults strike the step that the run names."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import DAG
from airflow.sdk._shared import secrets_masker

from airflow_provider_infa.promotion import promote


def arm(context):
    """Switch the faults of the run on when its step begins, and tell when which step began."""
    forget_secrets()
    conf, task_id = context["dag_run"].conf, context["ti"].task_id.removeprefix("release.")
    switch_on(conf, task_id)
    with Path(conf["begun"]).open("a") as file:
        file.write(json.dumps([task_id, context["ti"].try_number, time.time()]) + "\n")


def forget_secrets():
    """Elsewhere each task has a process of its own; here, Airflow's masker would get slower with every session."""
    masker = secrets_masker._secrets_masker()
    masker.patterns, masker.replacer = set(), None


def switch_on(conf, task_id):
    for org, faults in conf["faults"].get(task_id, {}).items():
        url = f"{conf['control']}/orgs/{org}/faults"
        with urllib.request.urlopen(url, timeout=60) as answer:
            # Retries, and tasks that go on after a deferral, come by again.
            known = [(fault["kind"], fault["path"]) for fault in json.load(answer)]
        if new := [fault for fault in faults if (fault["kind"], fault["path"]) not in known]:
            request = urllib.request.Request(url, json.dumps(new).encode(), {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=60).close()


with DAG("faulty", schedule=None, default_args={"retries": 6, "retry_delay": timedelta(0), "pre_execute": arm}) as dag:
    promote(
        "release",
        source_conn_id="infa_dev",
        target_conn_id="infa_test",
        manifest=str(Path(__file__).with_name("release.yaml")),
        backup_uri=os.environ.get("INFA_STORE", "") + "/backup",
        audit_uri=os.environ.get("INFA_STORE", "") + "/audit",
        rollback="on_failure",
        publish=True,
        poll_interval=0.2,
        timeout=60.0,
        deferrable=True,
    )
