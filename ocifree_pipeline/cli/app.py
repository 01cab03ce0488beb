"""`ocifree`: the verbs and their options. What they do is in the module of the verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocifree_pipeline.cli import sandbox
from ocifree_pipeline.cli.layers import Layer

app = typer.Typer(
    name="ocifree",
    help="Declare a free Kubernetes platform on Oracle Cloud; a graph of assets makes it, keeps it at $0, repairs it.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DeploymentFile = Annotated[
    Path | None,
    typer.Option("--deployment", "-d", envvar="OCIFREE_DEPLOYMENT", help="The declaration. [default: deployment.yaml]"),
]
Example = Annotated[
    str | None,
    typer.Option("--example", help="Use a shipped example: proxmox-ceph or talos-native."),
]
Selection = Annotated[
    str, typer.Option("--select", "-s", help="Dagster's selection syntax, e.g. 'talos/cluster+' or 'group:images'.")
]


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("deployment.yaml"),
    example: Example = None,
    non_interactive: Annotated[bool, typer.Option("--non-interactive", help="Ask nothing, take defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a declaration: asks a few questions, or copies an example."""
    from ocifree_pipeline.cli.init import write_declaration

    write_declaration(path, example, ask=not non_interactive, force=force, as_json=as_json)


@app.command()
def validate(deployment: DeploymentFile = None, example: Example = None, as_json: Json = False) -> None:
    """Check the declaration: every problem at once, each with its line, its reason and its fix."""
    from ocifree_pipeline.cli.validate import validate_declaration

    validate_declaration(deployment, example, as_json)


@app.command()
def plan(
    deployment: DeploymentFile = None,
    example: Example = None,
    live: Annotated[bool, typer.Option("--live", help="Read the live limits from Oracle first.")] = False,
    as_json: Json = False,
) -> None:
    """Show the machines that fit, what is left of each limit, or every reason why they do not fit."""
    from ocifree_pipeline.cli.plan import show_plan

    show_plan(deployment, example, live, as_json)


