"""`hunt`: how patiently to ask Oracle for machines it does not have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import Section, Several, at_least_one, between, without_repeats

MINUTES_A_DAY = 1440


class Hunt(Section):
    """Asking too often gets accounts closed; ten minutes was too often for one of them."""

    interval_minutes: Annotated[
        int, between(5, MINUTES_A_DAY, "Oracle closes accounts that ask more often, and once a day is the least")
    ] = Field(15, description="Minutes between two attempts.")
    jitter: Annotated[float, between(0, 0.5, "a share of the interval, and more than half makes it meaningless")] = (
        Field(0.2, description="By which share of the interval an attempt may come earlier or later, at random.")
    )
    daily_call_budget: Annotated[
        int, between(24, MINUTES_A_DAY, "more than a call a minute looks like an attack, one an hour is the least")
    ] = Field(400, description="How many calls to Oracle the hunt may make in a day. It slows down to stay below.")
    availability_domains: (
        Annotated[
            Several[Annotated[int, between(1, 3, "a region has one to three availability domains")]],
            at_least_one("the hunt would look nowhere", "write numbers from 1 to 3, or leave it out"),
            without_repeats(),
        ]
        | None
    ) = Field(None, description="The numbers of the availability domains to look in. Left out: all of the region.")
    partial: Literal["hold", "all-or-nothing", "downgrade"] = Field(
        "hold",
        description="What to do when there is room for only some of the machines: `hold` takes them and goes on asking "
        "for the rest, `all-or-nothing` launches only where Oracle reports room for all, `downgrade` stops after a "
        "week and says how to build a smaller platform with those that were had. None ever gives a machine back.",
    )
    blind_launch_every: Annotated[int, between(0, 1000, "a number of attempts")] = Field(
        24,
        description="After how many attempts to try a launch although Oracle's report shows no room, because the "
        "report is not always right. 0 never does.",
    )

    @model_validator(mode="after")
    def _budget_covers_the_interval(self) -> Hunt:
        attempts = MINUTES_A_DAY // self.interval_minutes
        if self.daily_call_budget < attempts:
            raise refuse(
                Objection(
                    f"an attempt every {self.interval_minutes} minutes makes {attempts} a day, each at least one call",
                    f"write {attempts} or more, or a longer interval_minutes",
                    at=("daily_call_budget",),
                    involves=(("interval_minutes",),),
                )
            )
        return self
