"""``python -m airflow_provider_infa.simulator``, the same as the console script."""

from __future__ import annotations

import sys

from airflow_provider_infa.simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
