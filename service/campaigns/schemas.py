"""Campaigns as the outside sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from service.campaigns.goals import Goal, ParetoGoal, has_efficacy
from service.campaigns.source_fields import LEARN_FROM, REPEAT_EARLIER, LearnFrom
from service.kit.schemas import Body, Dose, Finite, Name, Out, Text

Status = Literal["draft", "open", "paused", "closed"]
ScoreName = Literal[
    "bliss_mean",
    "bliss_max",
    "hsa_mean",
    "hsa_max",
    "loewe_mean",
    "loewe_max",
    "zip_mean",
    "zip_max",
    "inhibition_mean",
    "inhibition_max",
]
ModelName = Literal[
    "auto",
    "bnn_gaussian",
    "gp_pairs",
    "plain_gp",
    "hierarchical_bliss",
    "logit_tensor",
    "bilinear_deterministic",
    "bilinear_ensemble",
    "bilinear_randomised_prior",
    "bilinear_mean_variance",
    "bilinear_gaussian",
    "bilinear_mixture",
    "bilinear_laplace",
    "bilinear_laplace_gaussian",
    "bilinear_sparse_dropout",
    "bilinear_ard",
    "concat_deterministic",
    "concat_ensemble",
    "concat_randomised_prior",
    "concat_mean_variance",
    "concat_gaussian",
    "concat_mixture",
    "concat_laplace",
    "concat_laplace_gaussian",
    "concat_sparse_dropout",
    "concat_ard",
    "bilinear_ensemble_film_identity",
    "bilinear_ensemble_film_features",
    "plain_networks",
    "stacked",
]
AcquisitionName = Literal[
    "hit_probability",
    "ucb",
    "greedy",
    "thompson",
    "random",
    "expected_improvement",
    "probability_of_improvement",
    "top_k",
    "entropy",
    "bald",
    "hit_information",
    "pdbal",
    "joint_hit_coverage",
    "joint_expected_best",
    "joint_information",
    "expected_hypervolume",
    "front_probability",
    "auto",
]
BlockShape = Literal["single", "matrix", "diagonal", "informed"]
MAX_BLOCK_WELLS = 32
"""Of an informed block: so many wells of a surface are put in order."""
SingleAgents = Literal["elsewhere", "per_plate", "per_block"]
Mark = Literal["pin", "ban"]

Doses = Annotated[
    list[Dose],
    Field(
        min_length=1, max_length=24, description="Micromolar.", examples=[[0.35, 1.08, 3.25, 10.0]]
    ),
]


class DoseRange(Body):
    """Doses spaced evenly on a logarithmic scale, both ends included."""

    min_um: Dose
    max_um: Dose
    levels: int = Field(ge=2, le=24, examples=[4])

    @model_validator(mode="after")
    def _ordered(self) -> DoseRange:
        if self.min_um >= self.max_um:
            raise ValueError("min_um must be below max_um")
        if len(set(self.doses())) < self.levels:
            raise ValueError("levels must differ in their first four digits; ask for fewer")
        return self

    def doses(self) -> list[float]:
        """The doses, to four significant digits."""
        ratio = (self.max_um / self.min_um) ** (1 / (self.levels - 1))
        return [float(f"{self.min_um * ratio**step:.4g}") for step in range(self.levels)]


class CampaignCompoundIn(Body):
    compound: Name = Field(description="A registered name or an id.")
    doses_um: Doses | None = Field(None, description="Where they differ from the campaign's.")


def _as_choice(value: object) -> object:
    """A plain name stands for a compound at the campaign's doses."""
    if isinstance(value, str):
        return {"compound": value}
    if isinstance(value, dict | CampaignCompoundIn):
        return value
    raise ValueError("must be a name, or an object with `compound` and `doses_um`")


ChosenCompound = Annotated[
    CampaignCompoundIn,
    BeforeValidator(_as_choice, json_schema_input_type=Name | CampaignCompoundIn),
]


