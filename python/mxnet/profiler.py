# SPDX-License-Identifier: Apache-2.0
"""Where time and memory go: operators, plans step by step, kernels, layout changes, and a program's own marks.

    mx.profiler.set_config(profile_all=True, filename='profile.json')
    mx.profiler.set_state('run')
    ...                                # what is to be looked at
    mx.profiler.set_state('stop')
    print(mx.profiler.dumps())         # sums, as a table
    mx.profiler.dump()                 # every event, for chrome://tracing or ui.perfetto.dev
"""
from __future__ import annotations

import atexit
import os
import threading
import warnings

from ._core import _ext
from ._core.errors import MXNetError, MXNetTypeError, MXNetValueError
from ._profiler_report import as_json, as_table

__all__ = ["Counter", "Domain", "Event", "Frame", "Marker", "Task", "dump", "dump_profile", "dumps", "pause",
           "profiler_set_config", "profiler_set_state", "resume", "scope", "set_config", "set_kvstore_handle",
           "set_state", "start", "stop"]

# Keyword of set_config -> (type, default).
_OPTIONS = {
    "profile_all": (bool, False), "profile_symbolic": (bool, True), "profile_imperative": (bool, True),
    "profile_memory": (bool, True), "profile_api": (bool, True), "filename": (str, "profile.json"),
    "continuous_dump": (bool, False), "dump_period": (float, 1.0), "aggregate_stats": (bool, False),
    "profile_process": (str, "worker"), "max_events": (int, 1 << 20),
}
_TRUE, _FALSE = {"1", "true", "True"}, {"0", "false", "False"}


def _option(name, value):
    kind = _OPTIONS[name][0]
    try:
        if kind is bool:
            if str(value) not in _TRUE | _FALSE:
                raise ValueError
            return str(value) in _TRUE
        return kind(value)
    except (TypeError, ValueError):
        raise MXNetValueError(f"profiler.set_config: {name} must be a {kind.__name__}, got {value!r}") from None


def _check_process(function, process):
    if process == "worker":
        return
    if process != "server":
        raise MXNetValueError(f"profiler.{function}: profile_process must be 'worker' or 'server', got {process!r}")
    raise MXNetError(f"profiler.{function}: profile_process='server' needs a parameter server, and this process is "
                     "connected to none; every worker profiles itself with profile_process='worker'")


class _TraceFile:
    """A JSON file of trace events that is whole after each write."""

    _HEAD, _TAIL = b'{"displayTimeUnit": "ms", "traceEvents": [\n', b"\n]}\n"

    def __init__(self, filename):
        self.filename = filename
        self._end = 0  # where the tail begins; 0: nothing is written yet

    def write(self):
        events = _ext.profiler_take_events(self._end == 0)
        with open(self.filename, "r+b" if self._end else "wb") as file:
            if self._end == 0:
                file.write(self._HEAD)
            elif events:
                file.seek(self._end)
                file.write(b",\n")
            else:
                return
            file.write(events)
            self._end = file.tell()
            file.write(self._TAIL)


class _Session:
    """The process's profiler: its settings, whether it runs, and its file."""

    def __init__(self):
        self._lock = threading.RLock()
        self.options = {name: default for name, (_, default) in _OPTIONS.items()}
        self._started = False  # and not dumped for good
        self._runs = False     # also while paused
        self._file = None
        self._writer = None  # (thread, event that ends it) of a continuous dump

    def configure(self, options):
        with self._lock:
            self.options = options
            every = options["profile_all"]
            _ext.profiler_configure(*(every or options[f"profile_{what}"] for what in
                                      ("imperative", "symbolic", "api", "memory")), options["max_events"])
            self._file = None

    def start(self):
        with self._lock:
            if not self._started:
                self._started = True
                atexit.unregister(self.at_exit)
                atexit.register(self.at_exit)
            self._runs = True
            _ext.profiler_start()
            if self.options["continuous_dump"] and self._writer is None:
                end = threading.Event()
                thread = threading.Thread(target=self._write_until, args=(end,), name="mxnet profiler", daemon=True)
                self._writer = thread, end
                thread.start()

    def stop(self):
        with self._lock:
            self._runs = False
            _ext.profiler_stop()
            writer, self._writer = self._writer, None
        if writer:
            writer[1].set()
            writer[0].join()

    def pause(self):
        with self._lock:
            _ext.profiler_stop()

    def resume(self):
        with self._lock:
            if self._runs:
                _ext.profiler_start()

    def dump(self, finished):
        with self._lock:
            if not self._started:
                raise MXNetError("profiler.dump: the profiler was not started; call profiler.set_state('run') first")
        if finished:
            self.stop()
        else:
            _ext.quiesce()
        with self._lock:
            self._write()
            if finished:
                self._started = False
                self._file = None

    def at_exit(self):
        if self._started:
            self.dump(True)

    def forget(self):
        """In a forked child: the parent's profile is not ours."""
        self.__init__()
        _ext.profiler_configure(True, True, True, True, self.options["max_events"])
        atexit.unregister(self.at_exit)

    def _write(self):
        if self._file is None:
            self._file = _TraceFile(self.options["filename"])
        self._file.write()

    def _write_until(self, end):
        while not end.wait(self.options["dump_period"]):
            with self._lock:
                if self._writer is not None:
                    self._write()


