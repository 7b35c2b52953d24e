# SPDX-License-Identifier: Apache-2.0
"""Measures the rows of rows.py and the operators of ops/ beside peers, in interleaved rounds.

Each contender and variant has a process of its own, stopped while another is timed, so that waiting threads disturb
nobody. A round's figure is the median of its repetitions; best and median round are kept. What all contenders compute
must agree. A contender that fails, takes too long or cannot run a row is reported, and the others go on.

    python benchmarks/run.py                                             # ours alone
    python benchmarks/run.py --peer torch=PYTHON --peer jax=PYTHON --peer openvino=PYTHON --peer onnxruntime=PYTHON \\
                             --peer mxnet-1.9.1:mxnet=PYTHON --into figures.json
    python benchmarks/run.py resnet50_train --dtype f32 --into figures.json --peer torch=PYTHON    # again, one row
    python benchmarks/run.py --ops --peer torch=PYTHON --peer mxnet-1.9.1:mxnet=PYTHON --into figures.json  # operators
    python benchmarks/run.py --ops index take 'sort*' --peer torch=PYTHON     # of a family, all rows of one, a pattern
    python benchmarks/run.py --quick --check --peer torch=PYTHON                                 # a minute, limits
"""

import argparse
import fnmatch
import json
import os
import pathlib
import platform
import sys
import time

import contender
import operators
import report
from rows import ROWS, ways

OURS = contender.OURS
BF16_TOLERANCE, F32_TOLERANCE = 6e-2, 2e-3


