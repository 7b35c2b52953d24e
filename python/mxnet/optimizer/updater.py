# SPDX-License-Identifier: Apache-2.0
"""Updater: an optimizer together with the states of all weights it has seen."""
from __future__ import annotations

import pickle

from .. import ndarray as nd
from .optimizer import Optimizer

__all__ = ["Updater", "get_updater"]


class Updater:
    """Called as `updater(index, grad, weight)`, with one of each or with lists."""

    def __init__(self, optimizer):
        self.optimizer = optimizer
        self.states = {}
        self.states_synced = {}

    @property
    def aggregate_updates(self):
        """Whether the optimizer takes several weights at once."""
        return self.optimizer.aggregate_num > 0

    def __call__(self, index, grad, weight):
        if not isinstance(index, (list, tuple)):
            index, grad, weight = [index], [grad], [weight]
        if not index:
            return
        self.optimizer._set_current_context(weight[0].context.device_id)
        for i, w in zip(index, weight):
            if i not in self.states:
                self.states[i] = self.optimizer.create_state_multi_precision(i, w)
                self.states_synced[i] = True
            elif not self.states_synced[i]:
                self.states[i] = self.sync_state_context(self.states[i], w.context)
                self.states_synced[i] = True
        if not self.aggregate_updates:
            for i, g, w in zip(index, grad, weight):
                self.optimizer.update_multi_precision(i, w, g, self.states[i])
            return
        for group in self._groups(index, grad, weight):
            indices, grads, weights = zip(*group)
            states = [self.states[i] for i in indices]
            if len(group) == 1:
                self.optimizer.update_multi_precision(indices[0], weights[0], grads[0], states[0])
            else:
                self.optimizer.update_multi_precision(list(indices), list(weights), list(grads), states)

    def _groups(self, index, grad, weight):
        """Lists of (index, grad, weight) of one dtype, at most `aggregate_num` long; sparse gradients alone."""
        groups = {}
        for triple in zip(index, grad, weight):
            if triple[1].stype != "default":
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
        self.states_synced = dict.fromkeys(states, False)

    def get_states(self, dump_optimizer=False):
        """The states as bytes; with `dump_optimizer` the optimizer too."""
        return pickle.dumps((self.states, self.optimizer) if dump_optimizer else self.states)


def get_updater(optimizer):
    """An updater for `optimizer`."""
    return Updater(optimizer)
