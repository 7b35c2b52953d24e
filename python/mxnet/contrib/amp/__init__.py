# SPDX-License-Identifier: Apache-2.0
"""Automatic mixed precision: matrix products and convolutions in float16 or bfloat16, the rest where it is safe.

    from mxnet import amp            # also mxnet.contrib.amp
    amp.init("bfloat16")

See docs/guide/amp.md.
"""

from .amp import (bfloat16, convert_hybrid_block, convert_model, convert_symbol, init, init_trainer,
                  list_conditional_fp32_ops, list_fp32_ops, list_loss_output_functions, list_lp16_fp32_ops,
                  list_lp16_ops, list_lp16_use_fp32_params, list_widest_type_cast, scale_loss, unscale)
from .loss_scaler import LossScaler

__all__ = ["LossScaler", "bfloat16", "convert_hybrid_block", "convert_model", "convert_symbol", "init", "init_trainer",
           "list_conditional_fp32_ops", "list_fp32_ops", "list_loss_output_functions", "list_lp16_fp32_ops",
           "list_lp16_ops", "list_lp16_use_fp32_params", "list_widest_type_cast", "scale_loss", "unscale"]
