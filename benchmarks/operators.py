# SPDX-License-Identifier: Apache-2.0
"""Single operators, each in a small and a large size, as MXNet and as PyTorch users write them.

An entry gives the shapes of its inputs in both sizes and the two expressions; inputs are called a, b, c.
"""

import dataclasses

import numpy as np
from rows import Job

SMALL, LARGE = "small", "large"
SQUARE = ((64, 64), (2048, 1024))
ROWS_OF = ((8, 64), (1024, 1024))
IMAGES = ((1, 16, 14, 14), (8, 64, 56, 56))


@dataclasses.dataclass(frozen=True)
class Op:
    """Shapes for the small and the large size, and the programs."""

    shapes: tuple
    mxnet: str
    torch: str
    positive: bool = False
    words: int = None  # input a holds integers below this


def pair(*shapes):
    """((small a, small b, ...), (large a, large b, ...)) from (small, large) of each input."""
    return tuple(zip(*shapes))


def unary(name, torch=None, **options):
    """An elementwise function of one array."""
    return Op(pair(SQUARE), f"nd.{name}(a)", torch or f"torch.{name}(a)", **options)


OPS = {
    "add": Op(pair(SQUARE, SQUARE), "a + b", "a + b"),
    "multiply": Op(pair(SQUARE, SQUARE), "a * b", "a * b"),
    "divide": Op(pair(SQUARE, SQUARE), "a / b", "a / b", positive=True),
    "add_scalar": Op(pair(SQUARE), "a + 1.5", "a + 1.5"),
    "add_row": Op(pair(SQUARE, ((1, 64), (1, 1024))), "nd.broadcast_add(a, b)", "a + b"),
    "greater": Op(pair(SQUARE, SQUARE), "a > b", "(a > b).float()"),
    "maximum": Op(pair(SQUARE, SQUARE), "nd.maximum(a, b)", "torch.maximum(a, b)"),
    "where": Op(pair(SQUARE, SQUARE), "nd.where(a > 0, a, b)", "torch.where(a > 0, a, b)"),
    "relu": unary("relu"),
    "exp": unary("exp"),
    "log": unary("log", positive=True),
    "sqrt": unary("sqrt", positive=True),
    "tanh": unary("tanh"),
    "sigmoid": unary("sigmoid"),
    "gelu": Op(pair(SQUARE), "nd.LeakyReLU(a, act_type='gelu')", "F.gelu(a)"),
    "erf": unary("erf"),
    "square": unary("square"),
    "clip": Op(pair(SQUARE), "nd.clip(a, -0.5, 0.5)", "torch.clamp(a, -0.5, 0.5)"),
    "cast": Op(pair(SQUARE), "a.astype('float64')", "a.double()"),
    "sum": Op(pair(SQUARE), "a.sum()", "a.sum()"),
    "sum_rows": Op(pair(SQUARE), "a.sum(axis=1)", "a.sum(1)"),
    "mean_columns": Op(pair(SQUARE), "a.mean(axis=0)", "a.mean(0)"),
    "max_rows": Op(pair(SQUARE), "a.max(axis=1)", "torch.amax(a, 1)"),
    "argmax": Op(pair(ROWS_OF), "nd.argmax(a, axis=1)", "torch.argmax(a, 1)"),
    "norm": Op(pair(SQUARE), "nd.norm(a)", "torch.linalg.vector_norm(a)"),
    "softmax": Op(pair(ROWS_OF), "nd.softmax(a)", "torch.softmax(a, -1)"),
    "log_softmax": Op(pair(ROWS_OF), "nd.log_softmax(a)", "torch.log_softmax(a, -1)"),
    "topk": Op(pair(ROWS_OF), "nd.topk(a, k=5, ret_typ='value')", "torch.topk(a, 5)[0]"),
    "sort": Op(pair(ROWS_OF), "nd.sort(a)", "torch.sort(a)[0]"),
    "cumsum": Op(pair(ROWS_OF), "nd.cumsum(a, axis=1)", "torch.cumsum(a, 1)"),
    "transpose": Op(pair(SQUARE), "a.T", "a.T.contiguous()"),
    "concat": Op(pair(SQUARE, SQUARE), "nd.concat(a, b, dim=1)", "torch.cat((a, b), 1)"),
    "stack": Op(pair(SQUARE, SQUARE), "nd.stack(a, b)", "torch.stack((a, b))"),
    "slice": Op(pair(SQUARE), "nd.slice_axis(a, axis=1, begin=8, end=40)", "a[:, 8:40].contiguous()"),
    "tile": Op(pair(ROWS_OF), "nd.tile(a, (2, 2))", "a.tile(2, 2)"),
    "pad": Op(pair(IMAGES), "nd.pad(a, mode='constant', pad_width=(0, 0, 0, 0, 1, 1, 1, 1))", "F.pad(a, (1, 1, 1, 1))"),
    "embedding": Op(pair(((16,), (4096,)), ((1000, 64), (50000, 256))),
                    "nd.Embedding(a, b, input_dim=b.shape[0], output_dim=b.shape[1])", "F.embedding(a, b)", words=1000),
    "take": Op(pair(((16,), (4096,)), ((1000, 64), (50000, 256))), "nd.take(b, a)", "torch.index_select(b, 0, a)",
               words=1000),
    "one_hot": Op(pair(((16,), (4096,))), "nd.one_hot(a, 1000)", "F.one_hot(a, 1000).float()", words=1000),
    "dot": Op(pair(((64, 64), (1024, 1024)), ((64, 64), (1024, 1024))), "nd.dot(a, b)", "a @ b"),
    "batch_dot": Op(pair(((4, 16, 16), (96, 128, 64)), ((4, 16, 16), (96, 64, 128))), "nd.batch_dot(a, b)",
                    "torch.bmm(a, b)"),
    "dense": Op(pair(((1, 64), (128, 1024)), ((64, 64), (1024, 1024)), ((64,), (1024,))),
                "nd.FullyConnected(a, b, c, num_hidden=b.shape[0])", "F.linear(a, b, c)"),
    "convolution_3x3": Op(pair(IMAGES, ((16, 16, 3, 3), (64, 64, 3, 3))),
                          "nd.Convolution(a, b, kernel=(3, 3), pad=(1, 1), num_filter=b.shape[0], no_bias=True)",
                          "F.conv2d(a, b, padding=1)"),
    "convolution_1x1": Op(pair(IMAGES, ((16, 16, 1, 1), (64, 64, 1, 1))),
                          "nd.Convolution(a, b, kernel=(1, 1), num_filter=b.shape[0], no_bias=True)", "F.conv2d(a, b)"),
    "max_pool": Op(pair(IMAGES), "nd.Pooling(a, kernel=(2, 2), stride=(2, 2), pool_type='max')", "F.max_pool2d(a, 2)"),
    "global_pool": Op(pair(IMAGES), "nd.Pooling(a, global_pool=True, pool_type='avg', kernel=(1, 1))",
                      "F.adaptive_avg_pool2d(a, 1)"),
    "layer_norm": Op(pair(ROWS_OF, ((64,), (1024,)), ((64,), (1024,))), "nd.LayerNorm(a, b, c)",
                     "F.layer_norm(a, (a.shape[-1],), b, c)"),
    "uniform": Op(pair(SQUARE), "nd.random.uniform(shape=a.shape)", "torch.rand(a.shape)"),
    "dropout_mask": Op(pair(SQUARE), "nd.Dropout(a, p=0.5, mode='always')", "F.dropout(a, 0.5)"),
}
RANDOM = ("uniform", "dropout_mask")


