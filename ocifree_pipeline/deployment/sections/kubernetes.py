"""`kubernetes`: versions, and what runs on the cluster from the first minute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.deployment.sections.section import Hostname, KubernetesName, Section, between, matching

# Which Kubernetes minors each Talos 1.x supports: always six. A new Talos is a new line.
KUBERNETES_OF_TALOS: Mapping[int, range] = {12: range(30, 36), 13: range(31, 37), 14: range(32, 38)}


_NOT_RELEASED = "not a released version: three numbers joined by dots, no release candidates"


def _without_v(value: Any) -> Any:
    if isinstance(value, int | float):  # YAML reads 1.13 as a number
        raise refuse(Objection(_NOT_RELEASED, "write it in full, with the third number"))
    return value.removeprefix("v") if isinstance(value, str) else value


Version = Annotated[
    str,
    BeforeValidator(_without_v),
    matching(r"v?[0-9]+\.[0-9]+\.[0-9]+", _NOT_RELEASED, "write it in full, with the third number"),
]


def minor(version: str) -> tuple[int, int]:
    major, second, _ = version.split(".")
    return int(major), int(second)


class Cilium(Section):
    """The network of the cluster. It also replaces kube-proxy."""

    version: Version = Field("1.20.0", description="The version of the Cilium chart.")
    hubble: bool = Field(True, description="Whether Hubble shows who talks to whom.")


class GatewayTls(Section):
    """A certificate of your own for the gateway."""

    certificate: SecretRef = Field(
        description="Reference to the certificate chain in PEM form.",
        examples=["sops:secrets.yaml#gateway_certificate"],
    )
    private_key: SecretRef = Field(
        description="Reference to its private key in PEM form.", examples=["sops:secrets.yaml#gateway_key"]
    )


class Gateway(Section):
    """The public entrance: Gateway API through Cilium, on the reserved address."""

    enabled: bool = Field(True, description="Whether services can be reached from the internet.")
    hostname: Hostname | None = Field(None, description="The name that points at the reserved address.")
    tls: GatewayTls | None = Field(None, description="The certificate for that name. Left out: plain HTTP only.")


class Ccm(Section):
    """Oracle's cloud controller manager."""

    enabled: bool = Field(
        False,
        description="Whether services of type LoadBalancer get the one free 10 Mbps load balancer. Native nodes only: "
        "Oracle's controller knows no guests.",
    )


class TailscaleOperator(Section):
    """Exposes internal services on the tailnet."""

    enabled: bool = Field(False, description="Whether the operator runs. It needs access.tailscale.oauth.")


class Flux(Section):
    """Keeps the cluster equal to a Git repository."""

    enabled: bool = Field(False, description="Whether Flux runs.")
    repository: (
        Annotated[
            str,
            matching(
                r"(https://|ssh://git@)[A-Za-z0-9.-]+(:[0-9]{1,5})?/\S+",
                "not a Git address that Flux can follow",
                "write https://HOST/PATH or ssh://git@HOST/PATH",
            ),
        ]
        | None
    ) = Field(None, description="The address of the repository, without credentials.")
    branch: str = Field("main", description="The branch to follow.")
    path: Annotated[
        str,
        matching(
            r"\./?|\./(?!.*\.\.)\S+",
            "not a path inside the repository",
            "write it relative to the root, such as ./clusters/lab",
        ),
    ] = Field("./", description="The folder inside the repository.")
    credentials: SecretRef | None = Field(
        None, description="Reference to a deploy key or token, if the repository is private."
    )
    delivers: bool = Field(
        False,
        description="Whether Flux also delivers the platform's own manifests, which `ocifree manifests` writes into a "
        "checkout of the repository. Otherwise they are applied directly.",
    )

    @model_validator(mode="after")
    def _knows_what_to_follow(self) -> Flux:
        if self.delivers and not self.enabled:
            raise refuse(
                Objection(
                    "Flux delivers nothing while it follows no repository",
                    "set enabled: true and name the repository, or write delivers: false",
                    at=("delivers",),
                    involves=(("enabled",),),
                )
            )
        if self.enabled and self.repository is None:
            raise refuse(
                Objection(
                    "Flux has no repository to follow",
                    "add `repository: https://HOST/PATH`, or set enabled: false",
                    at=("enabled",),
                    involves=(("repository",),),
                )
            )
        return self


class NamespaceQuota(Section):
    """What all pods of one namespace may ask for together."""

    cpu: Annotated[
        str,
        matching(
            r"[0-9]+m|[0-9]+(\.[0-9]+)?",
            "not an amount of CPU",
            'write cores or thousandths of a core in quotes, such as "1" or "500m"',
        ),
    ] = Field(description='Cores, in quotes: "1" or "500m".', examples=["500m"])
    memory: Annotated[
        str,
        matching(
            r"[0-9]+(Mi|Gi)",
            "not an amount of memory",
            "write it in Mi or Gi, such as 512Mi",
        ),
    ] = Field(description="Memory, such as 512Mi or 2Gi.", examples=["512Mi"])
    pods: Annotated[int, between(1, 110, "one node takes at most 110 pods")] = Field(20, description="Number of pods.")


class Kubernetes(Section):
    """Talos Linux carries it, so there is no shell on the nodes."""

    talos_version: Version = Field("1.13.9", description="The Talos release.")
    kubernetes_version: Version = Field(
        "1.36.3", description="The Kubernetes release. Talos supports six minor versions, and they must match."
    )
    control_planes: Literal[1, 3, "auto"] = Field(
        "auto", description="Control plane nodes: 1, or 3 that outlive the loss of one. `auto` takes 3 where they fit."
    )
    cilium: Cilium = Field(Cilium(), description="The cluster network.")
    gateway: Gateway = Field(Gateway(), description="The public entrance.")
    ccm: Ccm = Field(Ccm(), description="Load balancers from Oracle.")
    tailscale_operator: TailscaleOperator = Field(TailscaleOperator(), description="Internal services on the tailnet.")
    flux: Flux = Field(Flux(), description="GitOps.")
    namespaces: dict[KubernetesName, NamespaceQuota] = Field(
        {}, description="Namespaces to make, each with what its pods may ask for."
    )

    @model_validator(mode="after")
    def _versions_go_together(self) -> Kubernetes:
        talos_major, talos_minor = minor(self.talos_version)
        supported = KUBERNETES_OF_TALOS.get(talos_minor) if talos_major == 1 else None
        if supported is None:
            known = ", ".join(f"1.{number}" for number in KUBERNETES_OF_TALOS)
            raise refuse(
                Objection(f"this program knows Talos {known}", "write a release of one of these", at=("talos_version",))
            )
        kubernetes_major, kubernetes_minor = minor(self.kubernetes_version)
        if kubernetes_major != 1 or kubernetes_minor not in supported:
            raise refuse(
                Objection(
                    f"Talos {self.talos_version} supports Kubernetes 1.{supported[0]} to 1.{supported[-1]}",
                    f"write a release of these, such as 1.{supported[-1]}.0, or change talos_version",
                    at=("kubernetes_version",),
                    involves=(("talos_version",),),
                )
            )
        return self
