#!/usr/bin/env python3
"""Gets objects off tapeloom volumes with nothing but Python 3.6 or later.
usage: python3 reader.py list VOLUME...         by headers only: id, time, level, content, blocks, bytes, parent, source
       python3 reader.py get ID FILE VOLUME...  one object, by its id or the beginning of it; FILE - is standard output
       python3 reader.py all FOLDER VOLUME...   every object, each to a new file in FOLDER, in one pass
VOLUME  a tape drive (/dev/nst0; before: mt -f /dev/nst0 setblk 0; mt -f /dev/nst0 rewind), a virtual tape (NAME.tape;
        NAME.index beside it is used), or a file with the blocks one after another. Several, in order, where objects go
        on; a drive as often as there are cartridges: it asks for each. Mirrors may be mixed in: any good block will do.
--fill  zeros for what is missing;  --no-verify  headers alone are checked;  --key=FILE  opens what is sealed with it
Exit status: 0 all whole; 1 something is missing or damaged, and was named; 2 wrong use. Content "tar" is for GNU tar.
A block: header (FIELDS, little-endian; named in class Block) and data. CRC32C of the header with that field as zero, of
data as it is. Kind 1 object, 2 record. Codec 2 zstd (program zstd). Flags 1 last, 2 broke off, 256 sealed after zstd by
AES-256-GCM (Python's cryptography), nonce 4 zeros, seq; AAD header, checksums zero; wrapped: data key, RFC 3394.
"""

import base64, errno, functools, importlib, io, os, re, stat, struct, subprocess, sys, time, uuid  # noqa: E401, I001

MAGIC = b"TLOOM" + b"BLK"  # in two, so that a scan does not take this text for a block
FIELDS = struct.Struct("<8sHHIBBHIII16s8sQq16sBBHI256s16s40s")
STEP = lambda c: c >> 1 ^ (0x82F63B78 if c & 1 else 0)  # noqa: E731 (CRC32C, reflected)
TABLE = [functools.reduce(lambda c, _: STEP(c), range(8), c) for c in range(256)]
warn = functools.partial(print, file=sys.stderr)
once = functools.lru_cache(maxsize=None)(warn)


