# What csrc/ declares, as far as _kernel.pyx calls it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "crc32c.h" nogil:
    cdef struct tl_crc32c:
        const char *name
        uint32_t (*update)(uint32_t crc, const void *data, size_t bytes) noexcept nogil
    const tl_crc32c *tl_crc32c_named(const char *name)
    const tl_crc32c *tl_crc32c_best()
    const char *const *tl_crc32c_names()


cdef extern from "block.h" nogil:
    enum:
        TL_FLAG_END
        TL_FLAG_FAILED
        TL_FLAG_SEALED
        TL_CODEC_NONE
        TL_KIND_OBJECT
    cdef struct tl_header:
        uint16_t header_bytes
        uint8_t kind, codec
        uint16_t flags
        uint32_t payload_bytes, payload_crc, sequence_bytes
        uint8_t object[16]
        uint64_t seq, offset
        int64_t as_of
        uint8_t parent[16]
        uint8_t level, content
        uint16_t name_bytes
        uint8_t name[256]
        uint8_t key_id[16]
        uint8_t wrapped_key[40]
    int tl_block_check(const tl_crc32c *crc, const void *block, size_t bytes)


cdef extern from "device.h" nogil:
    cdef struct tl_device_ops:
        uint32_t abi


cdef extern from "arena.h" nogil:
    enum:
        TL_NONE
        TL_DETACHED
    cdef struct tl_slot:
        uint32_t bytes, object
        uint64_t seq
    cdef struct tl_stream:
        uint64_t head
        uint32_t ended, attached, held, waiting
        int64_t waiting_since_ns
        uint64_t blocks, bytes, stalls, stall_ns, freed
        int32_t freed_fd
        uint32_t quota, cap, first_segment, segment_slots
    cdef struct tl_cursor:
        uint64_t claim, tail
        uint32_t stream, agent, bit, finished
    cdef struct tl_agent:
        uint32_t detached, live, cursors, first_cursor, run_blocks
        uint64_t blocks, bytes, calls, runs, short_runs, sleeps, sleep_ns, device_ns, starvations
        int64_t in_call_since_ns, starving_since_ns
    cdef struct tl_arena:
        uint32_t slots, slots_own, slot_bytes, streams, cursors, agents, stop
        uint64_t data_at, total_bytes
    cdef struct tl_view:
        tl_arena *arena
        uint8_t **slot
    cdef struct tl_stream_plan:
        uint32_t quota, cap, segment_slots
    cdef struct tl_cursor_plan:
        uint32_t stream, agent
    cdef struct tl_agent_plan:
        uint32_t first_cursor, cursors, run_blocks, dormant
        int64_t patience_ns
        uint64_t start_blocks
    cdef struct tl_plan:
        uint32_t slot_bytes, slots_common, streams, cursors, agents
        const tl_stream_plan *stream
        const tl_cursor_plan *cursor
        const tl_agent_plan *agent
    tl_stream *tl_stream_of(const tl_arena *a, uint32_t i)
    tl_cursor *tl_cursor_of(const tl_arena *a, uint32_t i)
    tl_agent *tl_agent_of(const tl_arena *a, uint32_t i)
    tl_slot *tl_slot_of(const tl_arena *a, uint32_t i)
    uint64_t tl_arena_control_bytes(const tl_plan *plan)
    uint64_t tl_arena_bytes(const tl_plan *plan)
    void tl_arena_init(void *memory, const tl_plan *plan)


cdef extern from "ring.h" nogil:
    enum:
        TL_RING_OK
        TL_RING_AGAIN
        TL_RING_STOPPED
        TL_RING_NO_READERS
        TL_SLEEP_ANY
    int tl_slot_reserve_nowait(const tl_arena *a, uint32_t stream, uint32_t *slot)
    void tl_slot_return(const tl_arena *a, uint32_t stream, uint32_t slot)
    int tl_stream_status(const tl_arena *a, uint32_t stream)
    void tl_freed_watch(const tl_arena *a, uint32_t stream, int wanting)
    void tl_freed_unwatch(const tl_arena *a, uint32_t stream)
    void tl_stream_end(const tl_arena *a, uint32_t stream)
    uint32_t tl_claim(const tl_arena *a, uint32_t cursor, uint32_t n, uint64_t *first)
    void tl_release(const tl_arena *a, uint32_t cursor, uint32_t n)
    uint32_t tl_slot_at(const tl_arena *a, uint32_t cursor, uint64_t position)
    int tl_drained(const tl_arena *a, uint32_t cursor)
    void tl_detach(const tl_arena *a, uint32_t agent)
    void tl_hand_over(const tl_arena *a, uint32_t giver, uint32_t taker)
    void tl_let_go(const tl_arena *a, uint32_t agent)
    void tl_stop_all(tl_arena *a, int how)


