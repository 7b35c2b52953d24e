# SPDX-License-Identifier: Apache-2.0
"""Functions to hand to a training loop: progress, speed, checkpoints.

A batch callback takes one object with `epoch`, `nbatch` and `eval_metric` (see `model.BatchEndParam`); an epoch
callback takes (epoch, symbol, arg_params, aux_params).
"""
from __future__ import annotations

import logging
import math
import time

__all__ = ["LogValidationMetricsCallback", "ProgressBar", "Speedometer", "do_checkpoint", "log_train_metric",
           "module_checkpoint"]


def module_checkpoint(mod, prefix, period=1, save_optimizer_states=False):
    """An epoch callback that saves a Module as `prefix-symbol.json` and `prefix-NNNN.params` every `period` epochs."""
    period = int(max(1, period))

    def save(epoch, sym=None, arg=None, aux=None):
        if (epoch + 1) % period == 0:
            mod.save_checkpoint(prefix, epoch + 1, save_optimizer_states)

    return save


def do_checkpoint(prefix, period=1):
    """An epoch callback that saves symbol and parameters under `prefix` every `period` epochs."""
    from .model import save_checkpoint
    period = int(max(1, period))

    def save(epoch, sym, arg, aux):
        if (epoch + 1) % period == 0:
            save_checkpoint(prefix, epoch + 1, sym, arg, aux)

    return save


def log_train_metric(period, auto_reset=False):
    """A batch callback that logs the training metric every `period` batches, and with `auto_reset` then clears it."""

    def log(param):
        if param.nbatch % period == 0 and param.eval_metric is not None:
            for name, value in param.eval_metric.get_name_value():
                logging.info("Iter[%d] Batch[%d] Train-%s=%f", param.epoch, param.nbatch, name, value)
            if auto_reset:
                param.eval_metric.reset_local()

    return log


class Speedometer:
    """A batch callback that logs samples per second, and the metric, every `frequent` batches of `batch_size`.

    With `auto_reset` the metric's local sum is cleared after each report, so that every line tells of its own batches.
    """

    def __init__(self, batch_size, frequent=50, auto_reset=True):
        self.batch_size = batch_size
        self.frequent = frequent
        self.auto_reset = auto_reset
        self.init = False
        self.tic = 0
        self.last_count = 0

    def __call__(self, param):
        count = param.nbatch
        if self.last_count > count:
            self.init = False
        self.last_count = count
        if not self.init:
            self.init = True
            self.tic = time.time()
            return
        if count % self.frequent:
            return
        elapsed = time.time() - self.tic
        speed = self.frequent * self.batch_size / elapsed if elapsed > 0 else float("inf")
        if param.eval_metric is None:
            logging.info("Iter[%d] Batch [%d]\tSpeed: %.2f samples/sec", param.epoch, count, speed)
        else:
            pairs = param.eval_metric.get_name_value()
            batches = f"{count - self.frequent}-{count}" if self.auto_reset else f"0-{count}"
            values = "".join(f"\t{name}={value:f}" for name, value in pairs)
            if self.auto_reset:
                param.eval_metric.reset_local()
            logging.info("Epoch[%d] Batch [%s]\tSpeed: %.2f samples/sec%s", param.epoch, batches, speed, values)
        self.tic = time.time()


class ProgressBar:
    """A batch callback that draws a bar of `length` characters for `total` batches.

    It is logged, one line for each call.
    """

    def __init__(self, total, length=80):
        if total < 1:
            raise ValueError(f"ProgressBar: total must be 1 or more batches, got {total}")
        self.bar_len = length
        self.total = total

    def __call__(self, param):
        count = param.nbatch
        filled = int(round(self.bar_len * count / float(self.total)))
        percents = math.ceil(100.0 * count / float(self.total))
        bar = "=" * filled + "-" * (self.bar_len - filled)
        logging.info("[%s] %s%s\r", bar, percents, "%")


class LogValidationMetricsCallback:
    """An end-of-evaluation callback that logs every value of the metric."""

    def __call__(self, param):
        if not param.eval_metric:
            return
        for name, value in param.eval_metric.get_name_value():
            logging.info("Epoch[%d] Validation-%s=%f", param.epoch, name, value)
