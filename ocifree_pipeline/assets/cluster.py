"""talos/cluster and talos/kubeconfig: what makes one cluster of the nodes, and the key to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified, PreconditionMissing, Transient
from ocifree_pipeline.deployment.platform import kubernetes_nodes
from ocifree_pipeline.record.cluster import (
    ETCD_SECONDS,
    RENEW_DAYS,
    ClusterFacts,
    KubeconfigFacts,
    days_until,
    kept_configuration,
    kubeconfig_file,
    let_in_or_configured,
    nodes_of,
    write_private,
)
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.platform import first_that_answers
from ocifree_pipeline.record.talos import API_PORT, cluster_of, kept_bundle, now
from ocifree_pipeline.record.ways import way_to

if TYPE_CHECKING:
    from ocifree_pipeline.systems.kube.kubeconfig import Credentials
    from ocifree_pipeline.systems.talos.cluster import Nodes


# talos/cluster ----------------------------------------------------------------------------------------------------


def materialize_cluster(step: Step) -> Outcome:
    with nodes_of(step) as nodes:
        return _cluster(step, nodes)


def _cluster(step: Step, nodes: Nodes) -> Outcome:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.talos import cluster as talos
    from ocifree_pipeline.systems.talos import departing, restoring

    declaration, wanted = step.blueprint.declaration, cluster_of(step)
    before = find_facts(step.instance, step.key, ClusterFacts)
    _refuse_kubernetes(before, wanted.kubernetes_version)
    timeout = ETCD_SECONDS[step.blueprint.plan.topology]
    lines, versions = [], {}
    for place in nodes.places:
        step.say(f"wait until {place.hostname} lets us in at {place.address}")
        versions[place.hostname] = let_in_or_configured(step, nodes, place)
    if before is not None:
        _refuse_talos(versions, wanted.talos_version)
    for place in nodes.places:
        if talos.follow(nodes, place, kept_configuration(step, place.number)):
            lines.append(f"send {place.hostname} its configuration")
            step.say(lines[-1])
    lines += departing.remove_replaced(nodes, step.say)
    journal = journal_of(declaration.name)
    founded = talos.bootstrap_once(
        nodes,
        declaration.name,
        journal,
        was_founded=before is not None or bool(restoring.under_way(journal, declaration.name)),
        now=now,
        timeout=timeout,
    )
    if founded:
        lines.append(f"bootstrap etcd on {nodes.control_planes[0].hostname}")
        step.say(lines[-1])
    view = talos.wait_for_etcd(nodes, step.say, timeout=timeout)
    restoring.end(journal, declaration.name, "etcd is whole without it")
    step.say(f"etcd is whole: {view}; wait until the Kubernetes API is ready")
    wait_for_kubernetes(step, nodes, wanted.endpoint, timeout)
    ran = sorted({tag.removeprefix("v") for tag in versions.values()})
    return Outcome(
        summary=f"{len(view.members)} of {len(nodes.control_planes)} etcd members follow {view.leader}, Kubernetes "
        f"{wanted.kubernetes_version} answers at {wanted.endpoint}",
        facts=ClusterFacts(
            name=wanted.name,
            endpoint=wanted.endpoint,
            talos_version=", ".join(ran),
            kubernetes_version=wanted.kubernetes_version,
            nodes=tuple(place.hostname for place in nodes.places),
            members={member.hostname: f"{member.id:016x}" for member in view.members},
        ),
        plan=tuple(lines),
        numbers={"etcd members": len(view.members), "nodes": len(nodes.places)},
        evidence=[
            {"node": place.hostname, "role": place.role, "address": place.address, "talos": versions[place.hostname]}
            for place in nodes.places
        ],
        look_inside="ocifree talosconfig",
    )


def _refuse_kubernetes(before: ClusterFacts | None, wanted: str) -> None:
    """Another version in the configuration would take the whole control plane there at once, without any gate."""
    if before is None or before.kubernetes_version == wanted:
        return
    raise PreconditionMissing(
        f"the cluster runs Kubernetes {before.kubernetes_version}, and {wanted} is declared",
        why="a new version goes node by node, with a snapshot before it; it does not come with a configuration",
        fix="`ocifree upgrade kubernetes` (job upgrade_kubernetes) takes it there, or declare "
        f"`kubernetes_version: {before.kubernetes_version}` again",
    )


def _refuse_talos(running: Mapping[str, str], wanted: str) -> None:
    """A configuration for another version may say what the running one does not know, and upgrades nothing."""
    others = {name: tag.removeprefix("v") for name, tag in running.items() if tag.removeprefix("v") != wanted}
    if not others:
        return
    told = ", ".join(f"{name} runs {version}" for name, version in others.items())
    raise PreconditionMissing(
        f"Talos {wanted} is declared, and {told}",
        why="a new version goes node by node, with a snapshot before it; it does not come with a configuration",
        fix="`ocifree upgrade talos` (job upgrade_talos) takes it there, or declare "
        f"`talos_version: {min(others.values())}` again",
    )


def wait_for_kubernetes(step: Step, nodes: Nodes, endpoint: str, timeout: float) -> None:
    from urllib.parse import urlsplit

    from ocifree_pipeline.systems.oci.waiting import Pause, wait_for
    from ocifree_pipeline.systems.ssh.forward import forwarded
    from ocifree_pipeline.systems.talos.cluster import ask_api_server

    authority, host = kept_bundle(step).kubernetes.certificate, urlsplit(endpoint).hostname or ""
    for place in nodes.control_planes:
        dialer, address = way_to(step, place.number)
        with forwarded(dialer, address, API_PORT) as near:
            wait_for(
                lambda near=near: ask_api_server(near, authority, host),  # type: ignore[misc]
                lambda said: True,
                what=f"the Kubernetes API of {place.hostname} is ready",
                timeout=timeout,
                pause=Pause(2, 15),
            )


# talos/kubeconfig -------------------------------------------------------------------------------------------------


def materialize_kubeconfig(step: Step) -> Outcome:
    from ocifree_pipeline.systems.kube.kubeconfig import credentials_of
    from ocifree_pipeline.systems.secrets.vault import vault_of

    declaration = step.blueprint.declaration
    cluster = step.facts("talos/cluster", ClusterFacts)
    vault, lines = vault_of(declaration.name), []
    kept = vault.get(step.key) if step.key in vault.names() else None
    reason = _why_anew(step, kept)
    if reason is not None:
        lines.append(f"fetch a kubeconfig: {reason}")
        step.say(lines[-1])
        kept = fetch_kubeconfig(step)
    if kept is None:
        raise NotVerified("there is no kubeconfig", why="none was kept and none was fetched", fix="try again")
    credentials = credentials_of(kept)
    version, registered = _tried(step, credentials)
    if reason is not None:
        vault.put({step.key: kept})
    file = kubeconfig_file(declaration.name)
    if write_private(file, kept) and reason is None:
        lines.append(f"write {file.name} again, which was not there as it should be")
    expires = _expiry(credentials)
    left = days_until(expires)
    return Outcome(
        summary=f"good for {left} days; Kubernetes {version} let us in and has {registered} nodes",
        facts=KubeconfigFacts(file=str(file), vault=step.key, server=cluster.endpoint, expires=expires),
        plan=tuple(lines),
        numbers={"days left": left, "nodes": registered},
        evidence=[{"what": "expires", "found": str(expires)[:10]}, {"what": "server", "found": cluster.endpoint}],
        look_inside="ocifree kubeconfig",
    )


def _why_anew(step: Step, kept: SecretStr | None) -> str | None:
    """Why the kubeconfig that the vault holds will not do."""
    from ocifree_pipeline.systems.kube.kubeconfig import credentials_of

    if kept is None:
        return "the vault holds none"
    try:
        credentials = credentials_of(kept)
    except NotVerified as error:
        return error.why
    if credentials.authority.strip() != kept_bundle(step).kubernetes.certificate.strip():
        return "it is for another cluster"
    left = days_until(_expiry(credentials))
    return f"its certificate is good for {left} more days" if left < RENEW_DAYS else None


def fetch_kubeconfig(step: Step) -> SecretStr:
    """From the first control plane that gives one."""
    said = []
    with nodes_of(step) as nodes:
        for place in nodes.control_planes:
            try:
                with nodes.open(place) as node:
                    return node.kubeconfig()
            except Transient as error:
                said.append(f"{error.what}: {error.why}")
    raise Transient("no control plane gives a kubeconfig", why="; ".join(said)[:400], fix="look again in a minute")


def _tried(step: Step, credentials: Credentials) -> tuple[str, int]:
    """The version of Kubernetes, and how many nodes have registered, asked as the kubeconfig allows."""
    from ocifree_pipeline.systems.oci.waiting import Pause, wait_for

    expected = kubernetes_nodes(step.blueprint)
    with ExitStack() as stack:
        api = first_that_answers(step, credentials, stack)
        version = str(api.version())
        nodes = api.require("v1", "Node")
        found = wait_for(
            lambda: len(api.list(nodes)),
            lambda number: number >= expected,
            what=f"all {expected} nodes have registered",
            timeout=ETCD_SECONDS[step.blueprint.plan.topology],
            pause=Pause(2, 15),
        )
    return version, found


def _expiry(credentials: Credentials) -> datetime:
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(credentials.certificate.encode()).not_valid_after_utc
