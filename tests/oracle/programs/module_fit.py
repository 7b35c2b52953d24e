# SPDX-License-Identifier: Apache-2.0
"""Module.fit of a small convolutional network on one and two devices: parameters, outputs and metrics of each epoch."""
import sys

import numpy as np

import mxnet as mx


def network():
    x = mx.sym.Convolution(mx.sym.var("data"), num_filter=4, kernel=(3, 3), name="c1", no_bias=True)
    x = mx.sym.BatchNorm(x, name="bn", fix_gamma=False)
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.FullyConnected(mx.sym.flatten(x), num_hidden=3, name="fc", lr_mult=2.0)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def run(result, key, context, optimizer, kvstore, **params):
    rng = np.random.RandomState(0)
    x = rng.randn(50, 1, 6, 6).astype("float32")
    y = (x[:, 0, 0, 0] > 0).astype("float32") + (x[:, 0, 1, 1] > 0)
    symbol = network()
    shapes, _, states = symbol.infer_shape(data=(8, 1, 6, 6))
    args = {name: mx.nd.array(rng.randn(*shape) * 0.3) for name, shape in zip(symbol.list_arguments(), shapes)
            if name not in ("data", "softmax_label")}
    auxs = {name: mx.nd.ones(shape) for name, shape in zip(symbol.list_auxiliary_states(), states)}
    train, test = mx.io.NDArrayIter(x, y, batch_size=8), mx.io.NDArrayIter(x, y, batch_size=9)
    module = mx.mod.Module(symbol, context=context, fixed_param_names=["bn_beta"])
    log = []
    module.fit(train, eval_data=test, num_epoch=2, optimizer=optimizer, arg_params=args, aux_params=auxs,
               optimizer_params=params, kvstore=kvstore, eval_metric=["acc", "ce"],
               batch_end_callback=lambda p: log.extend(value for _, value in p.eval_metric.get_name_value()))
    result[key + "/log"] = np.array(log)
    for params in module.get_params():
        for name, array in params.items():
            result[f"{key}/{name}"] = array.asnumpy()
    result[key + "/predict"] = module.predict(test).asnumpy()


result = {}
both = [mx.cpu(0), mx.cpu(1)]
run(result, "sgd", mx.cpu(), "sgd", "local", learning_rate=0.1, momentum=0.9, wd=1e-3)
run(result, "sgd2", both, "sgd", "local", learning_rate=0.1, momentum=0.9, wd=1e-3)
run(result, "apart", both, "nag", None, learning_rate=0.05, momentum=0.9)
run(result, "adam", both, "adam", "device", learning_rate=0.01)
np.savez(sys.argv[1], **result)
