# SPDX-License-Identifier: Apache-2.0
"""No input from Python may crash or hang the process: every operator with random arguments, in a process of its own."""

import pathlib
import subprocess
import sys

import pytest

from mxnet._core import _ext

NAMES = sorted({_ext.op_info(n)["name"] for n in _ext.list_ops()})
GROUPS = [NAMES[i::12] for i in range(12)]


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_random_calls_end_with_a_result_or_an_exception(group):
    program = pathlib.Path(__file__).with_name("fuzz_run.py")
    done = subprocess.run([sys.executable, "-X", "faulthandler", str(program), "3", "10", *GROUPS[group]],
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"MXNET_FUZZ_TRACE=1 shows the call\n{done.stderr[-3000:]}"
