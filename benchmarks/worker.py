# SPDX-License-Identifier: Apache-2.0
"""One contender's process: makes one workload and times rounds of it on request (one JSON object a line, both ways)."""

import importlib
import json
import os
import resource
import sys
import time


def timed_round(job, seconds):
    """Repeats the job for about `seconds`; times are per call, faults per step."""
    for _ in range(2):
        job.step()
    times = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        job.step()
        times.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    times.sort()
    return {"seconds": times[len(times) // 2] / job.calls, "faults": faults / len(times)}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to the error stream
    job = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "make":
                job = importlib.import_module(f"work_{request['kind']}").make(request["row"])
                reply = {"check": [float(x) for x in job.check()]}
            else:
                reply = timed_round(job, request["seconds"])
        except Exception as error:  # the driver reports it and goes on with the other contenders
            reply = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
