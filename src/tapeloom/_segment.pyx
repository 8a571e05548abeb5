# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""Both sides of a producer's segment (csrc/segment.h) under a thin layer: the job's `Bridge`, the producer's `Filler`."""

import os
from msgspec import Struct
from enum import IntEnum

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from tapeloom._kernel cimport (
    Feeder,
    raise_for,
    tl_feeder,
    tl_freed_unwatch,
    tl_freed_watch,
    tl_stream,
    tl_stream_of,
    tl_stream_status,
)
from tapeloom.errors import JobGone, NoReaders, SourceError, Stopped


cdef extern from "block.h" nogil:
    enum:
        TL_HEADER_PAGE


cdef extern from "segment.h" nogil:
    enum:
        TL_SEGMENT_ABI
        TL_SEGMENT_WHY_BYTES
        TL_SEGMENT_WHOLE
        TL_SEGMENT_BROKEN
        TL_GOODBYE_NONE
        TL_GOODBYE_TAKEN
        TL_GOODBYE_STOPPED
        TL_GOODBYE_NO_READERS
    cdef struct tl_segment:
        uint32_t goodbye
        uint8_t why[256]
    uint64_t tl_segment_control_bytes(uint32_t slots)
    uint64_t tl_segment_total_bytes(uint32_t slots, uint32_t payload_max)


cdef extern from "bridge.h" nogil:
    enum:
        TL_BRIDGE_INTERRUPTED
    cdef struct tl_bridge_slot:
        uint32_t order
    cdef struct tl_bridge:
        tl_feeder *feeder
        tl_segment *segment
        tl_bridge_slot *slot
        int memory, socket, process
        uint32_t word
        uint64_t value
        int error
    int tl_bridge_run(tl_bridge *b)
    int tl_bridge_close(tl_bridge *b)


cdef extern from "producer.h" nogil:
    enum:
        TL_PRODUCER_OK
        TL_PRODUCER_INTERRUPTED
        TL_PRODUCER_DAMAGED
    cdef struct tl_producer:
        tl_segment *segment
        uint32_t slots, payload_max
        int socket
        uint64_t filled
        uint8_t *payload
        uint32_t used
    int tl_producer_room_wait(tl_producer *p)
    void tl_producer_flush(tl_producer *p)
    int tl_producer_write(tl_producer *p, const uint8_t *data, uint64_t bytes, uint64_t *done)
    void tl_producer_end(tl_producer *p, int ended)
    int tl_producer_goodbye_wait(tl_producer *p)


ABI = TL_SEGMENT_ABI
WHY_BYTES = TL_SEGMENT_WHY_BYTES


class Goodbye(IntEnum):
    """The job's last word to a producer (csrc/segment.h)."""

    NONE = 0
    TAKEN = 1
    STOPPED = 2
    NO_READERS = 3
    DISTRUST = 4


class BridgeEnd(IntEnum):
    """Why `Bridge.run` came back (csrc/bridge.h)."""

    WHOLE = 0
    BROKEN = 1
    DIED = 2
    LIED = 3
    STOPPED = 4
    NO_READERS = 5
    SYSTEM = 6


class Word(IntEnum):
    """Which of the producer's words made no sense (csrc/bridge.h)."""

    FILLED = 0
    BYTES = 1
    ENDED = 2
    SOCKET = 3


def segment_bytes(uint32_t slots, uint32_t payload_max):
    """Bytes of a segment's memory: its control pages, and `slots` payloads of `payload_max` bytes."""
    return tl_segment_total_bytes(slots, payload_max)


def control_bytes(uint32_t slots):
    """Bytes of a segment's control pages."""
    return tl_segment_control_bytes(slots)


class Passage(Struct, frozen=True):
    """How a bridge ended: with LIED which word said what, with SYSTEM the errno, with BROKEN what the producer said."""

    end: BridgeEnd
    word: Word
    value: int
    errno: int
    said: bytes


