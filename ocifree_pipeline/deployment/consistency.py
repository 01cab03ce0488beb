"""Checks that need more than one section. Each runs as soon as its own sections are readable."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ocifree_pipeline.deployment.objection import Objection
from ocifree_pipeline.deployment.sections.access import Access
from ocifree_pipeline.deployment.sections.images import IMAGE_NAMES, Images
from ocifree_pipeline.deployment.sections.kubernetes import Kubernetes
from ocifree_pipeline.deployment.sections.nodes import Nodes
from ocifree_pipeline.deployment.sections.site import Site

_NO_IMAGES = "a free account may keep no images of its own (custom-image-count is 0)"


def known_allowances() -> Collection[str]:
    """The allowances that are shipped."""
    from ocifree_pipeline.deployment.allowances import allowance_names

    return allowance_names()


def objections(sections: Mapping[str, Any]) -> Iterator[Objection]:
    """Whatever is wrong between the sections that are there."""
    for needs, check in _CHECKS:
        if all(name in sections for name in needs):
            yield from check(*(sections[name] for name in needs))


def _allowance_exists(site: Site) -> Iterator[Objection]:
    known = known_allowances()
    if site.allowance not in known:
        near = get_close_matches(site.allowance, known, n=1, cutoff=0.4)
        hint = f"write {near[0]}" if near else f"write one of {', '.join(sorted(known))}"
        yield Objection("there is no allowance of that name", hint, at=("site", "allowance"))


def _some_allowance_carries(nodes: Nodes) -> Iterator[Objection]:
    if nodes.asked is None:
        return
    from ocifree_pipeline.deployment.allowances import most_nodes_any_allowance_carries

    most = most_nodes_any_allowance_carries()
    if nodes.asked > most:
        yield Objection(
            f"every A1 machine takes at least one whole OCPU, and no known allowance has more than {most}",
            f"ask for {most} machines or fewer, or leave it out",
            at=("nodes", "count" if nodes.ampere is None else "ampere"),
        )


def _images_fit_account(site: Site, images: Images) -> Iterator[Objection]:
    if site.account != "free":
        return
    for name in IMAGE_NAMES:
        image = getattr(images, name)
        if image is None or image.origin == "platform":
            continue
        instead = (
            "remove it: the proxmox-ceph topology needs `account: payg`"
            if name == "proxmox_ampere"
            else 'write `platform: {operating_system: Canonical Ubuntu, version: "24.04"}`'
        )
        yield Objection(
            f"{_NO_IMAGES}, so what was built or fetched cannot be imported",
            f"set site.account to payg, or {instead}",
            at=("images", name),
            value=image.origin,
            involves=(("site", "account"),),
        )


def _topology_fits_account(site: Site, topology: str) -> Iterator[Objection]:
    if site.account == "free" and topology == "proxmox-ceph":
        yield Objection(
            f"it needs an image with Proxmox VE, and {_NO_IMAGES}",
            "set site.account to payg, or write talos-native",
            at=("topology",),
            involves=(("site", "account"),),
        )


def _proxmox_base_is_debian_13(topology: str, images: Images) -> Iterator[Objection]:
    """With proxmox_ampere left out it is still built, on this base."""
    base = images.base_hardened_arm64
    if topology == "proxmox-ceph" and images.proxmox_ampere is None and base and base.build and base.build.debian != 13:
        yield Objection(
            "proxmox_ampere is built on this image, and Proxmox VE for arm64 exists for Debian 13 only",
            "write 13",
            at=("images", "base_hardened_arm64", "build", "debian"),
            involves=(("topology",), ("images", "proxmox_ampere")),
        )


def _there_is_a_way_in(nodes: Nodes, access: Access) -> Iterator[Objection]:
    has_bastion, has_tailnet = nodes.bastion != "none", access.tailscale.enabled
    involves = (("nodes", "bastion"), ("access", "tailscale"))
    if access.via == "bastion" and not has_bastion:
        yield Objection(
            "there is no bastion to jump over (nodes.bastion is none)",
            "set nodes.bastion to micro, or write tailnet or direct",
            at=("access", "via"),
            involves=involves,
        )
    if access.via == "tailnet" and not has_tailnet:
        yield Objection(
            "the machines do not join a tailnet (access.tailscale.enabled is false)",
            "enable access.tailscale, or write bastion or direct",
            at=("access", "via"),
            involves=involves,
        )
    if access.via == "auto" and not has_bastion and not has_tailnet:
        yield Objection(
            "with neither bastion nor tailnet there is no way to the machines",
            "write micro, enable access.tailscale, or set access.via to direct",
            at=("nodes", "bastion"),
            involves=(*involves, ("access", "via")),
        )


def _operator_has_credentials(access: Access, kubernetes: Kubernetes) -> Iterator[Objection]:
    tailscale = access.tailscale
    if kubernetes.tailscale_operator.enabled and not (tailscale.enabled and tailscale.oauth):
        yield Objection(
            "the operator needs an OAuth client of the tailnet",
            "enable access.tailscale with `oauth: {client_id, client_secret}`, or write false",
            at=("kubernetes", "tailscale_operator", "enabled"),
            involves=(("access", "tailscale"),),
        )


def _oracles_controller_knows_the_nodes(topology: str, kubernetes: Kubernetes) -> Iterator[Objection]:
    if topology == "proxmox-ceph" and kubernetes.ccm.enabled:
        yield Objection(
            "Oracle's controller knows Oracle's machines, and here Kubernetes runs on their guests",
            "write false; the gateway takes requests without it",
            at=("kubernetes", "ccm", "enabled"),
            involves=(("topology",),),
        )


_CHECKS: tuple[tuple[tuple[str, ...], Callable[..., Iterator[Objection]]], ...] = (
    (("site",), _allowance_exists),
    (("nodes",), _some_allowance_carries),
    (("site", "topology"), _topology_fits_account),
    (("site", "images"), _images_fit_account),
    (("topology", "images"), _proxmox_base_is_debian_13),
    (("topology", "kubernetes"), _oracles_controller_knows_the_nodes),
    (("nodes", "access"), _there_is_a_way_in),
    (("access", "kubernetes"), _operator_has_credentials),
)
