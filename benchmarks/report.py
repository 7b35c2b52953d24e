# SPDX-License-Identifier: Apache-2.0
"""Tables and a picture of a result file of run.py.

    python benchmarks/report.py figures.json                      # the ratios, as text
    python benchmarks/report.py figures.json --publish            # docs/performance.md, docs/benchmarks.svg, README.md

A markdown file keeps what stands outside of its marked sections, and a section of which there are no figures.
"""

import argparse
import json
import pathlib
import re
import sys

import operators
from contender import OURS

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- figures: {} -->", "<!-- end of figures -->"


def fastest(entries, peer):
    """The figures of a contender's fastest variant; None if none ran."""
    ran = [entry for name, entry in entries.items() if name.split("/")[0] == peer and "best" in entry]
    return min(ran, key=lambda entry: entry["best"], default=None)


def peers_of(data, ours):
    """Names of all others, those with most rows first."""
    counts = {}
    for row in data["rows"].values():
        for name in {name.split("/")[0] for name, entry in row["entries"].items() if "best" in entry}:
            counts[name] = counts.get(name, 0) + 1
    counts.pop(ours, None)
    return sorted(counts, key=lambda name: (-counts[name], name))


def short(number):
    """Three digits that matter."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def lines_of(row, dtype, entries, ours):
    """Text: every contender of a row, the fastest first."""
    lines = [f"{row} [{dtype}]"]
    mine = fastest(entries, ours)
    for name, entry in sorted(entries.items(), key=lambda item: item[1].get("best", 1e99)):
        if "best" not in entry:
            lines.append(f"  {name:26}{entry.get('error', 'not measured')}")
            continue
        line = f"  {name:26}best {short(entry['best']):>7} median {short(entry['median']):>7} {entry['unit']}"
        line += f"  rss {entry['rss_mb']:6.0f} MB" + (f"  faults {entry['faults']:7.0f}" if "faults" in entry else "")
        if mine and not name.startswith(f"{ours}/"):
            line += f"  ours / this {mine['best'] / entry['best']:.2f}"
        if entry.get("agrees") is False:
            line += f"  RESULTS DIFFER by {entry['differs']:.2g}"
        if entry.get("others", 0) > 0.2:
            line += f"  (others used {entry['others']:.1f} cores)"
        lines.append(line)
    return lines


def ratios(data, ours, figure="best"):
    """{row: {peer: ours / peer}} of the rows that ours ran."""
    table = {}
    for row, content in data["rows"].items():
        mine = fastest(content["entries"], ours)
        if mine:
            others = {peer: fastest(content["entries"], peer) for peer in peers_of(data, ours)}
            table[row] = {peer: mine[figure] / entry[figure] for peer, entry in others.items() if entry}
    return table


def ratio_table(data, ours):
    """Text: ours / peer, by the best rounds; below 1, ours is faster."""
    peers = peers_of(data, ours)
    lines = [f"{'ours / peer':30}{'ours':>12}" + "".join(f"{peer:>14}" for peer in peers)]
    for row, by_peer in ratios(data, ours).items():
        mine = fastest(data["rows"][row]["entries"], ours)
        cells = "".join(f"{by_peer[peer]:14.2f}" if peer in by_peer else f"{'-':>14}" for peer in peers)
        lines.append(f"{row:30}{short(mine['best']):>9} {mine['unit']}{cells}")
    return "\n".join(lines)


# --- markdown

def markdown_table(header, rows):
    """Lines of a table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    return [lines[0], "|" + "---|" * len(header), *lines[1:]]


def workload_section(data, ours):
    """The ratios of the workloads, with memory and page faults; no lines without rows."""
    peers = peers_of(data, ours)
    rows = []
    for key, by_peer in ratios(data, ours).items():
        if key.startswith("op:"):
            continue
        entries = data["rows"][key]["entries"]
        mine, median = fastest(entries, ours), ratios({"rows": {key: data["rows"][key]}}, ours, "median")[key]
        row, dtype = key.split("/")
        cells = [f"{by_peer[p]:.2f} ({median.get(p, float('nan')):.2f})" if p in by_peer else "" for p in peers]
        others = [e for name, e in entries.items() if "best" in e and not name.startswith(f"{ours}/")]
        other = min((e["rss_mb"] for e in others), default=None)
        memory = f"{mine['rss_mb']:.0f}" + (f" / {other:.0f}" if other else "")
        faults = f"{mine['faults']:.0f}" if "faults" in mine else ""
        rows.append([row, dtype, f"{short(mine['best'])} {mine['unit']}", *cells, memory, faults])
    if not rows:
        return []
    header = ["workload", "type", "ours", *(f"ours / {p}" for p in peers), "memory, MB: ours / least", "page faults"]
    on = data["machine"]
    text = (f"Measured on {on['processor']}, {on['cores']} cores ({', '.join(on['units'])}). A ratio is the best round "
            "of our fastest variant over that of the peer's fastest (in parentheses: of the median rounds); below 1, "
            "ours is faster. Page faults are per step.")
    return [text, "", *markdown_table(header, rows)]


def operator_rows(data):
    """The part of the figures that are rows of operators, by the operators' names for them."""
    known = set(operators.names())
    rows = {key[3:].rsplit("/", 1)[0]: content for key, content in data["rows"].items() if key.startswith("op:")}
    return {"rows": {row: content for row, content in rows.items() if row in known}}


