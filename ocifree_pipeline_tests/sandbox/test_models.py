import importlib

import pytest

from ocifree_pipeline.sandbox.oracle import errors, models

CORE = "oci.core.models"
VCN = {"compartmentId": "c", "cidrBlocks": ["10.0.0.0/16"], "freeformTags": {"a": "b"}}
LAUNCH = {
    "compartmentId": "c",
    "availabilityDomain": "AD-1",
    "shapeConfig": {"ocpus": 1, "memoryInGBs": 6.0},
    "sourceDetails": {"sourceType": "image", "imageId": "i", "bootVolumeSizeInGBs": 50},
    "definedTags": {"space": {"key": 1}},
}


def changed(body: dict, **fields: object) -> dict:
    return body | fields


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("CreateVcnDetails", VCN),
        ("CreateVcnDetails", changed(VCN, displayName=None)),
        ("LaunchInstanceDetails", LAUNCH),
        ("CreateImageDetails", {"compartmentId": "c", "launchMode": "CUSTOM"}),
        ("CreateVolumeDetails", {"compartmentId": "c", "sourceDetails": {"type": "volume", "id": "v"}}),
    ],
)
def test_what_the_sdk_can_send_is_accepted(model, body):
    assert models.validate(f"{CORE}.{model}", body) == {k: v for k, v in body.items() if v is not None}


@pytest.mark.parametrize(
    ("model", "body", "code", "names"),
    [
        ("CreateVcnDetails", changed(VCN, cidrblock="x"), "InvalidParameter", "cidrblock"),
        ("CreateVcnDetails", {}, "MissingParameter", "compartmentId"),
        ("CreateVcnDetails", changed(VCN, compartmentId=None), "MissingParameter", "compartmentId"),
        ("CreateVcnDetails", changed(VCN, cidrBlocks="10.0.0.0/16"), "InvalidParameter", "cidrBlocks"),
        ("CreateVcnDetails", changed(VCN, cidrBlocks=[1]), "InvalidParameter", r"cidrBlocks\[0\]"),
        ("CreateVcnDetails", changed(VCN, isIpv6Enabled="true"), "InvalidParameter", "boolean"),
        ("CreateVcnDetails", changed(VCN, freeformTags={"a": 1}), "InvalidParameter", r"freeformTags\.a"),
        ("CreateVcnDetails", changed(VCN, definedTags={"a": "b"}), "InvalidParameter", r"definedTags\.a"),
        ("CreateVcnDetails", [VCN], "InvalidParameter", "body must be an object"),
        ("CreateImageDetails", {"compartmentId": "c", "launchMode": "BIOS"}, "InvalidParameter", "PARAVIRTUALIZED"),
        ("LaunchInstanceDetails", changed(LAUNCH, shapeConfig={"ocpu": 1}), "InvalidParameter", r"shapeConfig\.ocpu"),
        ("LaunchInstanceDetails", changed(LAUNCH, shapeConfig={"ocpus": True}), "InvalidParameter", "a number"),
        (
            "LaunchInstanceDetails",
            changed(LAUNCH, sourceDetails={"sourceType": "bootVolume"}),
            "MissingParameter",
            r"sourceDetails\.bootVolumeId",
        ),
        (
            "LaunchInstanceDetails",
            changed(LAUNCH, sourceDetails={"imageId": "i"}),
            "MissingParameter",
            r"sourceDetails\.sourceType",
        ),
        (
            "LaunchInstanceDetails",
            changed(LAUNCH, sourceDetails={"sourceType": "floppy", "imageId": "i"}),
            "InvalidParameter",
            "sourceDetails",
        ),
        (
            "LaunchInstanceDetails",
            changed(LAUNCH, sourceDetails={"sourceType": "image", "imageId": "i", "bootVolumeSizeInGBs": 50.5}),
            "InvalidParameter",
            "an integer",
        ),
    ],
)
def test_what_is_wrong_is_named_in_oracles_way(model, body, code, names):
    with pytest.raises(errors.OracleError, match=names) as refused:
        models.validate(f"{CORE}.{model}", body)
    assert (refused.value.status, refused.value.code) == (400, code)


@pytest.mark.parametrize(
    ("moment", "good"),
    [("2026-01-01T00:00:00.000Z", True), ("2026-01-01T00:00:00+02:00", True), ("2026-01-01", False), (5, False)],
)
def test_moments_need_a_zone(moment, good):
    found = list(
        models.problems("oci.work_requests.models.WorkRequestError", {"code": "a", "message": "b", "timestamp": moment})
    )
    assert (not found) is good


def test_replies_are_checked_by_the_same_rules():
    found = list(models.problems("list[oci.core.models.Vcn]", [{"id": "v", "lifecycleState": "ASLEEP", "colour": 1}]))
    assert {(one.kind, one.path) for one in found} >= {
        ("enum", "[0].lifecycleState"),
        ("unknown", "[0].colour"),
        ("missing", "[0].compartmentId"),
    }


def test_nulls_mean_not_given_at_every_depth():
    body = changed(LAUNCH, shapeConfig={"ocpus": 1, "memoryInGBs": None}, displayName=None)
    assert models.validate(f"{CORE}.LaunchInstanceDetails", body)["shapeConfig"] == {"ocpus": 1}


def test_every_model_of_the_services_compiles():
    for package in ("core", "identity", "object_storage", "limits", "budget", "usage_api", "dns", "work_requests"):
        module = importlib.import_module(f"oci.{package}.models")
        for name, cls in vars(module).items():
            if isinstance(cls, type):
                known = models.known_attributes(f"oci.{package}.models.{name}")
                added = models.UNDOCUMENTED.get(f"oci.{package}.models.{name}", {})
                assert known == {*cls().attribute_map.values(), *added}, name
