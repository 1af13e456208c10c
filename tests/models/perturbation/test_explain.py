"""Explanations of pairs on networks made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.perturbation.explain import explain_pair
from models.perturbation.neighbourhoods import neighbourhood, propagation, responses_to
from models.perturbation.network import EdgePosterior, load_network
from models.screen import ScreenError

GENES = ("A", "B", "C", "D", "E", "F")


def network(edges, weak=(), genes=GENES):
    """Called ``edges`` {(regulator, target): weight} and ``weak`` ones that do not pass."""
    g = len(genes)
    weight, probability, q = np.zeros((g, g)), np.full((g, g), 0.01), np.ones((g, g))
    for (source, target), value in {**edges, **dict(weak)}.items():
        at = genes.index(source), genes.index(target)
        called = (source, target) in edges
        weight[at], probability[at], q[at] = value, 0.95 if called else 0.4, 0.02 if called else 0.5
    positive = np.where(weight > 0, probability, 0.0)
    return EdgePosterior(genes, probability, positive, weight, q, np.ones(g, dtype=bool))


CHAIN = {("A", "B"): 0.5, ("B", "C"): -0.8}
FORK = {("A", "C"): 0.5, ("B", "C"): 0.6, ("C", "D"): 0.9}
ANTAGONISM = {("A", "C"): 0.5, ("B", "C"): -0.6}


def test_propagation_sums_paths():
    w = network(CHAIN).weights(0.1)
    s = propagation(w, 2)
    assert s[0, :3] == pytest.approx([1, 0.5, -0.4])
    assert propagation(w, 1)[0, 2] == 0


def test_a_chain_has_signs_and_hops():
    found = neighbourhood(GENES, network(CHAIN).weights(0.1), ("A",))
    assert [(r.gene, r.hops) for r in found.reached] == [("A", 0), ("B", 1), ("C", 2)]
    assert [r.effect for r in found.reached] == pytest.approx([-1, -0.5, 0.4])


def test_hops_limit_the_neighbourhood():
    found = neighbourhood(GENES, network(CHAIN).weights(0.1), ("A",), hops=1)
    assert [r.gene for r in found.reached] == ["A", "B"]


def test_targets_stay_off_in_loops():
    w = network({("A", "B"): 0.5, ("B", "A"): 2.0}).weights(0.1)
    assert responses_to(w, [0], 5)[:2] == pytest.approx([-1, -0.5])


def test_a_fork_overlaps():
    found = explain_pair(network(FORK), ("x", "y"), (("A",), ("B",)))
    assert found.supported
    assert found.interaction == pytest.approx(0.5 * 0.6 * (1 + 0.81))
    assert (found.overlap, found.opposition) == pytest.approx((found.interaction, 0))
    assert [m.gene for m in found.mediators] == ["C", "D"]
    assert sum(m.share for m in found.mediators) == pytest.approx(1)
    assert not any(m.opposed or m.is_target for m in found.mediators)


def test_leaving_out_an_edge_of_a_fork():
    found = explain_pair(network(FORK), ("x", "y"), (("A",), ("B",)))
    drops = {(e.regulator, e.target): e.drop for e in found.edges}
    assert drops[("A", "C")] == pytest.approx(found.interaction)
    assert drops[("B", "C")] == pytest.approx(found.interaction)
    assert drops[("C", "D")] == pytest.approx(0.5 * 0.6 * 0.81)
    assert [e.drop for e in found.edges] == sorted(drops.values(), reverse=True)


def test_antagonism_opposes():
    found = explain_pair(network(ANTAGONISM), ("x", "y"), (("A",), ("B",)))
    assert found.interaction == pytest.approx(-0.3)
    assert found.opposition == pytest.approx(0.3)
    assert found.mediators[0].opposed
    assert "opposite ways" in found.sentence
    assert found.edges[0].drop == pytest.approx(-0.3)


def test_one_target_upstream_of_the_other():
    found = explain_pair(network(CHAIN), ("x", "y"), (("A",), ("B",)))
    assert found.mediators[0].gene == "B"
    assert found.mediators[0].is_target
    assert found.interaction == pytest.approx(0.5 + 0.4 * 0.8)


@pytest.mark.parametrize("edges", [{}, {("A", "C"): 1.0}, {("A", "C"): 1.0, ("B", "D"): 1.0}])
def test_no_shared_gene_is_no_path(edges):
    found = explain_pair(network(edges), ("x", "y"), (("A",), ("B",)))
    assert not found.supported
    assert found.sentence.startswith("No supported path between x and y")
    assert (found.interaction, found.mediators, found.edges) == (0.0, (), ())


def test_edges_that_do_not_pass_are_no_evidence():
    weak = {("A", "C"): 0.9}
    found = explain_pair(network({("B", "C"): 0.6}, weak), ("x", "y"), (("A",), ("B",)))
    assert not found.supported
    later = explain_pair(network({("B", "C"): 0.6}, weak), ("x", "y"), (("A",), ("B",)), fdr=0.6)
    assert later.supported


def test_unknown_targets_are_named():
    found = explain_pair(network(FORK), ("x", "y"), (("A", "Z"), ("B",)))
    assert found.supported
    assert found.untested_targets == ("Z",)
    none = explain_pair(network(FORK), ("x", "y"), (("Z",), ("B",)))
    assert "knows no target of x" in none.sentence
    with pytest.raises(ScreenError, match="y has no known target"):
        explain_pair(network(FORK), ("x", "y"), (("A",), ()))


def random_network(seed):
    rng = np.random.default_rng(seed)
    genes = tuple(f"G{i}" for i in range(12))
    pairs = [(a, b) for a in genes for b in genes if a != b]
    picked = rng.choice(len(pairs), 30, replace=False)
    return network({pairs[i]: float(rng.normal()) for i in picked}, genes=genes)


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_compounds_changes_no_number(seed):
    net, targets = random_network(seed), (("G0", "G3"), ("G5",))
    first = explain_pair(net, ("x", "y"), targets)
    second = explain_pair(net, ("y", "x"), targets[::-1])
    assert first.interaction == second.interaction
    assert (first.overlap, first.opposition) == (second.overlap, second.opposition)
    assert first.edges == second.edges
    assert [(m.gene, m.share, m.effects) for m in first.mediators] == [
        (m.gene, m.share, m.effects[::-1]) for m in second.mediators
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_genes_does_not_matter(seed):
    net, targets = random_network(seed), (("G0", "G3"), ("G5",))
    order = [int(i) for i in np.random.default_rng(seed).permutation(12)]
    at = np.ix_(order, order)
    moved = EdgePosterior(
        tuple(net.genes[i] for i in order),
        net.probability[at],
        net.positive[at],
        net.weight[at],
        net.q_value[at],
        net.tested[order],
    )
    first = explain_pair(net, ("x", "y"), targets)
    second = explain_pair(moved, ("x", "y"), targets)
    assert second.interaction == pytest.approx(first.interaction)
    assert {m.gene for m in first.mediators} == {m.gene for m in second.mediators}
    assert {(e.regulator, e.target): e.drop for e in second.edges} == pytest.approx(
        {(e.regulator, e.target): e.drop for e in first.edges}
    )


def test_a_response_model_may_give_its_own_interaction():
    net = network(FORK)
    found = explain_pair(
        net, ("x", "y"), (("A",), ("B",)), interaction=lambda w: float(2 * w[0, 2] + w[4, 5])
    )
    assert found.interaction == pytest.approx(1.0)
    assert [(e.regulator, e.target, e.drop) for e in found.edges] == [("A", "C", 1.0)]


def test_results_are_json_and_say_one_sentence():
    for targets in ((("A",), ("B",)), (("E",), ("F",))):
        found = explain_pair(network(FORK), ("x", "y"), targets)
        assert json.loads(json.dumps(found.as_dict()))["compounds"] == ["x", "y"]
        assert found.sentence.endswith(".")
        assert found.sentence.count(". ") == 0


def test_a_network_saves_and_loads_to_the_bit():
    net = random_network(1)
    tensors, metadata = net.save()
    again = load_network(tensors, json.loads(json.dumps(metadata)))
    assert again.genes == net.genes
    for name, tensor in tensors.items():
        assert np.array_equal(getattr(again, name), tensor.numpy())
        assert getattr(again, name).dtype == getattr(net, name).dtype