def operator_section(data, ours):
    """A line that counts the rows that are slower than each peer, and a table of each family; no lines without rows."""
    data = operator_rows(data)
    peers = sorted(peers_of(data, ours))
    best, median = ratios(data, ours), ratios(data, ours, "median")
    slower = {peer: {row for row in best if min(best[row].get(peer, 0), median[row].get(peer, 0)) > 1}
              for peer in peers}

    def cells(row):
        if row not in best:
            return [""] * (1 + len(peers))
        numbers = [(f"**{best[row][peer]:.2f}**" if row in slower[peer] else f"{best[row][peer]:.2f}")
                   if peer in best[row] else "" for peer in peers]
        return [f"{short(fastest(data['rows'][row]['entries'], ours)['best'])} us", *numbers]

    lines = []
    header = ["operator", *(cell for size in operators.SIZES for cell in (size, *(f"/ {peer}" for peer in peers)))]
    for family, names in operators.FAMILIES.items():
        forms = [form for name in names for form in operators.forms_of(name)]
        table = [[form.replace(".", ", "), *(cell for size in operators.SIZES for cell in cells(f"{form}.{size}"))]
                 for form in forms if any(f"{form}.{size}" in best for size in operators.SIZES)]
        if table:
            lines += ["", f"### {family}", "", *markdown_table(header, table)]
    if not lines:
        return []
    counts = [f"of {sum(peer in by_peer for by_peer in best.values())} rows that {peer} runs too, "
              f"{len(slower[peer])} are slower here" for peer in peers]
    text = ("Each operator in a small and a large size; *backward* is the recorded call with its backward pass. Times "
            "are ours, ratios ours / peer by the best rounds; **bold** where best and median round are both slower: "
            f"{'; '.join(counts)}.")
    return [text, *lines]


def replace_section(path, name, lines):
    """Puts lines between the marks of a section; at the end if the file has none of that name."""
    text = path.read_text() if path.exists() else "# Performance\n"
    begin = BEGIN.format(name)
    content = "\n".join([begin, "", *lines, "", END])
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(END), re.S)
    path.write_text(pattern.sub(lambda _: content, text) if begin in text else f"{text.rstrip()}\n\n{content}\n")


# --- picture

PALETTE = ("#4C78A8", "#F58518", "#54A24B", "#B279A2", "#9D755D", "#E45756", "#72B7B2")
TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)


def picture(data, ours, path):
    """Bars per workload: how many times as long as ours each peer takes, on a logarithmic scale."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    matplotlib.rcParams["svg.hashsalt"] = "mxnet"  # the same figures give the same file
    table = {row: {peer: 1 / ratio for peer, ratio in by_peer.items()}
             for row, by_peer in ratios(data, ours).items() if not row.startswith("op:") and by_peer}
    peers = [peer for peer in peers_of(data, ours) if any(peer in by_peer for by_peer in table.values())]
    places, place = {}, 0.0
    for row in table:
        places[row] = place
        place += len(table[row]) + 1.2
    figure, axes = pyplot.subplots(figsize=(9, 0.6 + 0.14 * place), layout="constrained")
    for color, peer in zip(PALETTE, peers):
        bars = [(places[row] + sorted(by_peer, key=peers.index).index(peer), by_peer[peer])
                for row, by_peer in table.items() if peer in by_peer]
        where, values = zip(*bars)
        axes.barh(where, [value - 1 for value in values], left=1, height=0.86, color=color, label=peer)
        for at, value in bars:
            axes.annotate(f"{value:.2g}" if value < 10 else f"{value:.0f}", (value, at), fontsize=6, va="center",
                          xytext=(3 if value >= 1 else -3, 0), textcoords="offset points",
                          ha="left" if value >= 1 else "right", color="#444")
    axes.set_xscale("log")
    axes.set_yticks([places[row] + (len(by_peer) - 1) / 2 for row, by_peer in table.items()],
                    [row.replace("/f32", "").replace("/", "  ").replace("_", " ") for row in table], fontsize=8)
    axes.invert_yaxis()
    most = max(value for by_peer in table.values() for value in by_peer.values())
    least = min(1.0, *(value for by_peer in table.values() for value in by_peer.values()))
    ticks = [tick for tick in TICKS if least / 2 < tick < most * 2]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(min(0.8, least * 0.75), most * 1.6)
    axes.axvline(1, color="#222", linewidth=1)
    axes.grid(axis="x", color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title("Time of each peer over ours; to the right of 1×, ours is faster", fontsize=10, loc="left")
    figure.legend(fontsize=8, frameon=False, loc="outside upper left", ncols=len(peers))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", type=pathlib.Path, help="what run.py --into wrote")
    parser.add_argument("--markdown", type=pathlib.Path, help="file whose marked sections are replaced")
    parser.add_argument("--picture", type=pathlib.Path, help="an SVG or PNG (needs matplotlib)")
    parser.add_argument("--rows", action="store_true", help="print every contender of every row")
    parser.add_argument("--publish", action="store_true", help="all of it, where the project keeps it")
    options = parser.parse_args(arguments)
    if options.publish:
        options.markdown, options.picture = ROOT / "docs" / "performance.md", ROOT / "docs" / "benchmarks.svg"
    data = json.loads(options.figures.read_text())
    if options.rows:
        for key, content in data["rows"].items():
            print("\n".join(lines_of(*key.rsplit("/", 1), content["entries"], OURS)))
    if options.markdown:
        for name, section in (("workloads", workload_section), ("operators", operator_section)):
            lines = section(data, OURS)
            if lines:
                replace_section(options.markdown, name, lines)
    if options.picture and workload_section(data, OURS):
        picture(data, OURS, options.picture)
    if options.publish:
        shown = "![Time of each peer over ours, per workload](docs/benchmarks.svg)"
        more = "The figures: [docs/performance.md](docs/performance.md)."
        replace_section(ROOT / "README.md", "picture", [shown, "", more])
    if not (options.rows or options.markdown or options.picture):
        print(ratio_table(data, OURS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
