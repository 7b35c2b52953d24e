# SPDX-License-Identifier: Apache-2.0
"""The symbolic side beside MXNet 1.9.1: time of Module.fit and of bind, planned memory, time to load a checkpoint.

    python benchmarks/symbolic.py --peer PYTHON [--rounds 3]

`PYTHON` is an interpreter with MXNet 1.9.1. Both sides run the same program in processes of their own, turn by turn;
the best round of each is printed as a row of a Markdown table.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BATCHES = {"mlp": 512, "lenet": 256, "resnet18": 16, "resnet50": 16, "resnet152": 8, "inception_bn": 16, "lstm": 32}


def fit():
    """ms for each batch of 32 images in Module.fit of a ResNet-18."""
    import numpy as np
    from symbols import resnet

    import mxnet as mx
    symbol, _ = resnet(32, 18, image=32)
    rng = np.random.RandomState(0)
    data = mx.io.NDArrayIter(rng.rand(32 * 12, 3, 32, 32).astype("f"), rng.randint(0, 10, 32 * 12).astype("f"), 32)
    ends = []
    module = mx.mod.Module(symbol)
    module.fit(data, num_epoch=1, optimizer="sgd", optimizer_params={"learning_rate": 0.01, "momentum": 0.9},
               initializer=mx.init.Xavier(), batch_end_callback=lambda _: (mx.nd.waitall(), ends.append(time.time())))
    steps = sorted(b - a for a, b in zip(ends[1:], ends[2:]))
    return {"fit_ms": 1e3 * steps[len(steps) // 2]}


def bind():
    """ms to bind ResNet-152, and to bind it with its plans, which `debug_str` makes."""
    from symbols import NETWORKS

    import mxnet as mx
    symbol, shapes = NETWORKS["resnet152"](1)
    result = {}
    for req in ("null", "write"):
        begin = time.time()
        executor = symbol.simple_bind(mx.cpu(), grad_req=req, **shapes)
        bound = time.time()
        executor.debug_str()
        result[f"bind_{req}_ms"] = 1e3 * (bound - begin)
        result[f"bind_{req}_planned_ms"] = 1e3 * (time.time() - begin)
    return result


def memory(names=tuple(BATCHES)):
    """MB planned, as `debug_str` says, for inference (null) and training (write)."""
    from symbols import NETWORKS

    import mxnet as mx
    result = {}
    for name in names:
        symbol, shapes = NETWORKS[name](BATCHES[name])
        for req in ("null", "write"):
            text = symbol.simple_bind(mx.cpu(), grad_req=req, **shapes).debug_str()
            result[f"memory_{name}_{req}_MB"] = int(text.split("\n")[-3].split()[1])
    return result


def load():
    """GB/s of mx.nd.load from the page cache, the best of five."""
    import mxnet as mx
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.params")
        mx.nd.save(path, {f"arg:w{i}": mx.nd.ones((1024, 1024)) for i in range(25)})
        best = 1e9
        for _ in range(5):
            begin = time.time()
            mx.nd.load(path)
            mx.nd.waitall()
            best = min(best, time.time() - begin)
        return {"load_GB_per_s": os.path.getsize(path) / best / 1e9}


def work(parts):
    sys.path.insert(0, str(HERE))
    result = {}
    for part in parts:
        result.update({"fit": fit, "bind": bind, "memory": memory, "load": load}[part]())
    print("RESULT " + json.dumps(result))


def ask(python, parts):
    """What one side measures, in a process of its own."""
    environment = dict(os.environ)
    if python == sys.executable:
        environment["PYTHONPATH"] = str(HERE.parent / "python")
    else:
        environment.pop("PYTHONPATH", None)
    done = subprocess.run([python, __file__, "--work", *parts], env=environment, capture_output=True, text=True,
                          timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(lines[-1][len("RESULT "):])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="interpreter with MXNet 1.9.1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", nargs="*", default=["fit", "bind", "memory", "load"])
    parser.add_argument("--work", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work)
    sides = {"ours": sys.executable, **({"mxnet-1.9.1": options.peer} if options.peer else {})}
    seen = {side: [] for side in sides}
    for _ in range(options.rounds):
        for side, python in sides.items():
            seen[side].append(ask(python, options.parts))
    print("| what | " + " | ".join(sides) + " | ratio |\n|---|" + "---|" * (len(sides) + 1))
    for key in seen["ours"][0]:
        best = [(max if key.endswith("per_s") else min)(round_[key] for round_ in rounds) for rounds in seen.values()]
        ratio = f"{best[0] / best[1]:.2f}" if len(best) > 1 and best[1] else ""
        print(f"| {key} | " + " | ".join(f"{value:.4g}" for value in best) + f" | {ratio} |")


if __name__ == "__main__":
    main()
