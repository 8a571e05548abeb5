#!/usr/bin/env python3
"""Gets objects off tapeloom volumes with nothing but Python 3.6 or later.

usage: python3 reader.py list VOLUME...         by headers only: id, time, level, content, blocks, bytes, parent, source
       python3 reader.py get ID FILE VOLUME...  one object, by its id or the beginning of it; FILE - is standard output
       python3 reader.py all FOLDER VOLUME...   every object, each to a new file in FOLDER, in one pass
VOLUME  a tape drive (/dev/nst0; before: mt -f /dev/nst0 setblk 0; mt -f /dev/nst0 rewind), a virtual tape
        (NAME.tape; NAME.index beside it is used if it is there), or a file with the blocks one after another.
        Several, in order, where objects go on on further volumes; a drive as often as there are cartridges: it asks
        for each. Mirrors may be mixed in: a good block from any of them will do.
--fill  zeros for what is missing (else the output ends there);  --no-verify  checksums of headers alone are checked
Exit status: 0 all whole; 1 something is missing or damaged, and was named; 2 wrong use.
Content "tar" is for GNU tar; with --listed-incremental=/dev/null increments (oldest first) also delete what went.

A block is header and data. Header, little-endian: magic TLOOM+BLK, u16 version 1, u16 its length (512 or 4096), u32
CRC32C of the header with this field zero, u8 kind (1 object, 2 record about the volume: JSON), u8 codec (0 none), u16
flags (1 last block of its object, 2 source broke off), u32 data length, u32 CRC32C of data, u32 length before coding,
16 bytes object id, u64 number of the block, u64 offset of the data in the object, i64 time in ns since 1970, 16 bytes
parent's id, u8 level, u8 content (any, tar, JSON), u16 length of name, 4 bytes, 256 bytes name of the source.
"""

import errno, functools, io, os, re, stat, struct, sys, time, uuid  # noqa: E401, I001

MAGIC = b"TLOOM" + b"BLK"  # in two, so that a scan does not take this text for a block
FIELDS = struct.Struct("<8sHHIBBHIII16sQQq16sBBHI256s")
TABLE = list(range(256))  # CRC32C: reflected, polynomial 0x82F63B78
for _ in range(8):
    TABLE = [c >> 1 ^ (0x82F63B78 if c & 1 else 0) for c in TABLE]
warn = functools.partial(print, file=sys.stderr)


