"""The API of a Talos node, asked by the pipeline's own client over real TLS: who may what, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, OcifreeError, Refused, Transient
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.systems.talos.channel import AlreadyDone, NotOffered
from ocifree_pipeline.systems.talos.client import Talos
from ocifree_pipeline.systems.talos.trust import fingerprint_on, with_fingerprint
from ocifree_pipeline_tests.sandbox.talos.lab import (
    KUBERNETES,
    SETTLED,
    Lab,
    Machine,
    apart,
    bundle,
    stranger,
    trusting,
)
from ocifree_pipeline_tests.sandbox.talos_nodes import INSTALLER, V1_13, V1_14, configuration

NEXT = INSTALLER.format(version="1.14.2")


def etcd(machine: Machine) -> str:
    with machine.spoken() as node:
        return node.services()["etcd"].state


# who ------------------------------------------------------------------------------------------------------------------


def test_an_administrator_learns_what_runs(here: Lab) -> None:
    (machine,) = here.control_planes(1)
    with machine.spoken() as node:
        version = node.version()
        services = node.services()
        assert "waits to join" in node.logs("etcd")
        assert "there is no shell" in node._text("Dmesg")
    assert (version.tag, version.architecture, version.platform) == ("v1.13.9", "arm64", "oracle")
    assert version.configured
    assert services["apid"].healthy
    assert (services["etcd"].state, services["etcd"].healthy) == ("Preparing", None)


@pytest.mark.parametrize(
    ("role", "call", "allowed"),
    [
        ("os:reader", Talos.version, True),
        ("os:reader", Talos.reboot, False),
        ("os:reader", Talos.kubeconfig, False),
        ("os:operator", Talos.services, True),
        ("os:operator", Talos.bootstrap, False),
        ("os:etcd:backup", Talos.services, False),
        ("nobody", Talos.version, False),
    ],
)
def test_a_role_opens_its_calls_and_no_others(
    ground: Lab, shared: Machine, role: str, call: Callable[[Talos], Any], allowed: bool
) -> None:
    with shared.spoken(trusting(apart(), role)) as node:
        if allowed:
            call(node)
        else:
            with pytest.raises(AuthFailed, match="not authorized"):
                call(node)


def test_a_certificate_of_another_cluster_is_refused_by_either_side(shared: Machine) -> None:
    ours, theirs = apart(), stranger()
    imposter = trusting(theirs)
    imposter.load_verify_locations(cadata=ours.talos.certificate)
    with shared.spoken(imposter) as node, pytest.raises(AuthFailed, match="unknown ca"):
        node.version()
    with shared.spoken(trusting(theirs)) as node, pytest.raises(AuthFailed, match="did not sign"):
        node.version()


# configuration --------------------------------------------------------------------------------------------------------


def test_a_node_without_a_configuration_takes_one_from_whoever_knows_its_key(here: Lab) -> None:
    machine = here.machine()
    shown = fingerprint_on(machine.console)
    assert shown is not None
    text = SecretStr(configuration(bundle(), hostname="lab-1"))
    other = with_fingerprint(hashlib.sha256(b"somebody").hexdigest()[:43] + "=")
    with machine.spoken(other) as node, pytest.raises(Refused, match="somebody else answers"):
        node.apply(text)
    with machine.spoken(with_fingerprint(shown)) as node:
        assert not node.version().configured
        for call in (node.bootstrap, node.services, node.kubeconfig, node.members):
            with pytest.raises(NotOffered, match="maintenance mode"):
                call()
        with pytest.raises(Refused, match=r"cluster\.token is required") as refused:
            node.apply(SecretStr(text.get_secret_value().replace(f"  token: {bundle().bootstrap_token}\n", "")))
        assert bundle().trustd_token not in str(refused.value)
        assert "maintenance mode" in machine.console.splitlines()[-3]
        node.apply(text)
    here.here.wait(30)
    with machine.spoken() as node:
        assert node.version().configured
        assert node.services()["etcd"].state == "Preparing"
    machine.act("RESET")
    assert etcd(machine) == "Preparing", "the disk remembers"


def test_a_dry_run_compares_by_meaning_and_tells_no_secret(shared: Machine) -> None:
    text = configuration(apart(), hostname="lab-shared")
    shuffled = yaml.safe_dump_all(yaml.safe_load_all(text), sort_keys=True)
    with shared.spoken() as node:
        assert not node.compare(SecretStr(text)).differs
        assert not node.compare(SecretStr(shuffled)).differs
        assert node.compare(SecretStr(configuration(apart(), hostname="lab-other"))).differs
        with pytest.raises(Refused, match=r"machine\.type must be one of"):
            node.apply(SecretStr(text.replace("type: controlplane", "type: king")))


def test_what_is_applied_is_followed(here: Lab) -> None:
    (machine,) = here.control_planes(1)
    newer = SecretStr(configuration(bundle(), hostname="renamed"))
    with machine.spoken() as node:
        node.apply(newer)
    here.here.wait(30)
    with machine.spoken() as node:
        assert not node.compare(newer).differs


# etcd -----------------------------------------------------------------------------------------------------------------


def test_etcd_is_founded_once(here: Lab) -> None:
    machine, *_ = machines = here.control_planes(3)
    with machine.spoken() as node:
        with pytest.raises(Transient, match="etcd client"):
            node.members()
        node.bootstrap()
        with pytest.raises(AlreadyDone, match="done before"):
            node.bootstrap()
    here.here.wait(SETTLED)
    with machines[2].spoken() as node:
        members = node.members()
        assert {one.hostname for one in members} == {"lab-1", "lab-2", "lab-3"}
        assert node.etcd().leader == next(one.id for one in members if one.hostname == "lab-1")
        with pytest.raises(AlreadyDone):
            node.bootstrap()
    assert machine.reached(KUBERNETES).address is not None


def test_a_majority_decides(here: Lab) -> None:
    first, second, third = here.bootstrapped(3)
    first.act("STOP")
    with second.spoken() as node:
        gone = next(one.id for one in node.members() if one.hostname == "lab-1")
        assert node.etcd().leader not in (0, gone), "another one leads"
    assert second.reached(KUBERNETES).address is not None
    third.act("STOP")
    with second.spoken() as node:
        status = node.etcd()
        assert (status.leader, status.errors) == (0, ("etcdserver: no leader",))
        with pytest.raises(Transient, match="no leader"):
            node.members()
        assert node.services()["etcd"].healthy is False
    assert second.reached(KUBERNETES).address is None, "no quorum, no Kubernetes"
    first.act("START")
    with second.spoken() as node:
        assert node.etcd().leader
        lost = next(one.id for one in node.members() if one.hostname == "lab-3")
        node.remove_member(lost)
        assert {one.hostname for one in node.members()} == {"lab-1", "lab-2"}
        with pytest.raises(Refused, match="member not found"):
            node.remove_member(lost)


def test_a_worker_has_no_etcd(here: Lab) -> None:
    here.bootstrapped()
    worker = here.machine(configuration(bundle(), "worker", hostname="lab-worker"))
    with worker.spoken() as node:
        assert "etcd" not in node.services()
        for call in (node.bootstrap, node.members, node.etcd, node.kubeconfig):
            with pytest.raises(NotOffered, match="only available on control plane nodes"):
                call()


def test_a_snapshot_brings_back_what_was_there(here: Lab, tmp_path: Path) -> None:
    (machine,) = here.bootstrapped()
    kept = tmp_path / "etcd.db"
    with machine.spoken() as node:
        size = node.snapshot(kept)
        before = kept.read_bytes()
        assert (size, size % 512) == (len(before), 32)
        assert hashlib.sha256(before[:-32]).digest() == before[-32:]
        assert kept.stat().st_mode & 0o077 == 0
        first = node.members()[0].id
        node.reset(graceful=False, labels=("EPHEMERAL",))
    here.here.wait(SETTLED)
    assert etcd(machine) == "Preparing"
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(before[:-1] + b"x")
    with machine.spoken() as node:
        node.recover(damaged)
        with pytest.raises(Transient, match="hash does not match"):
            node.bootstrap(from_snapshot=True)
        node.recover(kept)
        node.bootstrap(from_snapshot=True)
    here.here.wait(SETTLED)
    with machine.spoken() as node:
        assert node.members()[0].id != first, "another etcd"
    assert machine.reached(KUBERNETES).address is not None


# kubernetes -----------------------------------------------------------------------------------------------------------


def test_the_kubeconfig_is_for_an_administrator_of_this_cluster(here: Lab) -> None:
    from ocifree_pipeline.systems.kube.api import api_at
    from ocifree_pipeline.systems.kube.kubeconfig import credentials_of

    (machine,) = here.bootstrapped()
    with machine.spoken() as node:
        credentials = credentials_of(node.kubeconfig())
    assert credentials.authority.strip() == bundle().kubernetes.certificate.strip()
    address = machine.reached(KUBERNETES).address
    assert address is not None
    with api_at(address, credentials) as api:
        assert api.version() == V1_13[1]
        assert api.list(api.require("v1", "Namespace"))


# life -----------------------------------------------------------------------------------------------------------------


def test_an_upgrade_is_installed_then_booted(here: Lab) -> None:
    (machine,) = here.bootstrapped()
    said: list[str] = []
    with machine.spoken() as node:
        node.upgrade(NEXT, said.append)
        assert node.version().tag == "v1.13.9", "until it is started again"
        node.reboot()
    assert any("v1.14.2" in line for line in said)
    here.here.wait(SETTLED)
    with machine.spoken() as node:
        assert node.version().tag == "v1.14.2"
        assert node.etcd().leader, "etcd is where it was"
    assert machine.reached(KUBERNETES).address is not None


@pytest.mark.parametrize(
    ("installer", "kind", "said"),
    [
        (INSTALLER.format(version="1.16.0"), Refused, "installer of Talos failed"),
        ("factory.talos.dev/nocloud-installer/" + "c" * 64 + ":v1.14.2", Transient, "not found"),
        ("ghcr.io/somebody/else:v1.14.2", Transient, "not found"),
    ],
)
def test_an_upgrade_that_cannot_be_leaves_the_node_as_it_is(
    shared: Machine, installer: str, kind: type[OcifreeError], said: str
) -> None:
    with shared.spoken() as node:
        with pytest.raises(kind, match=said):
            node.upgrade(installer, lambda line: None)
        assert node.version().tag == "v1.13.9"


def test_a_node_of_the_newer_dialect_comes_up_as_well(here: Lab) -> None:
    (machine,) = here.control_planes(1, versions=V1_14)
    with machine.spoken() as node:
        assert node.version().tag == "v1.14.2"
        node.bootstrap()
    here.here.wait(SETTLED)
    assert machine.reached(KUBERNETES).address is not None


def test_a_graceful_reset_takes_the_old_member_out_before_a_new_one_comes(here: Lab) -> None:
    first, _, third = here.bootstrapped(3)
    with first.spoken() as node:
        before = {one.hostname: one.id for one in node.members()}
    with third.spoken() as node:
        node.reset(graceful=True)
    with first.spoken() as node:
        assert {one.hostname for one in node.members()} == {"lab-1", "lab-2"}
    here.here.wait(SETTLED)
    with first.spoken() as node:
        after = {one.hostname: one.id for one in node.members()}
    assert third.console.count("fetching one from") == 2, "it came up anew, with what Oracle handed over"
    assert after.keys() == before.keys()
    assert after["lab-3"] != before["lab-3"]


def test_a_wiped_disk_may_join_once_its_older_member_is_removed(here: Lab) -> None:
    first, _, third = here.bootstrapped(3)
    with third.spoken() as node:
        node.reset(graceful=False)
    here.here.wait(SETTLED)
    assert etcd(third) == "Preparing"
    assert "has already been bootstrapped" in third.console
    with first.spoken() as node:
        older = next(one.id for one in node.members() if one.hostname == "lab-3")
        node.remove_member(older)
    here.here.wait(SETTLED)
    with first.spoken() as node:
        assert older not in {one.id for one in node.members()}
        assert len(node.members()) == 3


# faults ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_fault_strikes_one_call_and_is_proved(here: Lab, moment: Any) -> None:
    (machine,) = here.control_planes(1)
    faults = here.here.sandbox.faults
    faults.clear()
    faults.add(Rule(service="talos", operation="Bootstrap", moment=moment, message="the way broke"))
    with machine.spoken() as node:
        with pytest.raises(Transient, match="Bootstrap failed"):
            node.bootstrap()
        assert [one.operation for one in faults.fired] == ["Bootstrap"]
        if moment == "before":
            node.bootstrap()
        else:
            with pytest.raises(AlreadyDone):
                node.bootstrap()
