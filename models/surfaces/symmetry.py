"""Symmetry as a rule: groups that act on batches, averages over them, and checks of callables.

    swap = drug_permutations(2, columns={"drugs": 1, "margins": 1}, grids={"surface": (1, 2)})
    check_invariance(critic, batch, swap, what="the critic")
    check_equivariance(sampler, batch, swap, grid_permutations(2), what="the sampler")

A combination is an unordered set, so its compounds may be exchanged together with all that
belongs to them: doses, margins, the axes of a surface. Replicate wells may change places, too.
That is all. Turning the doses round, exchanging two cell lines or transposing a surface while its
drugs stay where they are changes what was measured: no group of this module does it, and
:func:`check_action` catches one that somebody writes.

An average over a group, S[f](x) = mean over s of f(s x), is invariant, and S[F](x) = mean over s
of s^-1 F(s x) equivariant, whatever f and F are. Source: Birrell et al., Structure-preserving
GANs, ICML 2022, section 3.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from models.screen import ScreenError

T = TypeVar("T")
V = TypeVar("V")
Batch = dict[str, Tensor]

TOLERANCE = 1e-6
"""Largest change that float32 may make, as a share of the larger of 1 and the largest value."""
MOST_ELEMENTS = 720


class SymmetryError(ScreenError):
    """A callable that treats equal things differently: which element, how much, and where.

    ``element``: its name. ``breach``: largest change over the larger of 1 and the largest value.
    """

    def __init__(self, message: str, element: str, breach: float) -> None:
        super().__init__(message)
        self.element = element
        self.breach = breach


@dataclass(frozen=True)
class Element(Generic[T]):
    """One element of a group: what it does to a batch, and what undoes it."""

    name: str
    act: Callable[[T], T]
    undo: Callable[[T], T]


@dataclass(frozen=True)
class Group(Generic[T]):
    """A finite group by all its elements, the identity first. Raises :class:`ScreenError` for
    none, for two of one name and for more than :data:`MOST_ELEMENTS`."""

    name: str
    elements: tuple[Element[T], ...]

    def __post_init__(self) -> None:
        names = [element.name for element in self.elements]
        if not names or len(set(names)) < len(names):
            raise ScreenError(f"the elements of {self.name} need names of their own, got {names}")
        if len(names) > MOST_ELEMENTS:
            raise ScreenError(f"{self.name} has {len(names)} elements, at most {MOST_ELEMENTS}")

    def __len__(self) -> int:
        return len(self.elements)

    def __iter__(self) -> Iterator[Element[T]]:
        return iter(self.elements)

    def __mul__(self, other: Group[T]) -> Group[T]:
        """The direct product, of groups whose elements commute: compounds and replicates, say."""
        return Group(
            f"{self.name} x {other.name}",
            tuple(_both(one, two) for one, two in itertools.product(self, other)),
        )

    def average(self, function: Callable[[T], Tensor]) -> Callable[[T], Tensor]:
        """The invariant S[f]. Under a swap the same to the last bit: a sum of two commutes."""

        def averaged(batch: T) -> Tensor:
            parts = [function(element.act(batch)) for element in self.elements]
            return torch.stack(parts).sum(dim=0) / len(parts)

        return averaged

    def orbit(self, batch: T) -> list[T]:
        """The batch under every element: what augmenting by symmetry trains on."""
        return [element.act(batch) for element in self.elements]


def equivariant(
    function: Callable[[T], Tensor], inputs: Group[T], outputs: Group[Tensor]
) -> Callable[[T], Tensor]:
    """The equivariant S[F](x): each value is turned back before the mean is taken."""
    pairs = _matched(inputs, outputs)

    def averaged(batch: T) -> Tensor:
        parts = [out.undo(function(each.act(batch))) for each, out in pairs]
        return torch.stack(parts).sum(dim=0) / len(parts)

    return averaged


def drug_permutations(
    k: int,
    *,
    columns: Mapping[str, int | tuple[int, ...]] | None = None,
    grids: Mapping[str, tuple[int, ...]] | None = None,
    exchanged: tuple[tuple[str, ...], ...] = (),
) -> Group[Batch]:
    """All orders of ``k`` drugs, acting on a batch of named tensors; two are the swap.

    ``columns``: tensors with an axis along the drugs (indices, doses, margins; a matrix of what
    each does to each has two), and that axis.
    ``grids``: surfaces with one axis for each drug. ``exchanged``: ``k`` names of tensors that
    belong to one drug each. Names that no argument lists stay as they are.

    Raises :class:`ScreenError` where grids would turn while the drugs stay: no symmetry.
    """
    columns, grids = dict(columns or {}), dict(grids or {})
    if not columns and not exchanged:
        raise ScreenError(
            "a surface must not be transposed with its drugs held fixed: name what belongs to "
            "each drug (columns or exchanged), too"
        )
    for name, axes in grids.items():
        if len(axes) != k:
            raise ScreenError(f"{name} has {len(axes)} axes of doses for {k} drugs")
    if any(len(names) != k for names in exchanged):
        raise ScreenError(f"{exchanged} must name one tensor for each of {k} drugs")
    orders = list(itertools.permutations(range(k)))

    def acting(order: tuple[int, ...]) -> Callable[[Batch], Batch]:
        return lambda batch: _permuted(batch, order, columns, grids, exchanged)

    return _of_orders("the swap of two drugs" if k == 2 else f"orders of {k} drugs", orders, acting)


def replicate_permutations(n: int, columns: Mapping[str, int | tuple[int, ...]]) -> Group[Batch]:
    """All orders of ``n`` replicate wells along an axis of each named tensor."""
    if not columns:
        raise ScreenError("name the tensors that hold replicates")

    def acting(order: tuple[int, ...]) -> Callable[[Batch], Batch]:
        return lambda batch: _permuted(batch, order, columns, {}, ())

    return _of_orders(f"orders of {n} replicates", list(_orders(n)), acting)


def grid_permutations(k: int, axes: tuple[int, ...] = (-2, -1)) -> Group[Tensor]:
    """What :func:`drug_permutations` does to a surface alone: for outputs, whose drugs are those
    of the inputs. ``axes``: one for each drug."""
    orders = list(itertools.permutations(range(k)))

    def acting(order: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda surface: _turned(surface, order, axes)

    return _of_orders("axes of the surface", orders, acting)


def column_permutations(k: int, axis: int = -1) -> Group[Tensor]:
    """The same for outputs with one axis along the drugs."""

    def acting(order: tuple[int, ...]) -> Callable[[Tensor], Tensor]:
        return lambda values: values.index_select(axis, torch.tensor(order, device=values.device))

    return _of_orders("columns of the drugs", list(_orders(k)), acting)


def check_invariance(
    function: Callable[[T], Any],
    batch: T,
    group: Group[T],
    *,
    tolerance: float = TOLERANCE,
    what: str = "the function",
) -> float:
    """Largest change of ``function`` over the group, relative; at most ``tolerance``.

    ``function`` gives one array or tensor for the batch, whatever its rows; the same for equal
    batches. Raises :class:`SymmetryError` that names the worst element and the size of its
    breach; :class:`ScreenError` where the check would show nothing: values that are not finite,
    or a batch that no element changes.
    """
    whole = _values(function(batch), what)
    found = [
        (element.name, _breach(_values(function(moved), what), whole, what))
        for element, moved in _moved(batch, group, what)
    ]
    return _worst(found, tolerance, f"{what} is not invariant", "must give the same value")


def check_equivariance(
    function: Callable[[T], Any],
    batch: T,
    inputs: Group[T],
    outputs: Group[V],
    *,
    tolerance: float = TOLERANCE,
    what: str = "the map",
) -> float:
    """Largest relative difference between F(s x) and s F(x); at most ``tolerance``.

    Elements of both groups are matched by name. Raises as :func:`check_invariance`.
    """
    turn = {each.name: out for each, out in _matched(inputs, outputs)}
    whole = function(batch)
    found = []
    for element, moved in _moved(batch, inputs, what):
        expected = _values(turn[element.name].act(whole), what)
        found.append((element.name, _breach(_values(function(moved), what), expected, what)))
    return _worst(found, tolerance, f"{what} is not equivariant", "must turn with its input")


def check_action(
    group: Group[T],
    batch: T,
    measure: Callable[[T], Any],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Whether a group is a symmetry of the experiment, not of one model.

    ``measure`` gives, for a batch with its surfaces, how far each row is from what would be
    measured: a simulator, or single-agent curves that the edges of the surface must meet. An
    element that changes it would turn true data into false. Raises :class:`SymmetryError`.
    """
    return check_invariance(
        measure, batch, group, tolerance=tolerance, what=f"the experiment under {group.name}"
    )


