# SPDX-License-Identifier: Apache-2.0
"""One record per operator drives all its tests.

A record says how to call the operator (samples), what it must give (a NumPy reference), what it must refuse (error
samples), on which dtypes, and whether it has a gradient. The checks below are generic; `test_ops.py` runs them for
every record and sample, `debug_run.py` runs a part of them under the debug modes, `tests/oracle` compares with MXNet
1.9.1 on the same samples. Records of a family live in `records_<family>.py`:

    record("reverse", samples=lambda rng: [Sample([rng.standard_normal((2, 3))], dict(axis=1))],
           reference=lambda x, axis: np.flip(x, axis), grad=True, dtypes=ALL_DTYPES,
           errors=[ErrorSample([np.ones(3)], dict(axis=5), "axis")])
"""

import dataclasses
import importlib
import pathlib
import zlib

import numpy as np

import mxnet as mx
from mxnet._core import _ext

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("uint8", "int8", "int32", "int64")
ALL_DTYPES = (*FLOATS, *INTEGERS)
RTOL = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-10}


@dataclasses.dataclass
class Sample:
    """One call. Inputs are NumPy arrays (float64 data becomes the dtype under test) and keep their dtype if integer."""

    inputs: list
    params: dict = dataclasses.field(default_factory=dict)
    train: bool = False
    oracle: bool = True  # False: 1.9.1 differs or fails here, and is wrong
    grad: bool = True  # False: no gradient check (a kink, or too large)


@dataclasses.dataclass
class ErrorSample:
    """A call that must raise `error` with `text` in its message, at the call or when the result is waited for."""

    inputs: list
    params: dict
    text: str = ""
    error: type = Exception
    at_wait: bool = False


@dataclasses.dataclass
class Record:
    name: str
    samples: callable  # rng -> [Sample]
    reference: callable = None  # (*inputs, **params) -> array or tuple of arrays
    errors: object = ()  # [ErrorSample] or a function that gives it
    dtypes: tuple = ("float32", "float64")
    data: tuple = None  # which inputs are data (cast, differentiated); None: all floating point ones
    grad: bool = False  # has a gradient with respect to the data inputs
    grad_dtype: str = "float64"
    second_order: bool = True  # the gradient has a gradient
    rtol: dict = dataclasses.field(default_factory=dict)
    atol: float = None
    cast: tuple = None  # inputs that take the dtype under test; None: data and mutated ones
    mutated: tuple = ()  # inputs that are written; the reference gives them after the outputs
    random: bool = False  # outputs are drawn: `check` judges them
    check: callable = None  # (outputs, inputs, params) -> None
    symbolic: bool = True
    hybrid: bool = True
    oracle: bool = True
    out: bool = True  # works with out=
    inplace: bool = True

    def make_samples(self):
        return self.samples(np.random.default_rng(zlib.crc32(self.name.encode())))

    def make_errors(self):
        return list(self.errors() if callable(self.errors) else self.errors)

    def data_inputs(self, sample):
        if self.data is not None:
            return [i for i in self.data if i < len(sample.inputs)]
        return [i for i, x in enumerate(sample.inputs) if x.dtype.kind == "f" and i not in self.mutated]


RECORDS = {}
EXEMPT = {}


def record(name, **fields):
    """Registers the record of an operator, under its registered name."""
    assert name not in RECORDS, f"{name} has two records"
    RECORDS[name] = Record(name, **fields)


def exempt(name, reason):
    """An operator that cannot have a generic record; the reason names the test that covers it."""
    EXEMPT[name] = reason


def load_records():
    """Imports every records_*.py beside this file, once."""
    for path in sorted(pathlib.Path(__file__).parent.glob("records_*.py")):
        importlib.import_module(f"ops.{path.stem}")
    return RECORDS


def operators():
    """Registered names of all operators that users can call."""
    infos = (_ext.op_info(name) for name in _ext.list_ops())
    return sorted({info["name"] for info in infos if not info["hidden"]})


# ---- calling ------------------------------------------------------------------------------------------------------


def function(name, module):
    """The operator as a function of mx.nd or mx.sym."""
    if name.startswith("_"):
        return getattr(module._internal, name)
    return getattr(module, name)


def to_array(x, dtype=None):
    """An NDArray of NumPy's values; `dtype` replaces float64, bfloat16 has no NumPy type."""
    if x.dtype.kind != "f" or dtype is None:
        kind = "float32" if x.dtype == np.float64 else x.dtype.name
        return mx.nd.array(x, dtype=kind)
    if dtype == "bfloat16":
        return mx.nd.array(x, dtype="float32").astype("bfloat16")
    return mx.nd.array(x, dtype=dtype)