@functools.lru_cache(maxsize=None)  # noqa: UP033
def power(n):
    """x^n modulo the polynomial of the CRC; bit 31 stands for x^0."""
    a, b, square = (power(n // 2), power(n // 2), 0) if n else (0, 0, 0x80000000)
    while a:
        square ^= b if a & 0x80000000 else 0
        a, b = a << 1 & 0xFFFFFFFF, b >> 1 ^ (0x82F63B78 if b & 1 else 0)
    return square >> 1 ^ (0x82F63B78 if square & 1 else 0) if n % 2 else square


def crc32c(data):
    """Long data is one big number, folded upon its other half until it is short: much faster than byte by byte."""
    bits, crc = 8 * len(data), 0xFFFFFFFF
    if bits > 2048:
        value, crc = int.from_bytes(data, "little") ^ crc, 0
        while bits > 2048:
            folded = bits // 16 * 8 - 32
            bits -= folded
            head, value, product = value & (1 << folded) - 1, value >> folded, 0
            for j in range(32):
                product ^= head << 31 - j if power(bits) >> 31 - j & 1 else 0
            value ^= product << bits - folded - 31
        data = value.to_bytes(bits // 8, "little")
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Block:
    """A header that is whole. Otherwise ValueError, which says why."""

    def __init__(self, head):
        fields = FIELDS.unpack(head.ljust(FIELDS.size)[: FIELDS.size])
        magic, version, self.start, crc, self.kind, codec, self.flags, self.length, self.crc = fields[:9]
        ident, _, self.offset, as_of, parent, level, content, name_bytes, _, name = fields[10:]
        sound = magic == MAGIC and 512 <= self.start <= len(head)
        if not sound or crc32c(head[:12] + bytes(4) + head[16 : self.start]) != crc:
            raise ValueError("damaged header")
        if version != 1 or self.flags & 0xFF00 or self.kind not in (1, 2) or codec > (self.kind == 2):
            raise ValueError(f"format version {version} or an extension; this reader knows plain version 1")
        self.id, self.size, self.end = str(uuid.UUID(bytes=ident)), self.start + self.length, self.offset + self.length
        self.suffix, self.name = {1: "tar", 2: "json"}.get(content, "bin"), name[:name_bytes].decode("utf-8", "replace")
        self.level = {0: "full", 1: "incremental", 2: "differential"}.get(level, f"level {level}")
        self.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(as_of // 10**9))
        self.parent = str(uuid.UUID(bytes=parent)) if any(parent) else "-"


def drive(path):
    fd, room, marks, errors, position = os.open(path, os.O_RDONLY), 8 << 20, 0, 0, 0
    while marks < 2 and errors < 8:  # one read, one block; empty at a filemark, twice at the end of what is recorded
        try:
            data = os.read(fd, room)
            marks, errors = 0 if data else marks + 1, 0
            if data:
                yield f"{path}, {position} behind its start", io.BytesIO(data), 0
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.EBUSY) and room > 16384:
                room -= 4096 if room <= 1 << 20 else 1 << 20  # more than this drive or its adapter takes at once
                continue
            errors += 1
            warn(f"{path}, {position} behind its start: {error.strerror}")
        position += 1
    os.close(fd)


def files(path):
    index = re.sub(r"\.tape$", "", path) + ".index"
    with open(path, "rb") as tape, open(index if os.path.exists(index) else os.devnull, "rb") as entries:
        index = entries.read(4096).startswith(b"TLVTINDX")
        for position, entry in enumerate(iter(lambda: entries.read(32 if index else 0).ljust(32, b"\0"), bytes(32))):
            at, _, length = struct.unpack_from("<QQI", entry)
            if length:  # and not a filemark
                yield f"{path}, position {position}", tape, at
        at, window = 0, not index
        while window:  # no index: from block to block, and over padding, label, this reader and damaged blocks
            tape.seek(at)
            window = tape.read(65536)
            found = window.find(MAGIC)
            if found == 0:
                yield f"{path}, byte {at}", tape, at
            try:
                at += found or Block(window[:4096]).size if found >= 0 else max(len(window) - 7, 1)
            except ValueError:
                at += 8


class Object:
    """What was met of one object, and where it goes: a new file, standard output ("-") or nowhere ("")."""

    def __init__(self, block, path):
        self.first, self.path, self.have, self.count, self.bytes, self.flags, self.at = block, path, [], 0, None, 0, 0

    def add(self, block, data, fill):
        if self.path == "-":
            while fill and self.at < block.offset:
                self.at += sys.stdout.buffer.write(bytes(min(block.offset - self.at, 1 << 20)))
            self.at += sys.stdout.buffer.write(data) if block.offset == self.at else 0
        elif self.path:
            with open(self.path, "r+b" if self.count else "xb") as out:
                out.seek(block.offset)
                out.write(data)
        self.count, self.flags = self.count + 1, self.flags | block.flags
        self.bytes = block.end if block.flags & 1 else self.bytes
        self.have += [] if self.have and self.have[-1][1] == block.offset else [[block.offset] * 2]
        self.have[-1][1] = block.end

    def trouble(self, fill):
        gaps, end = [], 0
        for start, stop in [*sorted(self.have), [self.bytes or 0] * 2]:
            gaps += [(end, start)] if start > end else []
            end = max(end, stop)
        if self.path not in ("", "-"):
            os.truncate(self.path, gaps[0][0] if gaps and not fill else end)
        words = [f"bytes {start} to {stop} missing" for start, stop in gaps] + ["no end met"] * (self.bytes is None)
        return "; ".join(words + ["its source broke off"] * (self.flags >> 1 & 1))


def blocks(paths, wanted, read, verify):
    for number, path in enumerate(paths):
        device = stat.S_ISCHR(os.stat(path).st_mode)
        if device and path in paths[:number]:
            warn(f"Put the next cartridge into {path} and press Enter.")
            sys.stdin.readline()
        for place, file, at in (drive if device else files)(path):
            file.seek(at)
            head = file.read(4096)
            try:
                block = Block(head)
                if block.kind == 1 and block.id.startswith(wanted):
                    file.seek(at + block.start)
                    data = file.read(block.length) if read else b""
                    if read and (len(data) != block.length or (verify and crc32c(data) != block.crc)):
                        raise ValueError(f"{block.id}: bytes {block.offset} to {block.end} damaged")
                    yield block, data
            except ValueError as error:
                if head.startswith(MAGIC):  # and not the label or this reader
                    warn(f"{place}: {error}")


def main(args):
    words, fill, objects = [word for word in args if word not in ("--fill", "--no-verify")], "--fill" in args, {}
    first = {"list": 1, "get": 3, "all": 2}.get(words[0] if words else "", len(words))
    if not words[first:] or [word for word in words if word.startswith("--")]:
        sys.exit(warn(__doc__) or 2)
    verb, wanted, target = words[0], words[1] if first == 3 else "", words[first - 1]
    for block, data in blocks(words[first:], wanted, verb != "list", "--no-verify" not in args):
        if block.id not in objects:
            if objects and verb == "get":
                sys.exit(f"{wanted}: more than one id begins so, {block.id} and {objects.popitem()[0]}")
            file = {"list": "", "get": target}.get(verb, os.path.join(target, f"{block.id}.{block.suffix}"))
            objects[block.id] = Object(block, file)
        objects[block.id].add(block, data, fill)
        if verb == "get" and block.flags & 1 and not objects[block.id].trouble(fill=True):
            break  # before another cartridge is asked for
    status = 0 if objects or verb == "list" else f"no block of {wanted or 'any object'} here"
    for name, found in objects.items():
        size, block, trouble = sum(end - start for start, end in found.have), found.first, found.trouble(fill)
        about = name, block.when, block.level, block.suffix, found.count, size, block.parent, ascii(block.name)
        print(*about, trouble or "whole", sep="\t", file=sys.stdout if verb == "list" else sys.stderr)
        status = 1 if trouble else status
    sys.exit(status)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"{error.filename or 'output'}: {error.strerror}")
