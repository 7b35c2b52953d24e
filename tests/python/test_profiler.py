# SPDX-License-Identifier: Apache-2.0
"""The profiler: its trace, its sums, the program's own marks, and that it costs nothing while off."""
import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd, profiler


@pytest.fixture
def profile(tmp_path):
    """A running profiler that hears everything; returns a function that ends it and gives the trace's events."""
    path = tmp_path / "profile.json"
    profiler.dumps(reset=True)
    profiler.set_config(profile_all=True, filename=str(path))
    profiler.set_state("run")

    def finish():
        profiler.set_state("stop")
        profiler.dump()
        return json.loads(path.read_text())["traceEvents"]

    yield finish
    with contextlib.suppress(mx.MXNetError):  # dumped already: nothing may be left for the exit
        profiler.dump()
    profiler.dumps(reset=True)
    profiler.set_config()


def of(events, category, name=None):
    return [e for e in events if e.get("cat") == category and (name is None or e["name"] == name)]


def sums():
    return json.loads(profiler.dumps(format="json"))


def run(code, env=None):
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **(env or {})})
    assert done.returncode == 0, done.stderr
    return done.stdout


def convolution():
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3, activation="relu"), gluon.nn.Flatten(), gluon.nn.Dense(3))
    net.initialize()
    net.hybridize()
    return net


# --- operators and plans

def test_eager_operators_with_operands_and_kernel(profile):
    a, b = nd.ones((3, 4)), nd.ones((4, 5))
    for _ in range(3):
        nd.dot(a, b)
    events = of(profile(), "operator", "dot")
    assert len(events) == 3
    for event in events:
        assert event["ph"] == "X" and event["dur"] >= 0
        assert event["args"]["operands"] == "float32(3, 4), float32(4, 5) -> float32(3, 5)"
        assert event["args"]["kernel"]
    assert sums()["Time"]["operator"]["dot"]["Count"] == 3


def test_plans_step_by_step_with_nodes_kernels_and_refusals(profile):
    net = convolution()
    x = nd.ones((2, 3, 8, 8))
    with autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    events = profile()
    steps = {e["name"]: e for e in of(events, "operator") if "nodes" in e["args"]}
    assert steps["Convolution"]["args"]["nodes"] == net[0].name + "_fwd"
    assert "FullyConnected" in steps
    assert {e["name"] for e in of(events, "graph")} >= {"forward, recorded", "backward"}
    listed = [k for k in sums()["Kernels"] if k["Operator"] == "Convolution"]
    assert listed and all(k["Kernel"] for k in listed)


def test_refusals_of_faster_kernels_are_told(profile):
    ones = nd.ones((3,), dtype="float64")
    nd.BatchNorm(nd.ones((2, 3, 4, 4), dtype="float64"), ones, ones, ones, ones)
    event, = of(profile(), "operator", "BatchNorm")
    assert "float64" in event["args"]["operands"] and event["args"]["kernel"] == "portable"
    assert "onednn: oneDNN does not" in event["args"]["refused"]
    assert event["args"]["refused"] in profiler.dumps()


def test_fused_steps_name_their_nodes(profile):
    x = mx.sym.Variable("x")
    y = mx.sym.tanh(mx.sym.exp(x, name="first") + 1, name="last")
    y.bind(mx.cpu(), {"x": nd.ones((4,))}).forward()
    event, = [e for e in of(profile(), "operator") if e["args"].get("kernel") == "fused"]
    assert event["args"]["nodes"].startswith("first, ") and event["args"]["nodes"].endswith(", last")
    assert event["name"].startswith("exp+") and event["name"].endswith("+tanh")


def test_layout_changes_have_their_own_category(profile):
    net = convolution()
    net(nd.ones((2, 3, 8, 8))).wait_to_read()
    reorders = of(profile(), "reorder")
    assert reorders and all("channels-last" in e["args"].get("operands", "channels-last") for e in reorders)
    assert "reorder" in sums()["Time"]


