"""The score networks: what their layers are and how a score comes out of drawn weights.

After RECOVER (Bertin et al. 2023, doi:10.1016/j.crmeth.2023.100599), written anew. For compound a
in cell line l, with FiLM (Perez et al. 2018, arXiv 1709.07871) as the only way of the line:

    film_k(x) = (1 + s_kl) x + t_kl,   (s_kl, t_kl) = T_k[l] and / or F_k features_l
    h_a = silu(film_2(W_2 silu(film_1(W_f fingerprint_a + E_a + W_c curve_al + b))))
    f = merge(h_a, h_b) + w (h_a + h_b) + e_a + e_b + e_l + e_al + e_bl

    bilinear   z = 1 + V h,  p_k = sum_d z_a,kd z_b,kd / sqrt r,     merge = w' silu(film_3(W_3 p))
    concat     g(x, y) = w' silu(film_3(W_l h_x + W_r h_y + b)),     merge = (g(a, b) + g(b, a)) / 2

V starts near the identity. The 1 lets one bilinear form hold the sum of the compounds besides
their product. What f adds to the merge is not RECOVER's: a linear way past it, and one number for
each compound, cell line and compound in a cell line. Mean-field posteriors find these where few
blocks would leave a network at its prior, and the error of a single agent's curve shifts all its
pairs in one cell line (O'Neil: +0.02 in correlation on held-out blocks).

Swapping a and b changes no bit: sums and products commute, and every matrix product sees the same
row at the same place (encodings are per (compound, cell line), in order).

``plain`` is the quick reference: a perceptron on the two-hot identities, the sum and the absolute
difference of the two curves, and the cell line's identity and features.

Everything has the members (or drawn worlds) first: ``(members, rows, width)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.bayes.channel_health import mark_activation
from models.bayes.ensembles import gather
from models.bayes.layers import LinearDraws
from models.screen import Candidates, ScreenError
from models.synergy.inputs import InputTables

MERGES = ("bilinear", "concat", "plain")
FILMS = ("both", "identity", "features")
FORM_RANK = 2
"""d: terms of each bilinear form."""
GAIN = {
    "fingerprint": 0.5,
    "compound": 0.5,
    "curve": 1.0,
    "film": 0.15,
    "hidden": 2.0,
    "form": 0.45,
    "product": 0.35,
    "merge": 2.5,
    "head": 0.6,
    "skip": 0.45,
    "log_scale": 0.45,
    "main_compound": 0.15,
    "main_cell_line": 0.4,
    "effect": 0.3,
}
"""Prior standard deviation of what each part adds to its activation, for inputs of unit mean
square. Well above 1 after ``silu``, which shrinks."""
SLOPE = 1.5

Centre = Literal["zero", "identity"]
Owner = Literal["compound", "cell_line", "single"]


@dataclass(frozen=True)
class Design:
    """What the network is, JSON-able by ``dataclasses.asdict``.

    ``hidden``: width of a compound's encoding; ``pair_hidden``: width after the merge;
    ``log_scale``: a second head for the noise of each block. Raises :class:`ScreenError` for an
    unknown merge or film.
    """

    merge: str
    film: str = "both"
    hidden: int = 64
    pair_hidden: int = 64
    log_scale: bool = False

    def __post_init__(self) -> None:
        if self.merge not in MERGES:
            raise ScreenError(f"unknown merge {self.merge!r}; known are {', '.join(MERGES)}")
        if self.film not in FILMS:
            raise ScreenError(f"unknown film {self.film!r}; known are {', '.join(FILMS)}")


@dataclass(frozen=True)
class Shape:
    """Sizes of a screen's tables, JSON-able."""

    n_compounds: int
    n_cell_lines: int
    fingerprint: int
    features: int
    curve: int

    @classmethod
    def of(cls, tables: InputTables) -> Shape:
        """Of these tables."""
        inputs = (tables.compounds, tables.cell_lines, tables.curves)
        return cls(tables.n_compounds, tables.n_cell_lines, *(t.shape[1] for t in inputs))


@dataclass(frozen=True)
class LinearPart:
    """One linear layer; ``centre``: what its prior is centred on."""

    name: str
    fan_in: int
    fan_out: int
    gain: float
    bias: bool = True
    centre: Centre = "zero"

    @property
    def mean(self) -> Tensor | None:
        """``(out, in)`` centre of the prior: the identity, repeated, or nothing."""
        if self.centre == "zero":
            return None
        copies = math.ceil(self.fan_out / self.fan_in)
        return SLOPE * torch.eye(self.fan_in).repeat(copies, 1)[: self.fan_out]


@dataclass(frozen=True)
class TablePart:
    """One learned vector for each compound, cell line or compound in a cell line (``owner``)."""

    name: str
    owner: Owner
    count: int
    width: int
    gain: float


Part = LinearPart | TablePart


