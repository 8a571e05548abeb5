"""The bytes of one object as a reader gets them, opened and decompressed: an end that is not the end is an error."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct

from tapeloom import _kernel
from tapeloom._kernel import Block
from tapeloom.errors import BlockDamaged, DigestWrong, FormatError, LibraryMissing, TapeloomError
from tapeloom.seal.block import Decoder
from tapeloom.seal.keys import KeyRing
from tapeloom.volume.header import Codec, Flag

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tapeloom.runtime.digest import Hashing

Bytes = bytes | bytearray | memoryview

Instead = Callable[[int, BlockDamaged], _kernel.Drain]
"""Takes the seq of a block that came whole off a tape and yet cannot be opened, and the error. Gives a drain that has
begun the object anew, with that block from elsewhere; the drain before is not used again. Raises the error where nobody
else has the block: then all stays as it was."""

_NOTHING = memoryview(b"")
_REST = 1 << 62


def open_sequence(
    drain: _kernel.Drain,
    object_id: UUID,
    *,
    partial: bool = False,
    keys: KeyRing | None = None,
    digest: str | None = None,
    sealed: str | None = None,
    instead: Instead | None = None,
) -> ObjectBytes:
    """The sequence of the object that `drain` has begun, or is about to begin.

    `keys` open it where it is sealed. `digest` is what the catalog has of it ("sha256:..."), for `proof`; `sealed` the
    id of its key, in hexadecimal: blocks that are not sealed with that one are then refused. `instead` is asked for
    another block in the place of one that cannot be opened or decompressed.
    """
    decoder = Decoder(object_id, keys, sealed)
    return ObjectBytes(drain, object_id, decoder, partial=partial, digest=digest, instead=instead)


class _Taken(Struct, frozen=True):
    """A block that the drain gave. `clear` are its bytes of the sequence, or will be, or why they are not to be had."""

    seq: int
    offset: int
    end: int
    flags: int
    clear: Bytes | Future[Bytes] | TapeloomError

    def get(self) -> memoryview:
        if isinstance(self.clear, TapeloomError):
            raise self.clear
        return memoryview(self.clear if isinstance(self.clear, Bytes) else self.clear.result())


class ObjectBytes:
    """What a drain gives of one object (see tapeloom.agent.sink.Sequence).

    Every call may raise BlockDamaged for what is missing or damaged, and again when it is asked for again; `go_to`
    leads over it. Where the source broke off, the call that meets the end raises FormatError, however often it is
    asked; with `partial` it ends as any other. SealError: its key is not here.

    `seq` and `offset` say how far the blocks go that have been looked into: blocks, and bytes of the sequence.
    `broken_off`: the last block says that the source broke off; True no earlier than that block has come. `unproven`
    says why `proof` could prove nothing, where that is for lack of a library.
    """

    def __init__(
        self,
        drain: _kernel.Drain,
        object_id: UUID,
        decoder: Decoder,
        *,
        partial: bool,
        digest: str | None = None,
        instead: Instead | None = None,
    ):
        self.seq = self.offset = 0
        self.broken_off = False
        self.unproven: str | None = None
        self._drain = drain
        self._id = object_id
        self._decoder = decoder
        self._partial = partial
        self._digest = digest
        self._instead = instead
        self._hashing = None if digest is None else self._new_hashing(digest)
        self._hashed: Future[object] | None = None
        self._view = _NOTHING
        self._at = 0
        self._ended = False
        self._gaps = False
        self._depth = 0
        self._dry = False
        self._ahead: deque[_Taken] = deque()

    def peek(self) -> memoryview:
        """The next unread bytes that lie together; none at the end. They stay unread. Void after the next call."""
        return self._view[self._at :] if self._more() else _NOTHING

    def consume(self, bytes: int) -> None:
        """Passes over the first bytes of what `peek` gave."""
        if not 0 <= bytes <= len(self._view) - self._at:
            raise ValueError(f"{bytes} bytes are more than what was looked at")
        self._at += bytes

    def payload(self) -> memoryview | None:
        """The next unread bytes that lie together, or None at the end. Void after the next call."""
        if not self._more():
            return None
        view = self._view[self._at :]
        self._at = len(self._view)
        return view

    def read(self, bytes: int) -> bytes:
        """The next *bytes* bytes; fewer only at the end."""
        at = self._at
        if bytes <= len(self._view) - at:
            self._at = at + bytes
            return self._view[at : at + bytes].tobytes()
        pieces = []
        while bytes and self._more():
            pieces.append(self._view[self._at : self._at + bytes].tobytes())
            self._at += len(pieces[-1])
            bytes -= len(pieces[-1])
        return b"".join(pieces)

    def skip(self, bytes: int) -> int:
        """Passes over the next *bytes* bytes. Returns how many there were, fewer only at the end."""
        done = 0
        while done < bytes and self._more():
            n = min(bytes - done, len(self._view) - self._at)
            self._at += n
            done += n
        return done

    def pump_to(self, fd: int, offset: int, bytes: int) -> int:
        """Writes the next *bytes* bytes into the file *fd* at *offset*. Returns how many there were, fewer only at the
        end."""
        done = 0
        while done < bytes and self._more():
            written = os.pwrite(fd, self._view[self._at : self._at + bytes - done], offset + done)
            self._at += written
            done += written
        return done

    def go_to(self, offset: int) -> None:
        """Goes on at byte `offset` of the sequence, not before the present place. Blocks between need not come.

        Raises
        ------
        BlockDamaged
            The block that holds the byte does not come, or the sequence ends before it.
        """
        if offset < self.offset - len(self._view) + self._at:
            raise ValueError(f"byte {offset} has been passed: a sequence goes on, never back")
        while offset > self.offset:
            self._release()
            taken = None if self._ended else self._head()
            if taken is None:
                raise BlockDamaged(f"byte {offset} of object {self._id} is behind what there is of it")
            gap = taken.seq > self.seq and taken.offset > self.offset
            if taken.offset > offset or not (gap or self._follows(taken)):
                raise self._missing(taken)
            if gap:
                self._gaps = True
                self.seq, self.offset = taken.seq, taken.offset
            if taken.end > offset or (taken.end == offset and taken.flags & Flag.END):
                self._use(taken)
            else:
                self._gaps = True
                self._pass(taken)
        if len(self._view):
            self._at = offset - (self.offset - len(self._view))

    def proof(self) -> bool:
        """Reads on to the end, and compares the digest of all of it with the one that it has in the catalog. False
        where there is nothing to compare: no digest, parts of the object left out, its source broken off.

        Raises
        ------
        DigestWrong
            They differ.
        """
        if self._gaps or self._hashing is None:
            return False
        self.skip(_REST)
        self._release()
        if self.broken_off or self._gaps:
            return False
        found = self._hashing.finish()
        if found != self._digest:
            raise DigestWrong(
                f"object {self._id} is whole, but its digest is {found}, and {self._digest} in the catalog: "
                "what was read is not what was written"
            )
        return True

    def close(self) -> None:
        """Lets go of the block in hand and of threads; before the drain is closed. May come more than once."""
        self._release()
        self._ahead.clear()
        self._dry = True
        if self._hashing is not None:
            self._hashing.close()

    def _new_hashing(self, digest: str) -> Hashing | None:
        from tapeloom.runtime.digest import Hashing

        kind = digest.partition(":")[0]
        try:
            return Hashing(kind, str(self._id))
        except (LibraryMissing, ValueError) as error:
            self.unproven = f"the digest of object {self._id} is not compared: {error}"
            return None

    def _more(self) -> bool:
        """Makes sure that unread bytes are in hand. False at the end."""
        while self._at == len(self._view):
            if self._ended:
                self._at_the_end()
                return False
            self._release()
            taken = self._head()
            if taken is None:
                raise BlockDamaged(
                    f"the sequence breaks off: block {self.seq}, at byte {self.offset}, and what follows is missing"
                )
            if not self._follows(taken):
                raise self._missing(taken)
            self._use(taken)
        return True

    def _follows(self, taken: _Taken) -> bool:
        return taken.seq == self.seq and taken.offset == self.offset

    def _at_the_end(self) -> None:
        if self.broken_off and not self._partial:
            raise FormatError(
                f"object {self._id} ends where its source broke off; --partial (partial=True) gives what there is"
            )

    def _missing(self, taken: _Taken) -> BlockDamaged:
        return BlockDamaged(
            f"bytes {self.offset} to {taken.offset} are missing (blocks {self.seq} to {taken.seq} of object {self._id})"
        )

    def _use(self, taken: _Taken) -> None:
        """Puts the first block of those ahead in hand, or gets another in its place; then that comes next. It stays
        there where its bytes cannot be had."""
        try:
            view = taken.get()
        except BlockDamaged as broken:
            if self._instead is None:
                raise
            self._drain = self._instead(taken.seq, broken)
            self._ahead.clear()
            self._dry = False
            return
        if self._hashing is not None and not self._gaps:
            self._hashed = self._hashing.add(view)
        self._pass(taken)
        self._view, self._at = view, 0

    def _pass(self, taken: _Taken) -> None:
        self._ahead.popleft()
        self.seq, self.offset = taken.seq + 1, taken.end
        self._ended = bool(taken.flags & Flag.END)
        self.broken_off = bool(taken.flags & Flag.FAILED)

    def _release(self) -> None:
        """Lets go of the block in hand: nobody looks at it any more, the digest's thread neither."""
        if self._hashed is not None:
            self._hashed.result()
            self._hashed = None
        self._view, self._at = _NOTHING, 0

    def _head(self) -> _Taken | None:
        """The first of the blocks that come next; None where there is none. Waits for it, and takes with it those coded
        ones that are there already: they are decoded meanwhile."""
        while not self._dry and (not self._ahead or len(self._ahead) < self._depth):
            block = self._drain.take(wait=not self._ahead)
            if block is None:
                self._dry = not self._ahead
                break
            self._ahead.append(self._taken(block))
        return self._ahead[0] if self._ahead else None

    def _taken(self, block: Block) -> _Taken:
        try:
            self._decoder.admit(block.flags, block.header)
        except TapeloomError as error:
            return self._as(block, error)
        if block.codec == Codec.NONE and not block.flags & Flag.SEALED:
            return self._as(block, bytes(block.payload) if self._depth else block.payload)
        from tapeloom.runtime.workers import depth, workers

        self._depth = max(self._depth, depth(block.sequence_bytes))
        decoded = workers().submit(self._decoder.decode, bytes(block.header), bytes(block.payload))
        return self._as(block, decoded)

    def _as(self, block: Block, clear: Bytes | Future[Bytes] | TapeloomError) -> _Taken:
        return _Taken(block.seq, block.offset, block.offset + block.sequence_bytes, block.flags, clear)
