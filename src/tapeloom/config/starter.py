"""The file that `tapeloom init` writes: it runs as it is, on virtual tapes, and shows every key."""

from __future__ import annotations

from typing import Final

_TEXT: Final = """\
# tapeloom.toml: what goes onto which tape. Relative paths are relative to this file.
#
#   tapeloom config check      is this file right?
#   tapeloom plan              what would run, and where is the bottleneck?
#   tapeloom backup            run it
#   tapeloom objects           what is on tape
#   tapeloom restore docs --to FOLDER
#
# As it stands it backs up the folder "data" onto a virtual tape, and mirrors it onto a second one.
# Sizes: 512KiB, 64GB (kB MB GB TB PB in thousands, KiB MiB GiB TiB PiB in 1024). Times: 30s, 15min, 2h.

[server]
state = "state"                     # folder of the catalog and of the records of jobs
block = "512KiB"                    # tape block, header included: a multiple of 4KiB, 16KiB to 8MiB
memory = "128MiB"                   # all slots of one job
# spool = "/fast/disk/spool"        # folder for on_lag = "spool"; where none is named: a folder in state
# spool_max = "100GB"               # what a job may have there at once
# export_catalog = true             # after each backup the catalog goes to tape, too: `tapeloom import` begins with it

[drives]                            # the recorders: name = device
R1 = "vtape:tapes/R1"               # "vtape:FOLDER": virtual tapes, files in that folder
R2 = "vtape:tapes/R2"
# R3 = "/dev/nst0"                  # a real drive: always /dev/nst..., which does not rewind
#
# [drives.R4]                       # the long form of a drive
# device = "vtape:tapes/R4"
# capacity = "18TB"                 # of one cartridge
# rate = "400MB/s"                  # what the drive takes: for the bottleneck that `tapeloom plan` predicts
# locate = "60s"                    # going to another place on a tape, on the average: a restore knows where it pays
#
# [libraries]                       # changers: name = device of the changer
# L1 = "vlib:library?drives=2&slots=20&cartridges=10"   # a folder that is a library, with so many blank cartridges
# L2 = "/dev/tape/by-id/scsi-3500e09e-changer"          # a real one, or "/dev/sgN"
#
# [drives.R5]
# device = "vlib:library?bay=0"     # a drive of L1, by its folder
#
# [drives.R6]
# device = "/dev/tape/by-id/scsi-3500e09f-nst"
# library = "L2"                    # it stands in L2, which brings its cartridges
# bay = 0                           # which place there: only where the changer does not tell serial numbers

[sources]                           # what is backed up: name = file or folder
docs = "data"
#
# [sources.mail]                    # the long form of a source
# paths = ["/var/mail", "/etc/postfix"]   # or: path = "/var/mail"
# exclude = ["*.tmp", "/cache/"]    # patterns as in a .gitignore file
# one_file_system = true            # do not go into what is mounted below the paths
# exclude_caches = true             # nor into folders that a CACHEDIR.TAG marks as caches
# exclude_if_present = [".nobackup"]  # nor into folders that have a file of this name
# before = "lvcreate -s -n snap -L 9G vg/mail"  # runs before the source is read; where it fails, nothing is read
# after = "lvremove -y vg/snap"     # runs when the source has been read, whatever happened
# compress = "zstd"                 # block by block, where it pays; or with a level: "zstd:1" to "zstd:19"
# encrypt = "K1"                    # every block sealed with a key from [keys]
# digest = "sha256"                 # over the whole sequence, beside the checksums of the blocks; or "blake3"
#
# [sources.db]
# command = ["pg_dump", "mydb"]     # its standard output; a string instead of an array goes to the shell
# time_limit = "2h"                 # for command, before and after, each
#
# [sources.disk]
# raw = "/dev/vg/snap"              # a block device, or a file taken as if it were one; holes are left out
#
# [sources.camera]
# producer = true                   # written by a program, through the Python API
#
# [pools]                           # named sets of volumes, and how long they keep objects: for ever, or
# daily = { retention = "30d" }     # the last good full, and what is needed for what is kept, stay all the same
#
# [keys]                            # key files: name = path
# K1 = "keys/K1.key"                # `tapeloom key new` makes one; without it nothing that it sealed can be read

[backup.nightly.BMA1]               # backup.GROUP.AGENT: an agent owns one drive
drive = "R1"
buffers = { B1 = "docs" }           # BUFFER = source, or an array of sources, one after another
#
# [backup.nightly]                  # settings for all agents of a group; an agent may have its own, but for the level
# level = "full"                    # "incremental": what changed since the last; "differential": since the last full
# run_blocks = 16                   # blocks of one object that may follow one another: longer runs restore faster
# checkpoint = "64GB"               # how often what was written is made safe; or { bytes = "64GB", time = "15min" }
# on_lag = "wait"                   # a drive is too slow: "wait" for it, "detach" it, or "spool" for it
# lag_max = "60s"                   # how late that is; or { bytes = "10GB", time = "60s" }
# pool = "default"                  # which volumes are written: those of one of [pools], or of this one

[mirror.1.BMA2]                     # mirror.STAGE.AGENT: a copy of chosen buffers on another drive
drive = "R2"
buffers = { B1 = "BMA1.B1" }        # BUFFER = "AGENT.BUFFER" that feeds it, in a backup or mirror group
#
# [restore.vault.RMA1]              # restore.GROUP.AGENT: reads objects from the volumes of its drive
# drive = "R1"
# buffers = { B1 = "docs" }         # BUFFER = source (its newest object), object id, array of these, or a selection:
#                                   #   { source = "docs", since = "2026-11-01", until = "2026-11-30", level = "full",
#                                   #     job = "0190163d", copies_below = 2, volume = "R1-0001", single = true }
#
# [copy.1.BMA3]                     # copy.STAGE.AGENT: writes what a restore agent reads
# drive = "R4"
# buffers = { B1 = "RMA1.B1" }
#
# [copy.1]                          # settings as for backup groups, but for the level
# max_restore_cost = 1.5            # chooses run_blocks: one object takes so much longer than one in one piece, at most
"""


def starter() -> str:
    """The text of a commented configuration that loads, and that runs once there is a folder "data" beside it."""
    return _TEXT
