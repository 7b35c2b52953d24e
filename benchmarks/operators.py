# SPDX-License-Identifier: Apache-2.0
"""Rows of single operators: the entries of `ops/` as jobs of MXNet and of PyTorch.

A row is called operator.size, or operator.backward.size.
"""

import functools
import time

import numpy as np
from ops.entry import LARGE, SMALL, Array
from rows import Job

from ops import ENTRIES, FAMILIES

SIZES = (SMALL, LARGE)
STEP_SECONDS, MOST_CALLS = 4e-3, 1000


def forms_of(name):
    """The operator's call, and the call with its backward pass if there are such rows."""
    return (name, f"{name}.backward") if ENTRIES[name].backward else (name,)


def rows_of(name):
    """The rows of one operator."""
    return [f"{form}.{size}" for form in forms_of(name) for size in SIZES]


def names():
    """All rows."""
    return [row for name in ENTRIES for row in rows_of(name)]


def groups():
    """{name of a family or of an operator: its rows}"""
    families = {family: [row for name in entries for row in rows_of(name)] for family, entries in FAMILIES.items()}
    return {**{name: rows_of(name) for name in ENTRIES}, **families}


def parts(row):
    """(operator, whether backward, size)"""
    name, *form, size = row.split(".")
    return name, bool(form), size


def has(row, kind):
    """Whether a kind of contender has a program of the row."""
    return getattr(ENTRIES[parts(row)[0]], kind) is not None


@functools.lru_cache(maxsize=8)
def numbers(array, size):
    """The NumPy array of an input; kept, since neighbouring rows have the same inputs."""
    return array.make(size, np.random.default_rng(5))


def inputs(entry, size):
    """The inputs by name; two of the same form differ."""
    made = {}
    for name, source in entry.inputs.items():
        if not isinstance(source, Array):
            made[name] = source.make(size, None)
            continue
        twins = sum(other == source for other in list(entry.inputs.values())[:len(made)])
        made[name] = np.roll(numbers(source, size), twins) if twins else numbers(source, size)
    return made


def calls_per_step(step):
    """As many calls as last about STEP_SECONDS."""
    calls = 1
    while calls < MOST_CALLS:
        start = time.perf_counter()
        step(calls)
        if time.perf_counter() - start > STEP_SECONDS:
            break
        calls = min(2 * calls, MOST_CALLS)
    return calls


def job(entry, source, variables, wait, check):
    """A job of `source`, which defines repeat(calls); it is compiled with the variables as its locals."""
    space = {}
    exec(source, space)
    repeat = functools.partial(space["repeat"], **variables)

    def step(calls):
        wait(repeat(calls))

    results = check(repeat(1))
    calls = calls_per_step(step)
    return Job(lambda: step(calls), lambda: results if entry.compared else [], calls)


def loop(program, variables, *after):
    """Text of a function that repeats a program."""
    lines = [f"def repeat(calls, {', '.join(variables)}):", "    for _ in range(calls):", f"        {program}",
             *(f"        {line}" for line in after), "    return out"]
    return "\n".join(lines) + "\n"


def listed(out):
    return list(out) if isinstance(out, (list, tuple)) else [out]


def sample(arrays):
    """Numbers that tell whether two contenders computed the same."""
    found = []
    for array in arrays:
        flat = array.ravel().astype(np.float64)
        found += [*flat[:16], float(np.abs(flat).mean()) if flat.size else 0.0]
    return found


def make_mxnet(row):
    """The job of a row in MXNet."""
    import mxnet as mx
    from mxnet import autograd, nd
    name, backward, size = parts(row)
    entry = ENTRIES[name]
    made = inputs(entry, size)
    for letter, source in entry.inputs.items():
        if isinstance(source, Array):
            made[letter] = nd.array(made[letter], dtype=source.dtype or "float32")
    variables = {"mx": mx, "nd": nd, **made}
    exec(entry.first[0], variables)
    variables.pop("__builtins__")

    def wait(out):
        for array in listed(out):
            array.wait_to_read()

    def check(out):
        return sample([array.asnumpy() for array in listed(out)])

    if not backward:
        return job(entry, loop(f"out = {entry.mxnet}", variables), variables, wait, check)
    wanted = [variables[letter] for letter in entry.backward.split()]
    for array in wanted:
        array.attach_grad()
    out = eval(entry.mxnet, dict(variables))
    several = isinstance(out, (list, tuple))
    heads = [nd.ones_like(array) for array in listed(out)]
    variables.update(autograd=autograd, heads=heads if several else heads[0])
    source = loop("with autograd.record():", variables, f"    out = {entry.mxnet}",
                  "autograd.backward(out, heads)" if several else "out.backward(heads)")
    return job(entry, source, variables, lambda _: wait([array.grad for array in wanted]),
               lambda _: check([array.grad for array in wanted]))


def make_torch(row):
    """The job of a row in PyTorch."""
    import torch
    name, backward, size = parts(row)
    entry = ENTRIES[name]
    made = {letter: torch.tensor(value) if isinstance(value, np.ndarray) else value
            for letter, value in inputs(entry, size).items()}
    variables = {"torch": torch, "F": torch.nn.functional, **made}
    torch.set_grad_enabled(backward)
    exec(entry.first[1], variables)
    variables.pop("__builtins__")

    def check(out):
        return sample([tensor.detach().numpy() for tensor in listed(out)])

    if not backward:
        return job(entry, loop(f"out = {entry.torch}", variables), variables, lambda _: None, check)
    wanted = tuple(variables[letter].requires_grad_() for letter in entry.backward.split())
    heads = tuple(torch.ones_like(tensor) for tensor in listed(eval(entry.torch, dict(variables))))
    variables.update(wanted=wanted, heads=heads)
    source = loop("for tensor in wanted:", variables, "    tensor.grad = None", f"out = {entry.torch}",
                  "torch.autograd.backward(out, heads)")
    return job(entry, source, variables, lambda _: None, lambda _: check([tensor.grad for tensor in wanted]))
