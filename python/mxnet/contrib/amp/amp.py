# SPDX-License-Identifier: Apache-2.0
"""Functions of mxnet.amp. The classes of operators stand in their records; nothing is listed here."""

import contextlib
import logging

from ..._core import _ext
from ...gluon.trainer import Trainer
from ...optimizer import Optimizer
from .loss_scaler import LossScaler

bfloat16 = _ext.dtype_class("bfloat16")

_active = None  # the low type, once `init` was called


# --- switching it on

def init(target_dtype="float16", target_precision_ops=None, conditional_fp32_ops=None, fp32_ops=None, *, exact=False):
    """Switch mixed precision on for this process: for calls on arrays, and for graphs made from now on.

    Parameters stay float32, and so do their gradients. A second call changes nothing.

    Parameters
    ----------
    target_dtype : str or dtype
        "float16" or "bfloat16".
    target_precision_ops, fp32_ops : list of str, optional
        Operators that run in the low type, or in float32, instead of what their class says.
    conditional_fp32_ops : list of (str, str, list of str), optional
        (operator, parameter, values): calls that run in float32.
    exact : bool
        Whether every result is rounded to the low type even where this processor has no arithmetic in it. Otherwise
        products are then computed in float32 there, and a graph rounds only what leaves it: that is faster.
    """
    global _active
    if _active is not None:
        return
    low = _low_type(target_dtype)
    emulated = not exact and not _ext.computes_in(low)
    _ext.set_precision(low, emulated, *_chosen(low, target_precision_ops, fp32_ops, conditional_fp32_ops))
    _active = low
    logging.info("Using AMP")


def _low_type(dtype):
    name = dtype if isinstance(dtype, str) else _ext.dtype_name(dtype)
    if name not in ("float16", "bfloat16"):
        raise AssertionError(f"mixed precision has float16 and bfloat16 as low types, got {name}")
    return name


def _chosen(low, target_ops, fp32_ops, conditional):
    """The lists of a call, checked."""
    target_ops, fp32_ops = _names("target_dtype_ops", target_ops), _names("fp32_ops", fp32_ops)
    conditional = [] if conditional is None else conditional
    if not isinstance(conditional, (list, tuple)) or not all(_is_condition(item) for item in conditional):
        raise AssertionError("conditional_fp32_ops must be a list of (str, str, list of str), got "
                             f"{conditional!r}")
    twice = set(target_ops) & set(fp32_ops)
    if twice:
        raise AssertionError(f"operators in both target_dtype_ops and fp32_ops: {', '.join(sorted(twice))}")
    return target_ops, fp32_ops, [(op, param, list(values)) for op, param, values in conditional]


def _names(what, names):
    names = [] if names is None else names
    if not isinstance(names, (list, tuple, set)) or not all(isinstance(name, str) for name in names):
        raise AssertionError(f"{what} must be a list of str, got {names!r}")
    return list(names)


def _is_condition(item):
    if not isinstance(item, (list, tuple)) or len(item) != 3:
        return False
    op, param, values = item
    return (isinstance(op, str) and isinstance(param, str) and isinstance(values, (list, tuple))
            and all(isinstance(value, str) for value in values))


# --- training

def init_trainer(optimizer_or_trainer):
    """Prepare a Trainer for `scale_loss`.

    With float16 its steps watch the gradients and are skipped where one is not finite. bfloat16 has the range of
    float32: there the loss is not scaled and no step is skipped.
    """
    if isinstance(optimizer_or_trainer, Optimizer):
        raise TypeError("AMP works with a gluon.Trainer, not with an optimizer alone")
    if not isinstance(optimizer_or_trainer, Trainer):
        raise TypeError(f"expected a gluon.Trainer, got {type(optimizer_or_trainer).__name__}")
    scaler = LossScaler(1.0, period=0) if _active == "bfloat16" else LossScaler()
    optimizer_or_trainer._amp_loss_scaler = scaler
    optimizer_or_trainer._amp_original_scale = optimizer_or_trainer._scale


def _scaler(trainer):
    scaler = getattr(trainer, "_amp_loss_scaler", None)
    if scaler is None:
        raise AttributeError("the trainer has no loss scaler; call amp.init_trainer(trainer) first")
    return scaler


@contextlib.contextmanager
def scale_loss(loss, optimizer_or_trainer):
    """Gives the loss, or list of losses, times the trainer's factor; the next step divides the gradients by it.

        with autograd.record():
            loss = loss_fn(net(x), y)
            with amp.scale_loss(loss, trainer) as scaled:
                autograd.backward(scaled)
        trainer.step(batch_size)
    """
    scale = _scaler(optimizer_or_trainer).loss_scale
    optimizer_or_trainer._scale = optimizer_or_trainer._amp_original_scale / scale
    many = isinstance(loss, (list, tuple))
    yield [one * scale for one in loss] if many else loss * scale


def unscale(optimizer_or_trainer):
    """Divide the gradients by the factor now, to clip or look at them before the step."""
    _scaler(optimizer_or_trainer)
    by = optimizer_or_trainer._scale / optimizer_or_trainer._amp_original_scale
    for param in optimizer_or_trainer._params:
        if param.grad_req != "null" and by != 1:
            for grad in param.list_grad():
                grad *= by
    optimizer_or_trainer._scale = optimizer_or_trainer._amp_original_scale


