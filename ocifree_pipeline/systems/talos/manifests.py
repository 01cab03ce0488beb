"""What Talos itself applies to Kubernetes when a cluster is bootstrapped, before anything of ours can run there.

Such manifests are made once and never changed or removed by Talos, except by an upgrade of Kubernetes. None of them may
hold a secret: they stand in the machine configuration as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ocifree_pipeline.systems.talos import many_documents
from ocifree_pipeline.systems.talos.nodes import Cluster
from ocifree_pipeline.systems.talos.patches import Patch


def bootstrap_manifests(cluster: Cluster, inline: Mapping[str, str], urls: Mapping[str, str]) -> Iterator[Patch]:
    """Patches for the control planes: `inline` are texts, `urls` are fetched by the nodes; both by name."""
    if cluster.talos_minor >= many_documents.SINCE_MINOR:
        for name, text in inline.items():
            yield {"apiVersion": "v1alpha1", "kind": "KubeInlineManifestConfig", "name": name, "manifest": text}
        for name, url in urls.items():
            yield {"apiVersion": "v1alpha1", "kind": "KubeExternalManifestConfig", "name": name, "url": url}
        return
    yield {
        "cluster": {
            "inlineManifests": [{"name": name, "contents": text} for name, text in inline.items()],
            "extraManifests": list(urls.values()),
        }
    }
