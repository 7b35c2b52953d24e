# SPDX-License-Identifier: Apache-2.0
"""Every operator under its registered name, also those whose names begin with an underscore."""
from .op import namespace

__getattr__, __dir__ = namespace(__name__, "")
