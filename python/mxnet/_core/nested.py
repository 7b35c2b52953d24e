# SPDX-License-Identifier: Apache-2.0
"""Nested lists of arrays or symbols, flat and back."""


def flatten(value, leaf_types, complaint):
    """The leaves of nested lists and tuples, and the nesting to hand to `regroup`.

    In a nesting, 1 is a leaf, 0 is None, and a tuple is (list or tuple, nestings...).
    ValueError, with `complaint` in front, for anything else.
    """
    if isinstance(value, leaf_types):
        return [value], 1
    if value is None:
        return [], 0
    if isinstance(value, (list, tuple)):
        leaves, nesting = [], [tuple if isinstance(value, tuple) else list]
        for item in value:
            item_leaves, item_nesting = flatten(item, leaf_types, complaint)
            leaves += item_leaves
            nesting.append(item_nesting)
        return leaves, tuple(nesting)
    raise ValueError(f"{complaint}, but got {value!r} of type {type(value).__name__}")


def regroup(leaves, nesting):
    """The inverse of `flatten`."""

    def build(nesting):
        if nesting == 1:
            return next(source)
        if nesting == 0:
            return None
        return nesting[0](build(item) for item in nesting[1:])

    source = iter(leaves)
    return build(nesting)


def same_format(left, right):
    """Whether two nestings agree but for lists in place of tuples."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same_format, left[1:], right[1:]))
    return left == right
