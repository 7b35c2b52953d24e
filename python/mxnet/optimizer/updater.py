# SPDX-License-Identifier: Apache-2.0
"""Updater: an optimizer together with the states of all weights it has seen."""
from __future__ import annotations

import pickle
from operator import is_

from .. import ndarray as nd
from .optimizer import Optimizer

__all__ = ["Updater", "get_updater"]


class Updater:
    """Called as `updater(index, grad, weight)`, with one of each or with lists."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.states = {}
        self.states_synced = {}
        self._last = None  # (gradients, weights, device number, groups) of the last call with lists

    @property
    def aggregate_updates(self):
        """Whether the optimizer takes several weights at once."""
        return self.optimizer.aggregate_num > 0

    def __call__(self, index, grad, weight):
        if not isinstance(index, (list, tuple)):
            index, grad, weight = [index], [grad], [weight]
        if not index:
            return
        last = self._last
        # A training loop comes with the same arrays each time.
        if last is None or len(last[1]) != len(weight) or not (all(map(is_, last[0], grad))
                                                               and all(map(is_, last[1], weight))):
            last = self._prepare(index, grad, weight)
        _, _, device_id, groups = last
        optimizer = self.optimizer
        optimizer._set_current_context(device_id)
        for indices, grads, weights, states in groups:
            optimizer.update_multi_precision(indices, weights, grads, states)

    def _prepare(self, index, grad, weight):
        """Find or make the states of the weights, and group what is updated together."""
        for i, w in zip(index, weight):
            if i not in self.states:
                self.states[i] = self.optimizer.create_state_multi_precision(i, w)
                self.states_synced[i] = True
            elif not self.states_synced[i]:
                self.states[i] = self.sync_state_context(self.states[i], w.context)
                self.states_synced[i] = True
        groups = []
        for group in self._groups(index, grad, weight):
            if len(group) == 1:
                i, g, w = group[0]
                groups.append((i, g, w, self.states[i]))
            else:
                indices, grads, weights = zip(*group)
                groups.append((indices, grads, weights, tuple(self.states[i] for i in indices)))
        self._last = (list(grad), list(weight), weight[0].context.device_id, groups)
        return self._last

    def _groups(self, index, grad, weight):
        """Lists of (index, grad, weight) of one dtype, at most `aggregate_num` long; sparse gradients alone."""
        groups = {}
        for triple in zip(index, grad, weight):
            if not self.aggregate_updates or triple[1].stype != "default":
                yield [triple]
                continue
            group = groups.setdefault(triple[2].dtype, [])
            group.append(triple)
            if len(group) == self.optimizer.aggregate_num:
                yield groups.pop(triple[2].dtype)
        yield from groups.values()

    def sync_state_context(self, state, context):
        """`state` (an array, a tuple of states, or anything else) on the device `context`."""
        if isinstance(state, nd.NDArray):
            return state.as_in_context(context)
        if isinstance(state, (tuple, list)):
            return type(state)(self.sync_state_context(part, context) for part in state)
        return state

    def set_states(self, states):
        """Take over what `get_states` returned; the weights' devices are found at the next update."""
        states = pickle.loads(states)
        if isinstance(states, tuple) and len(states) == 2 and isinstance(states[1], Optimizer):
            states, self.optimizer = states
        self.states = states
        self._last = None
        self.states_synced = dict.fromkeys(states, False)

    def get_states(self, dump_optimizer=False):
        """The states as bytes; with `dump_optimizer` the optimizer too."""
        return pickle.dumps((self.states, self.optimizer) if dump_optimizer else self.states)


def get_updater(optimizer):
    """An updater for `optimizer`."""
    return Updater(optimizer)
