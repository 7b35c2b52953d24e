# SPDX-License-Identifier: Apache-2.0
"""Formats every C++ file with clang-format, or with --check only tells which ones differ."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("src", "include", "python/src", "tests/cpp", "benchmarks")
SUFFIXES = {".cc", ".h", ".c", ".cuh", ".cu"}


def clang_format():
    """The clang-format of this Python's environment, else of the system."""
    beside = pathlib.Path(sysconfig.get_path("scripts")) / "clang-format"
    program = str(beside) if beside.exists() else shutil.which("clang-format")
    if program is None:
        sys.exit("clang-format was not found: pip install clang-format")
    return program


def sources(paths):
    """The C++ files among `paths`, or all of the tree's if there are none."""
    roots = [pathlib.Path(path) for path in paths] or [ROOT / folder for folder in FOLDERS]
    for root in roots:
        found = [root] if root.is_file() else sorted(root.rglob("*"))
        yield from (str(path) for path in found if path.suffix in SUFFIXES)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="files or folders; default: the whole tree")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a file is not formatted")
    options = parser.parse_args()
    files = list(sources(options.paths))
    if not files:
        return 0
    program = clang_format()
    if not options.check:
        return subprocess.run([program, "-i", *files]).returncode
    wrong = []
    for file in files:
        run = subprocess.run([program, file], capture_output=True, text=True, check=True)
        if run.stdout != pathlib.Path(file).read_text():
            wrong.append(file)
    for file in wrong:
        print(f"not formatted: {pathlib.Path(file).resolve().relative_to(ROOT)}")
    if wrong:
        print(f"{len(wrong)} of {len(files)} files are not formatted: run `make format`")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