class Objective(Body):
    """What the campaign looks for."""

    score: ScoreName = Field(
        "bliss_mean",
        description="Excess inhibition over the reference (Bliss, HSA, Loewe or ZIP), in "
        "percentage points, summarised over the dose matrix (mean or maximum). Positive is "
        "synergy. Loewe is undefined beyond the weaker compound's maximum effect; such dose pairs "
        "are left out. `inhibition` subtracts no reference.",
    )
    hit_threshold: Finite = Field(
        10.0,
        description="A block whose score, or what `goal` asks for instead, exceeds this is a hit.",
        examples=[10.0],
    )
    goal: Goal | None = Field(
        None,
        description="What is sought instead of the score: efficacy, selectivity between cell "
        "lines, a weighted sum, or several objectives kept apart (`pareto`). Scores in it are "
        "`score`. Null: the score.",
        examples=[{"kind": "selectivity", "kill": ["A375"], "spare": ["MCF7"]}],
    )

    @model_validator(mode="after")
    def _fits(self) -> Objective:
        if self.goal is not None and has_efficacy(self.goal) and self.score.startswith("loewe"):
            raise ValueError(
                "inhibition cannot be told from a Loewe score, which leaves out dose pairs; choose "
                "a score over another reference beside this goal"
            )
        return self

    def threshold(self) -> float:
        """The hit threshold that was said; a front has 0 where none was."""
        said = "hit_threshold" in self.model_fields_set
        return 0.0 if isinstance(self.goal, ParetoGoal) and not said else self.hit_threshold


Count = Annotated[int, Field(ge=1, le=10_000)]
Price = Annotated[FiniteFloat, Field(ge=0, le=1e12)]
MAX_BATCH = 10_000


