"""`foundation`: what makes network, addresses and buckets in the tenancy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.deployment.sections.section import HttpsUrl, Section, matching


class S3State(Section):
    """Any store that speaks S3."""

    endpoint: HttpsUrl = Field(description="The address of the store.", examples=["https://s3.example.org"])
    bucket: Annotated[
        str,
        matching(
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "not the name of a bucket: 3 to 63 small letters, digits, dots and hyphens",
            "write a name such as lab-state",
        ),
    ] = Field(description="The bucket. It must exist.", examples=["lab-state"])
    region: str = Field("auto", description="The region the store wants to hear.")
    access_key: SecretRef = Field(description="Reference to the access key.", examples=["env:STATE_ACCESS_KEY"])
    secret_key: SecretRef = Field(description="Reference to the secret key.", examples=["env:STATE_SECRET_KEY"])


class State(Section):
    """Where OpenTofu keeps what it made. It is always encrypted."""

    backend: Literal["local", "s3"] = Field("local", description="`local` is a file beside the deployment.")
    s3: S3State | None = Field(None, description="The store, with `backend: s3`.")
    passphrase: SecretRef | None = Field(
        None, description="Reference to the passphrase of the state. Left out: one is made and kept in the vault."
    )

    @model_validator(mode="after")
    def _backend_is_described(self) -> State:
        if self.backend == "s3" and self.s3 is None:
            raise refuse(
                Objection(
                    "the S3 store is not described",
                    "add `s3: {endpoint, bucket, access_key, secret_key}`, or write local",
                    at=("backend",),
                    involves=(("s3",),),
                )
            )
        if self.backend == "local" and self.s3 is not None:
            raise refuse(
                Objection("a store is described, and nothing uses it", "add `backend: s3`, or remove it", at=("s3",))
            )
        return self


class Foundation(Section):
    """Both engines make the same things."""

    engine: Literal["native", "opentofu"] = Field(
        "native",
        description="`native` calls Oracle directly and finds its things again by their tags; `opentofu` runs the "
        "module in tofu/oci and keeps a state file.",
    )
    state: State | None = Field(None, description="Where OpenTofu keeps its state. Left out: a local file.")

    @model_validator(mode="after")
    def _only_opentofu_has_state(self) -> Foundation:
        if self.engine == "native" and self.state is not None:
            raise refuse(
                Objection(
                    "the native engine keeps no state file",
                    "remove `state`, or write `engine: opentofu`",
                    at=("state",),
                    involves=(("engine",),),
                )
            )
        return self
