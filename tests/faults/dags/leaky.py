"""Writes a secret to every place that the search has to look into."""

from __future__ import annotations

import base64
import logging
import os
from urllib.parse import quote

from airflow.providers.common.compat.sdk import DAG, BaseOperator, ObjectStoragePath


class Leak(BaseOperator):
    template_fields = ("rendered",)

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.rendered = ""

    def render_template_fields(self, context, jinja_env=None):
        self.rendered = {"nested": f"before {os.environ['PLANTED']} after"}

    def execute(self, context):
        secret = os.environ["PLANTED"]
        logging.getLogger("airflow.task").warning("Basic %s", base64.b64encode(f"user:{secret}".encode()).decode())
        file = ObjectStoragePath(os.environ["INFA_STORE"]) / "planted"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"https://user:{quote(secret, safe='')}@localhost/")
        return {"x" * 5000: secret}


with DAG("leaky", schedule=None) as dag:
    Leak(task_id="leak")