class Limits(Body):
    """What one round may hold, and what the laboratory can do. Null: no limit."""

    batch_size: int = Field(
        96,
        ge=1,
        le=MAX_BATCH,
        description="Blocks (pair x cell line) a round. Where `plates` and what a plate holds are "
        "given, these say how many.",
    )
    max_per_compound: Count | None = Field(
        None, description="Most blocks of one batch that may hold one compound."
    )
    min_compounds: Count | None = Field(None, description="Fewest distinct compounds of a batch.")
    max_per_cell_line: Count | None = Field(
        None, description="Most blocks of one batch in one cell line."
    )
    lines_in_batch: Count | None = Field(None, description="Most cell lines of one batch.")
    plates: Count | None = Field(
        None, description="Most plates of one batch; null: as many as it fills.", examples=[8]
    )
    blocks_per_plate: Count | None = Field(None, examples=[24])
    compounds_per_plate: Annotated[int, Field(ge=2, le=10_000)] | None = Field(
        None, description="Most distinct compounds on one plate.", examples=[12]
    )
    lines_per_plate: Count | None = Field(
        None, description="Most cell lines on one plate.", examples=[1]
    )
    wells_per_plate: Count | None = Field(
        None, description="With the shape of a block it says how many blocks a plate holds."
    )
    controls_per_plate: int = Field(0, ge=0, le=10_000, description="Wells kept for controls.")
    block_shape: BlockShape = Field(
        "single",
        description="`single`: one dose pair, one well; `matrix`: doses x doses wells; "
        "`diagonal`: one well a dose; `informed`: the `block_wells` wells of the matrix that teach "
        "most of its surface, which `POST surfaces` finds.",
    )
    block_doses: int = Field(1, ge=1, le=24, description="Doses of each compound in a block.")
    block_wells: int | None = Field(
        None,
        ge=1,
        le=MAX_BLOCK_WELLS,
        description="Wells of an informed block, without replicates.",
    )
    replicates: int = Field(1, ge=1, le=100, description="Wells for each dose pair.")
    single_agents: SingleAgents = Field(
        "elsewhere", description="Where the compounds are measured alone: wells that plates lose."
    )
    never_together: list[Annotated[list[Name], Field(min_length=2, max_length=50)]] = Field(
        default_factory=list,
        max_length=1000,
        description="Compounds, by name or id, no two of which may meet on a plate; without "
        "plates: in a block.",
        examples=[[["Imatinib", "Vincristine"]]],
    )
    stock: dict[Name, Annotated[int, Field(ge=0, le=10_000)]] = Field(
        default_factory=dict,
        max_length=5000,
        description="Compound, by name or id, to the most blocks there is substance for.",
        examples=[{"Vincristine": 20}],
    )
    cost_per_block: Price = 0.0
    cost_per_plate: Price = 0.0
    cost_per_well: Price = Field(0.0, description="Of every filled well, controls included.")
    budget: Price | None = Field(None, description="Most that a batch may cost; one currency.")

    @model_validator(mode="after")
    def _wells(self) -> Limits:
        if self.block_shape == "single" and self.block_doses != 1:
            raise ValueError("a single block has 1 dose; ask for a matrix or a diagonal")
        if (self.block_shape == "informed") != (self.block_wells is not None):
            raise ValueError("block_wells says how many wells an informed block has, and only it")
        if (self.block_wells or 1) > self.block_doses**2:
            size = f"{self.block_doses} x {self.block_doses}"
            raise ValueError(f"a block of {size} doses has no {self.block_wells} wells")
        if self.single_agents == "per_plate" and self.compounds_per_plate is None:
            raise ValueError("single agents on each plate need compounds_per_plate")
        if self.wells_per_plate is not None:
            left = self.wells_per_plate - self.reserved_wells()
            if left < self.wells_per_block():
                raise ValueError(
                    f"a plate of {self.wells_per_plate} wells keeps {self.reserved_wells()} for "
                    f"controls and single agents; a block needs {self.wells_per_block()} more"
                )
        return self

    @model_validator(mode="after")
    def _plates(self) -> Limits:
        per_plate = self.compounds_per_plate or self.lines_per_plate
        if per_plate and self.plates is None and self.capacity() is None:
            raise ValueError("name plates, blocks_per_plate or wells_per_plate as well")
        if (self.plates or 0) * (self.capacity() or 0) > MAX_BATCH:
            raise ValueError(f"these plates hold more than {MAX_BATCH} blocks; ask for fewer")
        return self

    def wells_per_block(self) -> int:
        """Wells of one block, replicates and single agents of its own included."""
        doses = self.block_doses
        combined = {
            "single": 1,
            "matrix": doses**2,
            "diagonal": doses,
            "informed": self.block_wells or 1,
        }[self.block_shape]
        own = 2 * doses if self.single_agents == "per_block" else 0
        return (combined + own) * self.replicates

    def reserved_wells(self) -> int:
        """Wells of a plate that hold no block."""
        if self.single_agents != "per_plate":
            return self.controls_per_plate
        alone = (self.compounds_per_plate or 0) * (self.lines_per_plate or 1)
        return self.controls_per_plate + alone * self.block_doses * self.replicates

    def capacity(self) -> int | None:
        """Most blocks on a plate; nothing where nobody said."""
        if self.wells_per_plate is None:
            return self.blocks_per_plate
        fit = (self.wells_per_plate - self.reserved_wells()) // self.wells_per_block()
        return fit if self.blocks_per_plate is None else min(fit, self.blocks_per_plate)


class Learning(Body):
    """How the next batch is found."""

    model: ModelName = Field(
        "auto",
        description="What learns from the measurements. `auto`: every round the model with the "
        "best evidence on the campaign's own held-out blocks; the reason is kept with it.",
    )
    acquisition: AcquisitionName = Field(
        "hit_probability",
        description="What candidates are ranked by: the chance to be a hit (default); mean + "
        "kappa x epistemic sd (`ucb`); the mean (`greedy`); one posterior draw per pick "
        "(`thompson`); size or chance of an improvement over the best measured score "
        "(`expected_improvement`, `probability_of_improvement`); the chance to be among the best "
        "of the pool (`top_k`); what a measurement would teach (`entropy`, `bald`, "
        "`hit_information`, `pdbal`); a batch as a set, given what is in the lab: the chance of "
        "at least one hit, the best it may hold, what it teaches (`joint_hit_coverage`, "
        "`joint_expected_best`, `joint_information`); what a candidate may add to a front, or its "
        "chance to be on it, for a goal of the kind `pareto`, where the former is the default "
        "(`expected_hypervolume`, `front_probability`); chance (`random`). `auto`: each round its "
        "own, from exploring to finding, and the reason is kept with it.",
    )
    # Not Finite: a type's own bounds win over those that a field adds.
    kappa: FiniteFloat = Field(1.0, ge=0, le=100, description="Weight of uncertainty in `ucb`.")
    xi: FiniteFloat = Field(
        0.0, ge=0, le=1000, description="Improvement that does not count, in the score's unit."
    )
    top_k: int | None = Field(
        None, ge=1, le=10_000, description="How many are the best in `top_k`; null: a batch."
    )
    rounds_planned: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Rounds that the campaign will have; `auto` explores less towards the last.",
    )


