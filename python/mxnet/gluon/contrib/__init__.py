# SPDX-License-Identifier: Apache-2.0
"""Gluon parts outside of the core API."""
from . import cnn, nn

__all__ = ["cnn", "nn"]