def to_numpy(array):
    """float64 values of a floating point array, else its own."""
    if dtype_name(array) == "bfloat16":
        array = array.astype("float32")
    values = array.asnumpy()
    return values.astype(np.float64) if values.dtype.kind == "f" else values


def dtype_name(array):
    dtype = array.dtype
    if isinstance(dtype, str):
        return dtype
    dtype = np.dtype(dtype)
    return "bfloat16" if dtype.fields else dtype.name


def make_inputs(rec, sample, dtype=None):
    """Arrays of a sample: data inputs in `dtype`, the others as they are."""
    chosen = rec.cast if rec.cast is not None else [*rec.data_inputs(sample), *rec.mutated]
    arrays = []
    for i, x in enumerate(sample.inputs):
        cast = dtype if i in chosen else None
        if cast and cast in INTEGERS:
            arrays.append(mx.nd.array(x, dtype=cast))
        else:
            arrays.append(to_array(x, cast))
    return arrays


def as_list(result):
    if result is None:
        return []
    return list(result) if isinstance(result, (list, tuple)) else [result]


def call(rec, arrays, params, **more):
    return as_list(function(rec.name, mx.nd)(*arrays, **params, **more))


def scope(sample):
    return mx.autograd.train_mode() if sample.train else mx.autograd.predict_mode()


def expected(rec, arrays, params):
    """What the reference gives for the values that the arrays hold."""
    return [np.asarray(r) for r in as_list(rec.reference(*[to_numpy(a) for a in arrays], **params))]


def assert_close(got, want, rec, dtype, what):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    rtol = rec.rtol.get(dtype, RTOL.get(dtype, 0)) if isinstance(rec.rtol, dict) else rec.rtol
    atol = rec.atol if rec.atol is not None else rtol
    np.testing.assert_allclose(
        np.asarray(got, np.float64),
        np.asarray(want, np.float64),
        rtol=rtol,
        atol=atol,
        equal_nan=True,
        err_msg=f"{rec.name}: {what}, {dtype}",
    )


def assert_same(got, want, what):
    """Equal up to the last bits: another order of the same arithmetic."""
    assert len(got) == len(want), f"{what}: {len(got)} outputs, expected {len(want)}"
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape, f"{what}: shape {g.shape}, expected {w.shape}"
        assert dtype_name(g) == dtype_name(w), f"{what}: dtype {dtype_name(g)}, expected {dtype_name(w)}"
        np.testing.assert_allclose(to_numpy(g), to_numpy(w), rtol=2e-6, atol=2e-6, equal_nan=True, err_msg=what)


# ---- checks -------------------------------------------------------------------------------------------------------


def check_value(rec, sample, dtype="float32"):
    """Eager outputs and mutated inputs against the reference."""
    arrays = make_inputs(rec, sample, dtype)
    if rec.random:
        return check_random(rec, sample, arrays)
    want = expected(rec, arrays, sample.params) if rec.reference else None
    with scope(sample):
        got = call(rec, arrays, sample.params)
    got += [arrays[i] for i in rec.mutated]
    mx.nd.waitall()
    if rec.check:
        rec.check([to_numpy(g) for g in got], [np.asarray(x) for x in sample.inputs], sample.params)
    if want is not None:
        assert len(got) == len(want), f"{rec.name}: {len(got)} outputs, expected {len(want)}"
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            assert_close(to_numpy(g), w, rec, dtype, f"output {k}")


def check_random(rec, sample, arrays):
    """The same seed gives the same numbers, and they are what the record says."""
    results = []
    for _ in range(2):
        mx.random.seed(7)
        with scope(sample):
            results.append([to_numpy(o) for o in call(rec, arrays, sample.params)])
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)
    if rec.check:
        rec.check(results[0], [np.asarray(x) for x in sample.inputs], sample.params)


def objective(rec, arrays, sample, heads):
    """Sum of outputs times fixed heads, as a float64 number."""
    with scope(sample):
        outs = call(rec, arrays, sample.params)
    return sum(float((to_numpy(o) * h).sum()) for o, h in zip(outs, heads, strict=True) if o.dtype is not None)


def make_heads(outs, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.5, 1.5, o.shape) for o in outs]


