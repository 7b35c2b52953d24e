# SPDX-License-Identifier: Apache-2.0
"""Prints "INCLUDE_DIR;LIBRARY" of the oneDNN wheels installed for this Python; exits with 1 if there are none."""

import importlib.metadata
import os
import sys


def find(distribution, name):
    """The path of the file called `name` among what the wheel `distribution` installed, or None."""
    try:
        files = importlib.metadata.files(distribution) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == name:
            path = os.path.normpath(file.locate())
            if os.path.exists(path):
                return path
    return None


header = find("onednn-devel-cpu-gomp", "dnnl.hpp")
library = find("onednn-cpu-gomp", "libdnnl.so.3")
if not header or not library:
    sys.exit(1)
include = os.path.dirname(header)
# Newer wheels keep dnnl.hpp in oneapi/dnnl/ as well; the root is the folder above.
if include.endswith(os.path.join("oneapi", "dnnl")):
    include = os.path.dirname(os.path.dirname(include))
print(f"{include};{library}")
