# SPDX-License-Identifier: Apache-2.0
"""Operators with randomly changed samples, here and in MXNet 1.9.1.

    MXNET_ORACLE_PYTHON=... python tests/oracle/random_calls.py SEED CALLS [OPERATOR ...]

A call starts from a sample of the operator's record; then extents, dtypes, parameters and values change. Both sides
give the same (shapes, dtypes, values, gradients), or both refuse. Prints what differs, one line per operator and kind
with the first such call.
"""

import collections
import dataclasses
import pathlib
import re
import sys
import zlib

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from oracle.client import Died, Oracle, pack, unpack

import mxnet as mx
from mxnet._core import _ext
from ops import harness

DTYPES = ("float32", "float64", "float16", "int32", "int64", "uint8", "int8")
TOLERANCE = {"float16": 4e-3, "float32": 2e-5, "float64": 2e-5}


@dataclasses.dataclass
class Call:
    name: str
    inputs: list
    params: dict
    train: bool
    grad: list

    def __str__(self):
        arrays = ", ".join(f"{x.dtype.name}{list(x.shape)}" for x in self.inputs)
        return f"{self.name}({arrays}; {self.params}{', train' if self.train else ''})"


# ---- making calls ---------------------------------------------------------------------------------------------------


def with_shape(x, shape):
    return np.resize(x, shape) if x.size else np.zeros(shape, x.dtype)


def change_extents(rng, call):
    """Every extent of a size becomes the same other one, in parameters too."""
    sizes = sorted({n for x in call.inputs for n in x.shape})
    to = {n: int(rng.choice([1, 2, 3, 4, 5, 8, 17], p=[0.1, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1]))
          for n in sizes if rng.random() < 0.5}
    if rng.random() < 0.06:
        to[sizes[0] if sizes else 0] = 0
    call.inputs = [with_shape(x, [to.get(n, n) for n in x.shape]) for x in call.inputs]
    if rng.random() < 0.6:
        for key, value in call.params.items():
            if type(value) is int and value > 1:
                call.params[key] = to.get(value, value)
            elif isinstance(value, tuple) and key in ("shape", "size"):
                call.params[key] = tuple(to.get(v, v) for v in value)


def change_dtype(rng, call):
    dtype = DTYPES[rng.integers(len(DTYPES))]
    same = rng.random() < 0.85
    with np.errstate(all="ignore"):
        call.inputs = [x.astype(dtype) if x.dtype.kind == "f" and (same or rng.random() < 0.5) else x
                       for x in call.inputs]


def random_param(rng, kind, now):
    words = re.findall(r"'([^']*)'", kind.split("},")[0])
    if kind.startswith("{") and words:
        return words[rng.integers(len(words))]
    if "oolean" in kind:
        return bool(rng.integers(2))
    if "dtype" in kind:
        return DTYPES[rng.integers(len(DTYPES))]
    if "Shape" in kind or "tuple" in kind:
        if not isinstance(now, tuple) or rng.random() < 0.2:
            return tuple(int(n) for n in rng.integers(-1, 4, rng.integers(0, 4)))
        return tuple(v + int(rng.integers(-1, 2)) if isinstance(v, int) else v for v in now)
    if "float" in kind or "double" in kind:
        return float(rng.choice([0, 0.25, 0.5, 1, 2, -1, 1e-3, 3.5]))
    return int(rng.choice([0, 1, 2, 3, -1, -2, 4, 5]))


def change_param(rng, call):
    fields = [p for p in _ext.op_info(call.name)["params"] if p["name"] not in ("ctx", "workspace", "num_args")]
    if not fields:
        return
    field = fields[rng.integers(len(fields))]
    if field["name"] in call.params and not field["required"] and rng.random() < 0.2:
        del call.params[field["name"]]
    else:
        call.params[field["name"]] = random_param(rng, field["type"], call.params.get(field["name"]))


