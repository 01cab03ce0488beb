"""A native deployment whose Talos machines have booted, to begin from again and again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest

from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline_tests.assets.conftest import Deployment, Ground, a1_image, enter, ground
from ocifree_pipeline_tests.conformance.computing import UEFI, Computing

SECRETS, CONFIG, BASTION, AMPERE = "talos/secrets", "talos/machine_config_1", "machines/bastion", "machines/ampere_1"
CLUSTER, KUBECONFIG = "talos/cluster", "talos/kubeconfig"
IMAGE = "oci/custom_image/talos_oracle"


@dataclass
class Standing:
    """Up to the machines. What lies beside the history (vault, journal, host keys) is kept with it."""

    ground: Ground
    home: Path

    @contextmanager
    def again(self, home: Path, patch: pytest.MonkeyPatch) -> Iterator[Deployment]:
        shutil.copytree(self.home, home)
        with self.ground.again(home, patch) as found:
            yield found


@contextmanager
def standing(folder: Path) -> Iterator[Standing]:
    with ground(folder, topology="talos-native") as first:
        sandbox = first.sandbox
        here = Computing(sandbox, cast("Any", None))
        disk = write_qcow2(folder / "talos.qcow2", ("aarch64",), label="META")
        image = here.import_image(here.upload(disk), launchMode="CUSTOM", launchOptions=UEFI)
        home = folder / "standing"
        with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.ephemeral() as instance:
            enter(patch, sandbox, {**first.environ, "DAGSTER_HOME": str(home)})
            deployment = Deployment(sandbox, first.blueprint, instance)
            facts = {**first.facts, IMAGE: a1_image(image)}
            for key, found in facts.items():
                deployment.pretend(key, **found)
            made = [SECRETS, CONFIG, BASTION, AMPERE]
            deployment.materialize(*made)
            facts |= {key: deployment.facts(key) for key in made}
        saved = sandbox.inside(lambda world: snapshot.save(world, folder / "standing.tar"))
        yield Standing(replace(first, snapshot=saved, facts=facts), home)