def test_spans_nest_and_are_in_order(profile):
    net = convolution()
    net(nd.ones((2, 3, 8, 8))).wait_to_read()
    events = [e for e in profile() if e["ph"] != "M"]
    assert [e["ts"] for e in events] == sorted(e["ts"] for e in events)
    open_until = {}
    for event in events:
        if event["ph"] != "X":
            continue
        ends = open_until.setdefault(event["tid"], [])
        end = round(event["ts"] + event["dur"], 3)
        while ends and ends[-1] <= event["ts"]:
            ends.pop()
        assert not ends or end <= ends[-1], event
        ends.append(end)
    graph = next(e for e in of(events, "graph") if e["name"].startswith("forward"))
    inside = [e for e in of(events, "operator") if graph["ts"] <= e["ts"] <= graph["ts"] + graph["dur"]]
    assert {e["name"] for e in inside} >= {"_fused_convolution", "FullyConnected"}


def test_memory_is_a_counter(profile):
    held = [nd.ones((256, 256)) for _ in range(3)]
    nd.waitall()
    in_use = [e["args"]["value"] for e in of(profile(), "Device Storage", "Memory: cpu/0")]
    assert max(in_use) - min(in_use) >= 256 * 256 * 4
    assert sums()["Memory"]["Device Storage"]["Memory: cpu/0"]["Count"] == len(in_use)
    del held


def test_calls_are_recorded_on_the_callers_thread(profile):
    (nd.ones((3,)) + 1).asnumpy()
    nd.waitall()
    events = profile()
    threads = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    call = of(events, "MXNET_C_API", "_plus_scalar")[0]
    assert threads[call["tid"]] in ("main", "caller")
    assert of(events, "MXNET_C_API", "waitall")


@pytest.mark.parametrize("keyword, category", [("profile_imperative", "operator"), ("profile_symbolic", "graph"),
                                               ("profile_api", "MXNET_C_API"), ("profile_memory", "Device Storage")])
def test_each_kind_can_be_left_out(tmp_path, keyword, category):
    profiler.set_config(filename=str(tmp_path / "p.json"), **{keyword: False})
    profiler.set_state("run")
    net = convolution()
    net(nd.ones((2, 3, 8, 8))).wait_to_read()
    nd.sin(nd.ones((3,))).wait_to_read()
    profiler.dump()
    events = json.loads((tmp_path / "p.json").read_text())["traceEvents"]
    found = of(events, category, "sin" if category == "operator" else None)
    assert not found
    profiler.dumps(reset=True)
    profiler.set_config()


def test_work_of_many_threads(profile):
    def work():
        x = nd.ones((8,))
        for _ in range(200):
            x = x + 1
        x.wait_to_read()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    events = profile()
    assert len(of(events, "operator", "_plus_scalar")) == 800
    assert sums()["Time"]["operator"]["_plus_scalar"]["Count"] == 800


# --- state

def test_pause_and_resume(profile):
    a = nd.ones((3,))
    nd.sin(a)
    profiler.pause()
    nd.cos(a)
    profiler.resume()
    nd.tan(a)
    names = {e["name"] for e in of(profile(), "operator")}
    assert {"sin", "tan"} <= names and "cos" not in names


def test_resume_does_not_start_what_is_stopped(profile):
    profiler.set_state("stop")
    profiler.resume()
    nd.cos(nd.ones((3,)))
    assert not of(profile(), "operator", "cos")


def test_dump_that_goes_on_completes_the_same_file(tmp_path):
    path = tmp_path / "p.json"
    profiler.set_config(filename=str(path))
    profiler.set_state("run")
    nd.sin(nd.ones((3,)))
    profiler.dump(finished=False)
    first = json.loads(path.read_text())["traceEvents"]
    nd.cos(nd.ones((3,)))
    profiler.dump()
    both = json.loads(path.read_text())["traceEvents"]
    assert both[:len(first)] == first
    assert of(both, "operator", "sin") and of(both, "operator", "cos")
    with pytest.raises(mx.MXNetError, match="not started"):
        profiler.dump()
    profiler.set_config()


def test_continuous_dump_writes_while_running(tmp_path):
    path = tmp_path / "p.json"
    profiler.set_config(filename=str(path), continuous_dump=True, dump_period=0.02)
    profiler.set_state("run")
    nd.sin(nd.ones((3,))).wait_to_read()
    for _ in range(200):
        if path.exists() and path.stat().st_size > 100:
            break
        threading.Event().wait(0.02)
    profiler.dump()
    assert of(json.loads(path.read_text())["traceEvents"], "operator", "sin")
    profiler.set_config()


