# SPDX-License-Identifier: Apache-2.0
"""Short module names (`import mxnet.sym`) that mean the same module object as the long ones."""

import importlib
import importlib.machinery
import sys


class _Finder:  # a finder and loader; the base classes of importlib.abc would cost as much as the rest of the package
    def __init__(self, package, names):
        self._full = {f"{package}.{short}": f"{package}.{full}" for short, full in names.items()}

    def find_spec(self, name, path=None, target=None):
        if name in self._full:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return importlib.import_module(self._full[spec.name])

    def exec_module(self, module):
        pass


def install(package, names):
    """Makes `package.<short>` importable as the module `package.<full>`."""
    sys.meta_path.insert(0, _Finder(package, names))
