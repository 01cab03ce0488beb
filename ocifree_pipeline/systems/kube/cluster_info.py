"""The kubeconfig in the hands of a stranger: the official client of Kubernetes, given nothing but the file."""

from __future__ import annotations

from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.kube.errors import error_of
from ocifree_pipeline.systems.kube.kubeconfig import served_at

SECONDS = (10.0, 60.0)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    version: str
    nodes: tuple[str, ...]


def cluster_info(kubeconfig: SecretStr, address: tuple[str, int]) -> ClusterInfo:
    """What `kubectl cluster-info` finds out, dialled at `address`."""
    import urllib3.exceptions
    from kubernetes.client import CoreV1Api, VersionApi
    from kubernetes.client.exceptions import ApiException

    doing = "ask with the official client"
    # The client reads certificates from files only; these end with the questions.
    with TemporaryDirectory(prefix="ocifree-") as folder, _client(kubeconfig, address, folder) as client:
        try:
            version = VersionApi(client).get_code(_request_timeout=SECONDS)
            nodes: Any = CoreV1Api(client).list_node(_request_timeout=SECONDS)
        except ApiException as error:
            if not error.status:  # so it reports a failed handshake
                raise NotVerified(
                    f"{doing}: whoever answers is not this cluster",
                    why=" ".join(str(error.reason).split())[:200],
                    fix="if the cluster was made anew: ocifree up --select 'talos/kubeconfig'",
                ) from None
            raise error_of(error.status, str(error.body or "").encode(), doing) from None
        except urllib3.exceptions.HTTPError as error:
            raise Transient(
                f"{doing}: no answer",
                why=" ".join(str(error).split())[:200] or type(error).__name__,
                fix="the API server may be starting; try again in a minute",
            ) from None
    return ClusterInfo(version.git_version.removeprefix("v"), tuple(node.metadata.name for node in nodes.items))


def _client(kubeconfig: SecretStr, address: tuple[str, int], folder: str) -> Any:
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    load: Any = config.load_kube_config_from_dict
    settings = Configuration()
    settings.retries = False
    settings.proxy = settings.no_proxy = None  # the way to the cluster leads through no proxy, it ends on this computer
    found = yaml.safe_load(served_at(kubeconfig, *address).get_secret_value())
    load(found, client_configuration=settings, persist_config=False, temp_file_path=folder)
    return ApiClient(settings)
