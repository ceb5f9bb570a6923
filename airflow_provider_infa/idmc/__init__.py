"""IDMC over HTTP. Knows nothing of Airflow: a plain script can use it too."""
