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
_WHEEL = "onednn-cpu-gomp"
_HERE = os.path.dirname(os.path.abspath(__file__))


def _on_run_path():
    """True if the library lies where the run path of site-packages/mxnet/libmxnet.so leads."""
    package = os.path.dirname(_HERE)
    return any(os.path.exists(os.path.join(package, up, _ONEDNN)) for up in ("", os.path.join("..", "..", "..")))


def _candidates():
    """Paths where the wheel may have put the library: by its own list of files, then the usual folder of such files."""
    import importlib.metadata  # takes 10 ms, and most installations never come here

    for distribution in importlib.metadata.distributions(name=_WHEEL):
        for file in distribution.files or ():
            if file.name == _ONEDNN:
                yield os.path.normpath(file.locate())
    yield os.path.join(sys.prefix, "lib", _ONEDNN)


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
                           f"Install it into this environment with: pip install {_WHEEL}\n"
                           "(`pip install --target` leaves the library out.)")
    return ImportError(f"mxnet's extension did not load ({error}).\nBuild the package with `pip install .`, "
                       "or in a checkout with `make build`.")