def test_the_buffer_is_bounded_and_sums_go_on(tmp_path):
    profiler.dumps(reset=True)
    profiler.set_config(filename=str(tmp_path / "p.json"), max_events=10, profile_memory=False, profile_api=False)
    profiler.set_state("run")
    a = nd.ones((3,))
    for _ in range(50):
        nd.sin(a)
    profiler.set_state("stop")
    assert sums()["Time"]["operator"]["sin"]["Count"] == 50
    assert sums()["Dropped events"] >= 40
    assert "did not fit" in profiler.dumps()
    profiler.dump()
    events = json.loads((tmp_path / "p.json").read_text())["traceEvents"]
    assert len([e for e in events if e["ph"] == "X"]) <= 10
    profiler.dumps(reset=True)
    profiler.set_config()


def test_errors():
    with pytest.raises(mx.MXNetError, match="there is no argument 'bad'.*profile_all"):
        profiler.set_config(bad=1)
    with pytest.raises(mx.MXNetError, match="profile_all must be a bool, got 'x'"):
        profiler.set_config(profile_all="x")
    with pytest.raises(mx.MXNetError, match="dump_period must be positive"):
        profiler.set_config(dump_period=-1)
    with pytest.raises(KeyError):
        profiler.set_state("walk")
    with pytest.raises(mx.MXNetError, match="parameter server"):
        profiler.set_config(profile_process="server")
    with pytest.raises(mx.MXNetError, match="parameter server"):
        profiler.set_state("run", profile_process="server")
    with pytest.raises(mx.MXNetError, match="'worker' or 'server'"):
        profiler.pause(profile_process="nobody")
    with pytest.raises(ValueError, match="format"):
        profiler.dumps(format="xml")
    with pytest.raises(ValueError, match="sort_by"):
        profiler.dumps(sort_by="name")


def test_older_names(tmp_path):
    with pytest.warns(UserWarning, match="set_config"):
        profiler.profiler_set_config("all", str(tmp_path / "p.json"))
    with pytest.warns(UserWarning, match="set_state"):
        profiler.profiler_set_state("run")
    nd.sin(nd.ones((3,)))
    with pytest.warns(UserWarning, match="dump"):
        profiler.dump_profile()
    assert of(json.loads((tmp_path / "p.json").read_text())["traceEvents"], "operator", "sin")
    profiler.set_config()


# --- marks

def test_marks(profile):
    domain = profiler.Domain("work")
    task, frame = domain.new_task("task"), domain.new_frame("frame")
    counter, marker = domain.new_counter("counter", 1), domain.new_marker("marker")
    event = profiler.Event("event")
    task.start()
    with frame, event:
        nd.sin(nd.ones((3,)))
    task.stop()
    counter += 4
    counter -= 2
    counter.increment()
    counter.decrement(3)
    marker.mark()
    marker.mark("thread")
    assert [str(x) for x in (domain, task, frame, counter, event, marker)] == [
        "work", "task", "frame", "counter", "event", "marker"]
    with pytest.raises(ValueError):
        counter.set_value("x")
    with pytest.raises(mx.MXNetError, match="scope"):
        marker.mark("room")
    events = profile()
    begin, end = of(events, "work", "task")
    assert (begin["ph"], end["ph"]) == ("b", "e") and begin["id"] == end["id"] and begin["ts"] <= end["ts"]
    outer, = of(events, "event", "event")
    inner, = of(events, "operator", "sin")
    assert outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
    assert [e["args"]["value"] for e in of(events, "work", "counter")] == [1, 5, 3, 4, 1]
    assert [e["s"] for e in of(events, "work,instant_marker")] == ["p", "t"]
    result = sums()
    assert result["Time"]["work"]["task"]["Count"] == 1
    assert result["Time"]["work,frame"]["frame"]["Count"] == 1
    assert result["Counters"]["work"]["counter"] == {"Count": 5, "Min": 1, "Max": 5, "Avg": 14 / 5}


