"""An Informatica IDMC with several organizations on this machine.

It is built from public descriptions of the REST API alone and shares no code with the client in this
distribution, so that a mistake of the client cannot hide in a simulator that makes the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_infa.simulator.server import Simulator

__all__ = ["Simulator"]


def __getattr__(name: str) -> Any:
    """Load the web server only when somebody asks for it."""
    if name == "Simulator":
        from airflow_provider_infa.simulator.server import Simulator

        return Simulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