def change_values(rng, call):
    i = rng.integers(len(call.inputs)) if call.inputs else None
    if i is None or call.inputs[i].dtype.kind != "f" or call.inputs[i].size == 0:
        return
    x = call.inputs[i].copy()
    flat = x.reshape(-1)
    kind = rng.integers(4)
    at = rng.integers(x.size, size=max(1, x.size // 4))
    if kind == 0:
        flat[at] = rng.choice([np.nan, np.inf, -np.inf], size=at.size)
    elif kind == 1:
        flat[at] = 0
    elif kind == 2:
        flat[:] = -flat
    else:
        flat[:] = rng.integers(-3, 4, x.size)
    call.inputs[i] = x


CHANGES = (change_extents, change_extents, change_dtype, change_param, change_param, change_values)


def random_call(rec, rng):
    samples = rec.make_samples()
    sample = samples[rng.integers(len(samples))]
    inputs = [np.asarray(x, np.float32) if x.dtype == np.float64 else np.asarray(x) for x in sample.inputs]
    call = Call(rec.name, inputs, dict(sample.params), sample.train, [])
    for _ in range(rng.integers(1, 4)):
        CHANGES[rng.integers(len(CHANGES))](rng, call)
    if rec.grad and sample.grad:
        call.grad = [i for i in rec.data_inputs(sample) if i < len(inputs) and call.inputs[i].dtype.kind == "f"]
    return call


# ---- what may differ ------------------------------------------------------------------------------------------------

# Operators of which 1.9.1's answers are accidents: memory that was not there (indices, lengths, labels or regions out
# of range), the order of equal values, NaN and infinity in sums and maxima, parameters that it does not check; middle
# lines that flips leave out, densities of impossible parameters, missing gradients (of states of Hawkes processes).
NEVER_HERE = {
    "outputs": {
        "RNN", "SequenceLast", "SequenceMask", "SequenceReverse", "SoftmaxOutput", "_contrib_PSROIPooling",
        "_contrib_ROIAlign", "_contrib_RROIAlign", "_contrib_bipartite_matching", "_contrib_box_encode", "_histogram",
        "_image_adjust_lighting", "_image_flip_left_right", "_image_flip_top_bottom", "_image_random_brightness",
        "_image_random_contrast", "_image_random_hue", "_image_random_saturation", "_image_resize", "_linalg_gelqf",
        "_linalg_slogdet", "_linalg_syevd", "_random_pdf_exponential", "_random_pdf_gamma",
        "_random_pdf_negative_binomial", "_random_pdf_normal", "_random_pdf_poisson", "_random_pdf_uniform",
        "_ravel_multi_index", "_split_v2", "_unravel_index", "all_finite", "argsort", "batch_take",
        "fill_element_0index", "gather_nd", "multi_all_finite", "pick", "reverse", "softmax", "softmax_cross_entropy",
        "sort", "take", "topk",
    },
    "gradients": {
        "CTCLoss", "LeakyReLU", "Pooling", "RNN", "SequenceLast", "SequenceReverse", "SoftmaxActivation",
        "_contrib_hawkesll", "_image_flip_left_right", "_image_flip_top_bottom", "_linalg_det", "_linalg_gelqf",
        "_linalg_syevd", "_linalg_trsm", "_random_pdf_dirichlet", "gamma", "gammaln", "gather_nd", "log_softmax",
        "softmax", "softmin", "sort", "take", "topk",
    },
    "refused here": {
        "CTCLoss", "Correlation", "Crop", "Deconvolution", "GridGenerator", "GroupNorm", "InstanceNorm",
        "L2Normalization", "LRN", "LayerNorm", "Pooling_v1", "ROIPooling", "Reshape", "UpSampling",
        "_contrib_AdaptiveAvgPooling2D", "_contrib_BilinearResize2D", "_contrib_DeformablePSROIPooling",
        "_contrib_MultiProposal", "_contrib_PSROIPooling", "_contrib_Proposal", "_contrib_ROIAlign",
        "_contrib_RROIAlign", "_contrib_arange_like", "_contrib_div_sqrt_dim", "_contrib_hawkesll",
        "_contrib_index_array", "_contrib_index_copy", "_contrib_interleaved_matmul_encdec_qk",
        "_contrib_interleaved_matmul_encdec_valatt", "_contrib_interleaved_matmul_selfatt_qk",
        "_contrib_interleaved_matmul_selfatt_valatt", "_eye", "_histogram", "_image_crop", "_image_random_brightness",
        "_image_random_contrast", "_image_random_hue", "_image_random_saturation", "_image_resize",
        "_linalg_makediag", "_linalg_potrf", "_linalg_syevd", "_slice_assign", "_split_v2", "broadcast_like", "diag",
        "im2col", "log_softmax", "moments", "scatter_nd", "softmax", "softmin", "transpose",
    },
    "shape of outputs": {"_full", "_unravel_index", "repeat"},
    "number of outputs": {"LeakyReLU"},  # rrelu shows its mask there
}
# With integers and halves each side rounds at another place.
WHOLE_STEPS = {"_arange", "_contrib_arange_like", "_contrib_quadratic"}


def intended(kind, text, call):
    """Whether a difference is one that we want, or one that says nothing."""
    if kind == "refused there" or call.name in NEVER_HERE.get(kind, ()):
        return True
    if kind == "refused here" and (" must be in [" in text or "must be positive" in text):  # a parameter out of range
        return True
    special = any(x.dtype.kind == "f" and not np.isfinite(x).all() for x in call.inputs)
    whole = any(x.dtype.kind in "iu" for x in call.inputs) or "int" in str(call.params.get("dtype"))
    if "-2147483648" in text or "255" in text:  # NaN or a negative number as an integer
        return True
    half = any(x.dtype == np.float16 for x in call.inputs)
    if call.name in WHOLE_STEPS and (whole or half) or call.name == "ftrl_update" and half:
        return True
    if call.name == "clip" and call.params.get("a_min", 0) > call.params.get("a_max", 0):
        return True
    return special and kind in ("outputs", "gradients", "written")


# ---- the two sides --------------------------------------------------------------------------------------------------


def heads_of(outs):
    return [h.astype(np.float32) for h in harness.make_heads(outs)]


def here(rec, call):
    """{outputs, gradients, written} or {error}."""
    try:
        arrays = [mx.nd.array(x, dtype=x.dtype.name) for x in call.inputs]
        for i in call.grad:
            arrays[i].attach_grad()
        with mx.autograd.record(train_mode=call.train):
            outs = harness.call(rec, arrays, call.params)
        # What was drawn or written before a failure does not count.
        result = {"outputs": [o.asnumpy() for o in outs], "gradients": [], "heads": heads_of(outs)}
        if call.grad and all(harness.dtype_name(o) in harness.FLOATS for o in outs):
            heads = [mx.nd.array(h, dtype=o.dtype) for h, o in zip(result["heads"], outs, strict=True)]
            mx.autograd.backward(outs, heads)
            result["gradients"] = [arrays[i].grad.asnumpy() for i in call.grad]
        result["written"] = [arrays[i].asnumpy() for i in rec.mutated if i < len(arrays)]
        return result
    except (mx.MXNetError, TypeError, ValueError, IndexError) as error:
        return {"error": str(error)}


def there(oracle, rec, call, ours):
    return oracle.ask({
        "name": call.name,
        "inputs": [pack(x) for x in call.inputs],
        "params": call.params,
        "train": call.train,
        "grad": call.grad if ours.get("gradients") else [],
        "heads": [pack(h) for h in ours.get("heads", ())],
        "written": [i for i in rec.mutated if i < len(call.inputs)],
    })


def difference(rec, ours, theirs):
    """(kind, text), or None if they agree."""
    if "error" in ours or "error" in theirs:
        if "error" in ours and "error" in theirs:
            return None
        side = "here" if "error" in ours else "there"
        return f"refused {side}", (ours.get("error") or theirs["error"]).strip().splitlines()[-1][:200]
    for what in ("outputs", "gradients", "written"):
        if len(ours[what]) != len(theirs[what]):
            return f"number of {what}", f"{len(ours[what])} here, {len(theirs[what])} there"
        for k, (got, packed) in enumerate(zip(ours[what], theirs[what], strict=True)):
            want = unpack(packed)
            if got.shape != want.shape:
                return f"shape of {what}", f"{got.shape} here, {want.shape} there"
            if got.dtype != want.dtype:
                return f"dtype of {what}", f"{got.dtype} here, {want.dtype} there"
            if not rec.random and not same_values(rec, got, want):
                return what, f"{what} {k}: {shown(got)} here, {shown(want)} there"
    return None


def same_values(rec, got, want):
    rtol = max(TOLERANCE.get(got.dtype.name, 0), rec.rtol.get(got.dtype.name, 0) if isinstance(rec.rtol, dict) else 0)
    if want.dtype.kind != "f":
        return np.array_equal(got, want)
    with np.errstate(all="ignore"):
        finite = want[np.isfinite(want)]
        scale = np.abs(finite.astype(np.float64)).max() if finite.size else 0
        return np.allclose(got.astype(np.float64), want.astype(np.float64), rtol=rtol,
                           atol=max(rec.atol or 0, rtol * min(1.0, scale) if scale else rtol), equal_nan=True)


def shown(x):
    return np.array2string(x.reshape(-1)[:6], precision=5, separator=",")


def differences(oracle, rec, seed, calls):
    """Yields (kind, text, call) for every call that differs."""
    rng = np.random.default_rng([seed, zlib.crc32(rec.name.encode())])
    for _ in range(calls):
        call = random_call(rec, rng)
        ours = here(rec, call)
        try:
            found = difference(rec, ours, there(oracle, rec, call, ours))
        except Died:  # what takes 1.9.1 down has no right answer
            continue
        if found:
            yield *found, call


def main():
    seed, calls = int(sys.argv[1]), int(sys.argv[2])
    harness.load_records()
    names = sys.argv[3:] or sorted(n for n, rec in harness.RECORDS.items() if rec.oracle)
    oracle = Oracle(patience=20)
    mx.storage.set_limit(2 << 30)
    for name in names:
        found = collections.defaultdict(list)
        for kind, text, call in differences(oracle, harness.RECORDS[name], seed, calls):
            found[kind].append((text, call))
        for kind, cases in found.items():
            text, call = cases[0]
            print(f"{name}: {kind} ({len(cases)} of {calls}): {text}\n    {call}", flush=True)
    oracle.close()


if __name__ == "__main__":
    main()