def _both(one: Element[T], two: Element[T]) -> Element[T]:
    return Element(
        f"{one.name}, {two.name}",
        lambda batch: one.act(two.act(batch)),
        lambda batch: one.undo(two.undo(batch)),
    )


def _orders(n: int) -> Iterator[tuple[int, ...]]:
    if n > 6:
        raise ScreenError(f"{n} things have more than {MOST_ELEMENTS} orders; check some of them")
    return itertools.permutations(range(n))


def _of_orders(
    name: str,
    orders: list[tuple[int, ...]],
    acting: Callable[[tuple[int, ...]], Callable[[T], T]],
) -> Group[T]:
    return Group(
        name,
        tuple(
            Element(_name(order), acting(order), acting(tuple(np.argsort(order).tolist())))
            for order in orders
        ),
    )


def _name(order: tuple[int, ...]) -> str:
    if order == tuple(sorted(order)):
        return "identity"
    return "swap" if len(order) == 2 else "order " + " ".join(str(i + 1) for i in order)


def _permuted(
    batch: Batch,
    order: tuple[int, ...],
    columns: Mapping[str, int | tuple[int, ...]],
    grids: Mapping[str, tuple[int, ...]],
    exchanged: tuple[tuple[str, ...], ...],
) -> Batch:
    missing = sorted({*columns, *grids, *itertools.chain(*exchanged)} - set(batch))
    if missing:
        raise ScreenError(f"the batch has no {', '.join(missing)}; it has {', '.join(batch)}")
    moved = dict(batch)
    for name, along in columns.items():
        for axis in (along,) if isinstance(along, int) else along:
            if moved[name].shape[axis] != len(order):
                raise ScreenError(
                    f"{name} has {moved[name].shape[axis]} entries along axis {axis}, "
                    f"not {len(order)}"
                )
            rows = torch.tensor(order, device=moved[name].device)
            moved[name] = moved[name].index_select(axis, rows)
    for name, axes in grids.items():
        moved[name] = _turned(batch[name], order, axes)
    for names in exchanged:
        for place, source in enumerate(order):
            moved[names[place]] = batch[names[source]]
    return moved


