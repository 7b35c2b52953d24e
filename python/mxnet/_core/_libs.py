# SPDX-License-Identifier: Apache-2.0
"""Finds oneDNN's library where the loader's search path would not.

In a virtual environment the run path of libmxnet.so leads to it. After ``pip install --user`` or ``--target``, and in
some distributions' Pythons, the wheel's files lie elsewhere; the installed distribution's own list of files says where.
"""

import contextlib
import ctypes
import os
import sys

_ONEDNN = "libdnnl.so.3"
_WHEEL = "onednn_cpu_gomp-"
_HERE = os.path.dirname(os.path.abspath(__file__))


def _on_run_path():
    """True if the library lies where the run path of site-packages/mxnet/libmxnet.so leads."""
    package = os.path.dirname(_HERE)
    return any(os.path.exists(os.path.join(package, up, _ONEDNN)) for up in ("", os.path.join("..", "..", "..")))


def _candidates():
    """Paths where the wheel may have put the library: by its own list of files, then the usual folder of such files."""
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):
                if name.startswith(_WHEEL) and name.endswith(".dist-info"):
                    yield from _listed(folder, os.path.join(folder, name, "RECORD"))
    yield os.path.join(sys.prefix, "lib", _ONEDNN)


def _listed(folder, record):
    """Where an installed distribution's list says the library is. (importlib.metadata takes 50 ms to load.)"""
    with open(record, encoding="utf-8") as lines:
        for line in lines:
            path = line.partition(",")[0]
            if os.path.basename(path) == _ONEDNN:
                yield os.path.normpath(os.path.join(folder, path))


def preload():
    """Loads oneDNN before the extension does, unless the extension finds it by itself. Never raises.

    What is loaded globally satisfies the extension's need for a library of that name. If nothing is found, the import
    of the extension goes on: it may link to a system oneDNN.
    """
    if _on_run_path():
        return
    path = next(filter(os.path.exists, _candidates()), None)
    if path is not None:
        with contextlib.suppress(OSError):  # the extension's own import error says more
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def explain(error):
    """An ImportError whose text tells what to do about the loader's `error`."""
    if _ONEDNN.split(".")[0] in str(error):
        return ImportError(f"mxnet needs oneDNN's library {_ONEDNN}, which the loader did not find ({error}).\n"
                           f"Install it into this environment with: pip install onednn-cpu-gomp\n"
                           "(`pip install --target` leaves the library out.)")
    return ImportError(f"mxnet's extension did not load ({error}).\nBuild the package with `pip install .`, "
                       "or in a checkout with `make build`.")
