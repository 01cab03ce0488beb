"""What people get wrong, or do not have: one error that says what, why and what to do, and a tenancy left as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import oci
import pytest

from ocifree_pipeline.deployment.blueprint import Blueprint, DoesNotFit
from ocifree_pipeline.deployment.errors import AuthFailed, Conflict, Forbidden, LimitReached, OcifreeError, Refused
from ocifree_pipeline.sandbox import profiles
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.oracle import limits as sandbox_limits
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline.systems.oci.errors import ClockWrong
from ocifree_pipeline_tests.chaos.whole_graph import Here, WholeGraph, bodies
from ocifree_pipeline_tests.sandbox.harness import other_keys
from ocifree_pipeline_tests.systems.oci.tenancy import world_in_words

Spoil = Callable[[Here, Path], Here]


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, the asset that finds out, and parts of what it says."""

    name: str
    asset: str
    spoil: Spoil
    kind: type[OcifreeError]
    what: str
    why: str
    fix: str


def site(here: Here, **changes: Any) -> Here:
    """Declared otherwise."""
    declaration = here.blueprint.declaration
    changed = declaration.model_copy(update={"site": declaration.site.model_copy(update=changes)})
    blueprint = Blueprint(changed, here.blueprint.plan)
    return replace(here, blueprint=blueprint, bodies=bodies(blueprint))


def credentials(here: Here, folder: Path, **changes: str) -> Here:
    file = folder / "changed.cfg"
    config = here.sandbox.config | changes
    file.write_text("[DEFAULT]\n" + "".join(f"{key}={value}\n" for key, value in config.items()))
    file.chmod(0o600)
    declared = here.blueprint.declaration.site.credentials.model_copy(update={"config_file": str(file)})
    return site(here, credentials=declared)


def another_key(here: Here, folder: Path) -> Here:
    return credentials(here, folder, key_file=str(profiles.write_private_key(other_keys(), folder / "other.pem")))


def no_key(here: Here, folder: Path) -> Here:
    return credentials(here, folder, key_file=str(folder / "nowhere.pem"))


def no_pem(here: Here, folder: Path) -> Here:
    (folder / "page.html").write_text("<html>")
    return credentials(here, folder, key_file=str(folder / "page.html"))


def another_user(here: Here, folder: Path) -> Here:
    return credentials(here, folder, user=here.sandbox.config["user"][:-4] + "aaaa")


def unsubscribed(here: Here, _folder: Path) -> Here:
    return site(here, region="eu-frankfurt-1")


def not_at_home(here: Here, folder: Path) -> Here:
    identity = here.sandbox.client(oci.identity.IdentityClient)
    details = oci.identity.models.CreateRegionSubscriptionDetails(region_key="FRA")
    identity.create_region_subscription(details, here.sandbox.tenancy)
    here.sandbox.advance(3600)
    return credentials(site(here, region="eu-frankfurt-1"), folder, region="eu-frankfurt-1")


def clock(seconds: float) -> Spoil:
    def turn(here: Here, _folder: Path) -> Here:
        here.sandbox.inside(lambda world: setattr(world.clock, "skew_seconds", seconds))
        return here

    return turn


def forbidden(operation: str) -> Spoil:
    """Oracle answers one who may not as if there were nothing; the sandbox does not judge policies by itself."""

    def forbid(here: Here, _folder: Path) -> Here:
        message = "Authorization failed or requested resource not found."
        rule = Rule(operation=operation, status=404, code="NotAuthorizedOrNotFound", message=message, times=None)
        here.sandbox.faults.add(rule)
        return here

    return forbid


def no_custom_images(here: Here, _folder: Path) -> Here:
    here.sandbox.inside(lambda world: sandbox_limits.override(world, "custom-image-count", 0))
    return here


def no_a1(here: Here, _folder: Path) -> Here:
    here.sandbox.inside(lambda world: world.profile.update(a1Ads=[]))
    here.make("tenancy/limits")
    return here


def foreign_quota(here: Here, _folder: Path) -> Here:
    here.sandbox.client(oci.limits.QuotasClient).create_quota(
        oci.limits.models.CreateQuotaDetails(
            compartment_id=here.sandbox.tenancy,
            name="company",
            description="company",
            statements=["zero compute-core quotas in tenancy"],
        )
    )
    here.sandbox.advance(600)
    return here


_MAY_NOT = "it does not exist, is in another region, or the user may not see it"

