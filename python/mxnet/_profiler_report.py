# SPDX-License-Identifier: Apache-2.0
"""The sums of the profiler as a table or as JSON."""
from __future__ import annotations

import json

_MEMORY = "Device Storage"


class _Entry:
    """Sums of one name."""

    def __init__(self):
        self.count, self.total, self.min, self.max = 0, 0, None, None

    def add(self, row):
        """Takes in a row of the core."""
        self.count += row["count"]
        self.total += row["total"]
        self.min = row["min"] if self.min is None else min(self.min, row["min"])
        self.max = row["max"] if self.max is None else max(self.max, row["max"])

    @property
    def avg(self):
        """Per occurrence."""
        return self.total / self.count if self.count else 0


def _sorted(entries, sort_by, ascending):
    return sorted(entries.items(), key=lambda item: getattr(item[1], sort_by), reverse=not ascending)


def _group(rows, counters):
    """{category: {name: _Entry}} of the counters, or of the times."""
    groups = {}
    for row in rows:
        if row["counter"] == counters:
            groups.setdefault(row["category"], {}).setdefault(row["name"], _Entry()).add(row)
    return dict(sorted(groups.items()))


def _kernels(rows):
    """{(operator, kernel, operands, refusals): _Entry} of what ran a kernel."""
    entries = {}
    for row in rows:
        if row["kernel"]:
            entries.setdefault((row["name"], row["kernel"], row["operands"], row["refusals"]), _Entry()).add(row)
    return entries


def _section(lines, title, header, rows, widths):
    """A title and aligned columns: the first to the left, the others to the right."""
    lines += [title, "=" * 17]
    first = max([widths[0], *(len(row[0]) for row in rows)])
    for row in (header, ["-" * len(h) for h in header], *rows):
        lines.append(row[0].ljust(first) + "".join(cell.rjust(w) for cell, w in zip(row[1:], widths[1:])))
    lines.append("")


def _milliseconds(entry):
    return [str(entry.count), *(f"{ns / 1e6:.4f}" for ns in (entry.total, entry.min, entry.max, entry.avg))]


def as_table(rows, dropped, sort_by, ascending):
    """Text with one section per category, then the kernels."""
    lines = ["", "Profile Statistics:", "\tNote the difference in units for different entries."]
    if dropped:
        lines.append(f"\t{dropped} events did not fit in the buffer and are only in these sums.")
    counters = _group(rows, counters=True)
    memory = counters.pop(_MEMORY, {})
    if memory:
        header = ["Name", "Total Count", "Min Use  (kB)", "Max Use  (kB)", "Avg Use  (kB)"]
        cells = [[name, str(e.count), *(f"{b / 1e3:.4f}" for b in (e.min, e.max, e.avg))]
                 for name, e in _sorted(memory, sort_by, ascending)]
        _section(lines, _MEMORY, header, cells, [30, 15, 17, 17, 17])
    header = ["Name", "Total Count", "Time (ms)", "Min Time (ms)", "Max Time (ms)", "Avg Time (ms)"]
    for category, entries in _group(rows, counters=False).items():
        cells = [[name, *_milliseconds(e)] for name, e in _sorted(entries, sort_by, ascending)]
        _section(lines, category, header, cells, [30, 15, 17, 17, 17, 17])
    for category, entries in counters.items():
        cells = [[name, *(f"{v:g}" for v in (e.count, e.min, e.max, e.avg))]
                 for name, e in _sorted(entries, sort_by, ascending)]
        _section(lines, f"{category} (counters)", ["Name", "Total Count", "Min", "Max", "Avg"], cells,
                 [30, 15, 17, 17, 17])
    kernels = _kernels(rows)
    if kernels:
        _kernel_section(lines, _sorted(kernels, sort_by, ascending))
    return "\n".join(lines) + "\n"


def _kernel_section(lines, entries):
    header = ["Operator and kernel", "Total Count", "Time (ms)", "Avg Time (ms)"]
    cells = [[f"{name} <- {kernel}", str(e.count), f"{e.total / 1e6:.4f}", f"{e.avg / 1e6:.4f}"]
             for (name, kernel, _, _), e in entries]
    start = len(lines) + 4
    _section(lines, "kernels", header, cells, [44, 15, 17, 17])
    for at in range(len(entries)):
        _, _, operands, refusals = entries[at][0]
        lines[start + at] += f"   {operands}" + (f"   refused: {refusals}" if refusals else "")


def _times(entry):
    return {"Count": entry.count, **{key: ns / 1e6 for key, ns in (
        ("Total", entry.total), ("Min", entry.min), ("Max", entry.max), ("Avg", entry.avg))}}


def _values(entry, scale=1):
    return {"Count": entry.count, "Min": entry.min / scale, "Max": entry.max / scale, "Avg": entry.avg / scale}


def as_json(rows, dropped, sort_by, ascending):
    """The same as JSON: Time and Memory by category, counters, and the list of kernels."""
    counters = _group(rows, counters=True)
    memory = counters.pop(_MEMORY, {})

    def sort(entries, render):
        return {name: render(e) for name, e in _sorted(entries, sort_by, ascending)}

    return json.dumps({
        "Time": {category: sort(entries, _times) for category, entries in _group(rows, counters=False).items()},
        "Memory": {_MEMORY: sort(memory, lambda e: _values(e, 1e3))} if memory else {},
        "Counters": {category: sort(entries, _values) for category, entries in counters.items()},
        "Kernels": [{"Operator": name, "Kernel": kernel, "Operands": operands, "Refused": refusals, **_times(e)}
                    for (name, kernel, operands, refusals), e in _sorted(_kernels(rows), sort_by, ascending)],
        "Dropped events": dropped,
        "Unit": {"Time": "ms", "Memory": "kB"},
    }, indent=4)
