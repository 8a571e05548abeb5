"""Compressing and sealing blocks: keys, the coding of one block, and files that are made of such blocks.

::

    library   optional libraries, and what to say when one is missing
    keys      key files; which key opens what
    block     one block: compressed, sealed, and back
    files     an index or a snapshot on disk, sealed as on tape

csrc/FORMAT.md says what the bytes are. Knows nothing of jobs, slots and drives. Importing this package loads none of
the libraries.
"""

from tapeloom.seal.keys import Key, KeyRing, new_key_file

__all__ = ["Key", "KeyRing", "new_key_file"]
