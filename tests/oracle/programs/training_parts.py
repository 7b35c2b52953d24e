# SPDX-License-Identifier: Apache-2.0
"""Initializers without chance and their texts, metrics, learning-rate schedules, callbacks, monitors."""
import io
import logging
import sys

import numpy as np

import mxnet as mx

result = {}


def attempt(function, *args, **kwargs):
    """The value as text, or the kind of error that 1.9.1's programs can catch."""
    try:
        return repr(function(*args, **kwargs))
    except (ValueError, TypeError, AssertionError, KeyError, NotImplementedError, DeprecationWarning) as error:
        return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")


# ---- initializers
initializers = {
    "zero": mx.init.Zero(), "one": mx.init.One(), "constant": mx.init.Constant(2.5), "bilinear": mx.init.Bilinear(),
    "lstmbias": mx.init.LSTMBias(forget_bias=1.5), "uniform": mx.init.Uniform(1e-20), "normal": mx.init.Normal(1e-20),
    "xavier": mx.init.Xavier(magnitude=1e-20), "msra": mx.init.MSRAPrelu(), "orthogonal": mx.init.Orthogonal(),
    "mixed": mx.init.Mixed([".*bias", ".*"], [mx.init.One(), mx.init.Constant(3)]),
    "load": mx.init.Load({"arg:fc_weight": mx.nd.ones((4, 3)) * 7}, default_init=mx.init.One()),
    "fused": mx.init.FusedRNN(mx.init.Constant(0.5), 3, 2, "lstm", bidirectional=True, forget_bias=2.0)}
names = ["fc_weight", "fc_bias", "bn_gamma", "bn_beta", "x_min", "x_max", "strange"]
for key, init in initializers.items():
    result[f"init/{key}/dumps"] = np.array(attempt(init.dumps) if hasattr(init, "dumps") else "")
    for name in names:
        shape = {"bilinear": (2, 1, 4, 4), "fused": (504,)}.get(key, (4, 3) if name == "fc_weight" else (8,))
        array = mx.nd.ones(shape) * -1
        random = key in ("msra", "orthogonal") and name == "fc_weight"
        text = attempt(init, mx.init.InitDesc(name), array)
        result[f"init/{key}/{name}/error"] = np.array(text)
        if text == "None" and not random:
            result[f"init/{key}/{name}"] = array.asnumpy()

array = mx.nd.zeros((504,))
text = mx.init.FusedRNN(None, 3, 2, "lstm", bidirectional=True, forget_bias=2.0).dumps()
mx.init.Uniform()(mx.init.InitDesc("rnn_parameters", {"__init__": text}, global_init=mx.init.Constant(0.5)), array)
result["init/fused"] = array.asnumpy()
for text in ("xavier", "zeros", "ones", "normal", "nope", '["constant", {"value": 4}]'):
    result["init/create/" + text] = np.array(attempt(lambda text=text: mx.init.create(text).dumps()))
for make in ("mx.init.Xavier(rnd_type='x')(mx.init.InitDesc('a_weight'), mx.nd.ones((2, 2)))",
             "mx.init.Xavier()(mx.init.InitDesc('a_weight'), mx.nd.ones((2,)))",
             "mx.init.Mixed(['a'], [])", "mx.init.Mixed(['a'], [mx.init.One()])('b', mx.nd.ones(2))",
             "mx.init.Load({})('b', mx.nd.ones(2))", "mx.init.Load({'b': mx.nd.ones(3)})('b', mx.nd.ones(2))",
             "mx.init.Uniform()('strange', mx.nd.ones(2))", "mx.init.Constant(1) == mx.init.Constant(1)",
             "mx.init.Zero() == mx.init.One()"):
    result["init/" + make] = np.array(attempt(eval, make))

# ---- metrics
rng = np.random.RandomState(0)
scores = rng.rand(3, 10, 4).astype("float32")
scores /= scores.sum(-1, keepdims=True)
classes = rng.randint(0, 4, (3, 10)).astype("float32")
binary = np.stack([1 - scores[..., 0], scores[..., 0]], -1)
flags = rng.randint(0, 2, (3, 10)).astype("float32")
real, fitted = rng.randn(2, 3, 10, 2).astype("float32")
metrics = {
    "acc": (mx.metric.Accuracy(), classes, scores), "top": (mx.metric.TopKAccuracy(top_k=2), classes, scores),
    "f1": (mx.metric.F1(), flags, binary), "f1 micro": (mx.metric.F1(average="micro"), flags, binary),
    "mcc": (mx.metric.MCC(), flags, binary), "mcc micro": (mx.metric.MCC(average="micro"), flags, binary),
    "perplexity": (mx.metric.Perplexity(ignore_label=None), classes, scores),
    "perplexity ignore": (mx.metric.Perplexity(ignore_label=1), classes, scores),
    "mae": (mx.metric.MAE(), real, fitted), "mse": (mx.metric.MSE(), real, fitted),
    "rmse": (mx.metric.RMSE(), real, fitted), "ce": (mx.metric.CrossEntropy(), classes, scores),
    "nll": (mx.metric.NegativeLogLikelihood(), classes, scores), "loss": (mx.metric.Loss(), None, fitted),
    "torch": (mx.metric.Torch(), None, fitted), "caffe": (mx.metric.Caffe(), None, fitted),
    "pearson": (mx.metric.PearsonCorrelation(), real, fitted),
    "pearson micro": (mx.metric.PearsonCorrelation(average="micro"), real, fitted),
    "pcc": (mx.metric.PCC(), classes, scores),
    "custom": (mx.metric.CustomMetric(lambda label, pred: float(np.abs(label - pred).max()), "m"), real, fitted),
    "np": (mx.metric.np(lambda label, pred: (float((label - pred).sum()), 5)), real, fitted),
    "composite": (mx.metric.create(["acc", "ce", mx.metric.TopKAccuracy(3)]), classes, scores)}
