# SPDX-License-Identifier: Apache-2.0
"""Operators that run other operators, or the program's own code."""

from ops.harness import exempt

exempt("Custom", "tests/python/autograd/test_custom_op.py")