def _turned(surface: Tensor, order: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    places = list(range(surface.ndim))
    at = [axis % surface.ndim for axis in axes]
    for place, source in enumerate(order):
        places[at[place]] = at[source]
    return surface.permute(places)


def _matched(inputs: Group[T], outputs: Group[V]) -> list[tuple[Element[T], Element[V]]]:
    by_name = {element.name: element for element in outputs}
    if [each.name for each in inputs] != list(by_name):
        raise ScreenError(f"{inputs.name} and {outputs.name} are not the same group")
    return [(element, by_name[element.name]) for element in inputs]


def _moved(batch: T, group: Group[T], what: str) -> list[tuple[Element[T], T]]:
    """The batch under every element but the identity; refused where all leave it as it is."""
    found = [(element, element.act(batch)) for element in group.elements[1:]]
    before = list(_leaves(batch))
    if all(_same(before, list(_leaves(moved))) for _, moved in found):
        raise ScreenError(
            f"{group.name} leaves this batch of {what} as it is, so that a check would show "
            "nothing; use rows whose drugs, doses and margins differ"
        )
    return found


def _leaves(value: Any) -> Iterator[np.ndarray[Any, Any]]:
    """All arrays inside tensors, mappings, sequences and dataclasses."""
    if isinstance(value, Tensor):
        yield value.detach().cpu().numpy()
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _leaves(value[name])
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name))
    elif value is not None:
        yield np.asarray(value)


def _same(one: list[np.ndarray[Any, Any]], two: list[np.ndarray[Any, Any]]) -> bool:
    pairs = itertools.zip_longest(one, two)
    return all(a is not None and b is not None and _equal(a, b) for a, b in pairs)


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")


def _values(value: Any, what: str) -> np.ndarray[Any, Any]:
    parts = [np.asarray(leaf, np.float64).ravel() for leaf in _leaves(value)]
    flat = np.concatenate(parts) if parts else np.empty(0)
    if not flat.size or not np.all(np.isfinite(flat)):
        raise ScreenError(f"{what} gives nothing, or values that are not finite")
    return flat


def _breach(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], what: str) -> float:
    if found.shape != expected.shape:
        raise ScreenError(f"{what} gives {found.size} values, then {expected.size}")
    size = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()) / size


def _worst(found: list[tuple[str, float]], tolerance: float, fault: str, must: str) -> float:
    element, breach = max(found, key=lambda pair: pair[1])
    if breach > tolerance:
        raise SymmetryError(
            f"{fault} under {element!r}: it changes by {breach:.3g} of its size (allowed "
            f"{tolerance:.3g}), but {must}. Build it from sums, products and absolute differences "
            "of what belongs to each drug, or average it over the group",
            element,
            breach,
        )
    return breach
