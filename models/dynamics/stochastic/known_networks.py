"""Networks with a literature: growth, switching, expression, and the oscillator of Vilar."""

from __future__ import annotations

from models.dynamics.stochastic.reactions import Reaction, ReactionNetwork

BIRTH_DEATH = ReactionNetwork(
    ("cell",),
    (Reaction(("cell",), ("cell", "cell"), "division"), Reaction(("cell",), (), "death")),
)
"""Linear birth and death (Kendall 1948, Ann. Math. Stat. 19, 1)."""

GROWTH = ReactionNetwork(
    ("dividing", "quiescent"),
    (
        Reaction(("dividing",), ("dividing", "dividing"), "division"),
        Reaction(("dividing",), (), "death"),
        Reaction(("dividing",), ("quiescent",), "falling asleep"),
        Reaction(("quiescent",), ("dividing",), "waking up"),
    ),
)
"""Cells divide, die, or fall asleep; the sleeping neither divide nor die (drug-tolerant persisters
in the sense of Balaban et al. 2004, Science 305, 1622)."""

IMMIGRATION_DEATH = ReactionNetwork(
    ("molecule",),
    (Reaction((), ("molecule",), "arrival"), Reaction(("molecule",), (), "loss")),
)
"""Stationary law Poisson(arrival / loss)."""

TELEGRAPH = ReactionNetwork(
    ("off", "on", "mrna"),
    (
        Reaction(("off",), ("on",), "switching on"),
        Reaction(("on",), ("off",), "switching off"),
        Reaction(("on",), ("on", "mrna"), "transcription"),
        Reaction(("mrna",), (), "decay"),
    ),
)
"""A gene that is on or off (Peccoud & Ycart 1995, Theor. Popul. Biol. 48, 222)."""

VILAR = ReactionNetwork(
    ("DA", "DA'", "DR", "DR'", "MA", "MR", "A", "R", "C"),
    (
        Reaction(("DA", "A"), ("DA'",), "gamma_A"),
        Reaction(("DA'",), ("DA", "A"), "theta_A"),
        Reaction(("DR", "A"), ("DR'",), "gamma_R"),
        Reaction(("DR'",), ("DR", "A"), "theta_R"),
        Reaction(("DA",), ("DA", "MA"), "alpha_A"),
        Reaction(("DA'",), ("DA'", "MA"), "alpha'_A"),
        Reaction(("DR",), ("DR", "MR"), "alpha_R"),
        Reaction(("DR'",), ("DR'", "MR"), "alpha'_R"),
        Reaction(("MA",), ("MA", "A"), "beta_A"),
        Reaction(("MR",), ("MR", "R"), "beta_R"),
        Reaction(("MA",), (), "delta_MA"),
        Reaction(("MR",), (), "delta_MR"),
        Reaction(("A",), (), "delta_A"),
        Reaction(("R",), (), "delta_R"),
        Reaction(("A", "R"), ("C",), "gamma_C"),
        Reaction(("C",), ("R",), "delta_A"),
    ),
)
"""The circadian oscillator of Vilar, Kueh, Barkai & Leibler 2002 (PNAS 99, 5988), as published: a
bound promoter releases the very activator that it took, ``theta_R`` belongs to the promoter of the
repressor, and the activator within a complex decays at ``delta_A``. (Some codes release activator
in reactions of their own that keep the promoter bound: another model.) 9 species, 16 reactions, 15
parameters; an hour is the unit of time."""

VILAR_START = (1, 0, 1, 0, 0, 0, 0, 0, 0)
VILAR_SEEN = ("C", "A", "R")
"""What is observed of it."""

VILAR_TRUTH = {
    "alpha_A": 50.0, "alpha'_A": 500.0, "alpha_R": 0.01, "alpha'_R": 50.0, "beta_A": 50.0,
    "beta_R": 5.0, "delta_MA": 10.0, "delta_MR": 0.5, "delta_A": 1.0, "delta_R": 0.2,
    "gamma_A": 1.0, "gamma_R": 1.0, "gamma_C": 2.0, "theta_A": 50.0, "theta_R": 100.0,
}  # fmt: skip
VILAR_LOWER = dict(
    zip(VILAR_TRUTH, (0, 100, 0, 20, 10, 1, 1, 0, 0, 0, 0.5, 0, 0, 0, 0), strict=True)
)
VILAR_UPPER = dict(
    zip(VILAR_TRUTH, (80, 600, 4, 60, 60, 7, 12, 2, 3, 0.7, 2.5, 4, 3, 70, 300), strict=True)
)
"""Prior box of Åkesson, Singh, Wrede & Hellander 2021 (CNN summary statistics)."""