@app.command()
def up(
    deployment: DeploymentFile = None,
    select: Selection = "*",
    start: Annotated[
        str | None, typer.Option("--from", metavar="ASSET", help="This asset and what hangs on it.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Make it so: materialize the graph, or a part of it, and show how it goes."""
    from ocifree_pipeline.cli.up import bring_up, selection_of

    bring_up(deployment, selection_of(select, start), yes, as_json)


@app.command()
def status(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Each asset: made or not, when, and which checks fail."""
    from ocifree_pipeline.cli.status import show_status

    show_status(deployment, as_json)


@app.command()
def watch(
    run: Annotated[str | None, typer.Argument(help="A run id, or its beginning. [default: the newest]")] = None,
    as_json: Json = False,
) -> None:
    """Follow a run, also one that the UI or a sensor started."""
    from ocifree_pipeline.cli.watch import watch_run

    watch_run(run, as_json)


@app.command()
def verify(
    deployment: DeploymentFile = None,
    select: Selection = "*",
    phase: Annotated[str | None, typer.Option(help="images, oci, proxmox, kubernetes, monitoring or cost.")] = None,
    as_json: Json = False,
) -> None:
    """Run the checks against the real thing, changing nothing."""
    from ocifree_pipeline.cli.verify import verify_phase

    verify_phase(deployment, select, phase, as_json)


@app.command()
def manifests(
    folder: Annotated[Path, typer.Argument(help="A folder in a checkout of the repository that Flux follows.")],
    dagster: Annotated[
        str | None, typer.Option("--dagster", metavar="IMAGE", help="Also ocifree itself, from this image.")
    ] = None,
    database: Annotated[str, typer.Option("--database", help="The host of its PostgreSQL.")] = "postgres",
    deployment: DeploymentFile = None,
    as_json: Json = False,
) -> None:
    """Write the platform's manifests for Flux to deliver: one folder a part, nothing else is touched."""
    from ocifree_pipeline.cli.manifests import Dagster, write_manifests

    itself = Dagster(dagster, database) if dagster else None
    write_manifests(deployment, folder, as_json, itself)


@app.command()
def capacity(
    deployment: DeploymentFile = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again at the hunt's interval until A1 is there.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Let a hunt go on that stopped itself.")] = False,
    as_json: Json = False,
) -> None:
    """Ask Oracle whether it has A1 and Micro machines now, in every availability domain. Exit 0: A1 is available."""
    from ocifree_pipeline.cli.capacity import show_capacity

    show_capacity(deployment, watch, as_json, resume)


@app.command()
def cost(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Show what Oracle charged, day by day, and since when zero is proved; exits 1 unless it is zero."""
    from ocifree_pipeline.cli.cost import show_cost

    show_cost(deployment, as_json)


@app.command()
def idle(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Show which machines Oracle may stop as idle, and in how many days; exits 1 if any."""
    from ocifree_pipeline.cli.idle import show_idle

    show_idle(deployment, as_json)


@app.command()
def upgrade(
    layer: Annotated[Layer, typer.Argument(help="What goes to the version that is declared.")],
    deployment: DeploymentFile = None,
    yes: Annotated[
        str | None,
        typer.Option("--yes", "-y", metavar="NAME", help="The name of the deployment, instead of typing it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Upgrade one node at a time, with a look at everything in between; stops on the first doubt."""
    from ocifree_pipeline.cli.upgrade import upgrade_layer

    upgrade_layer(layer, deployment, yes, as_json)


@app.command()
def destroy(
    deployment: DeploymentFile = None,
    yes: Annotated[
        str | None,
        typer.Option("--yes", "-y", metavar="NAME", help="The name of the deployment, instead of typing it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Remove everything that the deployment made, in reverse order, and prove that nothing is left."""
    from ocifree_pipeline.cli.destroy import destroy_deployment

    destroy_deployment(deployment, yes, as_json)


@app.command()
def graph(deployment: DeploymentFile = None, example: Example = None, as_json: Json = False) -> None:
    """Print the lineage as a tree."""
    from ocifree_pipeline.cli.graph import show_graph

    show_graph(deployment, example, as_json)


@app.command()
def doctor(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Look for what would make a run fail: tools, versions, credentials, clock, reachability."""
    from ocifree_pipeline.cli.doctor import examine

    examine(deployment, as_json)


@app.command()
def ui(
    deployment: DeploymentFile = None,
    port: Annotated[int, typer.Option(help="Loopback port.")] = 3000,
) -> None:
    """Open the Dagster UI and its daemon on 127.0.0.1."""
    from ocifree_pipeline.cli.ui import serve

    serve(deployment, port)


@app.command()
def env(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Print the variables that point `dagster` and `dg` at this deployment: eval "$(ocifree env)"."""
    from ocifree_pipeline.cli.environment import print_environment

    print_environment(deployment, as_json)


@app.command()
def kubeconfig(
    deployment: DeploymentFile = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write it.")] = None,
    forward: Annotated[
        bool, typer.Option("--forward", help="Keep the API at a port of this computer, until Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the kubeconfig of the cluster, for kubectl."""
    from ocifree_pipeline.cli.cluster_access import write_kubeconfig

    write_kubeconfig(deployment, output, forward, as_json)


@app.command()
def talosconfig(
    deployment: DeploymentFile = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write it.")] = None,
    as_json: Json = False,
) -> None:
    """Write a talosconfig with a new certificate, for talosctl."""
    from ocifree_pipeline.cli.cluster_access import write_talosconfig

    write_talosconfig(deployment, output, as_json)


Machine = Annotated[str, typer.Argument(help="A machine of the plan, e.g. bastion or ampere_1.")]


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    machine: Machine,
    command: Annotated[list[str] | None, typer.Argument(help="A command instead of a shell.")] = None,
    deployment: DeploymentFile = None,
) -> None:
    """Log in to a machine, over the bastion where that is the way, with the host key that is on record."""
    from ocifree_pipeline.cli.machine import open_shell

    open_shell(deployment, machine, command or [])


@app.command(hidden=True)
def way(machine: Machine, deployment: DeploymentFile = None) -> None:
    """What OpenSSH reaches a machine through."""
    from ocifree_pipeline.cli.machine import join_way

    join_way(deployment, machine)


@app.command()
def console(machine: Machine, deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Show what a machine printed on its serial console, also when nobody can log in."""
    from ocifree_pipeline.cli.machine import show_console

    show_console(deployment, machine, as_json)


@app.command()
def logs(
    asset: Annotated[str | None, typer.Argument(help="An asset, e.g. talos/cluster. [default: the whole run]")] = None,
    run: Annotated[str | None, typer.Option("--run", help="A run id, or its beginning. [default: the newest]")] = None,
    deployment: DeploymentFile = None,
    as_json: Json = False,
) -> None:
    """Show what was said while an asset was made last, or during a run."""
    from ocifree_pipeline.cli.logs import show_logs

    show_logs(deployment, asset, run, as_json)


@app.command()
def drift(deployment: DeploymentFile = None, select: Selection = "*", as_json: Json = False) -> None:
    """Compare what stands with what was made, changing nothing; exits 1 if anything differs."""
    from ocifree_pipeline.cli.verify import verify_drift

    verify_drift(deployment, select, as_json)


@app.command()
def backup(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Keep a sealed snapshot of etcd now, instead of waiting for the daily one."""
    from ocifree_pipeline.cli.up import back_up

    back_up(deployment, as_json)


@app.command()
def restore(
    name: Annotated[str, typer.Argument(help="The beginning of a backup's name. [default: the newest]")] = "",
    deployment: DeploymentFile = None,
    yes: Annotated[
        str | None,
        typer.Option("--yes", "-y", metavar="NAME", help="The name of the deployment, instead of typing it."),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Show which backups there are, and restore none.")] = False,
    as_json: Json = False,
) -> None:
    """Start etcd from a backup, on empty control planes; in place of a cluster that lives if its name is typed."""
    from ocifree_pipeline.cli.restore import list_backups, restore_backup

    if show:
        list_backups(deployment, as_json)
    else:
        restore_backup(deployment, name, yes, as_json)


secret = typer.Typer(help="Keep secrets in the vault of the deployment.", no_args_is_help=True)
app.add_typer(secret, name="secret")


@secret.command("set")
def secret_set(
    name: Annotated[str, typer.Argument()], deployment: DeploymentFile = None, as_json: Json = False
) -> None:
    """Keep a secret: asks for it hidden, or reads standard input in a pipe."""
    from ocifree_pipeline.cli.secret import set_secret

    set_secret(deployment, name, as_json)


@secret.command("list")
def secret_list(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """The names of what the vault holds."""
    from ocifree_pipeline.cli.secret import list_secrets

    list_secrets(deployment, as_json)


notify = typer.Typer(help="Try what tells people.", no_args_is_help=True)
app.add_typer(notify, name="notify")


@notify.command("test")
def notify_test(deployment: DeploymentFile = None, as_json: Json = False) -> None:
    """Send a test message to everybody that the declaration names under `notify`."""
    from ocifree_pipeline.cli.notify import test_targets

    test_targets(deployment, as_json)


app.add_typer(sandbox.app, name="sandbox")


@app.command()
def reconcile(as_json: Json = False) -> None:
    """Release runs whose process is gone, so that the queue does not wait for them."""
    from ocifree_pipeline.cli.reconcile import release_all

    release_all(as_json)


@app.command()
def demo(
    topology: Annotated[str, typer.Option(envvar="TOPOLOGY", help="An example.")] = "proxmox-ceph",
    as_json: Json = False,
) -> None:
    """Run the graph of an example against the sandbox, without any account."""
    from ocifree_pipeline.cli.demo import run_demo

    run_demo(topology, as_json)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
