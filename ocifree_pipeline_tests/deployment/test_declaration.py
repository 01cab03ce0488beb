"""What a valid declaration means: its defaults, and what is derived from it."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, ValidationError

from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.examples import EXAMPLES, example, example_path
from ocifree_pipeline.deployment.loading import load, parse
from ocifree_pipeline.deployment.schema import json_schema
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline_tests.deployment.declared import KEY, declared

VALID = {
    "smallest": "",
    "free account": "site: {region: uk-london-1, account: free}",
    "free account on an Oracle image": """
site: {region: uk-london-1, account: free}
images: {talos: {platform: {operating_system: Canonical Ubuntu, version: "22.04 Minimal aarch64"}}}
""",
    "older allowance with three nodes": """
site: {region: uk-london-1, account: payg, allowance: always-free-2025}
topology: proxmox-ceph
nodes:
  ampere:
    - {ocpus: 2, memory_gb: 8, boot_volume_gb: 50}
    - {ocpus: 1, memory_gb: 8}
    - {ocpus: 1, memory_gb: 8}
""",
    "everything in the tailnet": f"""
nodes: {{bastion: none}}
access:
  ssh_public_keys: ["{KEY}"]
  ssh_user: ops
  tailscale: {{enabled: true, oauth: {{client_id: env:TS_ID, client_secret: sops:secrets.yaml#tailscale.secret}}}}
  http_proxy: http://proxy.example.org:3128
kubernetes: {{tailscale_operator: {{enabled: true}}}}
""",
    "address plan moved as a whole": """
network:
  vcn_cidr: 172.20.0.0/20
  pods: 172.24.0.0/16
  services: 172.28.0.0/16
  guests: 192.168.0.0/16
  vxlan: {mtu: 1400, vni: 77}
  dns_zone: lab.example.org
""",
    "ranges that touch without overlap": """
network: {vcn_cidr: 10.0.0.0/16, guests: 10.1.0.0/16, pods: 10.2.0.0/16, services: 10.3.0.0/16}
""",
    "older Talos with a Kubernetes it supports": "kubernetes: {talos_version: v1.12.11, kubernetes_version: 1.35.2}",
    "one copy, accepted": "ceph: {size: 2, min_size: 1, accept_min_size_1: true}",
    "images from a public address": """
images:
  talos:
    prebuilt:
      url: https://factory.talos.dev/image/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba/v1.13.9/oracle-arm64.qcow2
      sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
""",
    "monitoring": """
monitoring:
  grafana_cloud:
    stack: lab
    prometheus: {url: "https://prometheus-prod-05-gb-south-0.grafana.net/api/prom/push", user: "1234567"}
    loki: {url: "https://logs-prod-008.grafana.net", user: "123456"}
    tempo: {url: "https://tempo-prod-06-prod-gb-south-0.grafana.net:443", user: "123456"}
    token: vault:grafana/token
  dashboards: [kubernetes, logs]
  contact_emails: [ops@example.org]
""",
    "hunt in one domain": "hunt: {interval_minutes: 5, daily_call_budget: 288, availability_domains: [2], jitter: 0}",
    "OpenTofu with S3 state": """
foundation:
  engine: opentofu
  state:
    backend: s3
    s3: {endpoint: "https://s3.example.org", bucket: lab-state, access_key: env:A, secret_key: env:B}
""",
    "notifications": "notify: [env:CHAT_URL, 'syslog://']",
    "secrets by name": "notify: ['secret:chat']\nsecrets: {chat: env:CHAT_URL}",
    "flux and quotas": """
kubernetes:
  flux: {enabled: true, repository: "ssh://git@git.example.org/me/lab.git", path: ./clusters/lab, credentials: env:KEY}
  namespaces: {web: {cpu: 500m, memory: 1Gi}, batch: {cpu: "1.5", memory: 512Mi, pods: 5}}
""",
    "empty sections": "hunt:\nnodes:\nkubernetes:\n  gateway:\n",
    "anchors": """
monitoring:
  grafana_cloud:
    stack: lab
    prometheus: &store {url: "https://p.grafana.net", user: "1"}
    loki: {<<: *store, user: "2"}
    token: env:T
""",
}


@pytest.mark.parametrize("snippet", VALID.values(), ids=VALID.keys())
def test_valid(snippet: str) -> None:
    text = declared(snippet)
    parse(text)
    jsonschema.validate(yaml.safe_load(text), json_schema())


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_valid_here_and_in_editors(name: str) -> None:
    declaration = parse(example(name))
    assert declaration.topology == name
    assert load(example_path(name)) == declaration
    jsonschema.validate(yaml.safe_load(example(name)), json_schema())


def test_an_example_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="proxmox-ceph, talos-native"):
        example("k3s")


def test_the_defaults_of_the_smallest_declaration() -> None:
    declaration = parse(declared())
    assert declaration.topology == "auto"
    assert declaration.site.allowance == "always-free-2026"
    assert (declaration.nodes.count, declaration.nodes.ampere, declaration.nodes.bastion) == (None, None, "micro")
    assert (declaration.ceph.size, declaration.ceph.min_size) == (2, 2)
    assert declaration.kubernetes.control_planes == "auto"
    assert declaration.compartment == "lab"
    assert declaration.ssh_via == "bastion"


def test_a_free_account_is_assumed_unless_said_otherwise() -> None:
    assert parse(declared("site: {region: uk-london-1}")).site.account == "free"


@pytest.mark.parametrize(
    ("account", "image", "origin"),
    [
        ("payg", "base_hardened_amd64", "build"),
        ("payg", "proxmox_ampere", "build"),
        ("payg", "talos", "build"),
        ("free", "base_hardened_amd64", "platform"),
        ("free", "talos", "platform"),
        ("free", "proxmox_ampere", None),
    ],
)
def test_images_follow_the_account(account: str, image: Any, origin: str | None) -> None:
    found = parse(declared(f"site: {{region: uk-london-1, account: {account}}}")).image(image)
    assert (found.origin if found else None) == origin


def test_a_declared_image_wins_over_the_default() -> None:
    declaration = parse(declared("images: {base_hardened_amd64: {build: {debian: 12}}}"))
    image = declaration.image("base_hardened_amd64")
    assert image is not None
    assert image.build is not None
    assert image.model_dump()["build"] == {"source": None, "debian": 12}


def test_subnets_follow_the_vcn() -> None:
    network = parse(declared("network: {vcn_cidr: 172.20.0.0/20, public_subnet: 172.20.0.0/24}")).network
    assert network.private_subnet == IPv4Network("172.20.1.0/24")


def test_a_small_vcn_is_quartered() -> None:
    network = parse(declared("network: {vcn_cidr: 192.168.7.0/26}")).network
    assert (network.public_subnet, network.private_subnet) == (
        IPv4Network("192.168.7.0/28"),
        IPv4Network("192.168.7.16/28"),
    )


def test_ssh_takes_the_tailnet_where_there_is_no_bastion() -> None:
    assert parse(declared(VALID["everything in the tailnet"])).ssh_via == "tailnet"


def test_every_reference_to_a_secret_is_resolved_to_its_place() -> None:
    declaration = parse(
        declared(
            f"""
access: {{ssh_public_keys: ["{KEY}"], tailscale: {{enabled: true, auth_key: "secret:tailnet"}}}}
notify: [env:CHAT_URL, "syslog://"]
secrets: {{tailnet: "sops:secrets.yaml#tailscale.key"}}
"""
        )
    )
    reference = SecretRef("sops", "secrets.yaml#tailscale.key")
    assert declaration.access.tailscale.auth_key == declaration.secrets["tailnet"] == reference
    assert declaration.notify[0] == SecretRef("env", "CHAT_URL")
    assert (reference.file, reference.key, str(reference)) == (
        "secrets.yaml",
        "tailscale.key",
        "sops:secrets.yaml#tailscale.key",
    )


@pytest.mark.parametrize("store", ['{<<: *store, user: "2"}', '{user: "2", <<: *store}', '{<<: [*store], user: "2"}'])
def test_what_is_written_wins_over_what_is_merged(store: str) -> None:
    stack = f"""
monitoring:
  grafana_cloud:
    stack: lab
    prometheus: &store {{url: "https://p.grafana.net", user: "1"}}
    loki: {store}
    token: env:T
"""
    grafana = parse(declared(stack)).monitoring.grafana_cloud
    assert grafana is not None
    assert (grafana.loki.url, grafana.loki.user) == ("https://p.grafana.net", "2")


@pytest.mark.parametrize("snippet", VALID.values(), ids=VALID.keys())
def test_what_is_written_out_is_read_back_the_same(snippet: str) -> None:
    declaration = parse(declared(snippet))
    assert parse(yaml.safe_dump(declaration.model_dump(mode="json", exclude_none=True))) == declaration


def test_a_declaration_does_not_change() -> None:
    declaration = parse(declared())
    with pytest.raises(ValidationError):
        declaration.name = "other"  # type: ignore[misc]


def test_contradictions_are_refused_without_a_file_too() -> None:
    with pytest.raises(ValidationError, match=r"set site\.account to payg"):
        Declaration.model_validate(
            {
                "name": "lab",
                "topology": "proxmox-ceph",
                "site": {"region": "uk-london-1", "account": "free"},
                "access": {"ssh_public_keys": [KEY]},
                "budget": {"alert_emails": ["me@example.org"]},
            }
        )


def _models(model: type[BaseModel] = Declaration) -> set[type[BaseModel]]:
    definitions = json_schema()["$defs"]
    found: set[type[BaseModel]] = {model}
    pending = [model]
    while pending:
        for field in pending.pop().model_fields.values():
            for candidate in _inside(field.annotation):
                if candidate not in found:
                    found.add(candidate)
                    pending.append(candidate)
    assert {each.__name__ for each in found} == {*definitions, Declaration.__name__}
    return found


def _inside(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _inside(argument)]


def test_every_key_is_explained_and_every_required_one_has_an_example() -> None:
    for model in _models():
        for name, field in model.model_fields.items():
            where = f"{model.__name__}.{name}"
            assert field.description, where
            if field.is_required() and not _inside(field.annotation):
                assert field.examples, where
