"""Machine configurations: what Talos wants in both dialects, who gets which key, and the same text every time."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Refused
from ocifree_pipeline.systems.talos.certificates import Pair
from ocifree_pipeline.systems.talos.configuration import (
    digest_of,
    installer_image,
    log_receiver,
    machine_configuration,
    require_room,
)
from ocifree_pipeline.systems.talos.nodes import Cluster, Node, Role, StaticAddress
from ocifree_pipeline.systems.talos.secrets import Bundle

Documents = dict[tuple[str, str], dict[str, Any]]

V1_13 = ("1.13.9", "1.36.3")
V1_14 = ("1.14.2", "1.37.0")
ADDRESS = StaticAddress(IPv4Interface("10.20.0.10/24"), IPv4Address("10.20.0.1"))
ENDPOINT = "https://lab-ampere-1.public.lab.oraclevcn.com:6443"


def cluster(versions: tuple[str, str] = V1_13, **more: Any) -> Cluster:
    return Cluster(
        **{
            "name": "lab",
            "endpoint": ENDPOINT,
            "talos_version": versions[0],
            "kubernetes_version": versions[1],
            "pods": IPv4Network("10.244.0.0/16"),
            "services": IPv4Network("10.96.0.0/12"),
            "nodes": IPv4Network("10.0.0.0/24"),
            "alternative_names": ("lab-ampere-1.public.lab.oraclevcn.com", "203.0.113.9"),
            **more,
        }
    )


def node(role: Role = "controlplane", **more: Any) -> Node:
    return Node("lab-ampere-1", role, installer_image("oracle", "c" * 64, "1.13.9"), **more)


def read(text: SecretStr) -> Documents:
    documents = list(yaml.safe_load_all(text.get_secret_value()))
    found = {(one.get("kind", ""), one.get("name", "")): one for one in documents}
    assert len(found) == len(documents), "no document twice"
    assert documents[0]["version"] == "v1alpha1"
    assert all(one["apiVersion"] == "v1alpha1" for one in documents[1:])
    return found


def main(found: Documents) -> tuple[dict[str, Any], dict[str, Any]]:
    return found["", ""]["machine"], found["", ""]["cluster"]


# what Talos 1.13 wants ------------------------------------------------------------------------------------------------


def test_a_control_plane_of_1_13(bundle: Bundle) -> None:
    found = read(machine_configuration(cluster(), node(time_servers=("169.254.169.254",)), bundle))
    assert {kind for kind, _ in found} == {"", "HostnameConfig", "TimeSyncConfig"}
    machine, rest = main(found)
    assert machine["type"] == "controlplane"
    assert machine["install"] == {
        "disk": "/dev/sda",
        "image": f"factory.talos.dev/oracle-installer/{'c' * 64}:v1.13.9",
        "wipe": False,
        "grubUseUKICmdline": True,
    }
    assert machine["kubelet"]["image"] == "ghcr.io/siderolabs/kubelet:v1.36.3"
    assert machine["kubelet"]["nodeIP"] == {"validSubnets": ["10.0.0.0/24"]}
    assert machine["features"]["kubePrism"] == {"enabled": True, "port": 7445}
    assert rest["controlPlane"] == {"endpoint": ENDPOINT}
    assert rest["network"] == {
        "dnsDomain": "cluster.local",
        "podSubnets": ["10.244.0.0/16"],
        "serviceSubnets": ["10.96.0.0/12"],
        "cni": {"name": "none"},
    }
    assert rest["proxy"] == {"disabled": True}
    assert rest["discovery"] == {"enabled": True, "registries": {"kubernetes": {"disabled": True}, "service": {}}}
    assert rest["etcd"]["advertisedSubnets"] == ["10.0.0.0/24"]
    assert rest["apiServer"]["certSANs"] == machine["certSANs"] == list(cluster().alternative_names)
    assert rest["allowSchedulingOnControlPlanes"] is True
    assert "externalCloudProvider" not in rest
    assert found["HostnameConfig", ""] == {
        "apiVersion": "v1alpha1",
        "kind": "HostnameConfig",
        "hostname": "lab-ampere-1",
        "auto": "off",
    }
    assert found["TimeSyncConfig", ""]["ntp"] == {"servers": ["169.254.169.254"]}


def test_off_is_a_word_for_every_reader_of_yaml(bundle: Bundle) -> None:
    text = machine_configuration(cluster(), node(), bundle).get_secret_value()
    assert re.search(r"^auto: 'off'$", text, re.MULTILINE)


# what Talos 1.14 wants ------------------------------------------------------------------------------------------------

EVERYWHERE = {
    "", "DiscoveryServiceConfig", "DiscoveryIdentityConfig", "UnattendedInstallConfig", "ResolverConfig",
    "KubeClusterConfig", "KubeNodeConfig", "KubeletConfig", "KubeNetworkConfig", "KubeAPIServerCAConfig",
    "KubePrismConfig", "HostnameConfig",
}  # fmt: skip
CONTROL_PLANE = {
    "KubeAggregatorCAConfig", "KubeAdmissionControlConfig", "KubeAuditPolicyConfig", "KubeAuthenticationConfig",
    "KubeAuthorizerConfig", "KubeEtcdEncryptionConfig", "KubeServiceAccountConfig", "KubeAPIServerConfig",
    "KubeControllerManagerConfig", "KubeSchedulerConfig", "KubeProxyConfig", "KubeCoreDNSConfig",
}  # fmt: skip
REPLACED = {
    "machine": {"install", "kubelet", "nodeLabels", "nodeTaints", "network", "time"},
    "cluster": {
        "id", "secret", "clusterName", "controlPlane", "network", "discovery", "ca", "aggregatorCA", "serviceAccount",
        "apiServer", "controllerManager", "scheduler", "proxy", "secretboxEncryptionSecret",
        "allowSchedulingOnControlPlanes",
    },
}  # fmt: skip


def test_a_control_plane_of_1_14(bundle: Bundle) -> None:
    found = read(machine_configuration(cluster(V1_14), node(), bundle))
    assert {kind for kind, _ in found} == EVERYWHERE | CONTROL_PLANE
    assert found["KubeClusterConfig", ""]["endpoint"] == ENDPOINT
    assert found["KubeProxyConfig", ""]["enabled"] is False
    assert found["KubePrismConfig", ""]["port"] == 7445
    assert found["KubeNetworkConfig", ""]["podSubnets"] == ["10.244.0.0/16"]
    assert found["KubeNodeConfig", ""]["nodeIP"] == {"validSubnets": ["10.0.0.0/24"]}
    assert "taints" not in found["KubeNodeConfig", ""]
    assert found["UnattendedInstallConfig", ""]["provisioning"]["diskSelector"] == {
        "match": 'disk.dev_path == "/dev/sda"'
    }
    assert found["KubeAPIServerConfig", ""]["certExtraSANs"] == list(cluster().alternative_names)
    assert found["KubeAPIServerCAConfig", ""]["issuingCA"] == {
        "cert": bundle.kubernetes.certificate,
        "key": bundle.kubernetes.key,
    }
    key = {"name": "key2", "secret": bundle.secretbox_key}
    (resource,) = found["KubeEtcdEncryptionConfig", ""]["config"]["resources"]
    assert resource == {"resources": ["secrets"], "providers": [{"secretbox": {"keys": [key]}}]}


@pytest.mark.parametrize("role", ["controlplane", "worker"])
def test_1_14_writes_no_field_that_a_document_replaces(bundle: Bundle, role: Role) -> None:
    with_workers = cluster(V1_14, has_workers=True, external_cloud_provider=True)
    found = read(machine_configuration(with_workers, node(role), bundle))
    machine, rest = main(found)
    assert not REPLACED["machine"] & set(machine)
    assert not REPLACED["cluster"] & set(rest)
    assert "hostDNS" not in machine["features"]
    assert "kubePrism" not in machine["features"]
    if role == "worker":
        assert not CONTROL_PLANE & {kind for kind, _ in found}


# both -----------------------------------------------------------------------------------------------------------------

both = pytest.mark.parametrize("versions", [V1_13, V1_14], ids=["1.13", "1.14"])


@both
def test_a_static_address_brings_its_route(bundle: Bundle, versions: tuple[str, str]) -> None:
    found = read(machine_configuration(cluster(versions), node(address=ADDRESS), bundle))
    link = found["LinkConfig", "eth0"]
    assert link["addresses"] == [{"address": "10.20.0.10/24"}]
    assert link["routes"] == [{"gateway": "10.20.0.1"}]


@both
def test_control_planes_beside_workers_carry_nothing_else(bundle: Bundle, versions: tuple[str, str]) -> None:
    alone, beside = (
        read(machine_configuration(cluster(versions, has_workers=workers), node(), bundle)) for workers in (False, True)
    )
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    if versions == V1_13:
        assert [main(found)[1]["allowSchedulingOnControlPlanes"] for found in (alone, beside)] == [True, False]
        assert [label in main(found)[0].get("nodeLabels", {}) for found in (alone, beside)] == [False, True]
    else:
        kinds = [found["KubeNodeConfig", ""] for found in (alone, beside)]
        assert [one.get("taints") for one in kinds] == [None, {"node-role.kubernetes.io/control-plane": "NoSchedule"}]
        assert [label in one["labels"] for one in kinds] == [False, True]


@both
@pytest.mark.parametrize("role", ["controlplane", "worker"])
def test_a_cloud_controller_is_waited_for_where_there_is_one(
    bundle: Bundle, versions: tuple[str, str], role: Role
) -> None:
    found = read(machine_configuration(cluster(versions, external_cloud_provider=True), node(role), bundle))
    assert main(found)[1]["externalCloudProvider"] == {"enabled": True}


@both
def test_the_log_goes_to_a_receiver_when_there_is_one(bundle: Bundle, versions: tuple[str, str]) -> None:
    url = "udp://10.0.0.9:6050"
    found = read(machine_configuration(cluster(versions), node(), bundle, log_receiver(url)))
    assert main(found)[0]["logging"]["destinations"] == [{"endpoint": url, "format": "json_lines"}]
    assert found["KmsgLogConfig", "receiver"]["url"] == url


# what always holds ----------------------------------------------------------------------------------------------------

labels = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
networks = st.sampled_from(["10.244.0.0/16", "172.16.0.0/14", "192.168.0.0/20"]).map(IPv4Network)
clusters = st.builds(
    cluster,
    st.sampled_from([("1.12.4", "1.35.0"), V1_13, V1_14]),
    name=labels,
    endpoint=labels.map("https://{}.public.lab.oraclevcn.com:6443".format),
    pods=networks,
    services=networks,
    nodes=networks,
    alternative_names=st.lists(labels, max_size=4, unique=True).map(tuple),
    has_workers=st.booleans(),
    external_cloud_provider=st.booleans(),
)
nodes = st.builds(
    Node,
    hostname=labels,
    role=st.sampled_from(["controlplane", "worker"]),
    installer=st.just("factory.talos.dev/oracle-installer/x:v1"),
    address=st.sampled_from([None, ADDRESS]),
    time_servers=st.sampled_from([(), ("169.254.169.254",)]),
)
quickly = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quickly
@given(clusters, nodes)
def test_every_configuration_can_be_read_fits_and_names_its_node(bundle: Bundle, made: Cluster, one: Node) -> None:
    text = machine_configuration(made, one, bundle)
    found = read(text)
    assert main(found)[0]["type"] == one.role
    assert found["HostnameConfig", ""]["hostname"] == one.hostname
    assert require_room(text, one.hostname, 4096) < 20_000
    assert "&id" not in text.get_secret_value()
    assert not text.get_secret_value().startswith("#cloud-config")


@quickly
@given(clusters, nodes)
def test_equal_inputs_give_an_equal_text_and_other_secrets_another(
    bundle: Bundle, other_bundle: Bundle, made: Cluster, one: Node
) -> None:
    digest = digest_of(machine_configuration(made, one, bundle))
    assert digest == digest_of(machine_configuration(replace(made), replace(one), replace(bundle)))
    assert digest != digest_of(machine_configuration(made, one, other_bundle))
    assert digest != digest_of(machine_configuration(made, replace(one, hostname=one.hostname + "x"), bundle))


@quickly
@given(clusters, nodes.map(lambda one: replace(one, role="worker")))
def test_a_worker_signs_nothing(bundle: Bundle, made: Cluster, one: Node) -> None:
    text = machine_configuration(made, one, bundle).get_secret_value()
    found = read(SecretStr(text))
    leaves = set(_leaves(list(found.values())))
    assert bundle.trustd_token in leaves
    assert bundle.bootstrap_token in leaves
    keys = [*(pair.key for pair in bundle.authorities.values()), bundle.service_account_key, bundle.secretbox_key]
    assert not any(_encodings(key) & leaves for key in keys)
    assert "PRIVATE KEY" not in text


@quickly
@given(clusters, nodes.map(lambda one: replace(one, role="controlplane")))
def test_a_control_plane_has_every_key(bundle: Bundle, made: Cluster, one: Node) -> None:
    leaves = set(_leaves(list(read(machine_configuration(made, one, bundle)).values())))
    pairs: list[Pair] = list(bundle.authorities.values())
    for secret in [*(pair.key for pair in pairs), *(pair.certificate for pair in pairs), bundle.service_account_key]:
        assert _encodings(secret) & leaves
    assert {bundle.secretbox_key, bundle.cluster_id, bundle.cluster_secret} <= leaves


def test_one_that_is_too_big_for_oracle_is_refused_by_name(bundle: Bundle) -> None:
    text = machine_configuration(cluster(), node(), bundle)
    size = require_room(text, "lab-ampere-1", 100)
    assert require_room(text, "lab-ampere-1", 32_000 - size) == size
    with pytest.raises(Refused, match=f"configuration of lab-ampere-1 takes {size} bytes as user data") as caught:
        require_room(text, "lab-ampere-1", 32_000 - size + 1)
    assert "32000 bytes of metadata" in caught.value.why
    assert "ssh_public_keys" in caught.value.fix


def _leaves(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [value] if isinstance(value, str) else []


def _encodings(secret: str) -> set[str]:
    from ocifree_pipeline.systems.talos.secrets import encoded

    return {secret, encoded(secret)}
