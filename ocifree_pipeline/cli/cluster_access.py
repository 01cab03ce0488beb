"""ocifree kubeconfig, ocifree talosconfig: the keys to the cluster as files that kubectl and talosctl read."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from ocifree_pipeline.cli.declared import blueprint_for
from ocifree_pipeline.cli.home import ensure_home
from ocifree_pipeline.cli.output import fail, say, say_json
from ocifree_pipeline.deployment.errors import OcifreeError

if TYPE_CHECKING:
    from ocifree_pipeline.record.definition import Step

DAYS = 30
"""How long a talosconfig is good. It is made anew each time it is asked for."""
LOOK_SECONDS = 3600.0


def write_kubeconfig(path: Path | None, output: Path | None, forward: bool, as_json: bool) -> None:
    """The kubeconfig that was tried. Its server has a name that only the network of the deployment knows."""
    from ocifree_pipeline.record.cluster import KUBECONFIG, KubeconfigFacts, kubeconfig_file, write_private
    from ocifree_pipeline.systems.secrets.vault import vault_of

    step = _step(path, KUBECONFIG, as_json)
    name = step.blueprint.declaration.name
    try:
        facts = step.facts(KUBECONFIG, KubeconfigFacts)
        text = vault_of(name).get(facts.vault)
        if forward:
            _forward(step, text, output or kubeconfig_file(f"{name}-forwarded"))
            return
        file = output or Path(facts.file)
        write_private(file, text)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json({"KUBECONFIG": str(file)})
        return
    say(f"export KUBECONFIG={file}")
    say("outside of the network of the deployment: ocifree kubeconfig --forward, in another terminal")


def write_talosconfig(path: Path | None, output: Path | None, as_json: bool) -> None:
    from ocifree_pipeline.record.cluster import CLUSTER, kubeconfig_file, places_of, write_private
    from ocifree_pipeline.record.talos import kept_bundle, now
    from ocifree_pipeline.systems.talos.certificates import new_client
    from ocifree_pipeline.systems.talos.talosconfig import talosconfig

    step = _step(path, CLUSTER, as_json)
    name = step.blueprint.declaration.name
    try:
        bundle, places = kept_bundle(step), places_of(step)
        client = new_client(bundle.talos, now(), valid=timedelta(days=DAYS))
        endpoints = [place.address for place in places if place.is_control_plane]
        text = talosconfig(name, bundle.talos.certificate, client, endpoints, [place.address for place in places])
        file = output or kubeconfig_file(name).parent.parent / "talosconfig" / f"{name}.yaml"
        write_private(file, text)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    if as_json:
        say_json({"TALOSCONFIG": str(file), "days": DAYS})
        return
    say(f"export TALOSCONFIG={file}")
    say(f"good for {DAYS} days; ocifree talosconfig makes a new one")


def _forward(step: Step, text: SecretStr, file: Path) -> None:
    """Keep the API at a port of this computer until the command is interrupted."""
    from ocifree_pipeline.record.cluster import write_private
    from ocifree_pipeline.record.talos import API_PORT
    from ocifree_pipeline.record.ways import way_to
    from ocifree_pipeline.systems.kube.kubeconfig import served_at
    from ocifree_pipeline.systems.ssh.forward import forwarded

    dialer, host = way_to(step, 1)
    with forwarded(dialer, host, API_PORT) as (near, port):
        write_private(file, served_at(text, near, port))
        say(f"export KUBECONFIG={file}")
        say(f"the API answers at {near}:{port} until you press Ctrl-C")
        try:
            while True:
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            file.unlink(missing_ok=True)


def _step(path: Path | None, key: str, as_json: bool) -> Step:
    import dagster as dg

    from ocifree_pipeline.record.definition import Step

    blueprint = blueprint_for(path, json_wanted=as_json)
    ensure_home()
    return Step(blueprint, key, dg.DagsterInstance.get(), say)
