# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The kernel's face to Python: csrc/ under a layer as thin as it can be.

Python decides, C moves: each call here moves many blocks without the GIL and comes back when there is something to decide. All
numbers that go in are trusted (they come from a compiled `Schedule`), but for bounds that would make C touch memory that is
not its own: those are checked here.
"""

import os
from msgspec import Struct
from enum import IntEnum

import numpy as np

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport (
    MADV_REMOVE, MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_SHARED, PROT_READ, PROT_WRITE, madvise, mmap, munmap,
)
from posix.unistd cimport close, pwrite

from tapeloom._kernel cimport *
from tapeloom.errors import BlockDamaged, NoReaders, Stopped, TapeloomError

FOREVER = np.iinfo(np.int64).max
cdef int64_t SIGNALS_NS = 200_000_000  # how long at most one who waits for a block does not hear a signal

STREAM_PLAN = np.dtype([("quota", "<u4"), ("cap", "<u4"), ("segment_slots", "<u4")])
CURSOR_PLAN = np.dtype([("stream", "<u4"), ("agent", "<u4")])
AGENT_PLAN = np.dtype(
    [
        ("first_cursor", "<u4"), ("cursors", "<u4"), ("run_blocks", "<u4"), ("dormant", "<u4"), ("patience_ns", "<i8"),
        ("start_blocks", "<u8"),
    ]
)
RUN = np.dtype([("object", "<u8"), ("seq", "<u8"), ("blocks", "<u8"), ("position", "<u8")])
FAULT = np.dtype([("position", "<u8"), ("seq", "<u8"), ("verdict", "<u4"), ("bytes", "<u4"), ("object", "V16")])
WANT = np.dtype([("object", "V16"), ("stream", "<u4"), ("number", "<u4")])


class Stop(IntEnum):
    RUN = 0
    IN_ORDER = 1
    NOW = 2


class TurnReason(IntEnum):
    """Why `Interleaver.turn` came back (csrc/interleave.h)."""

    ENDED = 0
    CHECKPOINT = 1
    EARLY_WARNING = 2
    END_OF_MEDIUM = 3
    FAILED = 4
    DETACHED = 5
    STOPPED = 6


class SplitReason(IntEnum):
    """Why `Splitter.run` came back (csrc/split.h)."""

    DONE = 0
    FILEMARK = 1
    END_OF_DATA = 2
    FAILED = 3
    STOPPED = 4
    FAULTS_FULL = 5
    NO_READERS = 6
    RECORD = 7


class Verdict(IntEnum):
    """What the check of a block found (csrc/block.h)."""

    OK = 0
    FOREIGN = 1
    HEADER = 2
    VERSION_NEW = 3
    PAYLOAD = 4
    MISPLACED = 101


def crc32c_names():
    """Names of the CRC32C implementations that this processor runs, the reference first."""
    cdef const char *const *names = tl_crc32c_names()
    found = []
    while names[0] != NULL:
        if tl_crc32c_named(names[0]) != NULL:
            found.append(names[0].decode())
        names += 1
    return found


def crc32c(data, uint32_t crc=0, str name=None):
    """CRC32C of *data* going on from *crc*, by the implementation called *name* (default: the fastest).

    Raises ValueError for a name that this processor cannot run.
    """
    cdef const tl_crc32c *implementation = tl_crc32c_best() if name is None else tl_crc32c_named(name.encode())
    if implementation == NULL:
        raise ValueError(f"no CRC32C implementation called {name!r} here; there are {', '.join(crc32c_names())}")
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    with nogil:
        crc = implementation.update(crc, view.buf, view.len)
    PyBuffer_Release(&view)
    return crc


def check_block(block):
    """The `Verdict` on the bytes of one tape block."""
    cdef Py_buffer view
    PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
    verdict = tl_block_check(tl_crc32c_best(), view.buf, view.len)
    PyBuffer_Release(&view)
    return Verdict(verdict)


cdef raise_for(int status):
    if status == TL_RING_STOPPED:
        raise Stopped("the job stops")
    if status == TL_RING_NO_READERS:
        raise NoReaders("no drive takes this object any more: every copy of it has failed or was detached")


cdef class _Plan:
    """A tl_plan over numpy tables, which it keeps alive."""

    cdef tl_plan plan
    cdef object tables

    def __cinit__(self, uint32_t slot_bytes, uint32_t slots_common, streams, cursors, agents):
        s = np.ascontiguousarray(streams, STREAM_PLAN)
        c = np.ascontiguousarray(cursors, CURSOR_PLAN)
        g = np.ascontiguousarray(agents, AGENT_PLAN)
        self.tables = (s, c, g)
        self.plan.slot_bytes = slot_bytes
        self.plan.slots_common = slots_common
        self.plan.streams = len(s)
        self.plan.cursors = len(c)
        self.plan.agents = len(g)
        self.plan.stream = <const tl_stream_plan *><uintptr_t>s.ctypes.data
        self.plan.cursor = <const tl_cursor_plan *><uintptr_t>c.ctypes.data
        self.plan.agent = <const tl_agent_plan *><uintptr_t>g.ctypes.data


def control_bytes(slot_bytes, slots_common, streams, cursors, agents):
    """Bytes that the tables of such an arena take beside its slots."""
    cdef _Plan plan = _Plan(slot_bytes, slots_common, streams, cursors, agents)
    return tl_arena_control_bytes(&plan.plan)


def arena_bytes(slot_bytes, slots_common, streams, cursors, agents):
    """Bytes of such an arena, tables and slots."""
    cdef _Plan plan = _Plan(slot_bytes, slots_common, streams, cursors, agents)
    return tl_arena_bytes(&plan.plan)


cdef class Arena:
    """The shared memory of one job, mapped into this process.

    `fd` is a memfd of at least `arena_bytes()` zero bytes; tables as STREAM_PLAN, CURSOR_PLAN (sorted by agent) and AGENT_PLAN.
    The mapping lives as long as the object, and every feeder, interleaver and drain holds the object. So does its own `fd`, for
    others to map: `mapped_bytes` of it, which stand at `address` here.
    """

    def __cinit__(self, int fd, slot_bytes, slots_common, streams, cursors, agents):
        self.fd = -1
        cdef _Plan plan = _Plan(slot_bytes, slots_common, streams, cursors, agents)
        cdef uint64_t bytes = tl_arena_bytes(&plan.plan)
        cdef uint32_t i
        if os.fstat(fd).st_size < bytes:
            raise ValueError(f"the arena takes {bytes} bytes, its file has {os.fstat(fd).st_size}")
        cdef void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if memory == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.mapped_bytes = bytes
        self.fd = os.dup(fd)
        self.view.arena = <tl_arena *>memory
        tl_arena_init(memory, &plan.plan)
        self.crc = tl_crc32c_best()
        self.view.slot = <uint8_t **>calloc(self.view.arena.slots, sizeof(uint8_t *))
        if self.view.slot == NULL:
            raise MemoryError
        for i in range(self.view.arena.slots_own):
            self.view.slot[i] = <uint8_t *>memory + self.view.arena.data_at + <uint64_t>i * self.view.arena.slot_bytes
        self._place_segments()

    cdef int _place_segments(self) except -1:
        """Addresses for the slots of producers' segments: header pages of ours, behind each of them room for a producer's."""
        cdef tl_arena *a = self.view.arena
        cdef uint32_t i
        if a.slots == a.slots_own:
            return 0
        self.segments_bytes = <size_t>(a.slots - a.slots_own) * a.slot_bytes
        cdef void *memory = mmap(
            NULL, self.segments_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0
        )
        if memory == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.segments = memory
        for i in range(a.slots_own, a.slots):
            self.view.slot[i] = <uint8_t *>memory + <uint64_t>(i - a.slots_own) * a.slot_bytes
        for i in range(a.streams):
            if tl_stream_of(a, i).segment_slots:
                tl_stream_of(a, i).freed_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return 0

    def __dealloc__(self):
        cdef uint32_t i
        free(self.view.slot)
        if self.segments != NULL:
            munmap(self.segments, self.segments_bytes)
            for i in range(self.view.arena.streams):
                if tl_stream_of(self.view.arena, i).freed_fd >= 0:
                    close(tl_stream_of(self.view.arena, i).freed_fd)
        if self.view.arena != NULL:
            munmap(self.view.arena, self.mapped_bytes)
        if self.fd >= 0:
            close(self.fd)

    @property
    def address(self):
        return <uintptr_t>self.view.arena

    def give_back(self):
        """Gives the memory of all slots back to the system; tables and statistics stay. No thread may touch a slot any more."""
        cdef tl_arena *a = self.view.arena
        with nogil:  # what cannot be given back now is when the mapping ends
            madvise(<uint8_t *>a + a.data_at, <size_t>a.slots_own * a.slot_bytes, MADV_REMOVE)

    cdef tl_agent *_agent(self, uint32_t agent) except NULL:
        if agent >= self.view.arena.agents:
            raise IndexError(f"no agent {agent}")
        return tl_agent_of(self.view.arena, agent)

    @property
    def slot_bytes(self):
        return self.view.arena.slot_bytes

    def stop(self, how):
        tl_stop_all(self.view.arena, int(how))

    @property
    def stopping(self):
        return Stop(self.view.arena.stop)

    def detach(self, uint32_t agent):
        """Takes an agent out of all its chains. What waits for it alone goes home at once; a slot under a device call goes
        home when that call returns, never earlier."""
        self._agent(agent)
        with nogil:
            tl_detach(self.view.arena, agent)

    def hand_over(self, uint32_t giver, uint32_t taker):
        """The dormant agent `taker` goes on where `giver` stands, which is detached with what it has in its hands. Call it
        before the taker's thread starts."""
        cdef tl_agent *g = self._agent(giver)
        cdef tl_agent *t = self._agent(taker)
        cdef uint32_t i
        if g.cursors != t.cursors or giver == taker:
            raise ValueError(f"agent {taker} has not a cursor for each cursor of agent {giver}")
        for i in range(g.cursors):
            if (tl_cursor_of(self.view.arena, g.first_cursor + i).stream
                    != tl_cursor_of(self.view.arena, t.first_cursor + i).stream):
                raise ValueError(f"agents {giver} and {taker} do not read the same streams")
        with nogil:
            tl_hand_over(self.view.arena, giver, taker)

    def end_stream(self, uint32_t stream):
        if stream >= self.view.arena.streams:
            raise IndexError(f"no stream {stream}")
        with nogil:
            tl_stream_end(self.view.arena, stream)

    def stream_statistics(self, uint32_t i):
        """Counts of one stream: blocks, bytes published; slots held; how often and how long its producer waited."""
        if i >= self.view.arena.streams:
            raise IndexError(f"no stream {i}")
        cdef tl_stream *s = tl_stream_of(self.view.arena, i)
        return StreamStatistics(
            s.blocks, s.bytes, s.head, bool(s.ended), s.attached, s.held, s.stalls, s.stall_ns, s.waiting_since_ns
        )

    def cursor_statistics(self, uint32_t i):
        if i >= self.view.arena.cursors:
            raise IndexError(f"no cursor {i}")
        cdef tl_cursor *c = tl_cursor_of(self.view.arena, i)
        cdef uint64_t claim = c.claim
        return CursorStatistics(claim & ~<uint64_t>TL_DETACHED, c.tail, bool(claim & TL_DETACHED))

    def agent_statistics(self, uint32_t i):
        cdef tl_agent *g = self._agent(i)
        return AgentStatistics(
            g.blocks, g.bytes, g.calls, g.runs, g.short_runs, g.sleeps, g.sleep_ns, g.device_ns, g.starvations,
            g.in_call_since_ns, g.starving_since_ns, bool(g.detached),
        )

    def lacks(self, uint32_t agent):
        """What an agent waits for that sleeps just now, as a list of (stream, agent or None): of these streams it has
        least, and their producers are at work; or sleep themselves, since that agent has not let go of their slots."""
        cdef tl_lack[64] lack
        cdef uint32_t i
        self._agent(agent)
        cdef uint32_t rows = tl_agent_lack(self.view.arena, agent, lack, 64)
        return [(lack[i].stream, None if lack[i].holder == TL_NONE else lack[i].holder) for i in range(rows)]


