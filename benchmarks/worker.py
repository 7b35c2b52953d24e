# SPDX-License-Identifier: Apache-2.0
"""One contender's process: makes workloads and times rounds of them on request (one JSON object a line, both ways)."""

import importlib
import json
import os
import resource
import sys
import time
import traceback


def busy_seconds():
    """Processor time of the whole machine."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Processor time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed_round(job, seconds, least):
    """Repeats the job for `seconds`, `least` times or more. Times are per call; faults and processor time per step."""
    job.step()
    times = []
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    own, busy, start = own_seconds(), busy_seconds(), time.perf_counter()
    while len(times) < least or time.perf_counter() < start + seconds:
        before = time.perf_counter()
        job.step()
        times.append(time.perf_counter() - before)
    length, own = time.perf_counter() - start, own_seconds() - own
    usage = resource.getrusage(resource.RUSAGE_SELF)
    times.sort()
    return {"seconds": times[len(times) // 2] / job.calls, "faults": (usage.ru_minflt - faults) / len(times),
            "cpu": own / len(times) / job.calls, "rss_mb": usage.ru_maxrss / 1024,
            "others": max(0.0, (busy_seconds() - busy - own) / length)}


def make(request):
    """(job, reply) of a row."""
    start = time.perf_counter()
    if request["family"] == "ops":
        job = getattr(importlib.import_module("operators"), f"make_{request['kind']}")(request["row"])
    else:
        job = importlib.import_module(f"work_{request['kind']}").make(request["row"], request["way"], request["dtype"])
    check = [float(x) for x in job.check()]
    job.step()
    return job, {"check": check, "setup": time.perf_counter() - start}


def main():
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to the error stream
    job = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "make":
                job = None  # its memory serves the next
                job, reply = make(request)
            else:
                reply = timed_round(job, request["seconds"], request["least"])
        except Exception as error:  # the driver reports it and goes on with the other contenders
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
