# SPDX-License-Identifier: Apache-2.0
"""Programs that run here and in MXNet 1.9.1 and must give the same numbers.

A program takes the name of a file and saves named arrays there. Needs MXNET_ORACLE_PYTHON; skipped without.
"""
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx

ORACLE = os.environ.get("MXNET_ORACLE_PYTHON")
PROGRAMS = sorted((pathlib.Path(__file__).parent / "programs").glob("*.py"))

pytestmark = pytest.mark.skipif(not ORACLE, reason="MXNET_ORACLE_PYTHON is not set")


def run(python, program, target):
    environment = dict(os.environ)
    if python == ORACLE:
        environment.pop("PYTHONPATH", None)
        environment["MXNET_SUBGRAPH_BACKEND"] = "NONE"  # its fused sums overwrite what others still read
    else:
        environment["PYTHONPATH"] = str(pathlib.Path(mx.__file__).parents[1])
    done = subprocess.run([python, str(program), str(target)], env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(target) as file:
        return dict(file)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_program(program, tmp_path):
    ours, theirs = (run(python, program, tmp_path / f"{name}.npz")
                    for name, python in (("ours", sys.executable), ("theirs", ORACLE)))
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape and ours[name].dtype == expected.dtype, name
        if expected.dtype.kind in "US":
            assert ours[name].tolist() == expected.tolist(), name
        else:
            np.testing.assert_allclose(ours[name], expected, 2e-3, 2e-4, err_msg=name)