def recorded(rec, arrays, sample, run=None):
    with mx.autograd.record(train_mode=sample.train):
        return as_list(run(*arrays)) if run else call(rec, arrays, sample.params)


def differentiable(outs):
    return [o for o in outs if dtype_name(o) in FLOATS]


def gradients(rec, sample, arrays, run=None, grad_req="write", fill=None):
    """Gradients of the data inputs for fixed heads."""
    chosen = [arrays[i] for i in rec.data_inputs(sample)]
    for a in chosen:
        a.attach_grad(grad_req)
        if fill is not None:
            a.grad[:] = fill
    outs = differentiable(recorded(rec, arrays, sample, run))
    heads = [mx.nd.array(h, dtype="float32").astype(dtype_name(o)) for h, o in zip(make_heads(outs), outs, strict=True)]
    mx.autograd.backward(outs, heads)
    return [a.grad for a in chosen]


def check_gradient(rec, sample):
    """Backward against central differences along random directions."""
    dtype = rec.grad_dtype
    arrays = make_inputs(rec, sample, dtype)
    grads = [to_numpy(g) for g in gradients(rec, sample, arrays)]
    fresh = make_inputs(rec, sample, dtype)
    with scope(sample):
        heads = make_heads(differentiable(call(rec, fresh, sample.params)))
    rng = np.random.default_rng(11)
    step, rtol = (1e-6, 2e-5) if dtype == "float64" else (1e-2, 2e-2)
    rtol = rec.rtol.get("gradient", rtol) if isinstance(rec.rtol, dict) else rtol
    for position, grad in zip(rec.data_inputs(sample), grads, strict=True):
        base = np.asarray(sample.inputs[position], np.float64)
        for direction in directions(rng, base):
            values = [sampled(rec, sample, position, base + s * step * direction, dtype, heads) for s in (1, -1)]
            numeric, exact = (values[0] - values[1]) / (2 * step), float((grad * direction).sum())
            assert abs(numeric - exact) <= rtol * max(1.0, abs(numeric), np.abs(grad).sum() * 0.05), (
                f"{rec.name}: gradient of input {position} along a direction is {exact}, differences give {numeric}"
            )


def check_second_order(rec, sample):
    """Gradients of gradients (of a sum over the outputs) against differences of the first ones, for every input."""
    chosen = rec.data_inputs(sample)
    base = [np.asarray(x, np.float64) if i in chosen else x for i, x in enumerate(sample.inputs)]

    def first_order(inputs, create_graph):
        """The inputs, and a weighted sum of the gradients; or the gradients themselves."""
        arrays = make_inputs(rec, dataclasses.replace(sample, inputs=inputs), "float64")
        wanted = [arrays[i] for i in chosen]
        for x in wanted:
            x.attach_grad()
        with mx.autograd.record(train_mode=sample.train):
            outs = [o for o in call(rec, arrays, sample.params) if dtype_name(o) == "float64"]
            total = sum((o * o * o + o).sum() for o in outs)
            if not create_graph:
                return mx.autograd.grad(total, wanted)
            grads = mx.autograd.grad(total, wanted, create_graph=True)
            rng = np.random.default_rng(17)
            weights = [mx.nd.array(rng.uniform(0.5, 1.5, g.shape), dtype="float64") for g in grads]
            return wanted, grads, sum((g * w).sum() for g, w in zip(grads, weights, strict=True))

    wanted, grads, total = first_order(base, True)
    for g, plain in zip(grads, first_order(base, False), strict=True):
        np.testing.assert_allclose(to_numpy(g), to_numpy(plain), rtol=1e-8, atol=1e-8,
                                   err_msg=f"{rec.name}: gradient with create_graph=True")
    if any(to_numpy(g).any() for g in grads):  # steps have a zero gradient, which depends on nothing
        total.backward()
    rng, step = np.random.default_rng(19), 1e-5
    for i, x in zip(chosen, wanted, strict=True):
        direction = rng.standard_normal(x.shape)
        exact = float((to_numpy(x.grad) * direction).sum())
        moved = [[*base[:i], base[i] + s * step * direction, *base[i + 1:]] for s in (1, -1)]
        values = [float(to_numpy(first_order(inputs, True)[2]).sum()) for inputs in moved]
        numeric = (values[0] - values[1]) / (2 * step)
        assert abs(numeric - exact) <= 1e-4 * max(1.0, abs(numeric)), (
            f"{rec.name}: second derivative by input {i} along a direction is {exact}, differences give {numeric}"
        )


