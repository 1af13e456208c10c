"""What a score network has learned: whole-function draws, noise, agreement of its members."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.bayes.ensembles import agreement
from models.screen import Candidates, FloatArray, ScreenError
from models.synergy.bnn import Scaling
from models.synergy.inputs import InputTables
from models.synergy.score_networks.architecture import Design, Outputs, Rows, Shape
from models.synergy.score_networks.banks import VariationalBank
from models.synergy.score_networks.basis import Basis
from models.synergy.score_networks.network import Form, Functions, ScoreModule
from models.synergy.training import Schedule

VERSION = 1
ELEMENTS_PER_BLOCK = 1 << 16
"""Candidates times functions evaluated at once: bounds memory to some hundred megabytes."""
NOISE_SEED = 0
NOISE_DRAWS = 16
AGREEMENT_ROWS = 512
AGREEMENT_DRAWS = 16


class NetworkPosterior:
    """Posterior of a score network; see :class:`models.screen.Posterior`.

    Draw ``i`` of an ensemble is member ``i mod members``, whatever the seed: its members are all
    the functions there are. A deterministic network gives ``n`` identical rows. ``score``: what
    was learned, a key of ``SCORES``. ``report``: the part of :meth:`diagnostics` that was measured
    at the end of the fit.
    """

    def __init__(
        self,
        model: str,
        module: ScoreModule,
        tables: InputTables,
        basis: Basis,
        scaling: Scaling,
        schedule: Schedule,
        score: str,
        report: dict[str, Any] | None = None,
    ) -> None:
        self.model, self.module, self.tables, self.basis = model, module, tables, basis
        self.scaling, self.schedule, self.score = scaling, schedule, score
        self.report = report or {}
        self._functions: tuple[int, int, Functions] | None = None

    @torch.no_grad()
    def draws(self, candidates: Candidates, n: int, seed: int) -> Tensor:
        """``(n, len(candidates))`` float32 noise-free scores of ``n`` whole functions, on the CPU.

        Order and chunking of candidates change values by rounding only. Raises
        :class:`ScreenError` for no draws or candidates outside the tables.
        """
        if n < 1:
            raise ScreenError(f"cannot draw {n} functions")
        functions, count = self._drawn(n, seed), self._count(n)
        found = self._evaluate(functions, count, candidates, noise=False)
        return found[torch.arange(n) % count] if count < n else found

    def diagnostics(self) -> dict[str, Any]:
        """JSON-able: ``kind``, ``steps``, ``members`` (1 without an ensemble) and the
        ``agreement`` of members or draws on training blocks (see
        :func:`models.bayes.ensembles.agreement`).

        ``channels``: see :meth:`models.bayes.channel_health.ChannelHealth.report`.
        ``kl`` (nats) for posteriors, ``pruned_share`` for families that prune; a deterministic
        network has ``epistemic_spread`` 0.
        """
        form = self.module.form
        kind = "variational" if form.variational else form.name
        found = {"kind": kind, "steps": self.schedule.steps, "members": form.members, **self.report}
        if form.name == "deterministic":
            found["epistemic_spread"] = 0.0
        return found

    @property
    def n_parameters(self) -> int:
        """Weights of one function: of one member, or of one draw of a posterior."""
        return self.module.bank.n_weights

    @property
    def noise_df(self) -> float:
        """Degrees of freedom of the Student-t observation noise."""
        return float(self.module.noise()[1].detach())

    def noise_scale(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` scale of the Student-t noise of a measurement like the others.

        With a second head it differs between candidates: root mean square over members.
        """
        return torch.sqrt(self._learned_variance(candidates) + self.scaling.typical_sd**2)

    def noise_scale_given(self, candidates: Candidates, noise_sd: FloatArray) -> FloatArray:
        """``(m,)`` scale of the noise of measurements with these standard errors."""
        learned = self._learned_variance(candidates).double().numpy()
        return np.asarray(np.sqrt(learned + noise_sd**2))

    def _learned_variance(self, candidates: Candidates) -> Tensor:
        """``(m,)`` squared scale of the noise beyond what is known, in the score's unit."""
        if self.module.design.log_scale:
            functions, n = self._drawn(NOISE_DRAWS, NOISE_SEED), self._count(NOISE_DRAWS)
            return self._evaluate(functions, n, candidates, noise=True).square().mean(0)
        learned = float(self.module.noise()[0].detach()) * self.scaling.spread
        return torch.full((len(candidates),), learned**2)

    def noise_sd(self, candidates: Candidates) -> Tensor:
        """``(len(candidates),)`` standard deviation of a measured score around the true one."""
        df = self.noise_df
        return self.noise_scale(candidates) * math.sqrt(df / (df - 2))

    def forget_draws(self) -> None:
        """Weights have changed: draw functions anew."""
        self._functions = None

    def measure(self, candidates: Candidates, seed: int) -> None:
        """Fill in the ``report`` at the end of a fit, on some of its blocks."""
        rows = np.random.default_rng(seed).permutation(len(candidates))[:AGREEMENT_ROWS]
        form, bank = self.module.form, self.module.bank
        count = AGREEMENT_DRAWS if form.variational else form.members
        self.report = {"agreement": agreement(self.draws(candidates.select(rows), count, seed))}
        if isinstance(bank, VariationalBank):
            kl = float(bank.prior_terms(torch.Generator().manual_seed(seed)).detach())
            self.report["kl"] = round(kl, 3)
            share = bank.pruned_share()
            if share is not None:
                self.report["pruned_share"] = round(share, 6)

    def _count(self, n: int) -> int:
        form = self.module.form
        return n if form.variational else min(n, form.members)

    def _drawn(self, n: int, seed: int) -> Functions:
        """The functions of the last call are kept: a pool is streamed in many calls."""
        if self._functions is None or self._functions[:2] != (n, seed):
            generator = torch.Generator().manual_seed(seed)
            self._functions = (n, seed, Functions.of(self.module, n, generator))
        return self._functions[2]

    def _evaluate(
        self, functions: Functions, count: int, candidates: Candidates, *, noise: bool
    ) -> Tensor:
        """``(count, len(candidates))`` scores or scales in the score's unit, by cell line."""
        self._require_known(candidates)
        result = torch.empty((count, len(candidates)), dtype=torch.float32)
        order = np.argsort(candidates.cell_line, kind="stable")
        size = max(1, ELEMENTS_PER_BLOCK // count)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            rows = self._rows(candidates.select(chosen))
            values = self._in_unit(functions(rows, self.tables), noise)
            result[:, torch.as_tensor(chosen)] = values.float().cpu()
        return result

    def _in_unit(self, outputs: Outputs, noise: bool) -> Tensor:
        if noise and outputs.log_scale is not None:
            return self.scaling.spread * torch.exp(outputs.log_scale)
        return self.scaling.centre + self.scaling.spread * outputs.score

    def _rows(self, candidates: Candidates) -> Rows:
        return Rows.of(candidates, self.tables.n_cell_lines, self.tables.compounds.device)

    def _require_known(self, candidates: Candidates) -> None:
        shape = self.module.shape
        if len(candidates) and (
            candidates.compounds.min() < 0
            or candidates.compounds.max() >= shape.n_compounds
            or candidates.cell_line.min() < 0
            or candidates.cell_line.max() >= shape.n_cell_lines
        ):
            raise ScreenError("a candidate points outside the tables that the model was fitted on")


def save_posterior(posterior: NetworkPosterior) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors for safetensors and metadata for JSON; :func:`load_posterior` inverts it exactly."""
    module = posterior.module
    tensors = {f"network.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"basis.{name}": tensor for name, tensor in posterior.basis.to_tensors().items()}
    for name in ("compounds", "cell_lines", "curves"):
        tensors[f"tables.{name}"] = getattr(posterior.tables, name)
    metadata = {
        "model": posterior.model,
        "version": VERSION,
        "design": dataclasses.asdict(module.design),
        "form": dataclasses.asdict(module.form),
        "shape": dataclasses.asdict(module.shape),
        "seed": module.seed,
        "scaling": dataclasses.asdict(posterior.scaling),
        "schedule": dataclasses.asdict(posterior.schedule),
        "score": posterior.score,
        "report": posterior.report,
    }
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata


def load_posterior(
    name: str, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any], device: str
) -> NetworkPosterior:
    """Rebuild a saved posterior. Raises :class:`ScreenError` for another model or version."""
    if (metadata.get("model"), metadata.get("version")) != (name, VERSION):
        found = f"{metadata.get('model')} version {metadata.get('version')}"
        raise ScreenError(f"cannot load {found} as {name} version {VERSION}")
    state = _under("network.", tensors)
    module = ScoreModule(
        Design(**metadata["design"]),
        Form(**metadata["form"]),
        Shape(**metadata["shape"]),
        int(metadata["seed"]),
    )
    module.adopt_bases(state)
    module.load_state_dict(state)
    module.requires_grad_(False)
    names = ("compounds", "cell_lines", "curves")
    return NetworkPosterior(
        name,
        module.to(device),
        InputTables(*(tensors[f"tables.{part}"].to(device) for part in names)),
        Basis.from_tensors(_under("basis.", tensors)),
        Scaling(**metadata["scaling"]),
        Schedule(**metadata["schedule"]),
        str(metadata["score"]),
        dict(metadata["report"]),
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