class StreamStatistics(Struct, frozen=True):
    blocks: int
    bytes: int
    head: int
    ended: bool
    attached: int
    held: int
    stalls: int
    stall_ns: int
    waiting_since_ns: int


class CursorStatistics(Struct, frozen=True):
    claimed: int
    released: int
    detached: bool


class AgentStatistics(Struct, frozen=True):
    blocks: int
    bytes: int
    calls: int
    runs: int
    short_runs: int
    sleeps: int
    sleep_ns: int
    device_ns: int
    starvations: int
    in_call_since_ns: int
    starving_since_ns: int
    detached: bool


cdef class _Window:
    """Bytes of a slot as a buffer that keeps the arena mapped: whoever looks at them too late sees other bytes, no crash."""

    cdef Arena arena
    cdef void *data
    cdef Py_ssize_t bytes
    cdef bint readonly

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.bytes, self.readonly, flags)


cdef window(Arena arena, const void *data, Py_ssize_t bytes, bint readonly):
    cdef _Window made = _Window.__new__(_Window)
    made.arena, made.data, made.bytes, made.readonly = arena, <void *>data, bytes, readonly
    return memoryview(made)


cdef class Feeder:
    """The producer's end of one stream, for one thread: what is written here becomes the blocks of one object."""

    def __cinit__(self, Arena arena, uint32_t stream):
        if stream >= arena.view.arena.streams:
            raise IndexError(f"no stream {stream}")
        self.arena = arena
        tl_feed_init(&self.feeder, &arena.view, arena.crc, stream)

    def begin(self, *, bytes object_id, uint32_t number, bytes name, int64_t as_of_ns, bytes parent=bytes(16),
              uint8_t level=0, uint8_t content=0, uint16_t header_bytes=512, bytes key_id=bytes(16),
              bytes wrapped_key=bytes(40)):
        """Begins an object; `number` is the job's own number of it, which run tables carry. `key_id` and `wrapped_key` stand in
        every header of a sealed one."""
        cdef tl_header header
        if len(object_id) != 16 or len(parent) != 16 or len(name) > 256 or header_bytes not in (512, 4096):
            raise ValueError("an object's id and parent have 16 bytes, its name at most 256, a header 512 or 4096")
        if len(key_id) != 16 or len(wrapped_key) != 40:
            raise ValueError("a key's id has 16 bytes, a wrapped key 40")
        memset(&header, 0, sizeof(header))
        header.header_bytes = header_bytes
        memcpy(header.object, <const char *>object_id, 16)
        memcpy(header.parent, <const char *>parent, 16)
        memcpy(header.name, <const char *>name, len(name))
        header.name_bytes = len(name)
        header.as_of = as_of_ns
        header.level = level
        header.content = content
        memcpy(header.key_id, <const char *>key_id, 16)
        memcpy(header.wrapped_key, <const char *>wrapped_key, 40)
        tl_feed_begin(&self.feeder, &header, number)
        self.inside = True
        self.room_bytes = 0

    cdef int _inside(self) except -1:
        """Every call that adds to the object begins with this: what `reserve` gave is void after it."""
        self.room_bytes = 0
        if not self.inside:
            raise ValueError("no object has been begun, or the one before has ended")
        return 0

    @property
    def blocks(self):
        """Blocks of this object so far, without the one being filled."""
        return self.feeder.header.seq

    @property
    def stopping(self):
        """Whether the job has been told to stop."""
        return self.arena.view.arena.stop != 0

    @property
    def offset(self):
        """Bytes of the sequence so far."""
        return self.feeder.header.offset + self.feeder.filled

    def write(self, data):
        self._inside()
        cdef Py_buffer view
        cdef int status
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        with nogil:
            status = tl_feed_bytes(&self.feeder, view.buf, view.len)
        PyBuffer_Release(&view)
        raise_for(status)

    def zeros(self, uint64_t bytes):
        self._inside()
        cdef int status
        with nogil:
            status = tl_feed_zeros(&self.feeder, bytes)
        raise_for(status)

    def pump(self, int fd, uint64_t offset, uint64_t bytes):
        self._inside()
        cdef uint64_t got
        cdef int error, status
        with nogil:
            status = tl_feed_file(&self.feeder, fd, offset, bytes, &got, &error)
        raise_for(status)
        return got, error

    def pump_pipe(self, int fd):
        self._inside()
        cdef uint64_t got
        cdef int error, status
        with nogil:
            status = tl_feed_pipe(&self.feeder, fd, &got, &error)
        raise_for(status)
        return got, error

    def reserve(self):
        """The free room of the slot being filled, as a writable memoryview: fill its beginning, then `commit(bytes)`.
        Void after the next call, and when the job stops: the slot is another block's by then. The bytes stay there to touch."""
        self._inside()
        cdef int status
        with nogil:
            status = tl_feed_room(&self.feeder, &self.room, &self.room_bytes)
        raise_for(status)
        return window(self.arena, self.room, self.room_bytes, readonly=False)

    def commit(self, uint32_t bytes):
        if bytes > self.room_bytes:
            raise ValueError(f"{bytes} bytes do not fit into the {self.room_bytes} that were reserved")
        tl_feed_filled(&self.feeder, bytes)
        self.room_bytes = 0

    def coded_header(self, *, uint64_t seq, uint64_t offset, uint32_t payload_bytes, uint32_t sequence_bytes, uint8_t codec,
                     uint16_t flags):
        """The header that such a block of this object will have, with both checksums zero: what sealing authenticates. For
        any thread, while the object lasts."""
        cdef tl_coded coded = tl_coded(seq, offset, payload_bytes, sequence_bytes, flags, codec)
        cdef bytearray header = bytearray(self.feeder.header.header_bytes)
        tl_feed_header(&self.feeder, &coded, <char *>header)
        return bytes(header)

    def put_coded(self, payload, *, uint32_t sequence_bytes, uint8_t codec, uint16_t flags, bint ending=False):
        """Publishes *payload*, which stands for the next `sequence_bytes` bytes, as the next block. `flags` with END end the
        object. `ending`: what goes on is the end of an object, which a stop in order waits for.

        Raises `Stopped` or `NoReaders` where the block could not be handed on; it is then still the next one, unless its
        last reader went while it was published.
        """
        self._inside()
        cdef tl_feeder *f = &self.feeder
        if f.slot != TL_NONE:
            raise ValueError("an object's blocks are either coded or filled in place")
        cdef Py_buffer view
        PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
        cdef tl_coded coded
        cdef int status
        try:
            if <size_t>view.len > f.payload_max:
                raise ValueError(f"{view.len} bytes do not fit into a block, which takes {f.payload_max}")
            coded = tl_coded(f.header.seq, f.header.offset, <uint32_t>view.len, sequence_bytes, flags, codec)
            with nogil:
                status = tl_feed_coded(f, &coded, view.buf, ending)
        finally:
            PyBuffer_Release(&view)
        raise_for(status)
        self.inside = not flags & TL_FLAG_END

    @property
    def payload_bytes_max(self):
        """Payload bytes of a full block of this object."""
        return self.feeder.payload_max

    def flush(self):
        """Publishes what is there as a block, however short."""
        self._inside()
        cdef int status
        with nogil:
            status = tl_feed_flush(&self.feeder)
        raise_for(status)

    def end(self, failed=False):
        """Ends the object. Raises `Stopped` or `NoReaders` where its last block could not be handed on."""
        self._inside()
        cdef uint16_t flags = TL_FLAG_FAILED if failed else 0
        cdef int status
        with nogil:
            status = tl_feed_end(&self.feeder, flags)
        self.inside = status != TL_RING_OK
        raise_for(status)

    def drop(self):
        """Forgets what was not published."""
        tl_feed_drop(&self.feeder)
        self.inside = False
        self.room_bytes = 0