def directions(rng, base):
    """Some random directions and some single elements."""
    if base.size == 0:
        return
    for _ in range(2):
        yield rng.standard_normal(base.shape)
    for flat in rng.permutation(base.size)[:3]:
        unit = np.zeros(base.size)
        unit[flat] = 1
        yield unit.reshape(base.shape)


def sampled(rec, sample, position, value, dtype, heads):
    inputs = list(sample.inputs)
    inputs[position] = value
    moved = dataclasses.replace(sample, inputs=inputs)
    with scope(sample):
        outs = differentiable(call(rec, make_inputs(rec, moved, dtype), sample.params))
    return sum(float((to_numpy(o) * h).sum()) for o, h in zip(outs, heads, strict=True))


def check_grad_req(rec, sample):
    """add accumulates on what the buffer holds, null leaves it alone."""
    written = [to_numpy(g) for g in gradients(rec, sample, make_inputs(rec, sample, "float32"))]
    added = [to_numpy(g) for g in gradients(rec, sample, make_inputs(rec, sample, "float32"), None, "add", 2)]
    for w, a in zip(written, added, strict=True):
        np.testing.assert_allclose(a, w + 2, rtol=1e-5, atol=1e-5, err_msg=f"{rec.name}: grad_req='add'")
    chosen = rec.data_inputs(sample)
    if len(chosen) < 2:
        return
    arrays = make_inputs(rec, sample, "float32")
    for i in chosen[1:]:
        arrays[i].attach_grad()
    outs = differentiable(recorded(rec, arrays, sample))
    mx.autograd.backward(outs, [mx.nd.array(h) for h in make_heads(outs)])
    for i, w in zip(chosen[1:], written[1:], strict=True):
        np.testing.assert_allclose(
            to_numpy(arrays[i].grad), w, rtol=1e-5, atol=1e-5, err_msg=f"{rec.name}: gradient of input {i} alone"
        )


def check_out(rec, sample):
    """out= gives the same array object, filled; a view with an offset works as well."""
    with scope(sample):
        want = call(rec, make_inputs(rec, sample, "float32"), sample.params)
        targets = []
        for w in want:
            base = mx.nd.full((w.size + 3,), 7, dtype=dtype_name(w))
            targets.append((base, base[2 : 2 + w.size].reshape(w.shape) if w.size else w.copy()))
        given = [t for _, t in targets]
        call(rec, make_inputs(rec, sample, "float32"), sample.params, out=given if len(given) > 1 else given[0])
    assert_same(given, want, f"{rec.name}: out=")
    for base, target in targets:
        edge = to_numpy(base)[[0, 1, -1]] if target.size else np.full(3, 7)
        assert (edge == 7).all(), f"{rec.name}: out= wrote outside of its array"


def check_views(rec, sample):
    """Inputs that are windows of larger arrays."""
    plain, viewed = make_inputs(rec, sample, "float32"), []
    for a in plain:
        flat = np.concatenate([np.full(3, 5), to_numpy(a).ravel(), np.full(2, 5)])
        base = mx.nd.array(flat, dtype=dtype_name(a))
        viewed.append(base[3 : 3 + a.size].reshape(a.shape) if a.size else a.copy())
    with scope(sample):
        assert_same(call(rec, viewed, sample.params), call(rec, plain, sample.params), f"{rec.name}: views as inputs")


def check_inplace(rec, sample):
    """The first input as output, where it is like the output: the result is as if it were another array."""
    arrays = make_inputs(rec, sample, "float32")
    with scope(sample):
        want = call(rec, make_inputs(rec, sample, "float32"), sample.params)
        if len(want) != 1 or not arrays or want[0].shape != arrays[0].shape or want[0].dtype != arrays[0].dtype:
            return
        call(rec, arrays, sample.params, out=arrays[0])
    assert_same([arrays[0]], want, f"{rec.name}: in place")


def check_empty(rec, sample):
    """With the leading dimension of size 0 the operator gives what the reference gives, or says why it cannot."""
    size = sample.inputs[0].shape[0]
    inputs = [x[:0] if x.ndim and x.shape[0] == size else x for x in sample.inputs]
    empty = dataclasses.replace(sample, inputs=inputs)
    arrays = make_inputs(rec, empty, "float32")
    try:
        with scope(sample):
            got = call(rec, arrays, sample.params)
        mx.nd.waitall()
    except mx.MXNetError as error:
        assert any(name in str(error) for name in names_of(rec)), f"{rec.name} is not named by: {error}"
        return
    if rec.reference is None or rec.random:
        return
    try:
        want = expected(rec, arrays, sample.params)
    except Exception:  # NumPy refuses what the operator accepts
        return
    for k, (g, w) in enumerate(zip([*got, *[arrays[i] for i in rec.mutated]], want, strict=True)):
        assert g.shape == w.shape, f"{rec.name}: output {k} of an empty array has shape {g.shape}, expected {w.shape}"


