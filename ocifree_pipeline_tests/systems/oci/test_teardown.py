"""The end of a whole deployment: nothing of it is left, and nothing of others is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import oci
import pytest
from oci.core import models as core

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.deployment.foundation import FoundationSpec
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.teardown import Stage
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.foundation.conftest import blueprint, spec
from ocifree_pipeline_tests.systems.oci.furnished import furnish, tags, teardown, what_is_there
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

__all__ = ["blueprint", "spec"]


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    with running(tmp_path, profile=Profile(account="payg")) as sandbox:
        yield Tenancy(sandbox, tmp_path)


def test_nothing_is_left_and_the_second_time_nothing_is_done(
    tenancy: Tenancy, blueprint: Blueprint, spec: FoundationSpec
) -> None:
    empty = what_is_there(tenancy)
    furnish(tenancy, blueprint, spec)
    standing = {one.kind for one in teardown(tenancy).what_remains()}
    assert {"instance", "volume", "custom_image", "vcn", "reserved_ip", "bucket", "quota", "budget"} <= standing
    said: list[str] = []
    stages: list[Stage] = []
    teardown(tenancy, say=said.append, ended=stages.append).run()
    assert stages == list(Stage)
    assert what_is_there(tenancy) == empty
    assert teardown(tenancy).what_remains() == ()
    order = [line.split()[1] for line in said if line.startswith(("end", "delete"))]
    assert order.index("instance") < order.index("custom") < order.index("bucket") < order.index("vcn")
    assert order.index("compartment") < order.index("budget") < order.index("quota")
    assert tenancy.journal().open_intents() == []
    tenancy.sandbox.recorder.clear()
    teardown(tenancy).run()
    assert tenancy.mutating_calls() == []


def test_a_launch_whose_end_nobody_knew_is_closed(tenancy: Tenancy) -> None:
    tenancy.journal().intend("LaunchInstance", "machines/ampere_1 in AD-1/any", now=datetime.now(UTC))
    teardown(tenancy).run()
    assert tenancy.journal().open_intents() == []


def test_what_is_not_ours_stays_and_keeps_the_compartment_and_its_guards(
    tenancy: Tenancy, blueprint: Blueprint, spec: FoundationSpec
) -> None:
    made = furnish(tenancy, blueprint, spec, machines=1)
    block = tenancy.session.client("core.BlockstorageClient")
    theirs = block.create_volume(
        core.CreateVolumeDetails(
            compartment_id=made["compartment"].id, availability_domain=made["ad"], size_in_gbs=50, display_name="theirs"
        )
    ).data
    elsewhere = block.create_volume(
        core.CreateVolumeDetails(
            compartment_id=tenancy.session.tenancy, availability_domain=made["ad"], size_in_gbs=50, display_name="other"
        )
    ).data
    stages: list[Stage] = []
    with pytest.raises(NotVerified) as caught:
        teardown(tenancy, ended=stages.append).run()
    assert f"volume theirs ({theirs.id}): it is not ours, and stands in our compartment" in caught.value.why
    assert "compartment lab" in caught.value.why
    assert "other" not in caught.value.why
    assert stages == [Stage.MACHINES, Stage.IMAGES]
    assert {block.get_volume(one.id).data.lifecycle_state for one in (theirs, elsewhere)} == {"AVAILABLE"}
    quotas = tenancy.session.client("limits.QuotasClient").list_quotas(tenancy.session.tenancy).data
    assert [quota.name for quota in quotas] == ["ocifree-lab"]
    block.delete_volume(theirs.id)
    tenancy.sandbox.advance(60)
    teardown(tenancy).run()
    assert block.get_volume(elsewhere.id).data.lifecycle_state == "AVAILABLE"


def test_a_machine_that_oracle_does_not_end_is_named_and_everything_else_waits_for_it(
    tenancy: Tenancy, blueprint: Blueprint, spec: FoundationSpec
) -> None:
    furnish(tenancy, blueprint, spec, machines=1)
    tenancy.sandbox.faults.add(
        Rule(operation="TerminateInstance", status=409, code="IncorrectState", message="it is being backed up", times=1)
    )
    tenancy.sandbox.recorder.clear()
    with pytest.raises(NotVerified, match="1 thing is left of the deployment") as caught:
        teardown(tenancy).run()
    assert "instance lab-ampere-1" in caught.value.why
    assert "it is being backed up" in caught.value.why
    assert "goes on where it stopped" in caught.value.fix
    assert tenancy.mutating_calls() == ["TerminateInstance"]
    teardown(tenancy).run()
    assert teardown(tenancy).what_remains() == ()


def test_something_of_ours_that_was_moved_away_is_found(tenancy: Tenancy) -> None:
    block = tenancy.session.client("core.BlockstorageClient")
    ad = (
        tenancy.session.client("identity.IdentityClient")
        .list_availability_domains(tenancy.session.tenancy)
        .data[0]
        .name
    )
    moved = block.create_volume(
        core.CreateVolumeDetails(
            compartment_id=tenancy.session.tenancy, availability_domain=ad, size_in_gbs=50, freeform_tags=tags("x")
        )
    ).data
    with pytest.raises(NotVerified) as caught:
        teardown(tenancy).run()
    assert moved.id in caught.value.why


def test_a_compartment_that_was_there_before_outlives_the_deployment(
    tenancy: Tenancy, blueprint: Blueprint, spec: FoundationSpec
) -> None:
    identity = tenancy.session.client("identity.IdentityClient")
    details = oci.identity.models.CreateCompartmentDetails
    theirs = identity.create_compartment(
        details(compartment_id=tenancy.session.tenancy, name="lab", description="theirs")
    ).data
    tenancy.sandbox.advance(60)
    furnish(tenancy, blueprint, spec, machines=1)
    teardown(tenancy).run()
    assert identity.get_compartment(theirs.id).data.lifecycle_state == "ACTIVE"
