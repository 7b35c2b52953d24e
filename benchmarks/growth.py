# SPDX-License-Identifier: Apache-2.0
"""How cost grows: against batch, length, depth and number of operators, with the exponent of each; what a graph costs
before its first run; and the memory of a training step.

    python benchmarks/growth.py                                           # all, ours alone
    python benchmarks/growth.py --peer torch=PYTHON --markdown docs/performance.md

An exponent is the slope of log(cost) over log(size) between the two largest sizes: 1 is linear. What is expected stands
beside it; more than 0.2 above is flagged.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import contender
import networks
import report

SLACK = 0.2


def timed(run, seconds=0.3, least=3):
    """The best time of several runs after one that warms up."""
    run()
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def resident():
    """Memory of this process, and its peak, in MB."""
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    return tuple(int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))


# --- ours: each function gives {size: seconds}

def training(layers, shape, classes=None):
    """A function that does one training step of ours on random data."""
    import work_mxnet

    import mxnet as mx
    network = networks.Network(layers, shape, classes=classes, target=None if classes else shape)
    net = work_mxnet.chain_of(layers)
    net.initialize(mx.init.Xavier())
    work_mxnet.hybrid(net, "hybrid")
    batch, target = (mx.nd.array(x, dtype="float32") for x in networks.data(network))
    return work_mxnet.training_step(net, network, batch, target, "hybrid")


def against_batch():
    """ResNet of 4 blocks: a training step against the batch."""
    layers = networks.resnet((1, 1, 1, 1))
    return {batch: timed(training(layers, (batch, 3, 96, 96), 1000)) for batch in (1, 2, 4, 8, 16)}


def against_length():
    """An encoder layer: inference against the length; attention is quadratic, the rest linear."""
    import work_mxnet

    import mxnet as mx
    net = work_mxnet.hybrid(work_mxnet.build(networks.transformer(1, 256, 4, 1024)), "hybrid")
    times = {}
    for length in (64, 128, 256, 512, 1024):
        batch = mx.nd.ones((2, length, 256))
        times[length] = timed(lambda batch=batch: net(batch).wait_to_read())
    return times


def against_layers():
    """Encoder layers: a training step against their number."""
    shape = (4, 32, 128)
    return {count: timed(training(networks.transformer(count, 128, 4, 512), shape)) for count in (1, 2, 4, 8, 16)}


def chain_symbol(count):
    """A graph of `count` operators that do not fuse into one."""
    import mxnet as mx
    x = mx.sym.Variable("x")
    for i in range(count // 2):
        x = mx.sym.FullyConnected(x, num_hidden=8, no_bias=True, name=f"dense{i}")
        x = mx.sym.tanh(x)
    return x


def against_operators_bind():
    """Binding a symbol for training: inference, gradient, passes, memory plan."""
    import mxnet as mx

    def bind(count):
        symbol = symbols[count]
        executor = symbol.simple_bind(mx.cpu(), x=(2, 8))
        executor.forward(is_train=True)
        executor.backward(mx.nd.ones((2, 8)))
        executor.outputs[0].wait_to_read()

    symbols = {count: chain_symbol(count) for count in (50, 100, 200, 400, 800, 1600)}
    return {count: timed(lambda c=count: bind(c), 0.2, 2) for count in symbols}


def against_operators_eager():
    """A tape: record, compute and walk back, against its length."""
    import mxnet as mx
    x = mx.nd.ones((4, 4))
    x.attach_grad()

    def run(count):
        with mx.autograd.record():
            y = x
            for _ in range(count):
                y = y + x
        y.backward()
        mx.nd.waitall()

    return {count: timed(lambda c=count: run(c)) for count in (100, 1000, 10000, 50000)}


def against_operators_json():
    """A symbol to JSON and back."""
    import mxnet as mx
    symbols = {count: chain_symbol(count) for count in (100, 400, 1600, 6400)}
    return {count: timed(lambda s=symbol: mx.sym.load_json(s.tojson()), 0.2, 2) for count, symbol in symbols.items()}


SERIES = {  # name -> (what, function, expected exponent, what the size is)
    "batch": ("training step of a small ResNet", against_batch, 1.0, "images"),
    "length": ("inference of an encoder layer", against_length, 2.0, "positions"),
    "layers": ("training step of encoder layers", against_layers, 1.0, "layers"),
    "bind": ("binding, first forward and backward of a symbol", against_operators_bind, 1.0, "operators"),
    "tape": ("record and backward, eager", against_operators_eager, 1.0, "operators"),
    "json": ("symbol to JSON and back", against_operators_json, 1.0, "operators"),
}


# --- what a graph costs once, and what training holds

def first_calls():
    """Seconds until a hybridized ResNet-152 has run first, at a second shape, and again."""
    import work_mxnet

    import mxnet as mx
    net = work_mxnet.hybrid(work_mxnet.chain_of(networks.resnet((3, 8, 36, 3))), "hybrid")
    net.initialize(mx.init.Xavier())

    def step(size):
        start = time.perf_counter()
        with mx.autograd.record():
            out = net(mx.nd.ones((1, 3, size, size)))
        out.backward()
        mx.nd.waitall()
        return time.perf_counter() - start

    times = {"first step, with initialization": step(64), "the same again": min(step(64) for _ in range(3)),
             "a second shape": step(96), "the second shape again": min(step(96) for _ in range(3))}
    return times


def memory(kind):
    """MB: before the network, after building it, and the peak of training steps of ResNet-50, batch 8."""
    import importlib
    work = importlib.import_module(f"work_{kind}")
    before = resident()[0]
    job = work.make("resnet50_train", "hybrid" if kind == "mxnet" else "eager", "f32")
    built = resident()[0]
    for _ in range(3):
        job.step()
    return {"import": before, "built": built, "peak of training": resident()[1]}


# --- driver: every series in a process of its own

def ask(peer, what, options):
    """What a fresh process measures, or {"error": ...}."""
    command = [peer.python, str(pathlib.Path(__file__).resolve()), "--one", what, "--kind", peer.kind]
    environment = contender.surroundings(peer, OMP_NUM_THREADS=str(options.threads))
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=options.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {options.timeout:g} seconds"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def exponent(times):
    """The slope between the two largest sizes, and that over all."""
    points = [(math.log(float(size)), math.log(seconds)) for size, seconds in times.items()]
    (x0, y0), (x1, y1) = points[-2:]
    return (y1 - y0) / (x1 - x0), statistics.linear_regression(*zip(*points)).slope


def series_rows(peer, options):
    """Table rows of all series."""
    rows = []
    for name, (what, _, expected, unit) in SERIES.items():
        times = ask(peer, name, options)
        if "error" in times:
            rows.append([name, what, times["error"], "", "", ""])
            continue
        last, overall = exponent(times)
        cells = ", ".join(f"{size}: {report.short(1e3 * seconds)}" for size, seconds in times.items())
        verdict = "**more**" if last > expected + SLACK else "as expected"
        rows.append([f"{name} ({unit})", what, cells, f"{last:.2f} ({overall:.2f})", f"≤ {expected:g}", verdict])
        print(f"{name:8}{what}: ms {cells}; exponent {last:.2f}, expected {expected:g}: {verdict}", flush=True)
    return rows


def sections(peers, options):
    """Markdown lines."""
    lines = report.markdown_table(["against", "what", "milliseconds", "exponent at the end (overall)", "expected", ""],
                                  series_rows(peers[0], options))
    first = ask(peers[0], "first", options)
    print("ResNet-152:", first, flush=True)
    cells = [[what, f"{seconds:.2f} s" if what != "error" else seconds] for what, seconds in first.items()]
    lines += ["", "A hybridized ResNet-152, training, batch 1, until a step is done:", "",
              *report.markdown_table(["step", "time"], cells)]
    cells = []
    for peer in peers:
        held = ask(peer, "memory", options)
        print(f"memory of {peer.name}:", held, flush=True)
        keys = ("import", "built", "peak of training")
        cells.append([peer.name, *([f"{held[key]:.0f}" for key in keys] if "error" not in held else [held["error"]])])
    lines += ["", "Memory of ResNet-50 training, batch 8, in MB:", "",
              *report.markdown_table(["", "after import", "network built", "peak of training"], cells)]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], type=contender.Peer.parse, metavar="NAME[:KIND]=PYTHON",
                        help="beside which memory is measured (torch)")
    parser.add_argument("--markdown", type=pathlib.Path, help="file whose marked section `growth` is replaced")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=300, help="seconds per series")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="mxnet", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        functions = {"first": first_calls, "memory": lambda: memory(options.kind)}
        print(json.dumps((functions.get(options.one) or SERIES[options.one][1])()))
        return 0
    lines = sections([contender.ours(), *options.peer], options)
    if options.markdown:
        report.replace_section(options.markdown, "growth", lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