cdef class Bridge:
    """The job's side of one object's segment, for one thread. `feeder` has begun the object, with a header of one page, over a
    stream with a segment; what the bridge publishes moves it on, so it can end the object afterwards."""

    cdef Feeder feeder
    cdef tl_bridge bridge
    cdef readonly uint32_t slots, payload_max
    cdef readonly int freed_fd

    def __cinit__(self, Feeder feeder):
        cdef tl_stream *s = tl_stream_of(feeder.arena.view.arena, feeder.feeder.stream)
        if s.segment_slots == 0:
            raise ValueError(f"stream {feeder.feeder.stream} has no segment")
        if feeder.feeder.header.header_bytes != TL_HEADER_PAGE:
            raise ValueError("the object must have been begun with a header of one page")
        self.feeder = feeder
        self.slots = s.segment_slots
        self.payload_max = feeder.feeder.payload_max
        self.freed_fd = s.freed_fd
        self.bridge.feeder = &feeder.feeder
        self.bridge.slot = <tl_bridge_slot *>calloc(self.slots, sizeof(tl_bridge_slot))
        if self.bridge.slot == NULL:
            raise MemoryError

    def watch(self):
        """Makes `freed_fd` readable as soon as the job stops or its last reader is detached. Raises Stopped or NoReaders where
        that has happened already."""
        tl_freed_watch(self.feeder.arena.view.arena, self.feeder.feeder.stream, 0)
        raise_for(tl_stream_status(self.feeder.arena.view.arena, self.feeder.feeder.stream))

    def unwatch(self):
        tl_freed_unwatch(self.feeder.arena.view.arena, self.feeder.feeder.stream)

    def run(self, int memory, int socket, int process):
        """Carries blocks from the segment *memory* (a sealed memfd of `segment_bytes`) until there is something to decide."""
        cdef int end
        if self.bridge.segment != NULL:
            raise ValueError("a bridge runs once")
        if os.fstat(memory).st_size < tl_segment_total_bytes(self.slots, self.payload_max):
            raise ValueError("the segment is too small")
        cdef void *control = mmap(
            NULL, tl_segment_control_bytes(self.slots), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0
        )
        if control == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self.bridge.segment = <tl_segment *>control
        self.bridge.memory, self.bridge.socket, self.bridge.process = memory, socket, process
        while True:
            with nogil:
                end = tl_bridge_run(&self.bridge)
            if end != TL_BRIDGE_INTERRUPTED:
                break
            PyErr_CheckSignals()
        said = (<const char *>self.bridge.segment.why)[:TL_SEGMENT_WHY_BYTES]
        return Passage(BridgeEnd(end), Word(self.bridge.word), self.bridge.value, self.bridge.error, said)

    def goodbye(self, word):
        """Leaves the last word for the producer, who reads it when the socket is closed."""
        if self.bridge.segment != NULL:
            self.bridge.segment.goodbye = int(word)

    def close(self):
        """Lets go of the segment's memory, but for what readers still have in their hands."""
        if self.bridge.segment == NULL:
            return
        cdef int error = tl_bridge_close(&self.bridge)
        munmap(self.bridge.segment, tl_segment_control_bytes(self.slots))
        self.bridge.segment = NULL
        if error:
            raise OSError(error, os.strerror(error))

    def __dealloc__(self):
        if self.bridge.segment != NULL:
            munmap(self.bridge.segment, tl_segment_control_bytes(self.slots))
        free(self.bridge.slot)


cdef class Filler:
    """The producer's side, for one thread. `memory` is a numpy array of bytes over the whole mapped segment, which it keeps."""

    cdef tl_producer producer
    cdef readonly object memory

    def __cinit__(self, memory, uint32_t slots, uint32_t payload_max, int socket):
        if slots == 0 or memory.nbytes < tl_segment_total_bytes(slots, payload_max):
            raise ValueError("the segment is too small")
        self.memory = memory
        self.producer.segment = <tl_segment *><uintptr_t>memory.ctypes.data
        self.producer.slots = slots
        self.producer.payload_max = payload_max
        self.producer.socket = socket

    cdef _raise_for(self, int status):
        if status == TL_PRODUCER_OK:
            return
        if status == TL_PRODUCER_DAMAGED:
            raise SourceError("the memory shared with the job was overwritten by something in this program")
        goodbye = self.producer.segment.goodbye
        if goodbye == TL_GOODBYE_NONE:
            raise JobGone("the job's process has ended without a word; what was not on tape is lost")
        if goodbye == TL_GOODBYE_STOPPED:
            raise Stopped("the job stops")
        if goodbye == TL_GOODBYE_NO_READERS:
            raise NoReaders("no drive takes this object any more: every copy of it has failed or was detached")
        raise SourceError("the job has closed this object: what stood in the memory shared with it made no sense")

    def room(self):
        """Where the next bytes go: the offset of the free room in `memory`, and its length, at least 1. Waits for a slot."""
        cdef int status
        while True:
            with nogil:
                status = tl_producer_room_wait(&self.producer)
            if status != TL_PRODUCER_INTERRUPTED:
                break
            PyErr_CheckSignals()
        self._raise_for(status)
        at = <uint64_t>(self.producer.payload - <uint8_t *>self.producer.segment) + self.producer.used
        return at, self.producer.payload_max - self.producer.used

    def filled(self, uint32_t bytes):
        """The first *bytes* bytes of that room are filled."""
        if self.producer.payload == NULL or bytes > self.producer.payload_max - self.producer.used:
            raise ValueError(f"{bytes} bytes were not reserved")
        self.producer.used += bytes
        if self.producer.used == self.producer.payload_max:
            tl_producer_flush(&self.producer)

    def write(self, data):
        cdef Py_buffer view
        cdef uint64_t done = 0
        cdef int status = TL_PRODUCER_OK
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while True:
                with nogil:
                    status = tl_producer_write(&self.producer, <const uint8_t *>view.buf, view.len, &done)
                if status != TL_PRODUCER_INTERRUPTED:
                    break
                PyErr_CheckSignals()
        finally:
            PyBuffer_Release(&view)
        self._raise_for(status)

    def flush(self):
        """Hands over what there is, however short."""
        tl_producer_flush(&self.producer)

    def end(self):
        """Ends the sequence and waits until all of it is in the job's hands."""
        tl_producer_end(&self.producer, TL_SEGMENT_WHOLE)
        cdef int status
        while True:
            with nogil:
                status = tl_producer_goodbye_wait(&self.producer)
            if status != TL_PRODUCER_INTERRUPTED:
                break
            PyErr_CheckSignals()
        self._raise_for(status)

    def fail(self, bytes why):
        """Says that the sequence is not whole, and why. Waits for nothing."""
        why = why[:TL_SEGMENT_WHY_BYTES]
        memcpy(self.producer.segment.why, <const char *>why, len(why))
        tl_producer_end(&self.producer, TL_SEGMENT_BROKEN)