class Turn(Struct, frozen=True):
    """What one turn of an agent did: `runs` is a RUN table of what is on tape now and was not before."""

    reason: TurnReason
    status: int
    position: int
    blocks: int
    bytes: int
    runs: np.ndarray


cdef class Interleaver:
    """The loop of one backup media agent, for one thread."""

    cdef Arena arena
    cdef uint32_t agent
    cdef object runs

    def __cinit__(self, Arena arena, uint32_t agent, runs_max=65536):
        arena._agent(agent)
        if runs_max < 1:
            raise ValueError("a run table has room for one run at least")
        self.arena = arena
        self.agent = agent
        self.runs = np.zeros(runs_max, RUN)

    def turn(self, uintptr_t ops, uintptr_t device, *, uint64_t position, uint64_t bytes_max, int64_t deadline_ns):
        """Writes until there is something to decide. `deadline_ns` on CLOCK_MONOTONIC, FOREVER for none."""
        cdef tl_turn t
        memset(&t, 0, sizeof(t))
        t.ops = <const tl_device_ops *>ops
        t.device = <void *>device
        t.runs = <tl_run *><uintptr_t>self.runs.ctypes.data
        t.runs_max = len(self.runs)
        t.bytes_max = bytes_max
        t.deadline_ns = deadline_ns
        t.position = position
        with nogil:
            tl_interleave(&self.arena.view, self.agent, &t)
        return Turn(TurnReason(t.reason), t.status, t.position, t.blocks, t.bytes, self.runs[:t.run_count].copy())

    def wait(self):
        """Sleeps until a block waits, which is CHECKPOINT, or until there is none to wait for: ENDED, DETACHED, STOPPED."""
        cdef tl_turn t
        memset(&t, 0, sizeof(t))
        t.deadline_ns = FOREVER
        with nogil:
            tl_interleave(&self.arena.view, self.agent, &t)
        return TurnReason(t.reason)

    def let_go(self):
        """Lets go of what is still in the agent's hands. Nothing may follow."""
        with nogil:
            tl_let_go(self.arena.view.arena, self.agent)


