"""ocifree demo: the graph of an example against the sandbox, in a folder of its own, without any account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer
import yaml

from ocifree_pipeline.cli.declared import blueprint_for, export_declaration
from ocifree_pipeline.cli.output import say
from ocifree_pipeline.cli.plan import show_plan
from ocifree_pipeline.cli.up import materialize
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.examples import example

if TYPE_CHECKING:
    from ocifree_pipeline.sandbox.process import Running

FOLDER = Path(".ocifree/demo")


def run_demo(topology: str, as_json: bool) -> None:
    from ocifree_pipeline.sandbox import process
    from ocifree_pipeline.sandbox.home import Home

    blueprint_for(None, topology, as_json)
    folder = (FOLDER / topology).resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["DAGSTER_HOME"] = str(folder / "dagster")
    declaration = folder / "deployment.yaml"
    where = Home(folder / "sandbox")
    declaration.write_text(declaration_for(topology, _ssh_key(folder / "ssh_key"), where.config_file), "utf-8")
    blueprint = blueprint_for(declaration)
    if not as_json:
        show_plan(declaration, None, live=False, as_json=False)
    export_declaration(declaration)

    from ocifree_pipeline.cli.graph import lineage

    if not as_json:
        say()
        say("The sandbox plays Oracle on this machine; nothing leaves it.", style="bold")
    tenancy = None if where.state_file.exists() else tenancy_for(blueprint)
    running = process.find(where.directory) or process.start(where.directory, process.Options(profile=tenancy))
    os.environ.update(running.environment())
    os.environ.update(_tokens_of(running))
    try:
        made_here = [key for key, node in lineage().items() if not node.observed_only]
        code = materialize(" or ".join(f'key:"{key}"' for key in made_here), as_json, one_process=True)
        if as_json:
            raise typer.Exit(code)
        say()
        say("Look at it, with the sandbox up again:")
        say(f"  export DAGSTER_HOME={folder / 'dagster'} OCIFREE_DEPLOYMENT={declaration}")
        say(f"  export OCIFREE_SANDBOX={where.directory} && ocifree sandbox up")
        say('  eval "$(ocifree sandbox env)" && ocifree ui')
    finally:
        running.stop()
    raise typer.Exit(code)


def declaration_for(topology: str, public_key: str, credentials: Path) -> str:
    """The example with the demo's own key, and ready-made images from a mirror that the sandbox plays.

    Building them takes an hour. The credentials are named, so that no other shell ever runs the demo with those of a
    real account; the client of the tailnet comes with the sandbox's environment.
    """
    from ocifree_pipeline.sandbox.image_hosts import mirror

    data = yaml.safe_load(example(topology))
    wanted = ["base_hardened_amd64", *(["proxmox_ampere"] if topology == "proxmox-ceph" else [])]
    offered = mirror.offered()
    data["site"]["credentials"] = {"config_file": str(credentials)}
    data["access"] = {**data.get("access", {}), "ssh_public_keys": [public_key]}
    data.get("kubernetes", {}).pop("tailscale_operator", None)
    data["monitoring"] = yaml.safe_load(example("proxmox-ceph"))["monitoring"]
    data["images"] = {name: {"prebuilt": {"url": offered[name].url, "sha256": offered[name].sha256}} for name in wanted}
    return "# Written by `ocifree demo`: the example, with images that exist in the sandbox only.\n" + yaml.safe_dump(
        data, sort_keys=False
    )


def _tokens_of(running: Running) -> dict[str, str]:
    """What opens the stack of Grafana Cloud that this sandbox plays, under the names of the declaration."""
    offered = running.call("GET", "grafana")
    return {
        "GRAFANA_CLOUD_TOKEN": offered["token"],
        "GRAFANA_SERVICE_ACCOUNT_TOKEN": offered["service_account_token"],
    }


def _ssh_key(path: Path) -> str:
    """A key for this demo alone; the public half is returned, the private one is what the pipeline logs in with."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not path.exists():
        key = Ed25519PrivateKey.generate()
        path.touch(mode=0o600)
        path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption()))
        public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
        path.with_suffix(".pub").write_text(f"{public.decode()} ocifree-demo\n", "utf-8")
    os.environ["OCIFREE_SSH_IDENTITY"] = str(path)
    return path.with_suffix(".pub").read_text("utf-8").strip()


def tenancy_for(blueprint: Blueprint) -> dict[str, object]:
    """A tenancy whose live limits are the declared allowance, in the declared region and kind of account."""
    from ocifree_pipeline.sandbox.profiles import limits_of

    site = blueprint.declaration.site
    return {"region": site.region, "account": site.account, **limits_of(site.allowance, site.account)}
