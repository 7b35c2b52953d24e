# SPDX-License-Identifier: Apache-2.0
"""Optimizers: rules that change a weight by its gradient, and the states they keep for it."""
from .optimizer import Optimizer, Test, create, register
from .adam import Adam
from .sgd import NAG, SGD, ccSGD
from .updater import Updater, get_updater

__all__ = ["Adam", "NAG", "Optimizer", "SGD", "Test", "Updater", "ccSGD", "create", "get_updater", "register"]

opt_registry = Optimizer.opt_registry