# --- models

def convert_symbol(sym, target_dtype="float16", target_dtype_ops=None, fp32_ops=None, conditional_fp32_ops=None,
                   excluded_sym_names=None, data_names=None, cast_optional_params=False):
    """A symbol with casts, which needs no `init` to run in mixed precision.

    Parameters
    ----------
    sym : Symbol
    target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops
        As for `init`.
    excluded_sym_names : list of str, optional
        Nodes to leave as they are.
    data_names : list of str, optional
        Inputs that are no parameters; by default those that are not called like a weight or bias.
    cast_optional_params : bool
        Whether parameters that are read in the low type alone become parameters of that type.
    """
    low = _low_type(target_dtype)
    lists = _chosen(low, target_dtype_ops, fp32_ops, conditional_fp32_ops)
    excluded = set(_names("excluded_sym_names", excluded_sym_names))
    lowered = set()
    if cast_optional_params:
        kinds = ("weight", "bias", "gamma", "beta")
        lowered = {name for name in sym.list_arguments()
                   if (name not in data_names if data_names is not None else name.endswith(kinds))}
    return type(sym)(_ext.convert_precision(sym._handle, low, *lists, excluded, lowered))


def convert_model(sym, arg_params, aux_params, target_dtype="float16", target_dtype_ops=None, fp32_ops=None,
                  conditional_fp32_ops=None, excluded_sym_names=None, cast_optional_params=False):
    """(symbol, arguments, states) of a checkpoint in mixed precision; see `convert_symbol`."""
    data_names = [name for name in sym.list_arguments() if name not in arg_params]
    sym = convert_symbol(sym, target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops, excluded_sym_names,
                         data_names, cast_optional_params)
    return sym, _with_dtypes(sym, arg_params), _with_dtypes(sym, aux_params)


def _with_dtypes(sym, arrays):
    """The arrays, in the low type where the converted symbol says so."""
    low_types = {"2": "float16", "12": "bfloat16"}
    attrs = sym.attr_dict()
    wanted = {name: low_types.get(attrs.get(name, {}).get("__dtype__")) for name in arrays}
    return {name: array.astype(wanted[name]) if wanted[name] else array.copy() for name, array in arrays.items()}


def convert_hybrid_block(block, target_dtype="float16", target_dtype_ops=None, fp32_ops=None,
                         conditional_fp32_ops=None, excluded_sym_names=None, ctx=None, cast_optional_params=False):
    """A SymbolBlock that runs a hybridized block, which has run once, in mixed precision; see `convert_symbol`.

    Parameters
    ----------
    ctx : Context or list of Context, optional
        Where its parameters go; by default where the block's are.
    """
    from ...gluon.block import HybridBlock, SymbolBlock
    if not isinstance(block, HybridBlock):
        raise AssertionError(f"expected a HybridBlock, got {type(block).__name__}")
    if block._graph is None:
        raise RuntimeError("call block.hybridize() and run the block once before it is converted")
    inputs, out = block._graph[:2]
    params = block.collect_params()
    used = set(out.list_inputs())
    arrays = {name: param._reduce() for name, param in params.items() if name in used}
    sym, arguments, _ = convert_model(out, arrays, {}, target_dtype, target_dtype_ops, fp32_ops, conditional_fp32_ops,
                                      excluded_sym_names, cast_optional_params)
    if ctx is None:
        ctx = next(iter(params.values())).list_ctx() if len(arrays) else None
    converted = SymbolBlock(sym, inputs)
    for name, param in converted.collect_params().items():
        param._load_init(arguments[name], ctx, cast_dtype=True, dtype_source="saved")
        param.grad_req = params[name].grad_req
    return converted


# --- the classes of operators

def _of_class(wanted):
    return [name for name, precision, _ in _ext.precision_classes() if precision == wanted]


def list_lp16_ops(target_dtype="float16"):
    """Operators whose inputs are cast to the low type."""
    _low_type(target_dtype)
    return _of_class("low")


def list_fp32_ops(target_dtype="float16"):
    """Operators whose inputs are cast to float32."""
    _low_type(target_dtype)
    return _of_class("full")


def list_lp16_fp32_ops(target_dtype="float16"):
    """Operators that take their inputs as they come."""
    _low_type(target_dtype)
    return _of_class("any")


def list_conditional_fp32_ops(target_dtype="float16"):
    """(operator, parameter, values): calls whose inputs are cast to float32."""
    _low_type(target_dtype)
    return _ext.conditional_precision()


def list_widest_type_cast(target_dtype="float16"):
    """Operators whose inputs are cast to the widest type among them."""
    _low_type(target_dtype)
    return _of_class("widest")


def list_loss_output_functions(target_dtype="float16"):
    """Operators that make their own gradient."""
    _low_type(target_dtype)
    return [name for name, _, loss in _ext.precision_classes() if loss]


def list_lp16_use_fp32_params(target_dtype="float16"):
    """{operator: names of inputs}: those that keep float32 parameters beside data of a low type."""
    _low_type(target_dtype)
    return {"BatchNorm": ["", "gamma", "beta", "moving_mean", "moving_var"]}
