"""platform/gateway: the reserved address leads to a node, Cilium listens there, and a sample application answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ocifree_pipeline.deployment.platform import sample_host, sample_text
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.entrance import entrance, lead_to_node
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import GatewayFacts, cluster_api, deliver

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.objects import Object


def gateway(step: Step) -> Outcome:
    declared = step.blueprint.declaration.kubernetes.gateway
    at = entrance(step)
    lines = lead_to_node(step, at)
    with cluster_api(step) as api:
        door = deliver(step, api, "gateway", secrets=_certificate(step))
        sample = deliver(step, api, "sample")
    host, text = sample_host(step.blueprint), sample_text(step.blueprint)
    listeners = ("http", "https") if declared.tls else ("http",)
    return Outcome(
        summary=f"{at.address} leads to {at.machine.name}, where Cilium listens for {' and '.join(listeners)}",
        facts=GatewayFacts(
            address=at.address,
            host=host,
            text=text,
            listeners=listeners,
            manifests=f"{door.digest}{sample.digest}",
        ),
        plan=(*lines, *door.plan, *sample.plan),
        links={"gateway": f"http://{declared.hostname or at.address}/"},
        look_inside=f"curl --header 'Host: {host}' http://{at.address}/",
    )


def _certificate(step: Step) -> list[Object]:
    from ocifree_pipeline.systems.kube.secrets import secret
    from ocifree_pipeline.systems.secrets.source import resolve
    from ocifree_pipeline.systems.secrets.vault import vault_of

    tls = step.blueprint.declaration.kubernetes.gateway.tls
    if tls is None:
        return []
    vault = vault_of(step.blueprint.declaration.name)
    entries = {"tls.crt": resolve(tls.certificate, vault), "tls.key": resolve(tls.private_key, vault)}
    return [secret("gateway", "gateway-tls", entries, kind="kubernetes.io/tls")]
