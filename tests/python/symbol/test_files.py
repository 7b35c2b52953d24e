# SPDX-License-Identifier: Apache-2.0
"""Damaged symbol and array files."""
import pathlib
import subprocess
import sys

import pytest

FUZZER = pathlib.Path(__file__).with_name("fuzz_files.py")


def fuzz(seed, count, timeout):
    done = subprocess.run([sys.executable, str(FUZZER), str(seed), str(count)], capture_output=True, text=True,
                          timeout=timeout)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    return int(done.stdout)


def test_damaged_files():
    assert 100 < fuzz(1, 3000, 60) < 3000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_damaged_files(seed):
    fuzz(seed + 10, 20000, 550)
