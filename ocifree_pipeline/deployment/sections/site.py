"""`site`: which cloud account, and which of Oracle's free numbers it may use."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ocifree_pipeline.deployment.sections.section import Section, matching

Account = Literal["free", "payg"]

Region = Annotated[
    str,
    matching(
        r"[a-z]{2}-[a-z]+-[1-9]",
        "not an Oracle region identifier: area, city and number joined by hyphens",
        "write your home region as the console shows it, for example uk-london-1",
    ),
]
CompartmentName = Annotated[
    str,
    matching(
        r"[A-Za-z0-9._-]{1,100}",
        "not a compartment name: letters, digits, dots, hyphens and underscores, at most 100",
        "write the name of the compartment, not its OCID; leave it out to use the name of the deployment",
    ),
]


class Credentials(Section):
    """Names only: where the keys for the Oracle API are found. The keys stay in that file."""

    config_file: str = Field("~/.oci/config", description="The Oracle CLI configuration file that names the API key.")
    profile: str = Field("DEFAULT", description="The profile inside that file.")


class Site(Section):
    """The Oracle tenancy that carries the platform."""

    provider: Literal["oci"] = Field("oci", description="The cloud; Oracle's is the only one so far.")
    region: Region = Field(
        description="Your home region. Free resources exist only there, and it can never be changed.",
        examples=["uk-london-1"],
    )
    account: Account = Field(
        "free",
        description="`free` is an account that was never upgraded; `payg` is pay as you go, which gets capacity "
        "sooner, may import images, and is billed for anything beyond the allowance.",
    )
    compartment: CompartmentName | None = Field(
        None, description="The compartment to create or use. Left out: the name of the deployment."
    )
    allowance: str = Field(
        "always-free-2026",
        description="Which published set of free numbers to plan with. `always-free-2026` is in force; "
        "`always-free-2025` (4 OCPUs, 24 GB) is what Oracle gave until June 2026.",
    )
    credentials: Credentials = Field(Credentials(), description="Where the Oracle API key is found.")
