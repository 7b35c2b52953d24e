# SPDX-License-Identifier: Apache-2.0
"""Contenders as processes that stand still unless they are asked something, and rounds that alternate between them."""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ("mxnet", "torch", "jax", "openvino", "onnxruntime")
OURS = "mxnet"
PR_SET_PDEATHSIG = 1


@dataclasses.dataclass(frozen=True)
class Peer:
    """A contender: its name in tables, its kind of program, its interpreter."""

    name: str
    kind: str
    python: str
    environment: tuple = ()

    @classmethod
    def parse(cls, text):
        """From NAME[:KIND]=PYTHON."""
        name, _, python = text.partition("=")
        name, _, kind = name.partition(":")
        kind = kind or next((k for k in KINDS if name.startswith(k)), "mxnet")
        if not python or kind not in KINDS:
            raise ValueError(f"a peer is NAME[:KIND]=PYTHON with a kind of {', '.join(KINDS)}; got {text!r}")
        return cls(name, kind, os.path.abspath(os.path.expanduser(python)) if "/" in python else python)


def ours():
    """This interpreter with the checkout's build, if there is one, else with the installed package."""
    root = HERE.parent / "python"
    path = str(root) if (root / "mxnet" / "libmxnet.so").exists() else os.environ.get("PYTHONPATH", "")
    return Peer(OURS, "mxnet", sys.executable, (("PYTHONPATH", path),))


def surroundings(peer, **settings):
    """A contender's environment: its own packages alone, on the CPU, quiet."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**inherited, "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore", "TF_CPP_MIN_LOG_LEVEL": "3", **settings,
            **dict(peer.environment)}


class Process:
    """A worker process that is stopped unless it is asked something, and that never outlives the driver."""

    def __init__(self, peer, way, options):
        self.peer, self.way = peer, way
        self.rounds, self.error, self.made = [], None, {}
        threads = str(options.threads)
        environment = surroundings(peer, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads,
                                   TORCHINDUCTOR_COMPILE_THREADS="1")
        libc = ctypes.CDLL(None)
        self._process = subprocess.Popen(
            [peer.python, str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=options.log,
            env=environment, cwd=pathlib.Path.home(), start_new_session=True,
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self._signal(signal.SIGSTOP)

    @property
    def name(self):
        """peer/variant"""
        return f"{self.peer.name}/{self.way}"

    @property
    def alive(self):
        return self._process is not None

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def set_nice(self, nice):
        """A higher priority while timed, where the system allows it."""
        if nice and self.alive:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PGRP, self._process.pid, nice)
                pathlib.Path(f"/proc/{self._process.pid}/autogroup").write_text(str(nice))

    def ask(self, timeout, **request):
        """The reply, or None after a failure, which is kept in `error`; without an answer the process ends."""
        if not self.alive:
            return None
        self._signal(signal.SIGCONT)
        line = b""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            in_time = select.select([self._process.stdout], [], [], timeout)[0]
            line = self._process.stdout.readline() if in_time else b""
            failure = "the process ended" if in_time else f"no answer in {timeout:g} seconds"
        except OSError as error:
            failure = str(error)
        self._signal(signal.SIGSTOP)
        reply = json.loads(line) if line else {"error": failure}
        self.error = reply.get("error", self.error)
        if not line:
            self.close()
        return None if "error" in reply else reply

    def close(self):
        if self.alive:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


def measure(processes, request, options):
    """Each process makes the row, then rounds alternate: A B C, C B A, ..."""
    for process in processes:
        process.rounds, process.error = [], process.error if not process.alive else None
        process.set_nice(options.nice)
        process.made = process.ask(options.timeout, do="make", kind=process.peer.kind, way=process.way,
                                   **request) or {}
    processes = [process for process in processes if process.made]
    for i in range(options.rounds):
        for process in processes if i % 2 == 0 else reversed(processes):
            figures = quiet_round(process, options)
            if figures:
                process.rounds.append(figures)


def quiet_round(process, options):
    """A round's figures; taken again while other programs used more than `options.quiet` cores."""
    for _ in range(1 + options.retries):
        figures = process.ask(options.timeout, do="round", seconds=options.seconds, least=1 if options.ops else 3)
        if figures is None or figures["others"] <= options.quiet:
            break
        time.sleep(0.5)
    return figures


SCALE = {"us": 1e6, "ms": 1e3, "s": 1.0}


def summary(process, unit):
    """The figures of a measured process, in the row's unit."""
    if not process.rounds:
        return {"error": process.error or "not measured"}
    times = [figures["seconds"] * SCALE[unit] for figures in process.rounds]
    return {
        "best": min(times), "median": statistics.median(times), "unit": unit, "rounds": times,
        "cpu": min(f["cpu"] for f in process.rounds) * SCALE[unit], "faults": min(f["faults"] for f in process.rounds),
        "rss_mb": max(f["rss_mb"] for f in process.rounds), "setup_s": process.made["setup"],
        "others": statistics.median(f["others"] for f in process.rounds), "check": process.made["check"],
        **({"error": process.error} if process.error else {}),
    }


def import_times(peers, options):
    """{peer/import: figures} of a process that imports and adds two numbers."""
    programs = {
        "mxnet": "import mxnet as mx; print((mx.nd.ones((4, 4)) + 1).sum().asscalar())",
        "torch": "import torch; print(float((torch.ones(4, 4) + 1).sum()))",
        "jax": "import jax.numpy as jnp; print(float((jnp.ones((4, 4)) + 1).sum()))",
        "openvino": "import openvino; openvino.Core()", "onnxruntime": "import onnxruntime",
    }
    footer = "\nimport resource; print('\\nRSS', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    results = {}
    for _ in range(options.rounds):
        for peer in peers:
            entry = results.setdefault(f"{peer.name}/import", {"unit": "ms", "rounds": [], "rss_mb": 0.0})
            start = time.perf_counter()
            try:
                done = subprocess.run([peer.python, "-c", programs[peer.kind] + footer], capture_output=True, text=True,
                                      env=surroundings(peer), cwd=pathlib.Path.home(), timeout=options.timeout)
            except (OSError, subprocess.TimeoutExpired) as error:
                entry["error"] = str(error)[:300]
                continue
            if done.returncode:
                entry["error"] = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1][:300]
                continue
            entry["rounds"].append((time.perf_counter() - start) * 1e3)
            entry["rss_mb"] = max(entry["rss_mb"], float(done.stdout.split()[-1]))
    for entry in results.values():
        if entry["rounds"]:
            entry.update(best=min(entry["rounds"]), median=statistics.median(entry["rounds"]))
    return results
