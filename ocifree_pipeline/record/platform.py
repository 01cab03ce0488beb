"""Facts of the group platform, the API of the cluster, and the delivery of one folder of manifests/ to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.errors import PreconditionMissing, Transient
from ocifree_pipeline.deployment.plan import Topology
from ocifree_pipeline.deployment.platform import flux_delivers, kubernetes_nodes, manifest_values
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import materialize_command
from ocifree_pipeline.record.foundation import NetworkFacts
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.talos import API_PORT
from ocifree_pipeline.record.ways import way_to

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.api import Api
    from ocifree_pipeline.systems.kube.kubeconfig import Credentials
    from ocifree_pipeline.systems.kube.objects import Object

KUBECONFIG = "talos/kubeconfig"
READY_SECONDS: Mapping[Topology, float] = {"talos-native": 900.0, "proxmox-ceph": 3600.0}
"""Pulling images and starting pods. Emulated guests take several times as long."""


class CiliumFacts(Facts):
    """platform/cilium: `release` is the version of the chart that is installed."""

    release: str
    nodes: tuple[str, ...]
    manifests: str


class FluxFacts(Facts):
    """platform/flux. Without a repository its controllers install charts and follow nothing."""

    release: str
    repository: str | None
    branch: str | None
    path: str | None
    manifests: str


class SopsAgeFacts(Facts):
    """platform/sops_age: `recipient` is the public half; the other one is in the vault under the name `vault`."""

    recipient: str
    vault: str


class TailscaleOperatorFacts(Facts):
    """platform/tailscale_operator"""

    release: str
    hostname: str
    manifests: str


class OracleControllerFacts(Facts):
    """platform/oci_ccm"""

    image: str
    nodes: tuple[str, ...]
    manifests: str


class PoliciesFacts(Facts):
    """platform/policies"""

    namespaces: tuple[str, ...]
    manifests: str


class GatewayFacts(Facts):
    """platform/gateway: what is asked at `address` for `host` is answered by the sample with `text`."""

    address: str
    host: str
    text: str
    listeners: tuple[str, ...]
    manifests: str


# the cluster ----------------------------------------------------------------------------------------------------------


@contextmanager
def cluster_api(step: Step) -> Iterator[Api]:
    """The API of the cluster through the first control plane that answers, as the kubeconfig allows."""
    credentials = _credentials(step)
    with ExitStack() as stack:
        yield first_that_answers(step, credentials, stack)


@contextmanager
def node_api(step: Step, number: int) -> Iterator[Api]:
    """The API server of this very control plane."""
    from ocifree_pipeline.systems.kube.api import api_at
    from ocifree_pipeline.systems.ssh.forward import forwarded

    dialer, host = way_to(step, number)
    with forwarded(dialer, host, API_PORT) as address, api_at(address, _credentials(step)) as api:
        yield api


def _credentials(step: Step) -> Credentials:
    from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
    from ocifree_pipeline.systems.secrets.vault import vault_of

    vault = vault_of(step.blueprint.declaration.name)
    if KUBECONFIG not in vault.names():
        raise PreconditionMissing(
            "there is no kubeconfig",
            why=f"{vault.file} does not hold it",
            fix=materialize_command(KUBECONFIG),
        )
    return credentials_of(vault.get(KUBECONFIG))


def first_that_answers(step: Step, credentials: Any, stack: ExitStack) -> Api:
    from ocifree_pipeline.systems.kube.api import api_at
    from ocifree_pipeline.systems.ssh.forward import forwarded

    said = []
    for number in range(1, step.blueprint.plan.control_planes + 1):
        with ExitStack() as attempt:
            try:
                dialer, host = way_to(step, number)
                address = attempt.enter_context(forwarded(dialer, host, API_PORT))
                api = attempt.enter_context(api_at(address, credentials))
                api.version()
            except Transient as error:
                said.append(f"node {number}: {error.what}: {error.why}")
                continue
            stack.push(attempt.pop_all())
            return api
    raise Transient(
        "no control plane answers for Kubernetes",
        why="; ".join(said)[:400],
        fix="ocifree verify --select 'talos/cluster' says which nodes run",
    )


# delivery -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """`digest` is that of what manifests/ gave; secrets that were handed over beside it are not in it."""

    plan: tuple[str, ...]
    objects: tuple[Object, ...]
    digest: str


def deliver(
    step: Step,
    api: Api,
    part: str,
    more: Mapping[str, Any] | None = None,
    *,
    secrets: Sequence[Object] = (),
    wait: bool = True,
) -> Delivered:
    """Make the cluster hold what manifests/<part> declares for this deployment, and wait until all of it works.

    `more` are values beside those that every template may use. `secrets` are objects that are no part of the tree.
    """
    from ocifree_pipeline.systems.kube import delivery

    rendered = rendered_part(step, part, more)
    if flux_delivers(step.blueprint, part):
        return _synced(step, api, part, rendered, secrets)
    objects = (*rendered, *secrets)
    plan = delivery.plan_for(api, part, objects)
    for line in plan.lines:
        step.say(line)
    lines = list(plan.lines)
    if plan.is_noop:
        lines += delivery.ask_again(api, objects, datetime.now(UTC).isoformat())
    delivery.apply(api, plan, lambda line: None)
    if wait:
        delivery.wait_until_ready(api, objects, step.say, timeout=patience(step))
    return Delivered(tuple(lines), objects, digest_of(rendered))


def _synced(step: Step, api: Api, part: str, rendered: tuple[Object, ...], secrets: Sequence[Object]) -> Delivered:
    """Flux brings the objects from the repository; secrets are no part of it, and come from us."""
    from ocifree_pipeline.systems.kube import delivery, synced
    from ocifree_pipeline.systems.kube.objects import NAMESPACE, is_of

    spaces = [thing for thing in rendered if is_of(thing, NAMESPACE)]
    if secrets:
        delivery.wait_until_ready(api, spaces, step.say, timeout=patience(step))
    plan = delivery.plan_for(api, f"{part}_secrets", secrets)
    delivery.apply(api, plan, step.say)
    synced.wait_until_synced(api, part, rendered, step.say, timeout=patience(step))
    return Delivered(plan.lines, (*rendered, *secrets), digest_of(rendered))


def values_for_oracles_controller(step: Step) -> dict[str, Any]:
    network = step.facts("oci/network", NetworkFacts)
    return {
        "oracle": {
            "compartment": network.compartment,
            "vcn": network.vcn,
            "public_subnet": network.subnets["public"],
        }
    }


def rendered_part(step: Step, part: str, more: Mapping[str, Any] | None = None) -> tuple[Object, ...]:
    from ocifree_pipeline.systems.kube.rendering import manifest_folder, render, versions

    folder = manifest_folder()
    return render(part, {**manifest_values(step.blueprint, versions(folder)), **(more or {})}, folder)


def digest_of(objects: Sequence[Object]) -> str:
    return hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()[:16]


def patience(step: Step) -> float:
    return READY_SECONDS[step.blueprint.plan.topology]


# nodes ----------------------------------------------------------------------------------------------------------------


def nodes_in(api: Api) -> list[Object]:
    return api.list(api.require("v1", "Node"))


def unready(step: Step, nodes: Sequence[Object]) -> list[str]:
    """Why each node that is not Ready is not, and how many are missing altogether."""
    found = [f"{node['metadata']['name']}: {why}" for node in nodes if (why := _why_not_ready(node))]
    missing = kubernetes_nodes(step.blueprint) - len(nodes)
    return found + ([f"{missing} of {kubernetes_nodes(step.blueprint)} nodes have not joined"] if missing > 0 else [])


def _why_not_ready(node: Object) -> str | None:
    conditions = node.get("status", {}).get("conditions", ())
    ready = next((one for one in conditions if one.get("type") == "Ready"), None)
    if ready is None:
        return "its kubelet has not reported yet"
    return None if ready.get("status") == "True" else str(ready.get("message") or ready.get("reason") or "NotReady")
