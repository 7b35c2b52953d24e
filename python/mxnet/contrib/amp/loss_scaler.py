# SPDX-License-Identifier: Apache-2.0
"""Scaling of losses, so that gradients in float16 neither vanish nor overflow."""

from ... import ndarray as nd


class LossScaler:
    """The factor of the loss, and how it follows the gradients.

    It is halved when a gradient is not finite (that step is skipped), and doubled after `period` steps without that.

    Parameters
    ----------
    init_scale : float
        The first factor.
    period : int
        Steps between two doublings; 0 for a factor that never changes: gradients are then not looked at.
    largest : float
        Where doubling ends.
    """

    def __init__(self, init_scale=2.0 ** 16, period=2000, largest=2.0 ** 24):
        self._loss_scale = init_scale
        self._scale_seq_len = period
        self._max_loss_scale = largest
        self._unskipped = 0

    @property
    def loss_scale(self):
        """What the next loss is multiplied by."""
        return self._loss_scale

    def has_overflow(self, params):
        """Whether a gradient of one of the parameters is infinite or NaN."""
        by_device = {}
        for param in params:
            if param.grad_req != "null":
                for grad in param.list_grad():
                    by_device.setdefault(grad.context, []).append(grad)
        return any(nd.multi_all_finite(*grads, num_arrays=len(grads)).asscalar() == 0 for grads in by_device.values())

    def skip_step(self, params):
        """Whether the step with these gradients is to be left out; the factor is adapted for the next one."""
        if self._scale_seq_len == 0:
            return False
        overflow = self.has_overflow(params)
        if overflow:
            self._loss_scale = max(1.0, self._loss_scale / 2)
        elif self._unskipped + 1 == self._scale_seq_len:
            self._loss_scale = min(self._max_loss_scale, self._loss_scale * 2)
        self._unskipped = 0 if overflow else (self._unskipped + 1) % self._scale_seq_len
        return overflow
