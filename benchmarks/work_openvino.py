# SPDX-License-Identifier: Apache-2.0
"""Inference rows in OpenVINO; PyTorch is only the exporter."""

import os

import networks
import numpy as np
import openvino
import torch
import work_torch
from rows import Job


def make(row, way, dtype):
    """The job of a row."""
    network = networks.NETWORKS[row.rpartition("_")[0]]
    batch = networks.data(network)[0]
    model = openvino.convert_model(work_torch.build(network.layers).eval(), example_input=torch.from_numpy(batch),
                                   input=[list(batch.shape)])
    settings = {"INFERENCE_PRECISION_HINT": "bf16" if dtype == "bf16" else "f32", "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": int(os.environ["OMP_NUM_THREADS"]), "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(batch))

    def infer():
        request.infer()
        return request.get_output_tensor(0).data

    return Job(infer, lambda: np.asarray(infer(), np.float32).ravel()[:64])
