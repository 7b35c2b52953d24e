# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that are written here load in MXNet 1.9.1 and predict the same there. Needs MXNET_ORACLE_PYTHON."""
import os
import pathlib
import subprocess

import numpy as np
import pytest

import mxnet as mx

ORACLE = os.environ.get("MXNET_ORACLE_PYTHON")
FOLDER = pathlib.Path(__file__).resolve().parents[1] / "python" / "symbol" / "models"
NAMES = ["resnet_v1_800", "resnet_v2_1100", "inception_bn_800", "detector_1000", "lstm_1200", "dense_900", "half"]
PROGRAM = """
import sys
import numpy as np
import mxnet as mx
for name in sys.argv[3:]:
    symbol, args, auxs = mx.model.load_checkpoint(f"{sys.argv[1]}/{name}", 1)
    data = np.load(f"{sys.argv[2]}/{name}-expected.npz")["data"]
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(args, auxs)
    outputs = executor.forward(is_train=False, data=mx.nd.array(data))
    np.savez(f"{sys.argv[1]}/{name}.npz", *[out.asnumpy() for out in outputs])
"""

pytestmark = pytest.mark.skipif(not ORACLE, reason="MXNET_ORACLE_PYTHON is not set")


def test_files_written_here_are_read_there(tmp_path):
    for name in NAMES:
        mx.model.save_checkpoint(str(tmp_path / name), 1, *mx.model.load_checkpoint(str(FOLDER / name), 1))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MXNET_SUBGRAPH_BACKEND"] = "NONE"
    done = subprocess.run([ORACLE, "-c", PROGRAM, str(tmp_path), str(FOLDER), *NAMES], env=environment,
                          capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in NAMES:
        with np.load(tmp_path / f"{name}.npz") as got, np.load(FOLDER / f"{name}-expected.npz") as wanted:
            for i, key in enumerate(got.files):
                np.testing.assert_allclose(got[key], wanted[f"output{i}"], 1e-4, 1e-5, err_msg=name)
