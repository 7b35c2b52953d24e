# SPDX-License-Identifier: Apache-2.0
"""A process of MXNet 1.9.1 that answers calls of operators."""

import os
import pathlib
import pickle
import select
import struct
import subprocess

import numpy as np

PYTHON = os.environ.get("MXNET_ORACLE_PYTHON", "")
WORKER = pathlib.Path(__file__).with_name("worker.py")
available = bool(PYTHON) and os.path.exists(PYTHON)


def pack(array):
    array = np.asarray(array, order="C")
    return array.dtype.str, array.shape, array.tobytes()


def unpack(packed):
    dtype, shape, data = packed
    return np.frombuffer(data, dtype).reshape(shape)


class Died(AssertionError):
    """1.9.1 ended or did not answer."""


class Oracle:
    """One process of 1.9.1, started again when a call takes it down."""

    def __init__(self, patience=60):
        self.process = None
        self.patience = patience

    def ask(self, call):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [PYTHON, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},  # it may lead to ours
            )
        data = pickle.dumps(call, protocol=4)
        self.process.stdin.write(struct.pack("<q", len(data)) + data)
        self.process.stdin.flush()
        return pickle.loads(self.read(struct.unpack("<q", self.read(8))[0]))

    def read(self, count):
        data = b""
        while len(data) < count:
            if not select.select([self.process.stdout], [], [], self.patience)[0]:
                self.close()
                raise Died(f"1.9.1 did not answer within {self.patience} seconds")
            part = os.read(self.process.stdout.fileno(), count - len(data))
            if not part:
                raise Died(f"1.9.1 died with code {self.process.wait()}")
            data += part
        return data

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
