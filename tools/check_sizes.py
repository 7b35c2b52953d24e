# SPDX-License-Identifier: Apache-2.0
"""Prints the sizes of files and functions, and fails for a file past the limit that gives no reason here."""

import argparse
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMIT = 800
# A file may be longer if splitting it would make it harder to read; the reason stands beside its name.
REASONS = {
    "python/mxnet/ndarray/op.pyi": "generated",
    "python/mxnet/symbol/op.pyi": "generated",
}
GROUPS = {
    "core": ("src", {".cc", ".h", ".cuh", ".cu"}),
    "binding": ("python/src", {".cc", ".h"}),
    "python": ("python/mxnet", {".py", ".pyi"}),
    "tests": ("tests", {".py", ".cc", ".c", ".h"}),
    "tools": ("tools", {".py"}),
    "benchmarks": ("benchmarks", {".py", ".cc"}),
    "examples": ("examples", {".py"}),
}


def cpp_functions(text):
    """Line counts of C++ function bodies: a brace that follows a parameter list, up to its partner."""
    text = re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'',
                  lambda match: "\n" * match.group().count("\n"), text, flags=re.S)
    sizes, stack = [], []  # a stack entry: the line where a function begins, or None for any other brace
    line, start, inside, parens = 1, 0, 0, 0
    for position, char in enumerate(text):
        if char == "\n":
            line += 1
        elif char == "(":
            parens += 1
        elif char == ")":
            parens = max(0, parens - 1)
        elif char == "{":
            head = text[start:position].strip()
            function = not inside and not parens and "(" in head and not re.match(
                r"(?:namespace|struct|class|enum|union|extern)\b", head) and not head.endswith("=")
            first = line - head.count("\n")
            stack.append(first if function else None)
            inside += function
            start = position + 1
        elif char == "}" and stack:
            first = stack.pop()
            if first is not None:
                sizes.append(line - first + 1)
                inside -= 1
            start = position + 1
        elif char == ";" and not parens:
            start = position + 1
    return sizes


def python_functions(text):
    """Line counts of Python functions."""
    return [node.end_lineno - node.lineno + 1 for node in ast.walk(ast.parse(text))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0


def survey(folder, suffixes):
    """The file sizes {path: lines} and function sizes [lines] of a folder."""
    files, functions = {}, []
    for path in sorted((ROOT / folder).rglob("*")):
        if path.suffix not in suffixes or not path.is_file():
            continue
        text = path.read_text()
        files[str(path.relative_to(ROOT))] = text.count("\n")
        functions += (python_functions if path.suffix.startswith(".py") else cpp_functions)(text)
    return files, functions


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=LIMIT, help="lines a file may have without a reason")
    options = parser.parse_args()
    print(f"{'':11}{'files':>6}{'lines':>8}{'median':>8}{'p95':>6}{'max':>6}   {'functions':>9}{'median':>8}{'p95':>6}"
          f"{'max':>6}")
    long = {}
    for name, (folder, suffixes) in GROUPS.items():
        files, functions = survey(folder, suffixes)
        if not files:
            continue
        sizes = list(files.values())
        print(f"{name:11}{len(sizes):6}{sum(sizes):8}{quantile(sizes, .5):8}{quantile(sizes, .95):6}{max(sizes):6}   "
              f"{len(functions):9}{quantile(functions, .5):8}{quantile(functions, .95):6}{max(functions, default=0):6}")
        long.update({path: lines for path, lines in files.items() if lines > options.limit})
    unexcused = 0
    for path, lines in sorted(long.items()):
        reason = REASONS.get(path)
        unexcused += reason is None
        print(f"{path}: {lines} lines" + (f" ({reason})" if reason else f", more than {options.limit}: split it"))
    return 1 if unexcused else 0


if __name__ == "__main__":
    sys.exit(main())