_session = _Session()
_session.configure(_session.options)
os.register_at_fork(after_in_child=lambda: _session.forget())


# --- configuration and state

def set_config(**kwargs):
    """Says what the profiler listens to and where it writes. What is not given returns to its default.

    Parameters
    ----------
    profile_all : bool, default False
        Everything below.
    profile_symbolic : bool, default True
        What hybridized blocks and executors run: whole plans and each of their steps.
    profile_imperative : bool, default True
        Operators that run as they are called, and copies.
    profile_memory : bool, default True
        What the storage pool has lent out, and its peak.
    profile_api : bool, default True
        Calls of the interface on the caller's thread: dispatch, waits, compilation of plans.
    filename : str, default 'profile.json'
        What `dump` writes.
    continuous_dump : bool, default False
        Write the file every `dump_period` seconds while running, so that a long run fits in memory.
    dump_period : float, default 1
        Seconds.
    aggregate_stats : bool, default False
        Accepted; sums for `dumps` are always kept.
    profile_process : {'worker', 'server'}, default 'worker'
        'server' needs a distributed key-value store.
    max_events : int, default 1048576
        How many events are kept until they are written. Later ones count only in the sums.
    """
    options = {name: default for name, (_, default) in _OPTIONS.items()}
    for name, value in kwargs.items():
        if name not in _OPTIONS:
            raise MXNetTypeError(f"profiler.set_config: there is no argument {name!r}; there are {', '.join(_OPTIONS)}")
        options[name] = _option(name, value)
    _check_process("set_config", options["profile_process"])
    for name in ("dump_period", "max_events"):
        if options[name] <= 0:
            raise MXNetValueError(f"profiler.set_config: {name} must be positive, got {options[name]}")
    _session.configure(options)


def set_state(state="stop", profile_process="worker"):
    """Starts ('run') or stops ('stop') the profiler. Work that was issued before counts as before."""
    if state not in ("run", "stop"):
        raise KeyError(f"profiler.set_state: state must be 'run' or 'stop', got {state!r}")
    _check_process("set_state", profile_process)
    if state == "run":
        _session.start()
    else:
        _session.stop()


def start(profile_process="worker"):
    """`set_state('run')`."""
    set_state("run", profile_process)


def stop(profile_process="worker"):
    """`set_state('stop')`."""
    set_state("stop", profile_process)


def pause(profile_process="worker"):
    """Stops recording until `resume`."""
    _check_process("pause", profile_process)
    _session.pause()


def resume(profile_process="worker"):
    """Records again after `pause`."""
    _check_process("resume", profile_process)
    _session.resume()


def dump(finished=True, profile_process="worker"):
    """Writes all events to the configured file, as JSON for chrome://tracing or https://ui.perfetto.dev.

    `finished=False` goes on recording; the next dump completes the same file.
    """
    _check_process("dump", profile_process)
    _session.dump(bool(finished))


def dumps(reset=False, format="table", sort_by="total", ascending=False):
    """Sums per name, as text: counts and times of operators, layout changes, calls and marks, memory, and for each
    signature of an operator the kernel that ran and why faster ones refused.

    Parameters
    ----------
    reset : bool
        Forget the sums afterwards.
    format : {'table', 'json'}
    sort_by : {'total', 'avg', 'min', 'max', 'count'}
    ascending : bool
    """
    if format not in ("table", "json"):
        raise MXNetValueError(f"profiler.dumps: format must be 'table' or 'json', got {format!r}")
    if sort_by not in ("total", "avg", "min", "max", "count"):
        raise MXNetValueError("profiler.dumps: sort_by must be 'total', 'avg', 'min', 'max' or 'count', "
                              f"got {sort_by!r}")
    _ext.quiesce()
    rows, dropped = _ext.profiler_sums(), _ext.profiler_dropped()
    if reset:
        _ext.profiler_reset_sums()
    return (as_table if format == "table" else as_json)(rows, dropped, sort_by, ascending)


# --- older names

def _deprecated(old, new):
    warnings.warn(f"profiler.{old}() is deprecated. Please use profiler.{new}() instead", stacklevel=3)


def profiler_set_config(mode="symbolic", filename="profile.json"):
    """Deprecated: `set_config`. `mode` is 'symbolic', 'imperative', 'api', 'memory' or 'all'."""
    _deprecated("profiler_set_config", "set_config")
    set_config(filename=filename, **{f"profile_{mode}": True})


