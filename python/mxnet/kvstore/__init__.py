# SPDX-License-Identifier: Apache-2.0
"""Key-value stores: where the devices of a training meet, to add gradients and share weights."""
from .base import KVStoreBase
from .kvstore import KVStore, create, update_on_kvstore_default

__all__ = ["KVStore", "KVStoreBase", "create", "update_on_kvstore_default"]
