# SPDX-License-Identifier: Apache-2.0
"""Profiles a network of the benchmarks, or a program of your own, and prints where the time goes.

    python tools/profile_net.py resnet50_train                     # steps of its plans, the slowest first
    python tools/profile_net.py mobilenetv2_infer --eager          # operators, called one by one
    python tools/profile_net.py lenet_train --trace lenet.json     # also every event, for ui.perfetto.dev
    python tools/profile_net.py my_script.py -- its arguments
"""

import argparse
import os
import pathlib
import runpy
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def profiled_rows(run, times, trace, max_events=1 << 20):
    """Rows of sums of `times` runs, after one that warms up."""
    import mxnet as mx
    from mxnet._core import _ext
    mx.profiler.set_config(profile_all=True, filename=trace or os.devnull, max_events=max_events)
    mx.profiler.dumps(reset=True)
    mx.profiler.set_state("run")
    for _ in range(times):
        run()
    mx.nd.waitall()
    mx.profiler.set_state("stop")
    rows = _ext.profiler_sums()
    mx.profiler.dump()
    return rows


def table(rows, times, limit):
    """Lines: each step or operator with its share of the whole."""
    computed = [row for row in rows if row["category"] in ("operator", "reorder")]
    total = sum(row["total"] for row in computed) or 1
    width = max([len(row["name"]) for row in computed], default=10)
    lines = [f"{'ms':>9} {'share':>6} {'calls':>6}  {'operator':{width}}  kernel and operands"]
    for row in sorted(computed, key=lambda row: -row["total"])[:limit]:
        note = f"{row['kernel'] or row['category']}  {row['operands']}"
        if row["nodes"]:
            note += f"  [{shortened(row['nodes'])}]"
        if row["refusals"]:
            note += f"\n{'':{width + 26}}refused: {row['refusals']}"
        lines.append(f"{row['total'] / 1e6 / times:9.3f} {row['total'] / total:6.1%} {row['count'] / times:6.0f}  "
                     f"{row['name']:{width}}  {note}")
    hidden = max(0, len(computed) - limit)
    lines.append(f"{total / 1e6 / times:9.3f} ms computed in a run; {hidden} rows not shown")
    return lines + by_operator(computed, times, total)


def by_operator(rows, times, total):
    """Lines: the same, summed over shapes and nodes."""
    sums = {}
    for row in rows:
        count, time = sums.get(row["name"], (0, 0))
        sums[row["name"]] = count + row["count"], time + row["total"]
    lines = ["", "by operator:"]
    for name, (count, time) in sorted(sums.items(), key=lambda item: -item[1][1])[:15]:
        lines.append(f"{time / 1e6 / times:9.3f} {time / total:6.1%} {count / times:6.0f}  {name}")
    return lines


def shortened(nodes, limit=60):
    """The first and the last node of a long list."""
    return nodes if len(nodes) <= limit else f"{nodes.split(', ')[0]} .. {nodes.split(', ')[-1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="a row of benchmarks/rows.py, or a Python file")
    parser.add_argument("arguments", nargs="*", help="of the Python file, after --")
    parser.add_argument("--eager", action="store_true", help="do not hybridize (rows only)")
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--times", type=int, default=5, help="runs to average over (rows only)")
    parser.add_argument("--limit", type=int, default=40, help="rows to print")
    parser.add_argument("--trace", help="file for every event")
    options = parser.parse_args()
    if options.what.endswith(".py"):
        sys.argv = [options.what, *options.arguments]
        rows = profiled_rows(lambda: runpy.run_path(options.what, run_name="__main__"), 1, options.trace)
        print("\n".join(table(rows, 1, options.limit)))
        return 0
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import work_mxnet
    from rows import ROWS, ways
    if options.what not in ROWS:
        parser.error(f"no row is called {options.what!r}; there are {', '.join(ROWS)}")
    way = "eager" if options.eager or "hybrid" not in ways("mxnet", options.what) else "hybrid"
    job = work_mxnet.make(options.what, way, options.dtype)
    job.step()
    job.step()
    rows = profiled_rows(job.step, options.times, options.trace)
    print("\n".join(table(rows, options.times, options.limit)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
