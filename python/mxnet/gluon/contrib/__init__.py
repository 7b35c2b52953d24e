# SPDX-License-Identifier: Apache-2.0
"""Gluon parts outside of the core API."""
from . import nn

__all__ = ["nn"]
