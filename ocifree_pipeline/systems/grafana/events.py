"""An event of Kubernetes that says nothing but that it was there: logs are proved to arrive by finding it again."""

from __future__ import annotations

from datetime import UTC, datetime

from ocifree_pipeline.systems.kube.api import Api
from ocifree_pipeline.systems.kube.objects import Object

NAME = "ocifree-arrival"


def tell(api: Api, namespace: str, word: str, at: float) -> None:
    """One event, the same object every time, with a new word."""
    when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": NAME, "namespace": namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace},
        "reason": "ArrivalProbe",
        "message": f"ocifree looks whether this arrives: {word}",
        "type": "Normal",
        "firstTimestamp": when,
        "lastTimestamp": when,
        "count": 1,
        "source": {"component": "ocifree"},
    }
    api.apply(api.require("v1", "Event"), event)
