"""Stochastic growth: few cells divide, die and fall asleep one by one.

``reactions`` and ``known_networks`` describe what can happen, ``direct`` and ``leaping`` simulate
it, ``closed_forms`` holds what is known exactly. ``summaries``, ``neural_posterior`` and ``abc``
infer rates from simulations alone; ``calibration`` and ``guard`` judge that. ``cell_counts`` and
``growth`` apply all of it to counts of cells over time.
"""
