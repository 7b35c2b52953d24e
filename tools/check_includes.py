# SPDX-License-Identifier: Apache-2.0
"""Checks the order of the core's boxes: a folder of src/ includes only itself and the folders above it in the list."""

import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = (
    "base", "engine", "storage", "backend", "resource", "ndarray", "operator", "simple_op", "ops", "autograd", "symbol",
    "executor", "kvstore", "io", "profiler", "c_api",
)
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def problems(source):
    """Yields (path, line, text) for each include that breaks the order."""
    rank = {folder: i for i, folder in enumerate(ORDER)}
    for path in sorted(source.rglob("*")):
        if path.suffix not in {".cc", ".h", ".cuh", ".cu"}:
            continue
        folder = path.relative_to(source).parts[0]
        if folder not in rank:
            yield path, 1, f"src/{folder} is not in the order of tools/check_includes.py"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            quote, name = match.groups()
            other = name.split("/")[0]
            if quote == '"' and not (source / name).exists() and not name.startswith("mxnet/"):
                yield path, number, f'"{name}" is not rooted at src/'
            elif other in rank and quote == '"' and rank[other] > rank[folder]:
                yield path, number, f'"{name}": {folder} may not include {other}, which stands below it'
            elif "Python.h" in name or other == "nanobind":
                yield path, number, f"<{name}>: the core knows nothing of Python"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=ROOT / "src", help="the source folder (default: src)")
    options = parser.parse_args()
    found = list(problems(options.root))
    for path, number, text in found:
        print(f"{path.relative_to(options.root.parent)}:{number}: {text}")
    print(f"include order: {len(found)} problems" if found else "include order: fine")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
