"""The configuration of one Talos machine: what a generator of Talos would write, with our settings patched in.

It holds the secrets of the cluster, so it goes from here into the vault and from there to the machine, and nowhere
else; the record shows its digest. Equal inputs give an equal text, to the letter.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.cloud_init.render import MAX_METADATA_BYTES
from ocifree_pipeline.systems.talos import many_documents, one_document
from ocifree_pipeline.systems.talos.nodes import Cluster, Node
from ocifree_pipeline.systems.talos.patches import Document, Patch, patched
from ocifree_pipeline.systems.talos.secrets import Bundle

FACTORY_REGISTRY = "factory.talos.dev"
FIRST_LINK = "eth0"
"""Talos for Oracle and for nocloud starts with net.ifnames=0."""


def machine_configuration(cluster: Cluster, node: Node, bundle: Bundle, patches: Iterable[Patch] = ()) -> SecretStr:
    """The text that the machine takes. `patches` come last, so they have the last word."""
    dialect = many_documents if cluster.talos_minor >= many_documents.SINCE_MINOR else one_document
    documents = patched(dialect.documents(cluster, node, bundle), (*_settings(node), *patches))
    return SecretStr(as_yaml(documents))


def log_receiver(url: str) -> tuple[Patch, ...]:
    """Sends the logs of Talos' services, and of its kernel, to whoever listens at `url` (udp:// or tcp://)."""
    return (
        {"machine": {"logging": {"destinations": [{"endpoint": url, "format": "json_lines"}]}}},
        {"apiVersion": "v1alpha1", "kind": "KmsgLogConfig", "name": "receiver", "url": url},
    )


def installer_image(platform: str, schematic: str, version: str) -> str:
    """What an upgrade installs. Every platform has one, with its kernel arguments; plain `installer` is for metal."""
    return f"{FACTORY_REGISTRY}/{platform}-installer/{schematic}:v{version}"


def digest_of(text: SecretStr) -> str:
    return hashlib.sha256(text.get_secret_value().encode()).hexdigest()


def require_room(text: SecretStr, hostname: str, other_metadata: int) -> int:
    """How many bytes of an instance's metadata it takes; refused if they are more than Oracle has room for."""
    size = len(base64.b64encode(text.get_secret_value().encode()))
    if size + other_metadata > MAX_METADATA_BYTES:
        raise Refused(
            f"the configuration of {hostname} takes {size} bytes as user data",
            why=f"Oracle takes {MAX_METADATA_BYTES} bytes of metadata for an instance, of which {other_metadata} are "
            "taken by SSH keys and names",
            fix="declare fewer or shorter access.ssh_public_keys",
        )
    return size


def _settings(node: Node) -> Iterator[Patch]:
    """Documents that Talos knows since 1.12, before it moved the rest out of the one document."""
    # The platform has a name for the machine too, and `auto: off` keeps Talos from making up a third.
    yield {"apiVersion": "v1alpha1", "kind": "HostnameConfig", "hostname": node.hostname, "auto": "off"}
    if node.time_servers:
        yield {"apiVersion": "v1alpha1", "kind": "TimeSyncConfig", "ntp": {"servers": list(node.time_servers)}}
    if node.address is not None:
        yield {
            "apiVersion": "v1alpha1",
            "kind": "LinkConfig",
            "name": FIRST_LINK,
            "up": True,
            "addresses": [{"address": str(node.address.address)}],
            "routes": [{"gateway": str(node.address.gateway)}],
        }


class _Dumper(yaml.SafeDumper):
    """No anchors, which Talos would have to follow, and PEM as it is usually read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def as_yaml(documents: Iterable[Document]) -> str:
    return yaml.dump_all(
        (dict(document) for document in documents), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=200
    )
