"""Apache Airflow provider for Informatica IDMC: plan, run and watch promotions of assets between organizations."""

__version__ = "0.1.0"