def profiler_set_state(state="stop"):
    """Deprecated: `set_state`."""
    _deprecated("profiler_set_state", "set_state")
    set_state(state)


def dump_profile():
    """Deprecated: `dump`."""
    _deprecated("dump_profile", "dump")
    dump(True)


def set_kvstore_handle(handle):
    """Accepted for programs that pass the handle of a distributed key-value store; there is nothing to tell it."""


# --- marks of a program

class Domain:
    """A group of a program's own marks: a category of the trace."""

    def __init__(self, name):
        self.name = name

    def __str__(self):
        return self.name

    def new_task(self, name):
        """A `Task` of this domain."""
        return Task(self, name)

    def new_frame(self, name):
        """A `Frame` of this domain."""
        return Frame(self, name)

    def new_counter(self, name, value=None):
        """A `Counter` of this domain."""
        return Counter(self, name, value)

    def new_marker(self, name):
        """A `Marker` of this domain."""
        return Marker(self, name)


class _Duration:
    """Something with a start and a stop; also a context manager."""

    _kind = "b"

    def __init__(self, category, name):
        self.name = name
        self._category = category
        self._begin = None

    def start(self):
        """Begins. A second start begins anew."""
        self._begin = _ext.profiler_now()

    def stop(self):
        """Ends and records; without a start, nothing."""
        if self._begin is not None:
            _ext.profiler_record(self._kind, self._category, self.name, self._begin, _ext.profiler_now())
            self._begin = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def __str__(self):
        return self.name


class Task(_Duration):
    """Work that may overlap other work and may end on another thread."""

    def __init__(self, domain, name):
        super().__init__(str(domain), name)


class Frame(_Duration):
    """One round of something that repeats: a batch, an epoch."""

    def __init__(self, domain, name):
        super().__init__(f"{domain},frame", name)


class Event(_Duration):
    """A stretch of one thread's time; what the thread does in it appears below it."""

    _kind = "X"

    def __init__(self, name):
        super().__init__("event", name)


class Counter:
    """A number over time; `counter += 1` and `counter -= 1` change it."""

    def __init__(self, domain, name, value=None):
        self.name = name
        self._category = str(domain)
        self._lock = threading.Lock()
        self._value = 0
        if value is not None:
            self.set_value(value)

    def _change(self, value, add):
        with self._lock:
            self._value = value + (self._value if add else 0)
            _ext.profiler_record("C", self._category, self.name, _ext.profiler_now(), self._value)

    def set_value(self, value):
        """Sets it to an integer."""
        self._change(int(value), False)

    def increment(self, delta=1):
        """Adds an integer."""
        self._change(int(delta), True)

    def decrement(self, delta=1):
        """Subtracts an integer."""
        self._change(-int(delta), True)

    def __iadd__(self, delta):
        self.increment(delta)
        return self

    def __isub__(self, delta):
        self.decrement(delta)
        return self

    def __str__(self):
        return self.name


class Marker:
    """A moment."""

    _SCOPES = {"global": "g", "process": "p", "thread": "t", "task": "t", "marker": "t"}

    def __init__(self, domain, name):
        self.name = name
        self._category = f"{domain},instant_marker"

    def mark(self, scope="process"):
        """Records the moment. `scope` is how far its line reaches: 'global', 'process', 'thread', 'task', 'marker'."""
        if scope not in self._SCOPES:
            raise MXNetValueError(f"Marker.mark: scope must be one of {', '.join(self._SCOPES)}, got {scope!r}")
        _ext.profiler_record("i", self._category, self.name, _ext.profiler_now(), ord(self._SCOPES[scope]))

    def __str__(self):
        return self.name


class _CurrentScope(threading.local):
    name = ""


_current_scope = _CurrentScope()


class scope:
    """Names what this thread computes meanwhile: events carry the name as their argument `scope`.

    Parameters
    ----------
    name : str
        Ends with a colon; one is added if it does not.
    append_mode : bool
        Whether the name follows that of the scope around it, or replaces it.
    """

    def __init__(self, name="<unk>:", append_mode=True):
        self._name = name if name.endswith(":") else name + ":"
        self._append = append_mode
        self._outer = []

    def __enter__(self):
        outer = _current_scope.name
        self._outer.append(outer)
        self._set(outer + self._name if self._append else self._name)
        return self

    def __exit__(self, *exc):
        self._set(self._outer.pop())

    @staticmethod
    def _set(name):
        _current_scope.name = name
        _ext.set_observe_scope(name or None)


def _autostart():
    """MXNET_PROFILER_AUTOSTART=1 profiles from the import on; MXNET_PROFILER_MODE=1 means eager operators too."""
    eager = os.environ.get("MXNET_PROFILER_MODE", "0") == "1"
    set_config(profile_imperative=eager, profile_api=eager)
    set_state("run")


if os.environ.get("MXNET_PROFILER_AUTOSTART", "0") == "1":
    _autostart()