def names():
    """All rows: operator.size."""
    return [f"{name}.{size}" for name in OPS for size in (SMALL, LARGE)]


def inputs(name, size):
    """The arrays of a row, by name."""
    op = OPS[name]
    rng = np.random.default_rng(5)
    arrays = {}
    for letter, shape in zip("abc", op.shapes[size == LARGE]):
        if letter == "a" and op.words:
            arrays[letter] = rng.integers(0, op.words, shape)
        else:
            array = rng.standard_normal(shape, np.float32)
            arrays[letter] = np.abs(array) + np.float32(0.1) if op.positive else array
    return arrays


def job(name, size, program, variables, wait, floats):
    """A job of a compiled expression: enough calls to last about a millisecond."""
    code = compile(program, f"<{name}>", "eval")
    calls = 1000 if size == SMALL else 5
    loop = {}
    exec(f"def repeat(calls, {', '.join(variables)}):\n"
         f"    for _ in range(calls):\n        out = {program}\n    return out", loop)

    def step():
        wait(loop["repeat"](calls, **variables))

    def check():
        result = floats(eval(code, dict(variables)))
        return [] if name in RANDOM else [*result[:16], float(np.abs(result).mean())]

    return Job(step, check, calls)


def make_mxnet(row):
    """The job of a row in MXNet."""
    from mxnet import nd
    name, size = row.split(".")
    arrays = {letter: nd.array(array, dtype="float32") for letter, array in inputs(name, size).items()}
    return job(name, size, OPS[name].mxnet, {"nd": nd, **arrays}, lambda out: out.wait_to_read(),
               lambda out: out.asnumpy().ravel().astype(np.float64))


def make_torch(row):
    """The job of a row in PyTorch."""
    import torch
    name, size = row.split(".")
    arrays = {letter: torch.from_numpy(array) for letter, array in inputs(name, size).items()}
    torch.set_grad_enabled(False)
    variables = {"torch": torch, "F": torch.nn.functional, **arrays}
    return job(name, size, OPS[name].torch, variables, lambda out: None, lambda out: out.double().numpy().ravel())
