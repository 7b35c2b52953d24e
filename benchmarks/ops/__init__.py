# SPDX-License-Identifier: Apache-2.0
"""The entries of the single-operator benchmark, a module per family; see `entry.py` for their form."""

import importlib
import pathlib

FAMILIES = {path.stem: importlib.import_module(f"{__name__}.{path.stem}").OPS
            for path in sorted(pathlib.Path(__file__).parent.glob("*.py")) if path.stem not in ("__init__", "entry")}
ENTRIES = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
if len(ENTRIES) != sum(map(len, FAMILIES.values())):
    raise ValueError("two families have an operator of the same name")
