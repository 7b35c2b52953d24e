# SPDX-License-Identifier: Apache-2.0
"""What a program can check of the house: map, include order, sizes, stubs, and that each tool explains itself."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"


def run(tool, *arguments):
    return subprocess.run([sys.executable, str(TOOLS / tool), *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize("tool", ["check_map.py", "check_includes.py", "check_sizes.py"])
def test_lint(tool):
    result = run(tool)
    assert result.returncode == 0, result.stdout + result.stderr


def test_stubs_are_fresh():
    result = run("generate_stubs.py", "--check")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("tool", sorted(path.name for path in TOOLS.glob("*.py")))
def test_help(tool):
    result = run(tool, "--help")
    assert result.returncode == 0
    assert "usage:" in result.stdout


def test_include_order_sees_a_violation(tmp_path):
    for folder, text in {"engine": '#include "storage/pool.h"\n', "storage": '#include <vector>\n'}.items():
        (tmp_path / "src" / folder).mkdir(parents=True)
        (tmp_path / "src" / folder / "pool.h").write_text(text)
    result = run("check_includes.py", "--root", str(tmp_path / "src"))
    assert result.returncode == 1
    assert "src/engine/pool.h:1" in result.stdout
    assert "storage/pool.h:" not in result.stdout


def test_version_has_one_source():
    import mxnet as mx

    assert mx.__version__ == mx.libinfo.__version__
    line = next(line for line in (ROOT / "python/mxnet/libinfo.py").read_text().splitlines() if "__version__ =" in line)
    assert mx.__version__ in line


def test_every_setting_is_documented():
    page = (ROOT / "docs/guide/env.md").read_text()
    sources = [ROOT / "src/base/env.cc", *(ROOT / "python/mxnet").rglob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(MXNET_[A-Z_]+)"', path.read_text())}
    assert "MXNET_ENGINE_TYPE" in read
    assert sorted(name for name in read if f"`{name}" not in page) == []
