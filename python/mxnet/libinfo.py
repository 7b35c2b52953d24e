# SPDX-License-Identifier: Apache-2.0
"""The version, and where the package keeps its library and its C header."""

import os

__version__ = "2.1.0"

_HERE = os.path.dirname(os.path.abspath(__file__))


def find_lib_path(prefix="libmxnet"):
    """Returns a list with the path of the core library; empty if the package was not built."""
    path = os.path.join(_HERE, f"{prefix}.so")
    return [path] if os.path.exists(path) else []


def find_include_path():
    """Returns the folder to pass to a C compiler with ``-I`` for ``#include <mxnet/c_api.h>``."""
    for folder in (os.path.join(_HERE, "include"), os.path.join(_HERE, "..", "..", "include")):
        if os.path.exists(os.path.join(folder, "mxnet", "c_api.h")):
            return os.path.normpath(folder)
    raise RuntimeError("mxnet: the C header include/mxnet/c_api.h is not installed beside the package")