def names_of(rec):
    return [rec.name, *_ext.op_info(rec.name)["aliases"]]


def check_symbol(rec, sample, with_gradient=True):
    """A bound symbol gives what the eager call gives, gradients too."""
    arrays = make_inputs(rec, sample, "float32")
    names = [f"in{i}" for i in range(len(arrays))]
    node = function(rec.name, mx.sym)(*map(mx.sym.Variable, names), **sample.params)
    chosen = rec.data_inputs(sample) if rec.grad and sample.grad and with_gradient else []
    grads = {names[i]: mx.nd.zeros_like(arrays[i]) for i in chosen}
    req = {n: "write" if n in grads else "null" for n in names}
    args, aux = split_auxiliary(node, dict(zip(names, arrays, strict=True)))
    executor = node.bind(mx.cpu(), args, args_grad=grads or None, grad_req={n: req[n] for n in args}, aux_states=aux)
    got = executor.forward(is_train=sample.train or bool(chosen and not sample_is_mode_bound(rec)))
    with scope(sample):
        want = call(rec, make_inputs(rec, sample, "float32"), sample.params)
    if not rec.random:
        assert_same(got[: len(want)], want, f"{rec.name}: symbol and eager")
    if chosen and not rec.random:
        outs = differentiable(got)
        if len(outs) == len(got):
            executor.backward(
                [mx.nd.array(h, dtype=dtype_name(o)) for h, o in zip(make_heads(outs), outs, strict=True)]
            )
            eager = gradients(rec, sample, make_inputs(rec, sample, "float32"))
            assert_same([grads[names[i]] for i in chosen], eager, f"{rec.name}: gradient by symbol and eager")


def sample_is_mode_bound(rec):
    return rec.random


def split_auxiliary(node, arrays):
    aux = set(node.list_auxiliary_states())
    return ({n: a for n, a in arrays.items() if n not in aux}, {n: a for n, a in arrays.items() if n in aux})


def hybrid_block(rec, sample):
    """A hybridized block whose forward is the operator alone."""

    class OneOperator(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, *inputs):
            return function(rec.name, F)(*inputs, **sample.params)

    block = OneOperator()
    block.hybridize()
    return block


def check_hybrid(rec, sample):
    """A hybridized call gives what the eager call gives, twice, gradients too."""
    block = hybrid_block(rec, sample)
    with scope(sample):
        want = call(rec, make_inputs(rec, sample, "float32"), sample.params)
        for _ in range(2):
            got = as_list(block(*make_inputs(rec, sample, "float32")))
            if not rec.random:
                assert_same(got, want, f"{rec.name}: hybridized and eager")
    if rec.grad and sample.grad and not rec.random:
        arrays = make_inputs(rec, sample, "float32")
        eager = gradients(rec, sample, make_inputs(rec, sample, "float32"))
        assert_same(gradients(rec, sample, arrays, block), eager, f"{rec.name}: gradient hybridized and eager")


def check_error(rec, bad):
    """The right exception, whose text names the operator."""
    try:
        call(rec, [to_array(np.asarray(x)) for x in bad.inputs], bad.params)
    except Exception as error:  # judged below
        assert not bad.at_wait, f"{rec.name}: raised at the call, expected at the wait: {error}"
        return judge(rec, bad, error)
    try:
        mx.nd.waitall()
    except Exception as error:  # judged below
        assert bad.at_wait, f"{rec.name}: raised at the wait, expected at the call: {error}"
        return judge(rec, bad, error)
    raise AssertionError(f"{rec.name} accepted {bad}")


def judge(rec, bad, error):
    text = str(error)
    assert isinstance(error, bad.error), f"{rec.name}: {type(error).__name__}, expected {bad.error.__name__}: {text}"
    assert isinstance(error, mx.MXNetError), f"{rec.name}: {type(error).__name__} is no MXNetError: {text}"
    assert any(name in text for name in names_of(rec)), f"{rec.name} is not named by: {text}"
    assert bad.text in text, f"{rec.name}: {bad.text!r} is not in: {text}"
