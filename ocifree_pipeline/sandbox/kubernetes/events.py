"""Events: what controllers tell people about an object. What happens again for the same reason is counted."""

import hashlib
from typing import TYPE_CHECKING

from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.kubernetes.running import Here

EVENTS = "v1/events"


def tell(here: "Here", tree: Tree, reason: str, message: str, *, by: str, warns: bool = False) -> None:
    metadata = tree["metadata"]
    namespace = metadata.get("namespace", "default")
    digest = hashlib.sha256(f"{metadata['uid']}/{reason}".encode()).hexdigest()[:16]
    name = f"{metadata['name']}.{digest}"
    known = here.client.get(EVENTS, namespace, name)
    if known is not None:
        again = {"count": at(known, "count", default=1) + 1, "lastTimestamp": here.stamp, "message": message}
        here.client.patch(EVENTS, namespace, name, again)
        return
    body: Tree = {
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": tree["apiVersion"],
            "kind": tree["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        }
        | ({"namespace": metadata["namespace"]} if metadata.get("namespace") else {}),
        "type": "Warning" if warns else "Normal",
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": here.stamp,
        "lastTimestamp": here.stamp,
        "source": {"component": by},
        "reportingComponent": by,
        "reportingInstance": "",
    }
    here.client.create(EVENTS, body)