@dataclass(frozen=True)
class Weights:
    """Weights of all members or worlds: linear maps and ``(members, count, width)`` tables."""

    linear: Mapping[str, LinearDraws]
    tables: Mapping[str, Tensor]


@dataclass(frozen=True)
class Rows:
    """Candidates as indices, ``(rows,)`` each; ``single_*``: row of (compound, cell line)."""

    cell_line: Tensor
    single_a: Tensor
    single_b: Tensor

    @classmethod
    def of(cls, candidates: Candidates, n_cell_lines: int, device: torch.device) -> Rows:
        """Of these candidates."""
        singles = candidates.compounds * n_cell_lines + candidates.cell_line[:, None]
        columns = (candidates.cell_line, singles[:, 0], singles[:, 1])
        return cls(*(torch.as_tensor(np.ascontiguousarray(c), device=device) for c in columns))

    def select(self, rows: Tensor) -> Rows:
        """The rows at ``rows``."""
        return Rows(self.cell_line[rows], self.single_a[rows], self.single_b[rows])


@dataclass(frozen=True)
class Outputs:
    """``(members, rows)`` scores and, where the design has them, log scales of the noise."""

    score: Tensor
    log_scale: Tensor | None


def parts_of(design: Design, shape: Shape) -> tuple[Part, ...]:
    """Every layer of the network, in the order in which their weights are drawn."""
    first = (
        _unit_rows("fingerprint", shape.fingerprint, design.hidden, GAIN["fingerprint"]),
        TablePart("compound", "compound", shape.n_compounds, design.hidden, GAIN["compound"]),
        LinearPart("curve", shape.curve, design.hidden, GAIN["curve"]),
    )
    heads: tuple[Part, ...] = (LinearPart("head", design.pair_hidden, 1, GAIN["head"]),)
    if design.log_scale:
        heads += (LinearPart("log_scale", design.pair_hidden, 1, GAIN["log_scale"]),)
    if design.merge == "plain":
        return (*first[1:], *_plain_parts(design, shape), *heads)
    encoder = (
        *first,
        *_film_parts("film_1", design, shape, design.hidden),
        LinearPart("hidden", design.hidden, design.hidden, GAIN["hidden"]),
        *_film_parts("film_2", design, shape, design.hidden),
    )
    film = _film_parts("film_3", design, shape, design.pair_hidden)
    past = _past_parts(design, shape)
    return (*encoder, *_merge_parts(design), *film, *heads, *past)


def evaluate(weights: Weights, rows: Rows, tables: InputTables, design: Design) -> Outputs:
    """Scores of all members at these rows; differentiable."""
    if design.merge == "plain":
        return _heads(_plain(weights, rows, tables), weights, None)
    singles, where = torch.unique(torch.stack([rows.single_a, rows.single_b]), return_inverse=True)
    hidden = _encode(weights, singles, tables)
    total = _past(weights, hidden, singles, where, rows, tables)
    if design.merge == "bilinear":
        return _heads(_bilinear(weights, hidden, where, rows, tables), weights, total)
    left, right = weights.linear["left"](hidden), weights.linear["right"](hidden)
    film = _film("film_3", weights, tables)
    both = []
    for first, second in ((where[0], where[1]), (where[1], where[0])):
        merged = gather(left, first) + gather(right, second)
        both.append(_heads(_activate("pair", merged, film, rows.cell_line), weights, total))
    return _averaged(both[0], both[1])


def _unit_rows(name: str, fan_in: int, width: int, gain: float) -> LinearPart:
    """A layer for inputs whose rows have unit *length*: the prior scale is the gain itself."""
    return LinearPart(name, fan_in, width, gain * math.sqrt(max(fan_in, 1)), bias=False)


def _film_parts(name: str, design: Design, shape: Shape, width: int) -> tuple[Part, ...]:
    found: tuple[Part, ...] = ()
    if design.film != "features":
        count = shape.n_cell_lines
        found += (TablePart(f"{name}_identity", "cell_line", count, 2 * width, GAIN["film"]),)
    if design.film != "identity":
        found += (_unit_rows(f"{name}_features", shape.features, 2 * width, GAIN["film"]),)
    return found


