"""The guardrails made, and then proved: Oracle leaves nothing of a paid shape, and leaves us our A1.

No paid machine is ever launched to see it refused: where the quota were not in force, that launch would cost money and
have to be taken back. The Limits API says what a launch would be given, quotas included, and making nothing is safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocifree_pipeline.deployment.convergence import Found
from ocifree_pipeline.deployment.errors import Conflict, Forbidden, NotVerified
from ocifree_pipeline.deployment.quota_policy import PAID_PROBE, Need, stands_in_the_way
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.engine import Engine, Plan
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.foundation.money import QUOTA
from ocifree_pipeline.systems.oci.foundation.network import compartment_of
from ocifree_pipeline.systems.oci.session import Session, reading
from ocifree_pipeline.systems.oci.waiting import TimedOut, wait_for

IN_FORCE_SECONDS = 900
"""A quota policy takes some minutes to be in force."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Oracle says that a launch would be given, and whether that is as it should be."""

    quota: str
    ad: str
    given: int
    wanted: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Proof:
    rows: tuple[Evidence, ...]

    @property
    def holds(self) -> bool:
        return bool(self.rows) and all(row.holds for row in self.rows)

    def sentences(self) -> Iterator[str]:
        for row in self.rows:
            if not row.holds:
                yield f"{row.quota} in {row.ad}: Oracle would give {row.given}, it should be {row.wanted}"


def prove(session: Session, compartment: str | None, domains: Sequence[str], needs: Sequence[Need]) -> Proof:
    """Reads only."""
    place = compartment or session.tenancy
    rows: list[Evidence] = []
    for ad in domains:
        given = _given(session, place, PAID_PROBE, ad)
        if given is not None:  # None: this domain has no such shape to refuse
            rows.append(Evidence(PAID_PROBE, ad, given, "0", given <= 0))
    if not rows:
        raise NotVerified(
            f"no availability domain knows {PAID_PROBE}",
            why="it is the paid shape whose refusal proves the quota policy",
            fix="look at `ocifree plan --live`; nothing billable is made until this can be proved",
        )
    for need in needs:
        found = _given(session, place, need.quota, need.ad, with_used=True)
        if found is None and need.ad is None:
            continue  # this tenancy counts by domain only
        given = found or 0
        rows.append(
            Evidence(need.quota, need.ad or session.region, given, f"at least {need.amount}", given >= need.amount)
        )
    return Proof(tuple(rows))


def put_up(
    engine: Engine, plan: Plan, domains: Sequence[str], needs: Sequence[Need], *, proved_before: bool = False
) -> tuple[Mapping[str, Found], Proof]:
    """Make them, wait until Oracle enforces them, and prove it. Conflict names a policy of others in the way.

    `proved_before` says that these very statements have been seen in force.
    """
    standing = compartment_of(engine.session, engine.deployment, engine.compartment_name)
    compartment = standing.id if standing else None
    if compartment is not None:
        engine.until_known(compartment)
    if not _leaves(prove(engine.session, compartment, domains, needs), needs):
        _refuse_to_fight(engine, needs)  # before anything of ours is made
    found = engine.apply(plan)
    try:
        proof = wait_for(
            lambda: prove(engine.session, compartment, domains, needs),
            lambda seen: seen.holds,
            what="the quota policy is in force",
            # Nothing was changed, so nothing is on its way either, unless a run made it and died.
            timeout=0 if plan.is_noop and proved_before else IN_FORCE_SECONDS,
            clock=engine.clock,
        )
    except TimedOut as error:
        _refuse_to_fight(engine, needs)
        seen = prove(engine.session, compartment, domains, needs)
        raise NotVerified(
            "the quota policy is made, and Oracle does not act on it",
            why="; ".join(seen.sentences()) or "it came into force just after we stopped waiting",
            fix="wait some minutes and materialize tenancy/guardrails again; nothing billable is made before it holds",
        ) from error
    return found, proof


def _leaves(proof: Proof, needs: Sequence[Need]) -> bool:
    """Whether what we need is left to us, whatever else is not as it should be."""
    needed = {need.quota for need in needs}
    return all(row.holds for row in proof.rows if row.quota in needed)


def _refuse_to_fight(engine: Engine, needs: Sequence[Need]) -> None:
    others = QUOTA.statements_of_others(Scope(engine.session, engine.deployment, None))
    in_the_way = [
        sentence
        for need in needs
        for sentence in stands_in_the_way(
            others, need, compartment=engine.compartment_name, region=engine.session.region
        )
    ]
    if in_the_way:
        raise Conflict(
            "a quota policy that is not ours leaves no room for the A1 machines of the plan",
            why="; ".join(dict.fromkeys(in_the_way)),
            fix="its owner has to allow it there; ocifree changes only its own policy",
        )


def _given(session: Session, compartment: str, quota: str, ad: str | None, *, with_used: bool = False) -> int | None:
    """What is left to a new launch, or with what is in use already. None where the limit does not exist."""
    client = session.client("limits.LimitsClient")
    where = {"availability_domain": ad} if ad else {}
    try:
        with told(f"read what is left of {quota} in {ad or session.region}"):
            found = client.get_resource_availability(
                "compute", quota, compartment, retry_strategy=reading(), **where
            ).data
    except Forbidden:
        return None
    return int(found.available or 0) + (int(found.used or 0) if with_used else 0)
