"""The declaration: the one file a person writes. Each section is a module in `sections/`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment import consistency
from ocifree_pipeline.deployment.objection import refuse
from ocifree_pipeline.deployment.secret_reference import NAME, SecretRef, with_names_resolved
from ocifree_pipeline.deployment.sections.access import Access
from ocifree_pipeline.deployment.sections.budget import Budget
from ocifree_pipeline.deployment.sections.ceph import Ceph
from ocifree_pipeline.deployment.sections.foundation import Foundation
from ocifree_pipeline.deployment.sections.hunt import Hunt
from ocifree_pipeline.deployment.sections.images import Image, ImageName, Images
from ocifree_pipeline.deployment.sections.kubernetes import Kubernetes
from ocifree_pipeline.deployment.sections.monitoring import Monitoring
from ocifree_pipeline.deployment.sections.network import Network
from ocifree_pipeline.deployment.sections.nodes import AmpereNode, Nodes
from ocifree_pipeline.deployment.sections.notify import Target
from ocifree_pipeline.deployment.sections.section import Section, Several, matching
from ocifree_pipeline.deployment.sections.site import Site

__all__ = ["AmpereNode", "Declaration", "SecretName", "Topology"]

Topology = Literal["auto", "proxmox-ceph", "talos-native"]

DeploymentName = Annotated[
    str,
    matching(
        r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?",
        "not a name for resources: a small letter, then small letters, digits and hyphens, at most 20 in all",
        "write a short name such as lab",
    ),
]
SecretName = Annotated[
    str,
    matching(
        NAME,
        "not a name for a secret: small letters, digits and underscores",
        "write a name such as grafana_token",
    ),
]


class Declaration(Section):
    """A whole platform."""

    version: Literal[1] = Field(1, description="The version of this format.")
    name: DeploymentName = Field(
        description="The name of the deployment. Every resource gets it as a prefix.", examples=["lab"]
    )
    site: Site = Field(description="The Oracle tenancy.")
    topology: Topology = Field(
        "auto",
        description="`talos-native` puts Kubernetes straight on the A1 machines and is the fast one; `proxmox-ceph` "
        "puts it on Proxmox guests, which A1 can only emulate; `auto` takes what the allowance carries.",
    )
    nodes: Nodes = Field(Nodes(), description="The machines.")
    network: Network = Field(Network(), description="The address plan.")
    images: Images = Field(Images(), description="The disk images.")
    access: Access = Field(description="Who may log in.")
    kubernetes: Kubernetes = Field(Kubernetes(), description="The cluster.")
    ceph: Ceph = Field(Ceph(), description="Shared storage of the Proxmox nodes.")
    monitoring: Monitoring = Field(Monitoring(), description="Metrics, logs and traces.")
    budget: Budget = Field(description="The alert about the first cent.")
    hunt: Hunt = Field(Hunt(), description="How to wait for capacity.")
    foundation: Foundation = Field(Foundation(), description="What makes the network and the rest of the tenancy.")
    notify: Several[Target] = Field(
        (),
        description="Apprise addresses to tell when a run fails or capacity is found, each as a secret reference. "
        "Only addresses of this computer, such as syslog://, may stand here themselves.",
    )
    drift: Literal["report", "repair"] = Field(
        "report",
        description="What follows when something differs from what was made: `report` tells it, `repair` also mends "
        "what can be mended in place. Machines are never touched by it.",
    )
    secrets: dict[SecretName, SecretRef] = Field(
        {},
        description="Where secrets are kept, by a name of your own. Wherever a reference is wanted, `secret:NAME` "
        "takes the one of that name from here.",
    )

    @model_validator(mode="before")
    @classmethod
    def _names_of_secrets(cls, data: Any) -> Any:
        return with_names_resolved(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _sections_agree(self) -> Declaration:
        found = tuple(consistency.objections(dict(self)))
        if found:
            raise refuse(*found)
        return self

    @property
    def compartment(self) -> str:
        """The compartment that holds everything."""
        return self.site.compartment or self.name

    @property
    def ssh_via(self) -> Literal["bastion", "tailnet", "direct"]:
        """The way SSH takes to the A1 machines, with `auto` decided."""
        if self.access.via != "auto":
            return self.access.via
        return "bastion" if self.nodes.bastion != "none" else "tailnet"

    def image(self, name: ImageName) -> Image | None:
        """Where an image comes from, default of the account included; None if such an account cannot have it."""
        return self.images.image(name, self.site.account)