def note_agreement(entries, dtype):
    """Compares each contender's check with the median of all."""
    checks = [entry["check"] for entry in entries.values() if entry.get("check")]
    if len(checks) < 2:
        return
    length = min(map(len, checks))
    middle = [sorted(check[i] for check in checks)[len(checks) // 2] for i in range(length)]
    scale = max(1e-6, *map(abs, middle))
    for entry in entries.values():
        if entry.get("check"):
            difference = max(abs(a - b) for a, b in zip(entry["check"], middle)) / scale
            entry["differs"] = difference
            entry["agrees"] = difference <= (BF16_TOLERANCE if dtype == "bf16" else F32_TOLERANCE)


def run_row(row, dtype, peers, options):
    """{peer/variant: figures}; the peers in batches, ours in each."""
    jobs = [(peer, way) for peer in peers for way in ways(peer.kind, row)
            if (not options.ways or way in options.ways) and not (options.quick and way == "compile")]
    ours = [job for job in jobs if job[0].name == OURS]
    others = [job for job in jobs if job[0].name != OURS]
    size = max(1, options.at_once - len(ours))
    entries = {}
    for start in range(0, max(1, len(others)), size):
        processes = []
        try:
            processes += [contender.Process(peer, way, options) for peer, way in ours + others[start:start + size]]
            contender.measure(processes, {"family": "rows", "row": row, "dtype": dtype}, options)
        finally:
            for process in processes:
                process.close()
        for process in processes:
            figures = contender.summary(process, ROWS[row].unit)
            if figures.get("best", 1e99) <= entries.get(process.name, {}).get("best", 1e99):
                entries[process.name] = figures
    note_agreement(entries, dtype)
    return entries


def run_ops(names, peers, options, done):
    """Operators one by one in processes that stay; calls `done` with each row's figures."""
    peers = [peer for peer in peers if peer.kind in ("mxnet", "torch")]
    processes = []
    try:
        processes += [contender.Process(peer, "eager", options) for peer in peers]
        for name in names:
            for i, process in enumerate(processes):
                if not process.alive:
                    processes[i] = contender.Process(process.peer, "eager", options)
            able = [process for process in processes if operators.has(name, process.peer.kind)]
            contender.measure(able, {"family": "ops", "row": name, "dtype": "f32"}, options)
            entries = {process.name: contender.summary(process, "us") for process in able}
            note_agreement(entries, "f32")
            done(name, entries)
    finally:
        for process in processes:
            process.close()


def machine():
    """What the figures were measured on."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    units = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {name}" in flags]
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "units": units}


class Figures:
    """The result file: rows are replaced as they are measured, all others stay."""

    def __init__(self, path):
        self.path = path
        self.data = {"machine": machine(), "rows": {}}
        if path and path.exists():
            self.data = json.loads(path.read_text())

    def add(self, row, dtype, entries, options):
        known = self.data["rows"].get(f"{row}/{dtype}", {}).get("entries", {})
        self.data["rows"][f"{row}/{dtype}"] = {
            "time": time.strftime("%Y-%m-%d %H:%M"), "threads": options.threads, "seconds": options.seconds,
            "entries": {**known, **entries}}
        if self.path:
            scratch = self.path.with_suffix(".tmp")
            scratch.write_text(json.dumps(self.data, indent=1) + "\n")
            scratch.replace(self.path)


def exceeded(row, entries):
    """'' or how far ours / torch is beyond the row's limit, by the best rounds."""
    ours, peer = report.fastest(entries, OURS), report.fastest(entries, "torch")
    if ours is None or peer is None:
        return "" if peer is None else f"{row}: ours failed: {first_error(entries)}"
    ratio = ours["best"] / peer["best"]
    return "" if ratio <= ROWS[row].limit else f"{row}: ours / torch is {ratio:.2f}, the limit {ROWS[row].limit}"


def first_error(entries):
    return next((entry["error"] for name, entry in entries.items() if name.startswith(f"{OURS}/") and "error" in entry),
                "not measured")


def check(rows, peers, figures, options):
    """Measures again what was beyond its limit; prints and counts what stays so."""
    failures = 0
    for row in rows:
        entries = figures.data["rows"][f"{row}/f32"]["entries"]
        problem = exceeded(row, entries)
        for _ in range(2):
            if not problem:
                break
            print(f"{problem}; once more")
            entries = run_row(row, "f32", peers, options)
            problem = exceeded(row, entries)
        differing = [name for name, entry in entries.items() if entry.get("agrees") is False]
        if differing:
            problem = f"{row}: results differ: {', '.join(differing)}"
        if problem:
            print(f"FAILED {problem}")
            failures += 1
    print(f"speed check: {len(rows)} rows, {failures} failed")
    return failures


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW",
                        help=f"names or patterns of {', '.join(ROWS)}, import; with --ops of families, "
                             "operators and rows (default: all)")
    parser.add_argument("--peer", action="append", default=[], type=contender.Peer.parse, metavar="NAME[:KIND]=PYTHON",
                        help=f"an interpreter that has a peer; kinds: {', '.join(contender.KINDS)}")
    parser.add_argument("--way", action="append", dest="ways", metavar="VARIANT", help="only these variants")
    parser.add_argument("--dtype", action="append", dest="dtypes", choices=("f32", "bf16"), help="default: both")
    parser.add_argument("--ops", action="store_true", help="single operators, in a small and a large size")
    parser.add_argument("--quick", action="store_true", help="few rows, short rounds, nothing compiled: about a minute")
    parser.add_argument("--check", action="store_true", help="fail where ours / torch is beyond the row's limit")
    parser.add_argument("--into", type=pathlib.Path, help="a JSON file; rows that it has and are not measured stay")
    parser.add_argument("--rounds", type=int, help="per contender (5; quick: 3)")
    parser.add_argument("--seconds", type=float, help="length of a round (0.6; quick: 0.15, --ops: 0.06)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="per contender")
    parser.add_argument("--timeout", type=float, default=400, help="seconds for one answer of a contender")
    parser.add_argument("--at-once", type=int, default=8, help="processes that live at the same time")
    parser.add_argument("--quiet", type=float, default=0.2, help="repeat a round when others used more cores than this")
    parser.add_argument("--retries", type=int, default=2, help="how often")
    parser.add_argument("--nice", type=int, default=0, help="priority of the contenders (negative needs rights)")
    parser.add_argument("--log", type=argparse.FileType("ab"), default=open(os.devnull, "ab"),  # noqa: SIM115
                        help="what the contenders print")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick or options.ops else 5)
    options.seconds = options.seconds or (0.06 if options.ops else 0.15 if options.quick else 0.6)
    return parser, options


def chosen(parser, options, known, groups=None):
    """The names that the patterns and names of groups pick, in order; each must pick something."""
    picked = set() if options.rows else set(known)
    for pattern in options.rows:
        found = (groups or {}).get(pattern) or fnmatch.filter(known, pattern)
        if not found:
            parser.error(f"no row is called {pattern!r}; there are {', '.join(groups or known)}")
        picked.update(found)
    return [name for name in known if name in picked]


def main(arguments=None):
    parser, options = parse(arguments)
    peers = [contender.ours(), *options.peer]
    figures = Figures(options.into)

    def done(row, dtype, entries):
        figures.add(row, dtype, entries, options)
        print("\n".join(report.lines_of(row, dtype, entries, OURS)), flush=True)

    if options.ops:
        names = chosen(parser, options, operators.names(), operators.groups())
        run_ops(names, peers, options, lambda name, entries: done(f"op:{name}", "f32", entries))
    else:
        names = chosen(parser, options, [*ROWS, "import"])
        rows = [row for row in names if row != "import" and (not options.quick or ROWS[row].limit)]
        dtypes = ("f32",) if options.quick else options.dtypes or ("f32", "bf16")
        for row in rows:
            for dtype in dtypes:
                if dtype == "f32" or ROWS[row].bf16:
                    done(row, dtype, run_row(row, dtype, peers, options))
        if "import" in names and not options.quick and "f32" in dtypes:
            done("import", "f32", contender.import_times(peers, options))
        if options.check:
            return 1 if check(rows, peers, figures, options) else 0
    print("\n" + report.ratio_table(figures.data, OURS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