cdef extern from "lack.h" nogil:
    cdef struct tl_lack:
        uint32_t stream, holder
    uint32_t tl_agent_lack(const tl_arena *a, uint32_t agent, tl_lack *lack, uint32_t max)


cdef extern from "wait.h" nogil:
    int64_t tl_now_ns()


cdef extern from "drain.h" nogil:
    enum:
        TL_DRAIN_BLOCK
        TL_DRAIN_END
        TL_DRAIN_STOPPED
        TL_DRAIN_LATE
    int tl_drain_nowait(const tl_arena *a, uint32_t cursor, uint32_t *slot)
    int tl_drain_until(const tl_arena *a, uint32_t cursor, uint32_t *slot, int64_t deadline_ns)


cdef extern from "feed.h" nogil:
    cdef struct tl_feeder:
        uint32_t stream, slot, object, filled, payload_max
        tl_header header
    cdef struct tl_coded:
        uint64_t seq, offset
        uint32_t payload_bytes, sequence_bytes
        uint16_t flags
        uint8_t codec
    void tl_feed_header(const tl_feeder *f, const tl_coded *coded, void *to)
    int tl_feed_coded(tl_feeder *f, const tl_coded *coded, const void *payload, int ending)
    void tl_feed_init(tl_feeder *f, const tl_view *view, const tl_crc32c *crc, uint32_t stream)
    void tl_feed_begin(tl_feeder *f, const tl_header *header, uint32_t object)
    int tl_feed_room(tl_feeder *f, uint8_t **data, uint32_t *bytes)
    void tl_feed_filled(tl_feeder *f, uint32_t bytes)
    int tl_feed_flush(tl_feeder *f)
    int tl_feed_end(tl_feeder *f, uint16_t flags)
    void tl_feed_drop(tl_feeder *f)
    int tl_feed_bytes(tl_feeder *f, const void *data, uint64_t bytes)
    int tl_feed_zeros(tl_feeder *f, uint64_t bytes)
    int tl_feed_file(tl_feeder *f, int fd, uint64_t offset, uint64_t bytes, uint64_t *got, int *error)
    int tl_feed_pipe(tl_feeder *f, int fd, uint64_t *got, int *error)


cdef extern from "interleave.h" nogil:
    cdef struct tl_run:
        uint64_t object, seq, blocks, position
    cdef struct tl_turn:
        const tl_device_ops *ops
        void *device
        tl_run *runs
        uint32_t runs_max
        uint64_t bytes_max
        int64_t deadline_ns
        uint64_t position
        uint32_t reason
        int32_t status
        uint32_t run_count
        uint64_t blocks, bytes
    void tl_interleave(const tl_view *view, uint32_t agent, tl_turn *turn)


cdef extern from "split.h" nogil:
    cdef struct tl_want:
        uint8_t object[16]
        uint32_t stream, number
    cdef struct tl_fault:
        uint64_t position, seq
        uint32_t verdict, bytes
        uint8_t object[16]
    cdef struct tl_split:
        const tl_device_ops *ops
        void *device
        uint32_t pool, agent
        const tl_want *want
        uint32_t wants
        uint64_t blocks_max, position
        tl_fault *faults
        uint32_t faults_max, stop_at_records
        const uint8_t *expect
        uint64_t expect_seq
        uint32_t reason
        int32_t status
        uint32_t fault_count, record, record_bytes
        uint64_t blocks, bytes, blocks_wanted
    void tl_split_run(const tl_view *view, const tl_crc32c *crc, tl_split *s)


cdef class Arena:
    cdef tl_view view
    cdef const tl_crc32c *crc
    cdef readonly size_t mapped_bytes
    cdef readonly int fd
    cdef void *segments
    cdef size_t segments_bytes

    cdef tl_agent *_agent(self, uint32_t agent) except NULL
    cdef int _place_segments(self) except -1


cdef class Feeder:
    cdef Arena arena
    cdef tl_feeder feeder
    cdef uint8_t *room
    cdef uint32_t room_bytes
    cdef bint inside

    cdef int _inside(self) except -1


cdef raise_for(int status)
