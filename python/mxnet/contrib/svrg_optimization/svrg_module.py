# SPDX-License-Identifier: Apache-2.0
"""SVRGModule: training with stochastic variance reduced gradients (Johnson and Zhang, 2013)."""
from __future__ import annotations

import logging

from ... import ndarray as nd
from ...module import Module

__all__ = ["SVRGModule"]


class SVRGModule(Module):
    """A Module whose gradients have less variance.

    Every `update_freq` epochs the weights w are kept as a snapshot v, with the mean gradient of all batches there. The
    gradient of a batch b is then corrected to g_b(w) - g_b(v) + mean g(v).

    Parameters
    ----------
    update_freq : int
        How many epochs a snapshot serves, 1 or more.

    Each snapshot begins with a fresh sum, and a last batch that is filled up counts like the others; 1.9.1 kept part of
    the mean gradient of the snapshot before, and divided by less than the number of batches it had added up.

    The other parameters are those of Module. A key-value store sums what several devices have corrected.
    """

    def __init__(self, symbol, data_names=("data",), label_names=("softmax_label",), logger=logging, context=None,
                 work_load_list=None, fixed_param_names=None, state_names=None, group2ctxs=None,
                 compression_params=None, update_freq=None):
        options = {"data_names": data_names, "label_names": label_names, "logger": logger, "context": context,
                   "work_load_list": work_load_list, "fixed_param_names": fixed_param_names,
                   "state_names": state_names, "group2ctxs": group2ctxs, "compression_params": compression_params}
        if not isinstance(update_freq, int):
            raise TypeError("SVRGModule: update_freq, the number of epochs between full gradients, must be an int, got "
                            f"{update_freq!r}")
        if update_freq <= 0:
            raise ValueError(f"SVRGModule: update_freq must be positive, got {update_freq}")
        super().__init__(symbol, **options)
        self.update_freq = update_freq
        self._mod_aux = Module(symbol, **options)  # has the weights of the snapshot
        self._param_dict = None  # for each device {parameter: mean gradient at the snapshot}

    # ---- setting up
    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write"):
        super().bind(data_shapes, label_shapes, for_training, inputs_need_grad, force_rebind, shared_module, grad_req)
        if for_training:
            self._mod_aux.bind(data_shapes, label_shapes, for_training, inputs_need_grad, force_rebind, None, grad_req)

    def _reset_bind(self):
        super()._reset_bind()
        self._param_dict = None

    def reshape(self, data_shapes, label_shapes=None):
        super().reshape(data_shapes, label_shapes)
        if self._mod_aux.binded:
            self._mod_aux.reshape(data_shapes, label_shapes)

    # ---- computation
    def _corrects(self, is_train):
        """Whether a pass needs the gradient at the snapshot too."""
        return self._param_dict is not None and (self.for_training if is_train is None else is_train)

    def forward(self, data_batch, is_train=None):
        super().forward(data_batch, is_train)
        if self._corrects(is_train):
            self._mod_aux.forward(data_batch, is_train)

    def backward(self, out_grads=None):
        super().backward(out_grads)
        if self._corrects(None):
            self._mod_aux.backward(out_grads)

    def update(self):
        """Correct the gradients and change the parameters."""
        if self._param_dict is not None:
            self._update_svrg_gradients()
        super().update()

    def _own_gradients(self, module):
        """(name, list of one gradient for each device) of each parameter that is trained."""
        group = module._exec_group
        names = [name for name in group.arg_names if name in group.param_names]
        return [(name, grads) for name, grads in zip(names, group.grad_arrays) if grads[0] is not None]

    def update_full_grads(self, train_data):
        """Take the present weights as the snapshot, and compute the mean gradient over all batches there."""
        self._require("update_full_grads")
        arg_params, aux_params = self.get_params()
        self._mod_aux.init_params(initializer=None, arg_params=arg_params, aux_params=aux_params, force_init=True)
        train_data.reset()
        sums, batches = None, 0
        for batch in train_data:
            self._mod_aux.forward(batch, is_train=True)
            self._mod_aux.backward()
            batches += 1
            gradients = self._own_gradients(self._mod_aux)
            if sums is None:
                sums = [{name: grads[k].copy() for name, grads in gradients} for k in range(len(self._context))]
                continue
            for name, grads in gradients:
                for own, grad in zip(sums, grads):
                    own[name] += grad
        if not batches:
            raise ValueError("update_full_grads: the training data are empty")
        for own in sums:
            for grad in own.values():
                grad /= batches
        self._param_dict = self._shared(sums) if self._kvstore is not None else sums

    @staticmethod
    def _shared(gradients):
        """Each device's part of the sum over devices."""
        total = {name: nd.add_n(*(own[name].as_in_context(grad.context) for own in gradients)) / len(gradients)
                 for name, grad in gradients[0].items()}
        return [{name: total[name].as_in_context(grad.context).copy() for name, grad in own.items()}
                for own in gradients]

    def _update_svrg_gradients(self):
        at_snapshot = dict(self._own_gradients(self._mod_aux))
        for name, grads in self._own_gradients(self):
            for grad, special, mean in zip(grads, at_snapshot[name], self._param_dict):
                grad[:] = self._svrg_grads_update_rule(grad, special, mean[name])

    def _svrg_grads_update_rule(self, g_curr_batch_curr_weight, g_curr_batch_special_weight,
                                g_special_weight_all_batch):
        """The corrected gradient of a batch."""
        return g_curr_batch_curr_weight - g_curr_batch_special_weight + g_special_weight_all_batch

    def _train_epoch(self, epoch, run):
        if epoch % self.update_freq == 0 or self._param_dict is None:
            self.update_full_grads(run.train_data)
            run.train_data.reset()
        super()._train_epoch(epoch, run)

    def prepare(self, data_batch, sparse_row_id_fn=None):
        super().prepare(data_batch, sparse_row_id_fn=sparse_row_id_fn)
        self._mod_aux.prepare(data_batch, sparse_row_id_fn=sparse_row_id_fn)
