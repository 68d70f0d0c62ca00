"""Everything delivered, on any fsspec storage: put once, never half-written, read back before it counts.

This package is the only importer of fsspec.
"""

from tasks.storage.backend import Missing
from tasks.storage.specs import read_spec
from tasks.storage.store import Put, Store

__all__ = ["Missing", "Put", "Store", "read_spec"]
