# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.contrib`: operators registered as `_contrib_*`."""
import math

from .._core import ops
from . import random
from .control_flow import cond, foreach, while_loop  # noqa: F401
from .op import function

__getattr__, __dir__ = ops.install(__name__, "contrib", function)


def rand_zipfian(true_classes, num_sampled, range_max):
    """Classes drawn with probability log((k + 2) / (k + 1)) / log(range_max + 1), with replacement.

    Gives the classes, of shape (num_sampled,) and int64, and how often each of `true_classes` and of the drawn ones is
    expected among them (float64).
    """
    log_range = math.log(range_max + 1)
    drawn = random.uniform(0, log_range, shape=(num_sampled,), dtype="float64")
    sampled = (function("exp")(drawn) - 1).astype("int64") % range_max

    def expected(classes):
        classes = classes.astype("float64")
        return function("log")((classes + 2) / (classes + 1)) / log_range * num_sampled

    return sampled, expected(true_classes), expected(sampled)