TABLE = (
    Wrong("a key that Oracle does not know", "tenancy/limits", another_key, AuthFailed,
          "read the tenancy: Oracle answered 401 NotAuthenticated", "the key, user or fingerprint is not known",
          "`ocifree doctor` checks each"),
    Wrong("a key file that is not there", "tenancy/limits", no_key, AuthFailed,
          "changed.cfg is not usable", "nowhere.pem", "compare it with what Oracle's console shows"),
    Wrong("a key file that holds no key", "tenancy/limits", no_pem, AuthFailed,
          "page.html cannot be used to sign requests", "it is no private key in PEM form", "an API key"),
    Wrong("another user", "tenancy/limits", another_user, AuthFailed,
          "401 NotAuthenticated", "the key, user or fingerprint is not known", "`ocifree doctor`"),
    Wrong("a region without a subscription", "tenancy/limits", unsubscribed, AuthFailed,
          "401 NotAuthenticated", "the declaration says eu-frankfurt-1 and the profile of the credentials uk-london-1",
          "write `region: uk-london-1` under `site`"),
    Wrong("a region that is not the home", "tenancy/limits", not_at_home, Refused,
          "eu-frankfurt-1 is not the home region", "Always Free resources exist in the home region only",
          "write `region: uk-london-1` under `site`"),
    Wrong("a clock that is late", "tenancy/limits", clock(900), ClockWrong,
          "401 NotAuthenticated", "s behind Oracle's", "set the clock of this computer"),
    Wrong("a clock that is ahead", "tenancy/limits", clock(-900), ClockWrong,
          "401 NotAuthenticated", "s ahead of Oracle's", "set the clock of this computer"),
    Wrong("no permission to read the tenancy", "tenancy/limits", forbidden("GetTenancy"), Forbidden,
          "read the tenancy: Oracle answered 404", _MAY_NOT, "`ocifree doctor`"),
    Wrong("no permission to make a quota", "tenancy/guardrails", forbidden("CreateQuota"), Forbidden,
          "make the quota ocifree-lab: Oracle answered 404", _MAY_NOT, "`ocifree doctor`"),
    Wrong("no permission to make a compartment", "oci/network", forbidden("CreateCompartment"), Forbidden,
          "make the compartment lab: Oracle answered 404", _MAY_NOT, "`ocifree doctor`"),
    Wrong("no permission to make a bucket", "oci/image_bucket", forbidden("CreateBucket"), Forbidden,
          "make the bucket lab-images: Oracle answered 404", _MAY_NOT, "`ocifree doctor`"),
    Wrong("no permission to store", "oci/custom_image/talos_oracle", forbidden("PutObject"), Forbidden,
          "store lab-images/", _MAY_NOT, "`ocifree doctor`"),
    Wrong("no permission to launch", "machines/bastion", forbidden("LaunchInstance"), Forbidden,
          "launch machines/bastion in", _MAY_NOT, "`ocifree doctor`"),
    Wrong("an account that may keep no images", "oci/custom_image/talos_oracle", no_custom_images, LimitReached,
          "this account may not keep another custom image", "Pay As You Go", "declare `platform`"),
    Wrong("a region without A1", "tenancy/plan", no_a1, DoesNotFit,
          "topology talos-native does not fit", "A1 OCPUs", "`ocifree plan` shows the numbers"),
    Wrong("a quota policy of somebody else", "tenancy/guardrails", foreign_quota, Conflict,
          "a quota policy that is not ours leaves no room for the A1 machines", "quota policy company holds",
          "its owner has to allow it there"),
)  # fmt: skip


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: wrong.name)
def test_one_error_with_what_why_and_fix_and_nothing_half_made(
    native: WholeGraph, wrong: Wrong, tmp_path: Path
) -> None:
    with native.before(wrong.asset) as found:
        here = wrong.spoil(found, tmp_path)
        before = here.sandbox.inside(world_in_words)
        here.sandbox.recorder.clear()
        with pytest.raises(OcifreeError) as caught:
            here.make(wrong.asset)
        error = caught.value
        assert type(error) is wrong.kind, error
        assert wrong.what in error.what
        assert wrong.why in error.why
        assert wrong.fix in error.fix
        assert "PRIVATE KEY" not in str(error)
        assert here.sandbox.inside(world_in_words) == before
        done = [one for one in here.sandbox.recorder.query(mutating=True) if one.status < 400]
        assert done == [], "nothing was made, not even to be taken back"
        assert journal_of("lab").open_intents() == []


def test_a_domain_without_a1_is_left_out_and_the_storage_is_pinned_at_once(native: WholeGraph) -> None:
    with native.before("tenancy/limits") as here:
        here.sandbox.inside(lambda world: world.profile.update(a1Ads=world.availability_domains(world.home_region)[:1]))
        first = here.up_to("tenancy/guardrails")["tenancy/guardrails"]
        lines = [line for line in first.facts.model_dump()["statements"] if "request.ad" in line]
        assert lines == [
            "set block-storage quota total-storage-gb to 200 in tenancy where request.ad = 'Kfkm:UK-LONDON-1-AD-1'"
        ]


def test_the_error_ends_the_run_and_is_in_the_record(native: WholeGraph, tmp_path: Path) -> None:
    """As Dagster shows it: the parts by themselves, and what hangs on the asset is not tried."""
    from ocifree_pipeline_tests.assets.conftest import Deployment

    with native.before("tenancy/limits") as found:
        here = another_key(found, tmp_path)
        graph = Deployment(here.sandbox, here.blueprint, here.instance)
        result = graph.materialize("tenancy/limits", "tenancy/plan", "tenancy/guardrails", good=False)
        (told,) = graph.errors(result).values()
        assert (told["error"], told["reaction"]) == ("AuthFailed", "stop")
        assert told["again"] == "ocifree up --select 'tenancy/limits+'"
        assert graph.mutations() == 0