class Split(Struct, frozen=True):
    """What one run of a splitter did: `faults` is a FAULT table; `record` a block of a tape record, where asked for."""

    reason: SplitReason
    status: int
    position: int
    blocks: int
    bytes: int
    blocks_wanted: int
    faults: np.ndarray
    record: bytes | None


def _by_object(wants):
    """The order in which the kernel searches."""
    ids = [one.tobytes() for one in wants["object"]]
    if len(set(ids)) < len(ids):
        raise ValueError("an object is wanted twice")
    return wants[sorted(range(len(ids)), key=ids.__getitem__)]


cdef class Splitter:
    """The loop of one restore media agent, for one thread. `wants` is a WANT table that names each object once, `pool` the
    stream without readers whose slots it reads into, `agent` the row whose statistics it fills, if any."""

    cdef Arena arena
    cdef uint32_t pool, agent
    cdef object wants, faults

    def __cinit__(self, Arena arena, uint32_t pool, wants, faults_max=256, agent=None):
        if agent is not None and agent >= arena.view.arena.agents:
            raise IndexError(f"no agent {agent}")
        if pool >= arena.view.arena.streams or any(w >= arena.view.arena.streams for w in wants["stream"]):
            raise IndexError("no such stream")
        if faults_max < 1:
            raise ValueError("a fault table has room for one fault at least")
        self.arena = arena
        self.pool = pool
        self.agent = TL_NONE if agent is None else agent
        self.wants = _by_object(np.ascontiguousarray(wants, WANT))
        self.faults = np.zeros(faults_max, FAULT)

    def run(self, uintptr_t ops, uintptr_t device, *, uint64_t position, uint64_t blocks_max,
            bint stop_at_records=False, bytes expect=None, uint64_t expect_seq=0):
        """Reads until `blocks_max` blocks have come or there is something to decide.

        With `expect`, an object's id, every block must be of that object, in order from `expect_seq` on; another one is a fault.
        FAULTS_FULL: `position` is right behind the last fault, the tape may stand further on.
        """
        cdef tl_split s
        memset(&s, 0, sizeof(s))
        s.ops = <const tl_device_ops *>ops
        s.device = <void *>device
        s.pool = self.pool
        s.agent = self.agent
        s.want = <const tl_want *><uintptr_t>self.wants.ctypes.data
        s.wants = len(self.wants)
        s.blocks_max = blocks_max
        s.position = position
        s.faults = <tl_fault *><uintptr_t>self.faults.ctypes.data
        s.faults_max = len(self.faults)
        s.stop_at_records = stop_at_records
        s.expect = <const uint8_t *><const char *>expect if expect is not None else NULL
        s.expect_seq = expect_seq
        with nogil:
            tl_split_run(&self.arena.view, self.arena.crc, &s)
        record = None
        if s.reason == SplitReason.RECORD:
            record = (<const char *>self.arena.view.slot[s.record])[:s.record_bytes]
            tl_slot_return(self.arena.view.arena, self.pool, s.record)
        return Split(
            SplitReason(s.reason), s.status, s.position, s.blocks, s.bytes, s.blocks_wanted,
            self.faults[:s.fault_count].copy(), record,
        )


