# SPDX-License-Identifier: Apache-2.0
"""SVRGModule on one and two devices, with a single snapshot (1.9.1 adds later ones to the one before)."""
import sys

import numpy as np

import mxnet as mx
from mxnet.contrib.svrg_optimization.svrg_module import SVRGModule


def network():
    out = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=1, name="fc1")
    return mx.sym.LinearRegressionOutput(out, mx.sym.var("lin_reg_label"), name="lro")


def run(result, key, context, kvstore, size, **params):
    rng = np.random.RandomState(0)
    x, y = rng.randn(20, 3).astype("float32"), rng.randn(20).astype("float32")
    data = mx.io.NDArrayIter(x, y, batch_size=size, label_name="lin_reg_label")
    module = SVRGModule(network(), label_names=["lin_reg_label"], update_freq=5, context=context)
    log = []
    module.fit(data, num_epoch=5, optimizer="sgd", optimizer_params=params, kvstore=kvstore, eval_metric="mse",
               arg_params={"fc1_weight": mx.nd.ones((1, 3)), "fc1_bias": mx.nd.zeros(1)},
               batch_end_callback=lambda p: log.append(p.eval_metric.get()[1]))
    result[key + "/log"] = np.array(log)
    for name, array in module.get_params()[0].items():
        result[f"{key}/{name}"] = array.asnumpy()


result = {}
both = [mx.cpu(0), mx.cpu(1)]
run(result, "one", mx.cpu(), "local", 5, learning_rate=0.1)
run(result, "momentum", mx.cpu(), "local", 4, learning_rate=0.1, momentum=0.9)
run(result, "apart", both, None, 5, learning_rate=0.05)
np.savez(sys.argv[1], **result)
