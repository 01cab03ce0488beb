"""The tailnet of a deployment: keys for machines that join, and its list where an OAuth client may read it."""

from __future__ import annotations

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.deployment.sections.access import TailscaleOauth
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.systems.secrets.source import resolve
from ocifree_pipeline.systems.secrets.vault import vault_of
from ocifree_pipeline.systems.tailscale.tailnet import Device, Tailnet, tailnet_of

LINKS = "links/tailnet"


class TailnetFacts(Facts):
    """links/tailnet: the address of each machine in the tailnet."""

    addresses: dict[str, str]


def key_for(step: Step, machine: str) -> SecretStr:
    """A key for one machine, made for it; else the reusable one of the declaration."""
    from ocifree_pipeline.systems.tailscale.keys import single_use_key

    tailscale = step.blueprint.declaration.access.tailscale
    if tailscale.oauth is not None:
        client_id, secret = _client(step, tailscale.oauth)
        return single_use_key(client_id, secret, tailscale.tags, machine)
    if tailscale.auth_key is None:
        raise PreconditionMissing(
            "there is no credential for the tailnet",
            why="access.tailscale has neither `oauth` nor `auth_key`",
            fix="add one to the declaration",
        )
    return resolve(tailscale.auth_key, vault_of(step.blueprint.declaration.name))


def tailnet(step: Step) -> Tailnet | None:
    """None with a plain auth key, which lets machines in and shows nothing."""
    oauth = step.blueprint.declaration.access.tailscale.oauth
    return None if oauth is None else tailnet_of(*_client(step, oauth))


def listed(devices: tuple[Device, ...], address: str) -> Device | None:
    return next((one for one in devices if address in one.addresses), None)


def _client(step: Step, oauth: TailscaleOauth) -> tuple[SecretStr, SecretStr]:
    vault = vault_of(step.blueprint.declaration.name)
    return resolve(oauth.client_id, vault), resolve(oauth.client_secret, vault)