class Block(Struct, frozen=True):
    """A block as it stands in its slot: `header` and `payload` are windows of it, void when the drain takes another one."""

    codec: int
    flags: int
    seq: int
    offset: int
    sequence_bytes: int
    header: memoryview
    payload: memoryview


@cython.no_gc_clear  # its last act needs the arena
cdef class Drain:
    """The consumer's end of one object's blocks, in order: what a restore, a digest or a verification reads.

    The blocks' checksums were looked at when they were made or came off the tape; here their order is: `seq` and `offset` go
    on without a gap, and the last one says END. Blocks of another object in the same stream begin a new sequence at
    `next_object()`.

    `take` gives whole blocks instead, coded ones too, for who looks at their order: use it for all of an object, or not at all.
    """

    cdef Arena arena
    cdef uint32_t cursor
    cdef const tl_header *block   # in hand, or NULL
    cdef uint32_t at              # payload bytes of it already given out
    cdef uint8_t whose[16]        # whose blocks these are
    cdef bint inside              # between the first and the last block of an object
    cdef bint last                # the block in hand, or the last one there was, says END
    cdef bint fresh               # the block in hand is the object's first, and nothing of it has been given out
    cdef readonly bint failed
    cdef readonly uint64_t seq, offset

    def __cinit__(self, Arena arena, uint32_t cursor):
        if cursor >= arena.view.arena.cursors:
            raise IndexError(f"no cursor {cursor}")
        self.arena = arena
        self.cursor = cursor

    cdef void _let_go(self) noexcept:
        if self.block != NULL:
            self.block = NULL
            with nogil:
                tl_release(self.arena.view.arena, self.cursor, 1)

    cdef bint _take(self, bint wait=True) except -1:
        """Puts the next block in hand. False where the stream has ended; without *wait*, also where none is there yet."""
        cdef uint32_t slot
        cdef int status
        self._let_go()
        if wait:
            while True:
                with nogil:
                    status = tl_drain_until(self.arena.view.arena, self.cursor, &slot, tl_now_ns() + SIGNALS_NS)
                if status != TL_DRAIN_LATE:
                    break
                PyErr_CheckSignals()  # who waits for a cartridge may press Ctrl-C
        else:
            status = tl_drain_nowait(self.arena.view.arena, self.cursor, &slot)
        if status == TL_DRAIN_STOPPED:
            raise Stopped("the job stops")
        if status == TL_DRAIN_END:
            return False
        self.block = <const tl_header *>self.arena.view.slot[slot]
        self.at = 0
        return True

    cdef bint _more(self) except -1:
        """Makes sure that unread payload is in hand. False at the object's end."""
        if not self.inside:
            return False
        self.fresh = False
        while self.block == NULL or self.at == self.block.payload_bytes:
            if self.last:
                self.inside = False
                self._let_go()
                return False
            if not self._take():
                self.inside = False
                raise BlockDamaged(f"the sequence breaks off: block {self.seq}, at byte {self.offset}, and what follows is missing")
            self._in_order()
        return True

    cdef int _in_order(self) except -1:
        if memcmp(self.block.object, self.whose, 16) != 0:
            self.inside = False
            raise BlockDamaged(
                f"the sequence breaks off: block {self.seq}, at byte {self.offset}, and what follows is missing"
            )
        if self.block.seq != self.seq or self.block.offset != self.offset:
            self.inside = False
            raise BlockDamaged(
                f"bytes {self.offset} to {self.block.offset} are missing (blocks {self.seq} to {self.block.seq})"
            )
        self.seq += 1
        self.offset += self.block.sequence_bytes
        self.last = (self.block.flags & TL_FLAG_END) != 0
        self.failed = (self.block.flags & TL_FLAG_FAILED) != 0
        return 0

    def next_object(self, bint anywhere=False):
        """The id of the next object in the stream, which `read` and the others then give; None when there is none.
        Raises BlockDamaged where its first block is missing, unless it may begin *anywhere*."""
        if self.inside:
            raise ValueError("the object before has not been read to its end")
        if not self._take():
            return None
        self.seq = self.block.seq if anywhere else 0
        self.offset = self.block.offset if anywhere else 0
        self.inside = self.fresh = True
        memcpy(self.whose, self.block.object, 16)
        self._in_order()
        return (<const char *>self.block.object)[:16]

    def take(self, bint wait=True):
        """The next whole `Block` of the object, the one that `next_object` met first; None where the stream, or what there is
        of this object in it, ends; without *wait*, also where none is there yet. Its order is not looked at."""
        if not self.inside:
            return None
        if self.fresh:
            self.fresh = False
        elif self.last:
            self.close()
            return None
        elif not self._take(wait):
            self.inside = not wait
            return None
        elif memcmp(self.block.object, self.whose, 16) != 0:
            self.inside = False
            return None
        cdef const tl_header *h = self.block
        self.seq = h.seq + 1
        self.offset = h.offset + h.sequence_bytes
        self.last = (h.flags & TL_FLAG_END) != 0
        self.failed = (h.flags & TL_FLAG_FAILED) != 0
        return Block(
            h.codec, h.flags, h.seq, h.offset, h.sequence_bytes,
            window(self.arena, h, h.header_bytes, readonly=True),
            window(self.arena, <const uint8_t *>h + h.header_bytes, h.payload_bytes, readonly=True),
        )

    def payload(self):
        """The next unread bytes that lie together, as a memoryview of the slot, or None at the object's end. Void after the
        next call, and when the job stops: the slot is another block's by then. The bytes stay there to look at."""
        if not self._more():
            return None
        cdef uint32_t bytes = self.block.payload_bytes - self.at
        cdef const uint8_t *data = <const uint8_t *>self.block + self.block.header_bytes + self.at
        self.at = self.block.payload_bytes
        return window(self.arena, data, bytes, readonly=True)

    def read(self, uint64_t bytes):
        """The next *bytes* bytes; fewer only where the object ends."""
        cdef uint64_t n
        pieces = []
        while bytes and self._more():
            n = min(bytes, <uint64_t>(self.block.payload_bytes - self.at))
            pieces.append((<const char *>self.block + self.block.header_bytes + self.at)[:n])
            self.at += n
            bytes -= n
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def skip(self, uint64_t bytes):
        """Passes over the next *bytes* bytes. Returns how many there were."""
        cdef uint64_t n, done = 0
        while done < bytes and self._more():
            n = min(bytes - done, <uint64_t>(self.block.payload_bytes - self.at))
            self.at += n
            done += n
        return done

    def pump_to(self, int fd, uint64_t offset, uint64_t bytes):
        """Writes the next *bytes* bytes into the file *fd* at *offset*. Returns how many there were."""
        cdef uint64_t n, done = 0
        cdef ssize_t written
        cdef const uint8_t *data
        while done < bytes and self._more():
            n = min(bytes - done, <uint64_t>(self.block.payload_bytes - self.at))
            data = <const uint8_t *>self.block + self.block.header_bytes + self.at
            with nogil:
                written = pwrite(fd, data, n, offset + done)
            if written < 0:
                if errno == 4:  # EINTR
                    continue
                raise OSError(errno, os.strerror(errno))
            self.at += written
            done += written
        return done

    def close(self):
        """Lets go of the block in hand; nothing can be read afterwards."""
        self.inside = False
        self._let_go()

    def __dealloc__(self):
        if self.block != NULL:
            tl_release(self.arena.view.arena, self.cursor, 1)
