"""Ceph on three machines, in the real graph against the sandbox: formed, looked at, and a node lost and back."""

from __future__ import annotations

import json

import oci
import pytest

from ocifree_pipeline.checks import proxmox_ceph
from ocifree_pipeline.record.ceph import CEPH, POOL
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.proxmox import CLUSTER, nodes_of
from ocifree_pipeline.systems.ceph.status import parse
from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.automation.test_upgrades import run

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]
HOSTS = ["lab-ampere-1", "lab-ampere-2", "lab-ampere-3"]


def verdict(here: Deployment) -> Verdict:
    return proxmox_ceph.ceph_health(Step(here.blueprint, CEPH, here.instance, lambda line: None))


def switch(here: Deployment, machine: str, action: str) -> None:
    here.client(oci.core.ComputeClient).instance_action(here.facts(f"machines/{machine}")["ocid"], action)
    for _ in range(4):
        here.sandbox.advance(60)


def test_healthy_with_a_pool_through_the_loss_of_a_node(here: Deployment) -> None:
    here.materialize(CLUSTER)
    result = here.materialize(CEPH, POOL)
    passed = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert (passed["ceph_health"], passed["usable_space"]) == (True, True)
    facts = here.facts(CEPH)
    assert [osd["node"] for osd in facts["osds"]] == HOSTS
    assert {osd["path"] for osd in facts["osds"]} == {"/dev/sda2"}
    assert sorted(facts["monitors"]) == sorted(facts["managers"]) == HOSTS
    told = here.metadata(POOL)
    assert "WARNING, min_size 1: while a node is away" in told["summary"], "an accepted risk stays in sight"
    assert told["usable_gb"] == pytest.approx(here.blueprint.plan.ceph.usable_gb, rel=0.03)  # type: ignore[union-attr]

    def changes() -> int:
        return here.sandbox.recorder.count(service="ceph", mutating=True)

    made = changes()
    assert made >= 17
    here.materialize(CEPH, POOL)
    assert changes() == made
    assert (here.metadata(CEPH)["plan"], here.metadata(POOL)["plan"]) == ("nothing to do", "nothing to do")
    assert here.facts(CEPH) == facts

    step = Step(here.blueprint, CEPH, here.instance, lambda line: None)
    with nodes_of(step) as nodes:
        api = nodes[1].ask("/cluster/ceph/status")
        command = json.loads(nodes[2].run(["ceph", "-s", "--format", "json"]).stdout)
        assert parse(api) == parse(command)
        assert [one["osdid"] for one in nodes[2].ask(f"/nodes/{HOSTS[2]}/disks/list", "--include-partitions", "1")] == [
            -1, -1, -1, 2,
        ]  # fmt: skip

        nodes[2].run(["systemctl", "stop", "ceph-osd@2"]).checked("stop an OSD")
        assert nodes[2].run(["systemctl", "is-active", "ceph-osd@2"]).stdout == "inactive\n"
        assert "osd.2 (root=default,host=lab-ampere-3) is down" in nodes[0].run(["ceph", "health", "detail"]).stdout
        nodes[2].run(["systemctl", "start", "ceph-osd@2"]).checked("start it again")
    here.sandbox.advance(120)

    # The first node is the one that is asked otherwise.
    switch(here, "ampere_1", "STOP")
    found = verdict(here)
    assert not found.passed
    assert "MON_DOWN: 1/3 mons down, quorum lab-ampere-2,lab-ampere-3" in found.summary
    assert "of 3 OSDs 3 exist, 2 are up" in found.summary

    switch(here, "ampere_1", "START")
    for _ in range(5):
        here.sandbox.advance(120)
    assert verdict(here).passed
    here.materialize(CEPH)
    assert here.metadata(CEPH)["plan"] == "nothing to do"

    assert run(here, "tolerance_drill").success
    assert verdict(here).passed