def test_a_stop_without_a_start_is_nothing(profile):
    profiler.Task(profiler.Domain("work"), "never").stop()
    assert not of(profile(), "work")


def test_scopes_follow_the_work(profile):
    net = convolution()
    big = nd.ones((400, 400))
    with profiler.scope("outer"):
        nd.sin(big)
        with profiler.scope("inner:"):
            nd.cos(big)
            net(nd.ones((2, 3, 8, 8))).wait_to_read()
        with profiler.scope("alone", append_mode=False):
            nd.tan(big)
    nd.exp(big)
    events = profile()
    scopes = {e["name"]: e["args"].get("scope") for e in of(events, "operator")}
    assert scopes["sin"] == "outer:" and scopes["cos"] == "outer:inner:" and scopes["tan"] == "alone:"
    assert scopes["_fused_convolution"] == "outer:inner:"
    assert scopes["exp"] is None


# --- sums

def test_sums_are_sorted_and_reset(profile):
    for _ in range(3):
        nd.sin(nd.ones((3,)))
    nd.cos(nd.ones((3,)))
    profiler.set_state("stop")
    by_count = json.loads(profiler.dumps(format="json", sort_by="count", ascending=True))["Time"]["operator"]
    counts = [entry["Count"] for entry in by_count.values()]
    assert counts == sorted(counts)
    entry = by_count["sin"]
    assert entry["Min"] <= entry["Avg"] <= entry["Max"] <= entry["Total"]
    table = profiler.dumps(reset=True)
    for text in ("Profile Statistics:", "operator", "Total Count", "Device Storage", "kernels", "sin <- "):
        assert text in table
    assert "sin" not in profiler.dumps()


# --- processes

def test_naive_engine(tmp_path):
    run(f"""
        import json, mxnet as mx
        mx.profiler.set_config(profile_all=True, filename={str(tmp_path / 'p.json')!r})
        mx.profiler.set_state('run')
        mx.nd.sin(mx.nd.ones((300, 300)))
        mx.profiler.dump()
        events = json.load(open({str(tmp_path / 'p.json')!r}))['traceEvents']
        assert any(e['name'] == 'sin' and e['cat'] == 'operator' for e in events if 'cat' in e)
    """, {"MXNET_ENGINE_TYPE": "NaiveEngine"})


def test_a_child_starts_stopped_and_empty(tmp_path):
    run(f"""
        import json, os, mxnet as mx
        mx.profiler.set_config(profile_all=True, filename={str(tmp_path / 'parent.json')!r})
        mx.profiler.set_state('run')
        mx.nd.sin(mx.nd.ones((3,)))
        child = os.fork()
        if child == 0:
            mx.nd.cos(mx.nd.ones((3,))).wait_to_read()
            assert 'sin' not in mx.profiler.dumps() and 'cos' not in mx.profiler.dumps()
            mx.profiler.set_config(filename={str(tmp_path / 'child.json')!r})
            mx.profiler.set_state('run')
            mx.nd.tan(mx.nd.ones((3,))).wait_to_read()
            mx.profiler.dump()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        mx.profiler.dump()
    """)
    names = [{e["name"] for e in json.loads((tmp_path / f"{who}.json").read_text())["traceEvents"]}
             for who in ("parent", "child")]
    assert "sin" in names[0] and "tan" not in names[0]
    assert "tan" in names[1] and not {"sin", "cos"} & names[1]


@pytest.mark.parametrize("mode, eager", [("0", False), ("1", True)])
def test_autostart_writes_at_exit(tmp_path, mode, eager):
    run(f"""
        import os
        os.chdir({str(tmp_path)!r})
        import mxnet as mx
        x = mx.sym.sin(mx.sym.Variable('x')).bind(mx.cpu(), {{'x': mx.nd.ones((3,))}}).forward()
        mx.nd.cos(x[0])
    """, {"MXNET_PROFILER_AUTOSTART": "1", "MXNET_PROFILER_MODE": mode})
    names = {e["name"] for e in json.loads((tmp_path / "profile.json").read_text())["traceEvents"]}
    assert "sin" in names and ("cos" in names) is eager
