# SPDX-License-Identifier: Apache-2.0
"""Recording scopes as decorators."""

import functools


def decorate(scope, function):
    """`function` run inside `scope` at each call."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with scope:
            return function(*args, **kwargs)

    return wrapped
