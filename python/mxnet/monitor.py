# SPDX-License-Identifier: Apache-2.0
"""Monitor: statistics of the arrays inside executors while they train."""
from __future__ import annotations

import logging
import re
import weakref
from math import sqrt

from . import ndarray as nd

__all__ = ["Monitor"]


def _default_stat(array):
    """The norm of an array, per root of its size."""
    return nd.norm(array) / sqrt(array.size)


class Monitor:
    """Collects a statistic of outputs, weights and gradients every `interval` batches.

    Parameters
    ----------
    interval : int
    stat_func : callable, optional
        From an array to an array or a list of arrays; norm / sqrt(size) by default.
    pattern : str
        Regular expression that names of arrays must match from their beginning.
    sort : bool
        Whether results come sorted by name.
    monitor_all : bool
        Whether inputs of operators are watched too.
    """

    def __init__(self, interval, stat_func=None, pattern=".*", sort=False, monitor_all=False):
        self.interval = interval
        self.stat_func = _default_stat if stat_func is None else stat_func
        self.activated = False
        self.queue = []
        self.step = 0
        self.exes = []
        self.re_prog = re.compile(pattern)
        self.sort = sort
        self.monitor_all = monitor_all

    def stat_helper(self, name, array):
        """What executors call for each array."""
        if self.activated and self.re_prog.match(name):
            self.queue.append((self.step, name, self.stat_func(array)))

    def install(self, exe):
        """Watch an executor."""
        weak_self = weakref.ref(self)  # the core holds the callback: a strong reference would keep both alive for ever

        def watch(name, array):
            monitor = weak_self()
            if monitor is not None:
                monitor.stat_helper(name, array)

        exe.set_monitor_callback(watch, self.monitor_all)
        self.exes.append(exe)

    def tic(self):
        """Begin a batch: collect, if it is this batch's turn. Call before forward."""
        if self.step % self.interval == 0:
            for exe in self.exes:
                for array in exe.arg_arrays:
                    array.wait_to_read()
            self.queue = []
            self.activated = True
        self.step += 1

    def toc(self):
        """End a batch; [(step, name, text of the statistic)] if it was collected."""
        if not self.activated:
            return []
        for exe in self.exes:
            for array in exe.arg_arrays:
                array.wait_to_read()
            named = [*zip(exe._symbol.list_arguments(), exe.arg_arrays),
                     *zip(exe._symbol.list_auxiliary_states(), exe.aux_arrays)]
            for name, array in named:
                if self.re_prog.match(name):
                    self.queue.append((self.step, name, self.stat_func(array)))
        self.activated = False
        if self.sort:
            self.queue.sort(key=lambda entry: entry[1])
        result = [(step, name, self._text(value)) for step, name, value in self.queue]
        self.queue = []
        return result

    @staticmethod
    def _text(value):
        values = value if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(v, nd.NDArray) for v in values):
            raise AssertionError(f"stat_func must return an NDArray or a list of them, got {type(value).__name__}")
        return "".join(f"{v.asnumpy()[0] if v.shape == (1,) else v.asnumpy()}\t" for v in values)

    def toc_print(self):
        """`toc`, to the log."""
        for step, name, text in self.toc():
            logging.info("Batch: %7d %-30s %s", step, name, text)
