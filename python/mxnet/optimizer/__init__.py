# SPDX-License-Identifier: Apache-2.0
"""Optimizers: rules that change a weight by its gradient, and the states they keep for it."""
from . import optimizer
from .optimizer import Optimizer, Test, create, register
from .adam import Adam
from .adaptive import AdaDelta, AdaGrad, Adamax, Ftrl, FTML, Nadam, RMSProp, Signum
from .layerwise import LAMB, LARS, LBSGD
from .sgd import NAG, SGD, ccSGD
from .updater import Updater, get_updater
from .variants import DCASGD, SGLD

__all__ = ["AdaDelta", "AdaGrad", "Adam", "Adamax", "DCASGD", "FTML", "Ftrl", "LAMB", "LARS", "LBSGD", "NAG", "Nadam",
           "Optimizer", "RMSProp", "SGD", "SGLD", "Signum", "Test", "Updater", "ccSGD", "create", "get_updater",
           "register"]

opt_registry = Optimizer.opt_registry

# Saved states name a class by its module: `mxnet.optimizer.optimizer` in the files of every MXNet.
for _class in (AdaDelta, AdaGrad, Adam, Adamax, DCASGD, FTML, Ftrl, LAMB, LARS, LBSGD, NAG, Nadam, RMSProp, SGD, SGLD,
               Signum, Updater, ccSGD):
    _class.__module__ = optimizer.__name__
    setattr(optimizer, _class.__name__, _class)