def _merge_parts(design: Design) -> tuple[Part, ...]:
    if design.merge == "concat":
        half = GAIN["merge"] / math.sqrt(2)
        return (
            LinearPart("left", design.hidden, design.pair_hidden, half),
            LinearPart("right", design.hidden, design.pair_hidden, half, bias=False),
        )
    return (
        LinearPart("form", design.hidden, design.hidden, GAIN["form"], centre="identity"),
        LinearPart("merge", design.hidden // FORM_RANK, design.pair_hidden, GAIN["product"]),
    )


def _past_parts(design: Design, shape: Shape) -> tuple[Part, ...]:
    compounds, lines = shape.n_compounds, shape.n_cell_lines
    return (
        LinearPart("skip", design.hidden, 1, GAIN["skip"], bias=False),
        TablePart("main_compound", "compound", compounds, 1, GAIN["main_compound"]),
        TablePart("main_cell_line", "cell_line", lines, 1, GAIN["main_cell_line"]),
        TablePart("effect", "single", compounds * lines, 1, GAIN["effect"]),
    )


def _plain_parts(design: Design, shape: Shape) -> tuple[Part, ...]:
    return (
        LinearPart("apart", shape.curve, design.hidden, GAIN["curve"], bias=False),
        TablePart("cell_line", "cell_line", shape.n_cell_lines, design.hidden, GAIN["fingerprint"]),
        _unit_rows("features", shape.features, design.hidden, GAIN["fingerprint"]),
        LinearPart("hidden", design.hidden, design.pair_hidden, GAIN["hidden"]),
    )


def _encode(weights: Weights, singles: Tensor, tables: InputTables) -> Tensor:
    """``(members, u, hidden)`` encodings of ``(u,)`` rows of (compound, cell line)."""
    lines = tables.n_cell_lines
    compound, line = singles.div(lines, rounding_mode="floor"), singles % lines
    linear = weights.linear
    start = linear["fingerprint"](tables.compounds) + weights.tables["compound"]
    first = gather(start, compound) + linear["curve"](tables.curves[singles])
    hidden = _activate("compound_1", first, _film("film_1", weights, tables), line)
    return _activate("compound_2", linear["hidden"](hidden), _film("film_2", weights, tables), line)


def _past(
    weights: Weights,
    hidden: Tensor,
    singles: Tensor,
    where: Tensor,
    rows: Rows,
    tables: InputTables,
) -> Tensor:
    """``(members, rows)``: what goes past the merge."""
    compound = singles.div(tables.n_cell_lines, rounding_mode="floor")
    effects = gather(weights.tables["effect"], singles)
    effects = effects + gather(weights.tables["main_compound"], compound)
    each = weights.linear["skip"](hidden) + effects
    both = gather(each, where[0]) + gather(each, where[1])
    return (both + gather(weights.tables["main_cell_line"], rows.cell_line))[..., 0]


def _bilinear(
    weights: Weights, hidden: Tensor, where: Tensor, rows: Rows, tables: InputTables
) -> Tensor:
    forms = 1 + weights.linear["form"](hidden)
    product = gather(forms, where[0]) * gather(forms, where[1])
    summed = product.reshape(*product.shape[:2], -1, FORM_RANK).sum(-1) / math.sqrt(FORM_RANK)
    film = _film("film_3", weights, tables)
    return _activate("pair", weights.linear["merge"](summed), film, rows.cell_line)


def _plain(weights: Weights, rows: Rows, tables: InputTables) -> Tensor:
    lines, linear = tables.n_cell_lines, weights.linear
    first, second = (
        gather(weights.tables["compound"], single.div(lines, rounding_mode="floor"))
        for single in (rows.single_a, rows.single_b)
    )
    one, other = tables.curves[rows.single_a], tables.curves[rows.single_b]
    context = weights.tables["cell_line"] + linear["features"](tables.cell_lines)
    curves = linear["curve"](one + other) + linear["apart"]((one - other).abs())
    total = (first + second) + curves + gather(context, rows.cell_line)
    return _silu("second", linear["hidden"](_silu("first", total)))


def _film(name: str, weights: Weights, tables: InputTables) -> Tensor:
    """``(members, cell lines, 2 width)``: scales and shifts of one layer."""
    found = []
    if f"{name}_identity" in weights.tables:
        found.append(weights.tables[f"{name}_identity"])
    if f"{name}_features" in weights.linear:
        found.append(weights.linear[f"{name}_features"](tables.cell_lines))
    return sum(found[1:], found[0])


def _activate(name: str, x: Tensor, film: Tensor, line: Tensor) -> Tensor:
    scale, shift = gather(film, line).chunk(2, dim=2)
    return _silu(name, torch.addcmul(x + shift, x, scale))


def _silu(name: str, x: Tensor) -> Tensor:
    mark_activation(name, x, "silu", (0, -1))
    return functional.silu(x)


def _heads(hidden: Tensor, weights: Weights, total: Tensor | None) -> Outputs:
    score = weights.linear["head"](hidden)[..., 0]
    if total is not None:
        score = score + total
    if "log_scale" not in weights.linear:
        return Outputs(score, None)
    return Outputs(score, weights.linear["log_scale"](hidden.detach())[..., 0])


def _averaged(one: Outputs, other: Outputs) -> Outputs:
    score = (one.score + other.score) * 0.5
    if one.log_scale is None or other.log_scale is None:
        return Outputs(score, None)
    return Outputs(score, (one.log_scale + other.log_scale) * 0.5)
