"""What a machine leaves behind in the cluster when it is gone for good: its member of etcd, its node in Kubernetes."""

from __future__ import annotations

from dataclasses import replace

from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.record.cluster import CLUSTER, ClusterFacts, nodes_of
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.platform import cluster_api


def take_out(step: Step, number: int) -> list[str]:
    """Before the machine that takes its place joins. Only for one of which nothing stands any more.

    What cannot be done now is no reason to do without a machine: talos/cluster looks again once that answers.
    """
    from ocifree_pipeline.systems.talos import departing
    from ocifree_pipeline.systems.talos.cluster import look_at_etcd

    is_all_of_it = step.blueprint.plan.control_planes == 1 and number == 1
    if is_all_of_it or find_facts(step.instance, CLUSTER, ClusterFacts) is None:
        return []
    lines: list[str] = []
    try:
        with nodes_of(step) as nodes:
            gone = next(place for place in nodes.places if place.number == number)
            others = replace(nodes, places=tuple(place for place in nodes.places if place != gone))
            view = look_at_etcd(others)
            dead = [member for member in view.members if member.hostname == gone.hostname]
            lines += [departing.remove(others, view, one.hostname, one.id, step.say) for one in dead]
        with cluster_api(step) as api:
            lines += departing.forget_node(api, gone.hostname, step.say)
    except OcifreeError as error:
        step.say(f"what {step.key} left in the cluster stays until that answers: {error.what}: {error.why}")
    return lines