Pair = Annotated[
    list[Name], Field(min_length=2, max_length=2, examples=[["Imatinib", "Vincristine"]])
]


class CampaignIn(Body):
    name: Name = Field(examples=["Melanoma pairs, autumn"])
    compounds: list[ChosenCompound] = Field(
        min_length=2, max_length=5000, description="Registered names or ids."
    )
    cell_lines: list[Name] = Field(
        min_length=1, max_length=2000, description="Registered names or ids."
    )
    doses_um: Doses | None = None
    dose_range: DoseRange | None = None
    pairs: list[Pair] | None = Field(
        None, max_length=500_000, description="The pairs that may be proposed; null for all."
    )
    objective: Objective = Field(default_factory=Objective)
    limits: Limits = Field(default_factory=Limits)
    learning: Learning = Field(default_factory=Learning)
    learn_from: LearnFrom = Field(default_factory=list, description=LEARN_FROM)
    repeat_earlier: bool = Field(False, description=REPEAT_EARLIER)
    status: Literal["draft", "open"] = "open"
    note: Text | None = None

    @model_validator(mode="after")
    def _doses(self) -> CampaignIn:
        if self.doses_um is not None and self.dose_range is not None:
            raise ValueError("give doses_um or dose_range, not both")
        return self

    def common_doses(self) -> list[float] | None:
        """The doses of every compound that has none of its own."""
        if self.dose_range is not None:
            return self.dose_range.doses()
        return self.doses_um


class CampaignPatch(Body):
    name: Name | None = None
    note: Text | None = None
    status: Status | None = Field(
        None, description="draft -> open <-> paused -> closed. A closed campaign stays closed."
    )
    objective: Objective | None = None
    limits: Limits | None = None
    learning: Learning | None = None
    learn_from: LearnFrom | None = Field(None, description=f"{LEARN_FROM} Replaces the list.")
    repeat_earlier: bool | None = Field(None, description=REPEAT_EARLIER)
    add_compounds: list[CampaignCompoundIn] = Field(
        default_factory=list, max_length=5000, description="Each with its own doses_um."
    )
    add_cell_lines: list[Name] = Field(default_factory=list, max_length=2000)
    add_pairs: list[Pair] = Field(default_factory=list, max_length=500_000)


class CampaignCompoundOut(Out):
    id: str
    name: str
    doses_um: list[float]


class CampaignCellLineOut(Out):
    id: str
    name: str


class CampaignSummaryOut(Out):
    id: str
    name: str
    status: Status
    objective: Objective
    limits: Limits
    learning: Learning
    repeat_earlier: bool
    note: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class CampaignOut(CampaignSummaryOut):
    compounds: list[CampaignCompoundOut]
    cell_lines: list[CampaignCellLineOut]
    n_pairs: int = Field(description="Pairs that may be proposed.")
    learn_from: list[str] = Field(description="Earlier campaigns that it learns from, by id.")


class MarkIn(Body):
    mark: Mark
    compounds: Pair
    cell_line: Name | None = Field(None, description="Null: in every cell line.")
    reason: Text | None = None


class MarksIn(Body):
    marks: list[MarkIn] = Field(min_length=1, max_length=20_000)


class MarkOut(Out):
    id: str
    mark: Mark
    compounds: list[str] = Field(description="Ids, in ascending order.")
    cell_line: str | None
    reason: str | None
    created_at: datetime


class MarksOut(Out):
    written: int
    items: list[MarkOut]
