# SPDX-License-Identifier: Apache-2.0
"""Automatic names and attribute scopes."""
import pytest

import mxnet as mx


def test_counter_per_hint():
    manager = mx.name.NameManager()
    assert [manager.get(None, "dense"), manager.get("x", "dense"), manager.get("", "dense"),
            manager.get(None, "conv")] \
        == ["dense0", "x", "dense1", "conv0"]


def test_prefix_scope():
    with mx.name.Prefix("p_") as manager:
        assert mx.name.NameManager.current is manager
        assert manager.get(None, "a") == "p_a0"
        assert manager.get("b", "a") == "p_b"
        assert (mx.sym.var("z") + 1).name == "p__plusscalar0"
        assert mx.sym.var("z").name == "z"
    assert mx.name.NameManager.current is not manager


def test_attribute_scopes_nest():
    with mx.AttrScope(__group__="1", __layer__="a"):
        with mx.AttrScope(__group__="2") as scope:
            assert scope.get(None) == {"__group__": "2", "__layer__": "a"}
            assert scope.get({"__layer__": "own"}) == {"__group__": "2", "__layer__": "own"}
            assert mx.sym.var("k").attr("__group__") == "2"
    assert mx.AttrScope.current.get(None) == {}


def test_attributes_are_text():
    with pytest.raises(ValueError, match="text"):
        mx.AttrScope(a=1)
