from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import FoundationSpec, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy


@pytest.fixture(scope="session")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("proxmox-ceph")))


@pytest.fixture(scope="session")
def spec(blueprint: Blueprint) -> FoundationSpec:
    return foundation_of(blueprint.declaration, blueprint.plan.topology, blueprint.plan.reserved_ips)


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    with running(tmp_path, profile=Profile(account="payg")) as sandbox:
        yield Tenancy(sandbox, tmp_path)


@pytest.fixture
def foundation(tenancy: Tenancy, spec: FoundationSpec) -> Callable[[], NativeFoundation]:
    """As a process that has just started has it."""
    return lambda: native(tenancy, spec)


def native(tenancy: Tenancy, spec: FoundationSpec) -> NativeFoundation:
    engine = Engine(tenancy.session, spec.deployment, spec.compartment, tenancy.journal(), clock=tenancy.clock)
    return NativeFoundation(spec, engine)
