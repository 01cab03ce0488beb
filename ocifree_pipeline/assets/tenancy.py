"""tenancy/limits, plan, guardrails, a1_capacity and storage_quota: what the account allows, and what we take."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import dagster as dg

from ocifree_pipeline.deployment.allowances import LABELS, Resource, allowance
from ocifree_pipeline.deployment.blueprint import Blueprint, DoesNotFit, plan_for
from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.plan import A1_SHAPE, Refusal
from ocifree_pipeline.deployment.pricing import Item, free_of, require_free
from ocifree_pipeline.deployment.quota_policy import BootVolume, statements, storage_by_domain
from ocifree_pipeline.record.definition import OWNERS, Step, define_asset
from ocifree_pipeline.record.facts import find_facts, materialize_command
from ocifree_pipeline.record.foundation import GUARDRAILS, STORAGE_QUOTA, GuardrailsFacts, guards_of
from ocifree_pipeline.record.machines import held
from ocifree_pipeline.record.outcome import Outcome, Scalar
from ocifree_pipeline.record.tenancy import (
    CountsFacts,
    LimitsFacts,
    MachineFacts,
    PlanFacts,
    a1_domains,
    a1_needs,
    changes,
)

GROUP = "tenancy"


def assets(blueprint: Blueprint) -> Iterator[dg.AssetsDefinition | dg.AssetSpec]:
    define = partial(define_asset, blueprint, group=GROUP)
    yield define(
        "tenancy/limits",
        _limits,
        kinds={"oracle"},
        describe=(
            "Live service limits and their use, per availability domain, with the home region and the kind of account. "
            "Oracle changes them; everything after this asset trusts what was read here and no constant."
        ),
    )
    yield define(
        "tenancy/plan",
        _plan,
        kinds={"python"},
        deps=["tenancy/limits"],
        describe=(
            "The machines that fit within min(live limit, allowance), or every limit that stands in the way. The same "
            "solver as `ocifree plan`, now with the live limits."
        ),
    )
    yield define(
        GUARDRAILS,
        _guardrails,
        kinds={"oracle"},
        deps=["tenancy/plan"],
        describe=(
            "A quota policy that makes Oracle refuse paid shapes at the door, and a budget with an alert at 0.01. Made "
            "before anything billable can exist."
        ),
    )
    yield define(
        STORAGE_QUOTA,
        _guardrails,
        kinds={"oracle"},
        deps=[GUARDRAILS, *(f"machines/{machine.name}" for machine in blueprint.plan.machines)],
        describe=(
            "The same guardrails once every machine is had: storage is given to the availability domains that they "
            "are in and to no other, so that the quota alone holds the free total."
        ),
    )
    yield dg.AssetSpec(
        key=["tenancy", "a1_capacity"],
        deps=[dg.AssetKey(["tenancy", "plan"])],
        group_name=GROUP,
        kinds={"oracle"},
        owners=OWNERS,
        description=(
            "Whether Oracle has Ampere capacity, per availability domain: available, unavailable or unknown. The hunt "
            "observes it; nobody can make it."
        ),
    )


def _limits(step: Step) -> Outcome:
    from ocifree_pipeline.systems.oci.limits import read_tenancy
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    tenancy = read_tenancy(session_for(declaration.site), declaration)
    facts = LimitsFacts(
        tenancy=tenancy.name,
        home_region=tenancy.home_region,
        availability_domains=tenancy.availability_domains,
        limits=CountsFacts.of(tenancy.limits),
        used_by_others=CountsFacts.of(tenancy.used_by_others),
        allowance=declaration.site.allowance,
        free=dict(allowance(declaration.site.allowance).limits_for(declaration.site.account)),
    )
    before = find_facts(step.instance, step.key, LimitsFacts)
    changed = changes(before, facts) if before else ()
    facts = facts.model_copy(update={"changed": changed or (before.changed if before else ())})
    return Outcome(
        summary=f"{tenancy.name} in {tenancy.home_region}: {_a1_in_words(tenancy.limits)}"
        f"{_account_in_words(declaration.site.account, facts)}{_changed_in_words(changed)}",
        facts=facts,
        plan=changed,
        numbers={
            **{f"limit {LABELS[r]}": n for r, n in tenancy.limits.regional.items()},
            "changed since the last reading": len(changed),
        },
        evidence=_limit_rows(tenancy.limits, tenancy.used, tenancy.ours),
        links={"console": f"https://cloud.oracle.com/limits?region={tenancy.home_region}"},
        look_inside="ocifree plan --live",
    )


def _account_in_words(declared: str, facts: LimitsFacts) -> str:
    return (
        f"; its limits are those of a {facts.account} account, and `site.account` says {declared}"
        if facts.account not in (None, declared)
        else ""
    )


def _changed_in_words(changed: tuple[str, ...]) -> str:
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"; changed since the last reading: {changed[0]}{more}" if changed else ""


def _a1_in_words(limits: Counts) -> str:
    ads = {
        ad.rpartition(":")[2]: f"{n.get(Resource.A1_OCPUS, 0)}/{n.get(Resource.A1_MEMORY_GB, 0)}"
        for ad, n in limits.per_ad.items()
    }
    return "A1 OCPU/GB " + ", ".join(f"{ad} {numbers}" for ad, numbers in ads.items())


def _limit_rows(limits: Counts, used: Counts, ours: Counts) -> list[dict[str, Scalar]]:
    places = [("region", limits.regional, used.regional, ours.regional)]
    places += [(ad, n, used.per_ad.get(ad, {}), ours.per_ad.get(ad, {})) for ad, n in limits.per_ad.items()]
    return [
        {
            "limit": LABELS[resource],
            "where": where,
            "value": number,
            "in use": in_use.get(resource, 0),
            "of that ours": own.get(resource, 0),
        }
        for where, numbers, in_use, own in places
        for resource, number in numbers.items()
    ]


def _plan(step: Step) -> Outcome:
    read = step.facts("tenancy/limits", LimitsFacts)
    drawn = step.blueprint.plan
    plan = plan_for(step.blueprint.declaration, read.limits.counts(), read.used_by_others.counts())
    if isinstance(plan, Refusal):
        raise DoesNotFit(plan)
    if (plan.topology, len(plan.machines)) != (drawn.topology, len(drawn.machines)):
        raise NotVerified(
            f"the live limits lead to {plan.topology} with {len(plan.machines)} machines, the graph was drawn for "
            f"{drawn.topology} with {len(drawn.machines)}",
            why="`topology: auto` and derived nodes follow the limits, and these are not the allowance's",
            fix="write `topology` and `nodes.count` into the declaration, then " + materialize_command("tenancy/plan+"),
        )
    facts = PlanFacts.of(plan)
    before = find_facts(step.instance, step.key, PlanFacts)
    return Outcome(
        summary=f"{plan.topology}: {len(plan.machines)} machines for $0.00 within {plan.allowance}",
        facts=facts,
        plan=() if before == facts else tuple(f"{m.name}: {m.shape} in {m.availability_domain}" for m in plan.machines),
        numbers={f"headroom {h.label}": h.left for h in plan.headroom},
        evidence=[
            {"limit": h.label, "has": h.available, "plan takes": h.planned, "left": h.left, "set by": h.source}
            for h in plan.headroom
        ],
        look_inside="ocifree plan --live",
    )


def _boot_volumes(step: Step, limits: LimitsFacts, machines: tuple[MachineFacts, ...]) -> Iterator[BootVolume]:
    """Once all are had: where they are. Until then: where each may still be found."""
    had = {one.name: found for one in machines if (found := held(step.instance, one.name)) is not None}
    hunted = a1_domains(step.blueprint.declaration.hunt, limits)
    for one in machines:
        if len(had) == len(machines):
            domains: tuple[str, ...] = (had[one.name].availability_domain,)
        elif one.shape == A1_SHAPE:
            domains = hunted
        else:
            domains = (one.availability_domain,) if one.availability_domain else ()
        yield domains, one.boot_volume_gb


def _guardrails(step: Step) -> Outcome:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.oci.foundation.desired import guardrails
    from ocifree_pipeline.systems.oci.foundation.engine import Engine
    from ocifree_pipeline.systems.oci.guardrails import put_up
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    limits, machines = step.facts("tenancy/limits", LimitsFacts), step.facts("tenancy/plan", PlanFacts).machines
    free = free_of(declaration)
    lines = statements(
        free,
        region=declaration.site.region,
        storage_gb=storage_by_domain(_boot_volumes(step, limits, machines), free.get(Resource.BLOCK_STORAGE_GB, 0)),
        load_balancer=declaration.kubernetes.ccm.enabled,
    )
    session = session_for(declaration.site)
    engine = Engine(session, declaration.name, declaration.compartment, journal_of(declaration.name), step.say)
    wanted = guardrails(declaration.name, session.tenancy, [str(line) for line in lines], declaration.budget)
    require_free((Item(one.kind, one.name) for one in wanted), free)
    plan = engine.plan(wanted)
    before = guards_of(step.instance)
    made, proof = put_up(
        engine,
        plan,
        limits.availability_domains,
        a1_needs(machines),
        proved_before=before is not None and before.statements == tuple(str(line) for line in lines),
    )
    facts = GuardrailsFacts(
        quota=made["quota"].id,
        statements=tuple(str(line) for line in lines),
        budget=made["budget"].id,
        alert_rule=made["alert_rule"].id,
        recipients=declaration.budget.alert_emails,
    )
    return Outcome(
        summary=f"Oracle refuses what is not free by {len(lines)} statements; the first "
        f"{declaration.budget.threshold:.2f} is told to {', '.join(facts.recipients)}",
        facts=facts,
        plan=plan.lines,
        numbers={"statements": len(lines), "changes": len(plan.lines)},
        evidence=[
            {"quota": row.quota, "where": row.ad, "Oracle would give": row.given, "should be": row.wanted}
            for row in proof.rows
        ],
        links={"console": f"https://cloud.oracle.com/identity/domains/quotas?region={declaration.site.region}"},
        look_inside=f"oci limits quota get --quota-id {facts.quota}",
    )
