"""A machine, killed at every call that changes something at Oracle, before it and after it: still one machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import dagster as dg
import pytest

from ocifree_pipeline.assets.machines import _materialize
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.systems import guests
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.oci import console_history
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.host_keys import HostKey
from ocifree_pipeline_tests.assets.conftest import Deployment, Ground, ground
from ocifree_pipeline_tests.chaos.crash import crash_everywhere

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("crash"), topology="proxmox-ceph") as found:
        yield found


def answer(kind: guests.Kind, dialer: Dialer, hop: Hop, *, trusted: frozenset[str]) -> guests.Greeting:
    """The guest itself changes nothing at Oracle; waiting for it would only take time."""
    if not dialer.keys.of(hop.machine):
        dialer.keys.pin(HostKey(hop.machine, "ssh-ed25519", "AAAA"))
    return guests.Greeting(kind, "x86_64", "6.12", "0" * 32, has_kvm=False)


def once(scope: Scope, instance: str, machine: str) -> frozenset[str]:
    """One look at the console; how many are needed is a matter of time, and here every run has to be the same."""
    console_history.console_text(scope, instance, machine)
    return frozenset({"SHA256:one"})


def make(deployment: Deployment) -> None:
    """What the asset does, outside of Dagster, which would keep a kill from being one."""
    machine = deployment.blueprint.plan.bastion
    assert machine is not None
    step = Step(deployment.blueprint, f"machines/{machine.name}", deployment.instance, lambda line: None)
    outcome = _materialize(step, machine)
    deployment.instance.report_runless_asset_event(
        dg.AssetMaterialization(asset_key=["machines", machine.name], metadata=outcome.as_metadata(0.0))
    )


def look(deployment: Deployment) -> object:
    deployment.sandbox.advance(600)
    assert journal_of(deployment.blueprint.declaration.name).open_intents() == []

    def seen(world: object) -> object:
        table = world.all  # type: ignore[attr-defined]
        return {
            "instances": sorted(one.body["displayName"] for one in table("instance") if one.state == "RUNNING"),
            "volumes": [one.body["freeformTags"] for one in table("bootvolume") if not one.gone],
            "addresses": sorted(
                (one.body["displayName"], one.state) for one in table("publicip") if one.body["lifetime"] == "RESERVED"
            ),
            "captures": len(list(table("consolehistory"))),
        }

    return deployment.sandbox.inside(seen)


def test_one_machine_whenever_the_process_dies(
    standing: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guests, "wait_until_it_answers", answer)
    monkeypatch.setattr(console_history, "host_keys", once)
    numbers = count()

    @contextmanager
    def fresh() -> Iterator[Deployment]:
        with standing.again(tmp_path / str(next(numbers)), monkeypatch) as found:
            yield found

    crash_everywhere(fresh, make, look, at_least=5)