for key, (metric, labels, preds) in metrics.items():
    log = []
    for step in range(3):
        metric.update(None if labels is None else [mx.nd.array(labels[step])], [mx.nd.array(preds[step])])
        log.append([value for _, value in metric.get_name_value()])
        if step == 1:
            metric.reset_local()
    if key != "pearson micro":  # 1.9.1 keeps no global sums there
        log.append([value for _, value in metric.get_global_name_value()])
    result[f"metric/{key}"] = np.array(log, dtype="float64")
    result[f"metric/{key}/names"] = np.array([name for name, _ in metric.get_name_value()])
    if key not in ("custom", "np"):
        result[f"metric/{key}/config"] = np.array(repr(sorted(metric.get_config().items(), key=str)))
for name in ("accuracy", "acc", "top_k_acc", "f1", "mae", "cross-entropy", "nll_loss", "pearsonr", "pcc", "nope"):
    kwargs = {"top_k": 2} if name == "top_k_acc" else {}
    result["metric/create/" + name] = np.array(attempt(lambda n, **k: mx.metric.create(n, **k).name, name, **kwargs))

# ---- schedules
schedules = {
    "factor": lambda: mx.lr_scheduler.FactorScheduler(step=3, factor=0.5, base_lr=0.4, stop_factor_lr=0.02),
    "factor warm": lambda: mx.lr_scheduler.FactorScheduler(step=4, factor=0.5, warmup_steps=6, warmup_begin_lr=0.001),
    "multi": lambda: mx.lr_scheduler.MultiFactorScheduler(step=[4, 9, 15], factor=0.1, base_lr=1.0),
    "multi warm": lambda: mx.lr_scheduler.MultiFactorScheduler(step=[8, 12], factor=0.1, base_lr=1.0, warmup_steps=5,
                                                               warmup_begin_lr=0.1, warmup_mode="constant"),
    "poly": lambda: mx.lr_scheduler.PolyScheduler(max_update=20, base_lr=0.5, pwr=2, final_lr=0.1),
    "poly warm": lambda: mx.lr_scheduler.PolyScheduler(max_update=20, base_lr=0.5, warmup_steps=5),
    "cosine": lambda: mx.lr_scheduler.CosineScheduler(max_update=20, base_lr=0.5, final_lr=0.05),
    "cosine warm": lambda: mx.lr_scheduler.CosineScheduler(max_update=20, base_lr=0.5, warmup_steps=4,
                                                           warmup_begin_lr=0.2)}
for key, make in schedules.items():
    schedule = make()
    result["schedule/" + key] = np.array([schedule(step) for step in range(1, 26)])
    result[f"schedule/{key}/far"] = np.array([make()(step) for step in (0, 7, 100)])
for make in ("FactorScheduler(step=0)", "FactorScheduler(step=2, factor=1.1)", "MultiFactorScheduler(step=[3, 2])",
             "MultiFactorScheduler(step=[0, 2])", "MultiFactorScheduler(step=[1, 2], factor=1.5)",
             "PolyScheduler(max_update=0)", "PolyScheduler(max_update=2.5)", "CosineScheduler(max_update=0)",
             "FactorScheduler(step=2, warmup_steps=-1)", "FactorScheduler(step=2, warmup_begin_lr=1)",
             "FactorScheduler(step=2, warmup_mode='x', warmup_steps=2)(1)"):
    result["schedule/" + make] = np.array(attempt(eval, f"bool(mx.lr_scheduler.{make}) and None"))

# ---- callbacks and monitors
stream = io.StringIO()
handler = logging.StreamHandler(stream)
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.INFO)
x, y = mx.sym.var("data"), mx.sym.var("softmax_label")
net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, num_hidden=3, name="fc"), y, name="softmax")
data = mx.io.NDArrayIter(np.arange(24).reshape(8, 3) / 10.0, np.arange(8) % 3, batch_size=2)
module = mx.mod.Module(net)
weights = {"fc_weight": mx.nd.ones((3, 3)) * 0.1, "fc_bias": mx.nd.zeros(3)}
module.fit(data, num_epoch=2, arg_params=weights, aux_params={}, monitor=mx.mon.Monitor(3, pattern=".*fc.*", sort=True),
           batch_end_callback=[mx.callback.log_train_metric(2, auto_reset=True), mx.callback.ProgressBar(4, length=20)],
           eval_data=data, eval_end_callback=mx.callback.LogValidationMetricsCallback())
lines = []
for line in stream.getvalue().splitlines():
    if line.startswith("Batch:"):
        head, number = line.rstrip().rsplit(" ", 1)
        line = f"{head} {float(number):.4f}"
    if "Time cost" not in line and "backward" not in line:
        lines.append(line)
result["log"] = np.array("\n".join(lines))
np.savez(sys.argv[1], **result)
