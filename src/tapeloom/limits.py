"""Numbers that more than one module must agree on. A leaf: imports nothing of tapeloom."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

PAGE_BYTES = 4096
HEADER_BYTES = 512
HEADER_PAGE_BYTES = 4096

BLOCK_BYTES_MIN = 16 * KIB
BLOCK_BYTES_MAX = 8 * MIB
BLOCK_BYTES_DEFAULT = 512 * KIB

MEMORY_BYTES_DEFAULT = 128 * MIB
"""A drive of 400 MB/s is kept at 99.8 % of its pace with that, eight at 98 % (bench/README.md): more is for stalls."""
RUN_BLOCKS_DEFAULT = 16
RUN_BLOCKS_MAX = 1_000_000
SLOTS_PER_BUFFER_MIN = 2

CHECKPOINT_BYTES_DEFAULT = 64 * 10**9
CHECKPOINT_SECONDS_DEFAULT = 15 * 60
LAG_SECONDS_DEFAULT = 60.0

SPOOL_BYTES_DEFAULT = 100 * 10**9
SPOOL_SEGMENT_BYTES_MAX = GIB
SPOOL_SEGMENTS_MIN = 8
"""A spool's segments are small enough for so many to fit: one is written while others are read and removed."""
SPOOL_SEGMENT_BLOCKS_MIN = 8
SPOOL_SLOTS = 16
"""Slots between a spool and the drive that goes on from it: two device calls of a restore for one that writes."""
SPOOL_LAG_SECONDS_MIN = 5.0
"""A spool may hold the others up as long as the agent it stands in for, and so long at least: it begins behind."""

SOURCE_NAME_BYTES_MAX = 256
PAX_END_BYTES = 1024
"""The end mark of an archive. One that is so long has no entries."""
CONFIG_BYTES_MAX = 16 * MIB
STATE_DEFAULT = "state"

ZSTD_LEVEL_DEFAULT = 3
ZSTD_LEVEL_MAX = 19
"""Levels beyond want memory by the hundred MiB."""

PATIENCE_SECONDS = 0.005
"""How long blocks may wait for their run to become a full one while the drive has nothing else to write."""

PRODUCER_END_SLOTS = 2
"""Slots of ours for what is said of a producer's object in its place: it cannot touch them."""

DEFAULT_POOL = "default"
"""Of volumes, where nobody names one."""

BAYS_MAX = 1024
"""So many drives has no library."""
