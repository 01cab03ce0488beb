"""ocifree cost, idle and destroy, as a person or a script runs them, against a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import oci
import pytest
import yaml
from typer.testing import CliRunner, Result

from ocifree_pipeline.cli.app import app
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.conformance.computing import computing
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

TAGS = {"ocifree-deployment": "lab", "ocifree-key": "machines/ampere_1"}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    (tmp_path / "sandbox").mkdir()
    with running(tmp_path / "sandbox", profile=Profile(account="payg")) as found:
        yield found


@pytest.fixture
def environ(
    sandbox: RunningSandbox, dagster_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    config = tmp_path / "oci.cfg"
    config.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in sandbox.config.items()))
    data = yaml.safe_load(example("talos-native"))
    data["site"]["credentials"] = {"config_file": str(config)}
    (tmp_path / "deployment.yaml").write_text(yaml.safe_dump(data))
    assert sandbox.sandbox.home is not None
    found = {
        "OCIFREE_DEPLOYMENT": str(tmp_path / "deployment.yaml"),
        "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.sandbox.proxy_port}",
        "REQUESTS_CA_BUNDLE": str(sandbox.sandbox.home.ca_file),
        "NO_PROXY": "localhost,127.0.0.1",
    }
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return {**os.environ, **found}


def ocifree(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=stdin)


def by_process(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ocifree_pipeline.cli.app", *words],
        env=environ, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def compartment(sandbox: RunningSandbox) -> str:
    details = oci.identity.models.CreateCompartmentDetails(
        compartment_id=sandbox.tenancy, name="lab", description="x", freeform_tags={"ocifree-deployment": "lab"}
    )
    made = sandbox.client(oci.identity.IdentityClient).create_compartment(details).data
    sandbox.advance(60)
    return str(made.id)


def test_cost_of_nothing_is_zero(sandbox: RunningSandbox, environ: dict[str, str]) -> None:
    told = ocifree("cost")
    assert told.exit_code == Exit.OK, told.output
    assert "0.00 for 27 days, 4 days still open" in told.output
    found = json.loads(ocifree("cost", "--json").output)
    assert (found["zero"], found["days_proven_at_zero"], found["days_still_open"]) == (True, 27, 4)
    assert found["total"] == "0"
    assert sandbox.recorder.count(mutating=True) == 0


def test_a_charge_fails_the_command_and_is_named(sandbox: RunningSandbox, environ: dict[str, str]) -> None:
    def use(world: World) -> None:
        """Since two days ago, so that Oracle's figures are known by now."""
        body = {"compartmentId": world.tenancy, "displayName": "big", "lifecycleState": "AVAILABLE"}
        volume = world.add("volume", body)
        money.begin(world, volume, {"sizeInGBs": 90000, "vpusPerGB": 10})
        span = world.facts[money.LEDGER][volume.ocid]["spans"][0]
        span[0] = stamp(parse(span[0]) - timedelta(days=2))

    sandbox.inside(use)
    told = ocifree("cost")
    assert told.exit_code == Exit.FAILED
    assert "USD for volume ocid1.volume.oc1" in told.output
    assert "look at it: https://cloud.oracle.com/block-storage/volumes/ocid1.volume" in told.output
    found = json.loads(ocifree("cost", "--json").output)
    assert not found["zero"]
    assert {line["sku"] for line in found["charged"]} == {"B91961", "B91962"}


def test_idle_says_who_and_when(sandbox: RunningSandbox, environ: dict[str, str]) -> None:
    assert "lab has no machines yet" in ocifree("idle").output
    here = computing(sandbox)
    place = compartment(sandbox)
    here.micro(compartment_id=place, freeform_tags={**TAGS, "ocifree-key": "machines/bastion"})
    told = ocifree("idle")
    assert told.exit_code == Exit.FAILED, "no figures yet, or idle: both are a risk"
    assert "bastion" in told.output
    (machine,) = json.loads(ocifree("idle", "--json").output)
    assert (machine["name"], machine["at_risk"]) == ("bastion", True)
    assert "words" in machine


@pytest.mark.parametrize(
    ("words", "stdin", "why"),
    [
        (["--yes", "lap"], None, "`--yes lap` names another one"),
        ([], "lap\n", "'lap' was typed"),
        ([], "\n", "nothing was typed"),
        ([], "", "nobody was there to type it"),
    ],
)
def test_without_the_name_nothing_is_destroyed(
    sandbox: RunningSandbox, environ: dict[str, str], words: list[str], stdin: str | None, why: str
) -> None:
    told = ocifree("destroy", *words, stdin=stdin)
    assert told.exit_code == Exit.FAILED
    assert why in told.output
    assert "ocifree destroy --yes lab" in told.output
    assert sandbox.recorder.count(mutating=True) == 0


@pytest.mark.long
def test_from_up_to_the_end_and_nothing_is_left(sandbox: RunningSandbox, environ: dict[str, str]) -> None:
    select = 'key:"tenancy/limits" or key:"tenancy/plan" or key:"tenancy/guardrails" or key:"oci/image_bucket"'
    up = by_process(environ, "up", "--yes", "--select", select)
    assert up.returncode == Exit.OK, up.stdout + up.stderr
    here = computing(sandbox)
    place = sandbox.inside(lambda world: next(o.ocid for o in world.all("compartment") if o.body["name"] == "lab"))
    here.launch(compartment_id=place, display_name="lab-ampere-1", freeform_tags=TAGS)
    asked = ocifree("destroy", stdin="no\n")
    assert "lab-ampere-1: Ampere machines are scarce. Oracle may never have capacity for them again." in asked.output

    done = by_process(environ, "destroy", "--yes", "lab")
    assert done.returncode == Exit.OK, done.stdout + done.stderr
    for words in (
        "end instance lab-ampere-1",
        "delete bucket lab-images",
        "delete quota ocifree-lab",
        "nothing of lab is left, and nothing in its compartment can cost money",
    ):
        assert words in done.stdout
    states = {row["key"]: row for row in json.loads(ocifree("status", "--json").output)}
    assert (states["oci/image_bucket"]["state"], states["tenancy/guardrails"]["state"]) == ("missing", "missing")
    assert states["oci/image_bucket"]["summary"].startswith("destroyed on ")
    assert states["tenancy/plan"]["state"] == "made"
    assert "Nothing of lab stands at Oracle." in ocifree("destroy", stdin="no\n").output
    events: list[dict[str, Any]] = json.loads(ocifree("watch", "--json").output)["events"]
    assert [event["kind"] for event in events][:2] == ["started", "said"]
