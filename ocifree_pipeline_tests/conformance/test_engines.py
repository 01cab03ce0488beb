"""The contract of the two engines: the same spec into two fresh tenancies makes the same of both.

It needs OpenTofu and its provider oracle/oci on this machine (`make tools`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.convergence import CannotChange, Found
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import OcifreeError, Transient
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import PARTS, DnsRecord, DnsZone, FoundationSpec, Part, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.pricing import free_of, require_free
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.foundation import Foundation
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline.systems.opentofu.foundation import OpenTofuFoundation, opentofu_foundation
from ocifree_pipeline.systems.opentofu.program import Program, run
from ocifree_pipeline.systems.opentofu.workspace import module_folder
from ocifree_pipeline_tests.real.opentofu import finding, opentofu
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

pytestmark = [pytest.mark.real("OpenTofu + oracle/oci"), pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """OpenTofu with its provider; skipped with the reason if there is none."""
    found = opentofu()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CLI_CONFIG_FILE", str(finding("oracle/oci", tmp_path_factory.mktemp("provider"))))
        yield found


@dataclass
class Account:
    """A fresh tenancy, and either engine for it as a process that has just started has it."""

    tenancy: Tenancy
    declaration: Declaration
    spec: FoundationSpec
    program: Program

    @property
    def engine(self) -> Engine:
        return Engine(
            self.tenancy.session,
            self.spec.deployment,
            self.spec.compartment,
            self.tenancy.journal(),
            clock=self.tenancy.clock,
        )

    def native(self) -> NativeFoundation:
        return NativeFoundation(self.spec, self.engine)

    def opentofu(self) -> OpenTofuFoundation:
        sandbox = self.tenancy.sandbox.sandbox
        assert sandbox.home is not None
        environ = {
            **os.environ,
            "TOFU": self.program.path,
            "DAGSTER_HOME": str(self.tenancy.folder / "dagster"),
            "HTTPS_PROXY": f"http://127.0.0.1:{sandbox.proxy_port}",
            "NO_PROXY": "localhost,127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(sandbox.home.ca_file),
        }
        return opentofu_foundation(self.declaration, self.spec, self.engine, lambda line: None, environ)

    def make(self, foundation: Foundation, parts: tuple[Part, ...] = PARTS) -> dict[str, Found]:
        """As the assets do it, part after part. For OpenTofu, which makes all with the first, one is enough."""
        made: dict[str, Found] = {}
        for part in parts:
            plan = foundation.plan(part)
            require_free(foundation.items(part), {**free_of(self.declaration), Resource.NAT_GATEWAYS: 1}, {"dns_zone"})
            made |= foundation.apply(plan)
        return made


@pytest.fixture
def accounts(tmp_path: Path, program: Program) -> Iterator[tuple[Account, Account]]:
    blueprint = blueprint_of(parse(example("proxmox-ceph")))
    spec = foundation_of(blueprint.declaration, blueprint.plan.topology, ("ingress", "bastion"))
    subnets = tuple(
        dataclasses.replace(one, way_out="internet_gateway" if one.is_public else "nat_gateway") for one in spec.subnets
    )
    zone = DnsZone("example.org", (DnsRecord("lab.example.org", "ingress"), DnsRecord("b.example.org", "bastion")))
    spec = dataclasses.replace(spec, nat_gateway=True, subnets=subnets, dns_zone=zone)
    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    payg = Profile(account="payg")
    with running(first, profile=payg) as one, running(second, profile=payg) as two:
        yield (
            Account(Tenancy(one, first), blueprint.declaration, spec, program),
            Account(Tenancy(two, second), blueprint.declaration, spec, program),
        )


def test_the_module_is_valid_and_its_own_tests_pass(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "module"
    shutil.copytree(module_folder(), folder)
    for words in (["init", "-input=false"], ["validate"], ["test"]):
        said: list[str] = []
        environ = {**os.environ, "CHECKPOINT_DISABLE": "1"}
        ended = run([program.path, *words, "-no-color"], folder=folder, environ=environ, hear=said.append)
        assert ended.code == 0, "\n".join([*said, *ended.last_words])


def test_both_engines_make_the_same_of_a_fresh_tenancy(accounts: tuple[Account, Account]) -> None:
    one, two = accounts
    by_native, by_opentofu = one.make(one.native()), two.make(two.opentofu())
    assert one.tenancy.in_words() == two.tenancy.in_words()
    assert _shape(by_opentofu) == _shape(by_native)
    for part in PARTS:
        assert two.native().plan(part).lines == ()
    _assert_nothing_left_to_do(two)


def test_opentofu_takes_over_what_the_native_engine_made(accounts: tuple[Account, Account]) -> None:
    account, _ = accounts
    made = account.make(account.native())
    before = account.tenancy.in_words()
    taken = account.make(account.opentofu(), PARTS[:1])
    assert {role: one.id for role, one in taken.items()} == {role: one.id for role, one in made.items()}
    assert account.tenancy.in_words() == before
    _assert_nothing_left_to_do(account)


def test_a_state_that_was_lost_is_made_again(accounts: tuple[Account, Account]) -> None:
    account, _ = accounts
    made = account.make(account.opentofu(), PARTS[:1])
    foundation = account.opentofu()
    state = foundation.tofu.workspace.state_file
    assert "encrypted_data" in state.read_text("utf-8")
    assert "ocid1." not in state.read_text("utf-8")
    state.unlink()
    again = account.make(account.opentofu(), PARTS[:1])
    assert {role: one.id for role, one in again.items()} == {role: one.id for role, one in made.items()}
    _assert_nothing_left_to_do(account)


def test_a_smaller_declaration_is_refused_and_drift_repaired(accounts: tuple[Account, Account]) -> None:
    from oci.core import VirtualNetworkClient
    from oci.core.models import UpdateVcnDetails

    account, _ = accounts
    made = account.make(account.opentofu(), PARTS[:1])
    account.tenancy.sandbox.client(VirtualNetworkClient).update_vcn(
        made["vcn"].id, UpdateVcnDetails(display_name="renamed")
    )
    foundation = account.opentofu()
    plan = foundation.plan("network")
    assert plan.lines == ("change vcn lab-vcn: display_name: renamed -> lab-vcn",)
    foundation.apply(plan)
    _assert_nothing_left_to_do(account)

    account.spec = dataclasses.replace(account.spec, reserved_ips=(), dns_zone=None)
    calls = account.tenancy.mutating_calls()
    with pytest.raises(CannotChange, match="cannot be destroyed"):
        account.opentofu().plan("reserved_ips")
    assert account.tenancy.mutating_calls() == calls


def test_a_refusal_of_oracle_is_the_same_error_from_both(accounts: tuple[Account, Account]) -> None:
    errors = []
    for account, foundation in zip(accounts, (accounts[0].native(), accounts[1].opentofu()), strict=True):
        from ocifree_pipeline.sandbox.oracle import limits

        account.tenancy.sandbox.inside(lambda world: limits.override(world, "vcn-count", 0))
        with pytest.raises(OcifreeError) as caught:
            _as_the_pipeline(lambda account=account, foundation=foundation: account.make(foundation))  # type: ignore[misc]
        errors.append(caught.value)
    assert type(errors[0]) is type(errors[1]), [str(one) for one in errors]


def _assert_nothing_left_to_do(account: Account) -> None:
    calls = account.tenancy.mutating_calls()
    account.make(account.opentofu(), PARTS[:1])
    account.make(account.native())
    assert account.tenancy.mutating_calls() == calls


def _as_the_pipeline(work: Callable[[], object]) -> None:
    """What may work soon is tried again, twice: a busy machine starts a provider too late."""
    for _ in range(2):
        with contextlib.suppress(Transient):
            work()
            return
    work()


def _shape(made: Mapping[str, Found]) -> dict[str, Any]:
    """What both say of everything, without what differs between two tenancies and what only one engine looks at."""
    return {
        role: (one.name, one.id.split(".")[1] if one.id.startswith("ocid1.") else one.id, sorted(one.tags.items()))
        for role, one in made.items()
        if not role.startswith("dns_record/")
    }
