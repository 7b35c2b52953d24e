# SPDX-License-Identifier: Apache-2.0
"""Measures the rows of common.py beside a peer, in one interleaved run: a round of ours, a round of theirs, and so on.

Each contender has a process of its own, stopped while the other is timed, so that waiting threads disturb nobody. The
figure of a round is its median; the table gives the best and the median round. Contenders must agree on the results.

    python benchmarks/run.py                                  # ours alone
    python benchmarks/run.py --peer-python ../torch/bin/python
"""

import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

import common

HERE = pathlib.Path(__file__).resolve().parent
SCALE = {"us": 1e6, "ms": 1e3}
IMPORTS = {"mxnet": "import mxnet", "torch": "import torch", "numpy": "import numpy"}


class Contender:
    """A worker process that is stopped unless it is asked something."""

    def __init__(self, kind, python, threads):
        self.kind = kind
        self.rounds = []
        self.error = None
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen([python, str(HERE / "worker.py")], text=True, env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request):
        if self.error:
            return None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.error = f"the process ended with status {self.process.wait()}"
            return None
        self.process.send_signal(signal.SIGSTOP)
        reply = json.loads(line)
        self.error = reply.get("error")
        return None if self.error else reply

    def close(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()


def agree(first, second, tolerance=2e-3):
    scale = max(1e-6, max(abs(x) for x in second))
    return len(first) == len(second) and all(abs(x - y) <= tolerance * scale for x, y in zip(first, second))


def run_row(row, pythons, options):
    """{kind: figures} of one row; times in the row's unit."""
    unit = common.ROWS[row][1]
    contenders = [Contender(kind, python, options.threads) for kind, python in pythons.items()]
    checks = {c.kind: (c.ask(do="make", kind=c.kind, row=row) or {}).get("check") for c in contenders}
    for i in range(options.rounds):
        for contender in contenders if i % 2 == 0 else reversed(contenders):
            figures = contender.ask(do="round", seconds=options.seconds)
            if figures:
                contender.rounds.append(figures)
    results = {}
    for contender in contenders:
        contender.close()
        if contender.error:
            results[contender.kind] = {"error": contender.error}
            continue
        times = [figures["seconds"] * SCALE[unit] for figures in contender.rounds]
        results[contender.kind] = {
            "best": min(times), "median": statistics.median(times), "unit": unit,
            "faults": min(figures["faults"] for figures in contender.rounds),
            "agrees": all(other is None or agree(checks[contender.kind], other) for other in checks.values()),
        }
    return results


def import_times(pythons, rounds):
    """Seconds of a fresh process that only imports, per package, less those of an empty process."""
    kinds = {**{kind: (python, IMPORTS[kind]) for kind, python in pythons.items()},
             "numpy": (pythons["mxnet"], IMPORTS["numpy"])}
    best = {}
    for _ in range(rounds):
        for kind, (python, statement) in kinds.items():
            code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
            run = subprocess.run([python, "-c", code], capture_output=True, text=True)
            if run.returncode == 0:
                best[kind] = min(best.get(kind, 1e9), float(run.stdout.split()[-1]))
    return best


def verdict(row, ours, peer):
    """'' or what misses the target."""
    _, unit, ratio, most = common.ROWS[row]
    missed = []
    if most is not None and ours["median"] > most:
        missed.append(f"above {most} {unit}")
    if peer and ours["median"] / peer["median"] > ratio:
        missed.append(f"ratio above {ratio}")
    return ", ".join(missed) or "reached"


def print_row(row, results):
    what, unit, _, _ = common.ROWS[row]
    print(f"\n{row}: {what}")
    for kind, r in results.items():
        if "error" in r:
            print(f"  {kind:8}failed: {r['error']}")
            continue
        note = "" if r["agrees"] else "   RESULTS DIFFER"
        print(f"  {kind:8}best {r['best']:9.3f} {unit}   median {r['median']:9.3f} {unit}   "
              f"page faults a step {r['faults']:8.1f}{note}")
    ours, peer = results.get("mxnet", {}), results.get("torch", {})
    if "median" in ours:
        ratio = f"ours / peer {ours['median'] / peer['median']:.2f}, " if "median" in peer else ""
        print(f"  {ratio}target {verdict(row, ours, peer if 'median' in peer else None)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(common.ROWS)}, import (default: all)")
    parser.add_argument("--peer-python", help="an interpreter that has torch")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per contender (default 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round (default 0.5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads per contender")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures to this file")
    options = parser.parse_args()
    unknown = set(options.rows) - set(common.ROWS) - {"import"}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    pythons = {"mxnet": sys.executable}
    if options.peer_python:
        pythons["torch"] = options.peer_python
    figures = {}
    for row in [row for row in common.ROWS if not options.rows or row in options.rows]:
        figures[row] = run_row(row, pythons, options)
        print_row(row, figures[row])
        sys.stdout.flush()
    if not options.rows or "import" in options.rows:
        figures["import"] = import_times(pythons, options.rounds)
        print("\nimport, seconds: " + ", ".join(f"{kind} {t:.3f}" for kind, t in figures["import"].items()))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