@functools.lru_cache(maxsize=None)  # noqa: UP033
def power(n):
    root, square = (power(n // 2), 0) if n else (0, 1 << 31)  # x^n modulo the polynomial; bit 31 stands for x^0
    for j in range(32 if n else 0):
        square = STEP(square) ^ (root if root >> j & 1 else 0)
    return STEP(square) if n % 2 else square


def crc32c(data):
    bits, crc = 8 * len(data), 0xFFFFFFFF  # long data is one big number, folded until it is short: faster than by bytes
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
    return functools.reduce(lambda c, byte: TABLE[(c ^ byte) & 255] ^ c >> 8, data, crc) ^ 0xFFFFFFFF


class Block:
    def __init__(self, head):
        fields = FIELDS.unpack(head.ljust(FIELDS.size)[: FIELDS.size])
        magic, version, self.start, crc, self.kind, self.codec, self.flags, self.length, self.crc, clear = fields[:10]
        ident, self.seq, self.offset, as_of, parent, level, content, letters, _, name, key, wrapped = fields[10:]
        plain = head[:12] + bytes(4) + head[16 : self.start]
        if magic != MAGIC or not 512 <= self.start <= len(head) or crc32c(plain) != crc:
            raise ValueError("damaged header")
        if version != 1 or self.flags & 0xFE00 or (self.kind, self.codec) not in ((1, 0), (1, 2), (2, 0), (2, 1)):
            raise ValueError(f"format version {version} or an extension; this reader knows version 1")
        self.id, self.key, self.sealed = str(uuid.UUID(bytes=ident)), key.hex(), plain[:24] + bytes(4) + plain[28:]
        self.size, self.end, self.lock = self.start + self.length, self.offset + clear, (self.flags & 256, key, wrapped)
        self.suffix = ("bin", "tar", "json", "parquet", "bin")[min(content, 4)]
        self.name = ascii(name[:letters].decode("utf-8", "replace"))
        self.level = {0: "full", 1: "incremental", 2: "differential"}.get(level, f"level {level}")
        self.when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(as_of // 10**9))
        self.parent = str(uuid.UUID(bytes=parent)) if any(parent) else "-"

    def clear(self, data, keys):
        if self.flags & 256:
            library = functools.partial(importlib.import_module, package="cryptography.hazmat.primitives")
            data_key = library(".keywrap").aes_key_unwrap(base64.b64decode(keys[self.key]), self.lock[2])
            data = library(".ciphers.aead").AESGCM(data_key).decrypt(bytes(4) + self.seq, data, self.sealed)
        if self.codec == 2:
            data = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE).stdout
        if len(data) != self.end - self.offset:
            raise ValueError(f"{self.id}: bytes {self.offset} to {self.end} cannot be decompressed")
        return data


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
    def __init__(self, block, path):  # where it goes: a new file, standard output ("-") or nowhere ("")
        self.first, self.path, self.have, self.count, self.flags, self.coding, self.at = block, path, [], 0, 0, 0, 0

    def add(self, block, data, fill):
        if block.lock != self.first.lock:
            once(f"{block.id}: bytes {block.offset} to {block.end}: not sealed as those before, and not taken")
            return
        if self.path == "-":
            while fill and self.at < block.offset:
                self.at += sys.stdout.buffer.write(bytes(min(block.offset - self.at, 1 << 20)))
            self.at += sys.stdout.buffer.write(data) if block.offset == self.at else 0
        elif self.path:
            with open(self.path, "r+b" if self.count else "xb") as out:
                out.seek(block.offset)
                out.write(data)
        self.count, self.flags, self.coding = self.count + 1, self.flags | block.flags, self.coding | block.codec
        self.have += [] if self.have and self.have[-1][1] == block.offset else [[block.offset] * 2]
        self.have[-1][1] = block.end

    def trouble(self, fill):
        gaps, end = [], 0
        for start, stop in sorted(self.have):
            gaps += [(end, start)] if start > end else []
            end = max(end, stop)
        if self.path not in ("", "-"):
            os.truncate(self.path, gaps[0][0] if gaps and not fill else end)
        words = [f"bytes {start} to {stop} missing" for start, stop in gaps] + ["no end met"] * (1 - self.flags & 1)
        return "; ".join(words + ["its source broke off"] * (self.flags >> 1 & 1))


def blocks(paths, wanted, read, verify, keys):
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
                    data = (head + file.read(max(block.size - 4096, 0)))[block.start : block.size] if read else b""
                    if read and (len(data) != block.length or (verify and crc32c(data) != block.crc)):
                        raise ValueError(f"{block.id}: bytes {block.offset} to {block.end} damaged")
                    yield block, block.clear(data, keys) if read else data
            except (ImportError, KeyError, FileNotFoundError) as error:
                once(f"{block.id} (key: {block.key.strip('0')}) cannot be opened without {error}: see --key")
            except Exception as error:
                if head.startswith(MAGIC):  # and not the label or this reader
                    warn(f"{place}: {str(error) or block.id + ' does not open: changed, or not its own'}")


def main(args):
    options = [word for word in args if re.match("--(fill|no-verify|key=.*)$", word)]
    words, fill, objects = [word for word in args if word not in options], "--fill" in options, {}
    texts = [open(word[6:]).read() for word in options if word.startswith("--key=")]  # noqa: SIM115
    keys = dict(pair for text in texts for pair in re.findall(r"(?s)id: (\w+)\n.*secret: (\S+)", text))
    first = {"list": 1, "get": 3, "all": 2}.get(words[0] if words else "", len(words))
    if not words[first:] or [word for word in words if word.startswith("--")]:
        sys.exit(warn(__doc__) or 2)
    verb, wanted, target = words[0], words[1] if first == 3 else "", words[first - 1]
    for block, data in blocks(words[first:], wanted, verb != "list", "--no-verify" not in options, keys):
        if verb == "get" and objects.keys() - {block.id}:
            sys.exit(f"{wanted}: more than one id begins so, {block.id} and {objects.popitem()[0]}")
        new = Object(block, ("", f"{target}/{block.id}.{block.suffix}", target)[first - 1])
        objects.setdefault(block.id, new).add(block, data, fill)
        if verb == "get" and block.flags & 1 and not objects[block.id].trouble(fill=True):
            break  # before another cartridge is asked for
    status = once.cache_info()[3] > 0 or (0 if objects or verb == "list" else f"no block of {wanted or 'any'} here")
    for name, found in objects.items():
        size, block, trouble = sum(end - start for start, end in found.have), found.first, found.trouble(fill)
        kind = block.suffix + " zstd" * (found.coding >> 1) + f" sealed:{block.key}" * (found.flags >> 8)
        about = name, block.when, block.level, kind, found.count, size, block.parent, block.name
        print(*about, trouble or "whole", sep="\t", file=sys.stdout if verb == "list" else sys.stderr)
    sys.exit(status or any(found.trouble(fill) for found in objects.values()))


if __name__ == "__main__":
    sys.excepthook = lambda _, error, __: warn(getattr(error, "filename", 0) or "output", error.args[-1], sep=": ")
    main(sys.argv[1:])
