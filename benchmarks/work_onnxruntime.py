# SPDX-License-Identifier: Apache-2.0
"""Inference rows in ONNX Runtime; PyTorch is only the exporter."""

import os
import pathlib
import tempfile

import networks
import onnxruntime
import torch
import work_torch
from rows import Job, Unsupported


def make(row, way, dtype):
    """The job of a row."""
    if dtype == "bf16":
        raise Unsupported("ONNX Runtime has no bfloat16 kernels for this processor")
    network = networks.NETWORKS[row.rpartition("_")[0]]
    batch = networks.data(network)[0]
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = int(os.environ["OMP_NUM_THREADS"]), 1
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder) / "model.onnx")
        torch.onnx.export(work_torch.build(network.layers).eval(), (torch.from_numpy(batch),), path, input_names=["x"],
                          dynamo=False, opset_version=20)
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def infer():
        return session.run(None, {"x": batch})[0]

    return Job(infer, lambda: infer().ravel()[:64])
