"""A declaration together with the plan it leads to: all that the graph needs in order to be drawn.

The blueprint is made without any network, so its plan rests on the allowance alone. The asset `tenancy/plan` solves
again with the live limits; if those give less, it fails there and nothing is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.allowances import allowance
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import LimitReached
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.limits import Counts, Envelope, envelope
from ocifree_pipeline.deployment.loading import load, parse
from ocifree_pipeline.deployment.plan import Machine, Plan, Refusal, Topology
from ocifree_pipeline.deployment.sections.images import Image, ImageName
from ocifree_pipeline.deployment.solver import Ask, Size, solve

DEFAULT_FILE = Path("deployment.yaml")
SHOWN_WITHOUT_A_FILE = "proxmox-ceph"

_DECLARED_AS: Mapping[str, ImageName] = {"talos_oracle": "talos", "talos_nocloud": "talos"}


class DoesNotFit(LimitReached):
    """No plan fits. Carries the refusal with every reason."""

    def __init__(self, refusal: Refusal) -> None:
        nearest = refusal.nearest
        near = f"topology {nearest.topology} with {_counted(nearest)} fits" if nearest else "no topology fits"
        super().__init__(
            f"topology {refusal.topology} does not fit",
            why="; ".join(refusal.sentences()),
            fix=f"{near}; `ocifree plan` shows the numbers",
        )
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What was declared, and the machines that follow from it."""

    declaration: Declaration
    plan: Plan

    @property
    def images(self) -> tuple[str, ...]:
        """The images that this deployment makes, fetches or takes from Oracle, in the order of their making."""
        talos = "talos_oracle" if self.plan.topology == "talos-native" else "talos_nocloud"
        names = [*_names_of(self.declaration, self.plan.topology), talos]
        if "proxmox_ampere" in names and self.is_built_here("proxmox_ampere"):
            names.insert(0, "base_hardened_arm64")
        return tuple(dict.fromkeys(names))

    @property
    def custom_images(self) -> tuple[str, ...]:
        """The images that are imported into Oracle, because a machine there boots from them."""
        return images_of_machines(self.declaration, self.plan.topology)

    def declared_image(self, name: str) -> Image:
        """Where the image comes from; `talos_oracle` and `talos_nocloud` are both declared as `talos`."""
        declared = _declared_image(self.declaration, name)
        if declared is None:
            raise LookupError(f"a deployment without {name} has no such asset")
        return declared

    def is_built_here(self, name: str) -> bool:
        declared = _declared_image(self.declaration, name)
        return declared is not None and declared.origin == "build"

    def is_packer_build(self, name: str) -> bool:
        """A Talos image that is built comes from the Talos Image Factory, everything else from Packer."""
        return self.is_built_here(name) and name not in _DECLARED_AS

    def image_of(self, machine: Machine) -> str:
        if not machine.is_ampere:
            return "base_hardened_amd64"
        return "talos_oracle" if self.plan.topology == "talos-native" else "proxmox_ampere"

    @property
    def tailnet_machines(self) -> tuple[Machine, ...]:
        """Debian machines join by themselves; Talos nodes are reached through the operator or the bastion."""
        return tuple(m for m in self.plan.machines if self.plan.topology == "proxmox-ceph" or not m.is_ampere)


def images_of_machines(declaration: Declaration, topology: Topology) -> tuple[str, ...]:
    """The images that have to be imported; one that Oracle offers itself does not count."""
    return tuple(name for name in _names_of(declaration, topology) if not _is_oracles_own(declaration, name))


def _names_of(declaration: Declaration, topology: Topology) -> tuple[str, ...]:
    nodes = "talos_oracle" if topology == "talos-native" else "proxmox_ampere"
    return ("base_hardened_amd64", nodes) if declaration.nodes.bastion == "micro" else (nodes,)


def _declared_image(declaration: Declaration, name: str) -> Image | None:
    declared: ImageName = _DECLARED_AS.get(name) or name  # type: ignore[assignment]
    return declaration.images.image(declared, declaration.site.account)


def _is_oracles_own(declaration: Declaration, name: str) -> bool:
    declared = _declared_image(declaration, name)
    return declared is not None and declared.origin == "platform"


def ask_of(declaration: Declaration) -> Ask:
    """What the solver has to decide on."""
    topologies: tuple[Topology, ...] = ("proxmox-ceph", "talos-native")
    planes = declaration.kubernetes.control_planes
    return Ask(
        topology=None if declaration.topology == "auto" else declaration.topology,
        count=declaration.nodes.count,
        sizes=tuple(Size(node.ocpus, node.memory_gb, node.boot_volume_gb) for node in declaration.nodes.ampere)
        if declaration.nodes.ampere
        else None,
        bastion=declaration.nodes.bastion == "micro",
        control_planes=None if planes == "auto" else planes,
        ceph_size=declaration.ceph.size,
        images={topology: len(images_of_machines(declaration, topology)) for topology in topologies},
        image_gb=declaration.images.max_gb,
    )


def room_of(declaration: Declaration, limits: Counts | None = None, used_by_others: Counts | None = None) -> Envelope:
    site = declaration.site
    return envelope(allowance(site.allowance), site.account, limits, used_by_others)


def plan_for(
    declaration: Declaration, limits: Counts | None = None, used_by_others: Counts | None = None
) -> Plan | Refusal:
    return solve(ask_of(declaration), room_of(declaration, limits, used_by_others))


def blueprint_of(declaration: Declaration) -> Blueprint:
    answer = plan_for(declaration)
    if isinstance(answer, Refusal):
        raise DoesNotFit(answer)
    return Blueprint(declaration, answer)


def find_declaration(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Declaration:
    """From `path`, else OCIFREE_DEPLOYMENT, else deployment.yaml here, else the example that is shown without any."""
    named = path or (Path(environ["OCIFREE_DEPLOYMENT"]) if environ.get("OCIFREE_DEPLOYMENT") else None)
    if named is not None:
        return load(named)
    if DEFAULT_FILE.exists():
        return load(DEFAULT_FILE)
    return parse(example(SHOWN_WITHOUT_A_FILE), source=f"example {SHOWN_WITHOUT_A_FILE}")


def find_blueprint() -> Blueprint:
    return blueprint_of(find_declaration())


def _counted(plan: Plan) -> str:
    count = len(plan.ampere)
    return f"{count} A1 machine{'s' if count != 1 else ''}"
