"""talos/secrets, machine_config_<n>, vm_<n>, cluster, kubeconfig: the same cluster on two substrates."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dagster as dg

from ocifree_pipeline.assets import talos_vm
from ocifree_pipeline.assets.cluster import materialize_cluster, materialize_kubeconfig
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.definition import Step, define_asset
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.talos import (
    MachineConfigFacts,
    SecretsFacts,
    cluster_of,
    config_key,
    days_left,
    kept_bundle,
    node_of,
    now,
)

GROUP = "kubernetes"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition]:
    define = partial(define_asset, blueprint, group=GROUP)
    on_proxmox = blueprint.plan.topology == "proxmox-ceph"
    nodes = range(1, len(blueprint.plan.ampere) + 1)
    yield define(
        "talos/secrets",
        _secrets,
        kinds={"talos"},
        describe="Certificate authorities, keys and tokens of the cluster, made once and kept in the age vault.",
    )
    for number in nodes:
        yield define(
            config_key(number),
            partial(_machine_config, number=number),
            kinds={"talos"},
            deps=["talos/secrets", "oci/reserved_ips", "proxmox/network" if on_proxmox else "oci/network"],
            describe=f"The Talos machine configuration of node {number}. It holds secrets: only its digest is shown.",
        )
    for number, guest in enumerate(blueprint.plan.guests, start=1):
        yield define(
            talos_vm.vm_key(number),
            partial(talos_vm.materialize, number=number),
            kinds={"talos", "proxmox"},
            deps=[f"talos/machine_config_{number}", "images/talos_nocloud", "proxmox/network", "proxmox/ceph_pool"],
            describe=(
                f"Talos on {guest.host}: {guest.vcpus} vCPU, {guest.memory_gb} GB, {guest.disk_gb} GB on Ceph, "
                f"as {guest.role}."
            ),
        )
    yield define(
        "talos/cluster",
        materialize_cluster,
        kinds={"talos", "kubernetes"},
        deps=[f"talos/vm_{n}" if on_proxmox else f"machines/ampere_{n}" for n in nodes],
        describe="etcd bootstrapped exactly once, every member healthy, the Kubernetes API answering.",
    )
    yield define(
        "talos/kubeconfig",
        materialize_kubeconfig,
        kinds={"kubernetes"},
        deps=["talos/cluster"],
        describe="A kubeconfig that was tried with a real request. The file is 0600; the record holds path and expiry.",
    )


# talos/secrets ----------------------------------------------------------------------------------------------------


def _secrets(step: Step) -> Outcome:
    """Made once. What is recorded is only ever read again: a second bundle would lock out every node that runs."""
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.secrets import as_file, from_file, new_bundle

    vault = vault_of(step.blueprint.declaration.name)
    plan: tuple[str, ...] = ()
    if find_facts(step.instance, step.key, SecretsFacts) is not None:
        bundle = kept_bundle(step)
    else:
        is_there = step.key in vault.names()
        plan = ("take over the secrets that the vault holds" if is_there else "make the secrets of the cluster",)
        bundle = from_file(vault.get_or_make(step.key, lambda: as_file(new_bundle(now()))))
    facts = SecretsFacts(vault=step.key, fingerprints=bundle.fingerprints(), expires=bundle.expiries())
    left = days_left(bundle, now())
    return Outcome(
        summary=f"{len(left)} authorities in the vault as {step.key}, valid for {min(left.values())} days",
        facts=facts,
        plan=plan,
        numbers={"days left": min(left.values())},
        evidence=[
            {"what": name, "sha256": fingerprint, "expires": str(facts.expires.get(name, ""))[:10]}
            for name, fingerprint in facts.fingerprints.items()
        ],
        look_inside="ocifree secret list",
    )


# talos/machine_config_<n> -----------------------------------------------------------------------------------------


def _machine_config(step: Step, number: int) -> Outcome:
    from ocifree_pipeline.record.bootstrap import bootstrap_patches
    from ocifree_pipeline.record.monitoring import talos_patches
    from ocifree_pipeline.systems.secrets.vault import vault_of
    from ocifree_pipeline.systems.talos.configuration import digest_of, machine_configuration, require_room

    bundle, cluster, node = kept_bundle(step), cluster_of(step), node_of(step, number)
    patches = (*bootstrap_patches(step.blueprint, cluster, node), *talos_patches(step.blueprint, node))
    text = machine_configuration(cluster, node, bundle, patches)
    numbers: dict[str, float] = {"bytes": len(text.get_secret_value())}
    if step.blueprint.plan.topology == "talos-native":
        numbers["user data bytes"] = require_room(text, node.hostname, _other_metadata(step))

    vault = vault_of(step.blueprint.declaration.name)
    before = digest_of(vault.get(step.key)) if step.key in vault.names() else None
    digest = digest_of(text)
    if before != digest:
        vault.put({step.key: text})
    facts = MachineConfigFacts(
        hostname=node.hostname,
        role=node.role,
        endpoint=cluster.endpoint,
        address=str(node.address.address) if node.address else None,
        installer=node.installer,
        talos_version=cluster.talos_version,
        kubernetes_version=cluster.kubernetes_version,
        vault=step.key,
        digest=digest_of(vault.get(step.key)),
    )
    made = f"{'change' if before else 'make'} the configuration of {node.hostname}: sha256 {digest[:12]}"
    return Outcome(
        summary=f"{node.hostname} as {node.role} with Talos {cluster.talos_version} and Kubernetes "
        f"{cluster.kubernetes_version}, sha256 {facts.digest[:12]}",
        facts=facts,
        plan=() if before == digest else (made,),
        numbers=numbers,
        look_inside="ocifree secret list",
    )


def _other_metadata(step: Step) -> int:
    """Bytes of an instance's metadata that are taken before its user data."""
    keys = "\n".join(step.blueprint.declaration.access.ssh_public_keys)
    return sum(len(text.encode()) for text in ("ssh_authorized_keys", keys, "user_data"))
