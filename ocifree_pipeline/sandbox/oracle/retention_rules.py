"""Object Storage, retention rules: for how long nobody, not even an administrator, may change or delete an object."""

from datetime import timedelta
from typing import Any

from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle import errors, object_errors, pages
from ocifree_pipeline.sandbox.oracle.buckets import BUCKET, MODELS, bucket_of
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World

BASE = f"{BUCKET}/retentionRules"
MOST = 100
LOCK_NOTICE = timedelta(days=14)
DAYS = {"DAYS": 1, "YEARS": 365}
LONGEST = {"DAYS": 36_500, "YEARS": 100}

service = Service("objectstorage")


def require_changeable(world: World, bucket: Resource, name: str) -> None:
    """403 while a rule of the bucket protects the object of that name; what does not exist is not protected."""
    existing = bucket.hidden["objects"].get(name)
    if existing is None:
        return
    for rule in bucket.hidden["retention"].values():
        kept = _length(rule)
        if kept is None or parse(existing["timeModified"]) + kept > world.clock.now():
            raise object_errors.retained(name, rule["displayName"])


@service.post(
    BASE,
    operation="CreateRetentionRule",
    body=f"{MODELS}.CreateRetentionRuleDetails",
    reply=f"{MODELS}.RetentionRule",
)
def create_retention_rule(call: Call) -> Reply:
    bucket = bucket_of(call)
    if len(bucket.hidden["retention"]) >= MOST:
        raise errors.limit_exceeded("retention-rule-count")
    _check(call, call.body)
    now = call.world.clock.stamp()
    rule = {
        "id": call.world.fresh("retention rule", 36),
        "displayName": f"retention-rule-{now}",
        "etag": call.world.fresh("etag", 40),
        "timeCreated": now,
        "timeModified": now,
    } | call.body
    bucket.hidden["retention"][rule["id"]] = rule
    return _reply(rule)


@service.get(f"{BASE}/{{retentionRuleId}}", operation="GetRetentionRule", reply=f"{MODELS}.RetentionRule")
def get_retention_rule(call: Call) -> Reply:
    return _reply(_rule(call, bucket_of(call)))


@service.get(BASE, operation="ListRetentionRules", reply=f"{MODELS}.RetentionRuleCollection")
def list_retention_rules(call: Call) -> Reply:
    page = pages.page(call, list(bucket_of(call).hidden["retention"].values()))
    return Reply({"items": page.body}, headers=page.headers)


@service.put(
    f"{BASE}/{{retentionRuleId}}",
    operation="UpdateRetentionRule",
    body=f"{MODELS}.UpdateRetentionRuleDetails",
    reply=f"{MODELS}.RetentionRule",
)
def update_retention_rule(call: Call) -> Reply:
    rule = _editable(call, bucket_of(call))
    _check(call, call.body)
    if _locked(call.world, rule):
        before, after = _length(rule), _length(rule | call.body)
        if call.body.keys() - {"duration"} or before is None or (after is not None and after < before):
            raise errors.not_allowed("A locked retention rule can only be made longer")
    rule.update(call.body, etag=call.world.fresh("etag", 40), timeModified=call.world.clock.stamp())
    return _reply(rule)


@service.delete(f"{BASE}/{{retentionRuleId}}", operation="DeleteRetentionRule")
def delete_retention_rule(call: Call) -> Reply:
    bucket = bucket_of(call)
    rule = _editable(call, bucket)
    if _locked(call.world, rule):
        raise errors.not_allowed("A locked retention rule cannot be deleted")
    del bucket.hidden["retention"][rule["id"]]
    return Reply()


def _rule(call: Call, bucket: Resource) -> dict[str, Any]:
    found: dict[str, Any] | None = bucket.hidden["retention"].get(call.path["retentionRuleId"])
    if found is None:
        raise errors.OracleError(404, "RetentionRuleNotFound", "The retention rule was not found in the bucket")
    return found


def _editable(call: Call, bucket: Resource) -> dict[str, Any]:
    rule = _rule(call, bucket)
    wanted = call.headers.get("if-match")
    if wanted not in {None, "*", rule["etag"]}:
        raise object_errors.if_match_failed(str(wanted), rule["etag"])
    return rule


def _check(call: Call, body: dict[str, Any]) -> None:
    if "duration" in body and not 1 <= body["duration"]["timeAmount"] <= LONGEST[body["duration"]["timeUnit"]]:
        raise errors.invalid_parameter("duration must be from one day to 100 years")
    lock = body.get("timeRuleLocked")
    if lock is not None and parse(lock) < call.world.clock.now() + LOCK_NOTICE:
        earliest = stamp(call.world.clock.now() + LOCK_NOTICE)
        raise errors.invalid_parameter(f"timeRuleLocked must be at least 14 days ahead, not before {earliest}")


def _length(rule: dict[str, Any]) -> timedelta | None:
    """How long an object is kept; None means for ever."""
    duration = rule.get("duration")
    return timedelta(days=duration["timeAmount"] * DAYS[duration["timeUnit"]]) if duration else None


def _locked(world: World, rule: dict[str, Any]) -> bool:
    return "timeRuleLocked" in rule and parse(rule["timeRuleLocked"]) <= world.clock.now()


def _reply(rule: dict[str, Any]) -> Reply:
    return Reply(rule, headers={"etag": rule["etag"]})
