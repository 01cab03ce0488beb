"""What `talosctl` reads: where the nodes are, whom to believe there, and who we are."""

from __future__ import annotations

from collections.abc import Iterable

import yaml
from pydantic import SecretStr

from ocifree_pipeline.systems.talos.certificates import Pair
from ocifree_pipeline.systems.talos.secrets import encoded


def talosconfig(
    cluster: str, authority: str, client: Pair, endpoints: Iterable[str], nodes: Iterable[str]
) -> SecretStr:
    """`endpoints` are control planes, which pass calls on to the other `nodes`."""
    context = {
        "endpoints": list(endpoints),
        "nodes": list(nodes),
        "ca": encoded(authority),
        "crt": encoded(client.certificate),
        "key": encoded(client.key),
    }
    return SecretStr(yaml.safe_dump({"context": cluster, "contexts": {cluster: context}}, sort_keys=False))
