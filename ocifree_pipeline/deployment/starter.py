"""The first declaration of a person: a few answers, with everything else at its default and explained."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from ocifree_pipeline.deployment.loading import parse

# A key that nobody can log in with, so that an untouched answer is valid and harmless.
PLACEHOLDER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP+W1dHrhQS4tFEs5mqe7hxQC9oWgcIwbQDBlvbfXYkG you@example"
PLACEHOLDER_EMAIL = "you@example.org"


@dataclass(frozen=True, slots=True)
class Answers:
    """What only a person knows. The questions are what `ocifree init` asks."""

    name: str = field(default="lab", metadata={"question": "A short name; every resource gets it as a prefix"})
    region: str = field(default="uk-london-1", metadata={"question": "Your home region"})
    account: str = field(default="payg", metadata={"question": "Kind of account (free or payg)"})
    topology: str = field(default="auto", metadata={"question": "Topology (auto, talos-native or proxmox-ceph)"})
    ssh_public_key: str = field(
        default=PLACEHOLDER_KEY, metadata={"question": "Your SSH public key (the line of the .pub file)"}
    )
    email: str = field(default=PLACEHOLDER_EMAIL, metadata={"question": "Who hears of the first cent"})


def starter(answers: Answers) -> str:
    """The text of a declaration. Raises InvalidDeclaration if an answer cannot be used."""
    text = _TEMPLATE.format(
        name=_scalar(answers.name),
        region=_scalar(answers.region),
        account=_scalar(answers.account),
        topology=_scalar(answers.topology),
        allowance=_allowance(answers),
        key=_scalar(answers.ssh_public_key),
        key_note="REPLACE THIS KEY: nobody can log in with it. " if answers.ssh_public_key == PLACEHOLDER_KEY else "",
        images="" if answers.topology == "proxmox-ceph" else _IMAGES,
        email=_scalar(answers.email),
        email_note="REPLACE THIS ADDRESS. " if answers.email == PLACEHOLDER_EMAIL else "",
    )
    parse(text, source="the answers")
    return text


def _scalar(text: str) -> str:
    """`text` as one YAML value, with quotes only where they are needed."""
    return yaml.safe_dump(text, width=10**6, allow_unicode=True).removesuffix("...\n").rstrip("\n")


def _allowance(answers: Answers) -> str:
    if answers.topology != "proxmox-ceph":
        return "  allowance: always-free-2026    # 2 OCPUs and 12 GB: what Oracle gives now"
    return (
        "  # RISK: three Proxmox nodes need 3 OCPUs, and since June 2026 only 2 are free. With these older\n"
        "  # numbers (4 OCPUs, 24 GB) Oracle may bill or end what is above 2 and 12. Look at the limits of your\n"
        "  # tenancy first, and watch the first bill.\n"
        "  allowance: always-free-2025"
    )


_IMAGES = """\
# The bastion starts from Oracle's own Ubuntu, so that nothing has to be built here. An image of your own, hardened on
# this computer with Packer and QEMU, is `build: {source: {url: ..., sha512: ...}}` in place of `platform`.
images:
  base_hardened_amd64: {platform: {operating_system: Canonical Ubuntu, version: "24.04"}}

"""

_TEMPLATE = """\
# What this platform shall be. Every key is explained in docs/declaration.md.
# Check it with `ocifree validate`, then see what it leads to with `ocifree plan`.
version: 1
name: {name}

site:
  region: {region}    # your home region; free machines exist nowhere else
  account: {account}    # free, or payg (pay as you go), which gets capacity sooner and may import images
{allowance}

# auto takes what the allowance carries. talos-native is the fast one; proxmox-ceph emulates its guests.
topology: {topology}

access:
  # {key_note}The content of a .pub file, one line each.
  ssh_public_keys:
    - {key}
  # Puts all machines into your tailnet.
  # tailscale:
  #   enabled: true
  #   oauth: {{client_id: env:TS_CLIENT_ID, client_secret: env:TS_CLIENT_SECRET}}

# {email_note}Who hears of the first cent.
budget:
  alert_emails:
    - {email}

{images}# Metrics, logs and dashboards in Grafana Cloud's free plan. Secrets are references, never values.
# monitoring:
#   grafana_cloud:
#     stack: lab
#     prometheus: {{url: "https://prometheus-prod-05-gb-south-0.grafana.net", user: "123456"}}
#     loki: {{url: "https://logs-prod-008.grafana.net", user: "123456"}}
#     token: env:GRAFANA_CLOUD_TOKEN
#     service_account_token: env:GRAFANA_TOKEN

# How patiently to ask for machines that Oracle does not have.
# hunt:
#   interval_minutes: 15
#   partial: hold

# Who is told when a run fails or capacity is found: Apprise addresses, kept as secrets.
# notify: [env:NOTIFY_URL]
"""
