"""Runs in a guest: each fact gets a blank cartridge in an open drive, and is an assertion about plain system calls."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable

from tapeguest import Control, control
from tapeguest.mt import Op, State, operate, place, position, refusal

NODE = "/dev/nst0"
BLOCK = 65536
PAGES = memoryview(mmap.mmap(-1, 2 << 20))
"""Page-aligned memory: what goes to the drive without a copy."""
UNALIGNED = PAGES[1:]

Fact = Callable[[int, Control], None]
FACTS: list[Fact] = []


def fact(check: Fact) -> Fact:
    FACTS.append(check)
    return check


def write(tape: int, count: int = 1, size: int = BLOCK) -> list[str]:
    """What becomes of so many blocks: "" or an errno's name."""
    return [refusal(os.write, tape, PAGES[:size]) for _ in range(count)]


def layout(trouble: Control) -> list[int | None]:
    return trouble.layout("FACT")


# Opening


@fact
def a_tape_cannot_be_opened_for_direct_io(tape: int, trouble: Control) -> None:
    os.close(tape)
    assert refusal(os.open, NODE, os.O_RDWR | os.O_DIRECT) == "EINVAL"


@fact
def one_process_has_a_drive_whichever_node_is_opened(tape: int, trouble: Control) -> None:
    for node in (NODE, "/dev/st0"):
        assert refusal(os.open, node, os.O_RDWR | os.O_NONBLOCK) == "EBUSY"


@fact
def an_empty_drive_opens_at_once_without_waiting_and_says_that_it_is_empty(tape: int, trouble: Control) -> None:
    os.close(tape)
    trouble.unload(0)
    empty = os.open(NODE, os.O_RDWR | os.O_NONBLOCK)
    assert place(empty) == (-1, -1, State.DR_OPEN)
    assert write(empty) == ["ENOMEDIUM"]
    assert refusal(operate, empty, Op.REW) == "ENOMEDIUM"
    trouble.load(0, "FACT")
    assert refusal(os.read, empty, BLOCK) == "ENOMEDIUM"  # until it is opened anew
    os.close(empty)


@fact
def a_protected_cartridge_is_refused_at_open_or_at_the_write(tape: int, trouble: Control) -> None:
    os.close(tape)
    trouble.protect("FACT")
    assert refusal(os.open, NODE, os.O_RDWR) == "EROFS"
    waiting = os.open(NODE, os.O_RDWR | os.O_NONBLOCK)
    assert place(waiting).state & State.WR_PROT
    assert write(waiting) == ["EACCES"]
    os.close(waiting)


# Blocks


@fact
def one_write_is_one_block_and_writev_makes_several(tape: int, trouble: Control) -> None:
    os.write(tape, PAGES[:1000])
    os.writev(tape, [PAGES[:2000], PAGES[:3000]])
    operate(tape, Op.WEOF)
    assert layout(trouble) == [1000, 2000, 3000, None]


@fact
def a_block_longer_than_the_room_is_passed(tape: int, trouble: Control) -> None:
    write(tape, 2)
    operate(tape, Op.REW)
    assert refusal(os.read, tape, 1024) == "ENOMEM"
    assert place(tape).block == 1
    assert len(os.read(tape, 2 * BLOCK)) == BLOCK


@fact
def a_filemark_reads_as_nothing_and_the_end_of_data_as_an_error_later(tape: int, trouble: Control) -> None:
    write(tape)
    operate(tape, Op.WEOF)
    operate(tape, Op.REW)
    assert [len(os.read(tape, BLOCK)) for _ in range(3)] == [BLOCK, 0, 0]
    assert place(tape).state & State.EOD
    assert refusal(os.read, tape, BLOCK) == "EIO"


@fact
def a_block_longer_than_the_drive_takes_is_refused(tape: int, trouble: Control) -> None:
    too_long = mmap.mmap(-1, (8 << 20) + 4096)
    assert refusal(os.write, tape, memoryview(too_long)[: (8 << 20) + 1]) == "EINVAL"
    assert layout(trouble) == []


# When errors come


@fact
def aligned_blocks_of_up_to_254_pages_fail_where_they_fail(tape: int, trouble: Control) -> None:
    for size in (BLOCK, 512 << 10, 254 * 4096):
        operate(tape, Op.REW)
        trouble.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C, after=1)
        assert write(tape, 2, size) == ["", "EIO"]


@fact
def others_fail_one_call_late(tape: int, trouble: Control) -> None:
    for block in (PAGES[: 1 << 20], UNALIGNED[:BLOCK]):
        operate(tape, Op.REW)
        trouble.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C, after=1)
        assert [refusal(os.write, tape, block) for _ in range(3)] == ["", "", "EIO"]
        refusal(operate, tape, Op.REW)


@fact
def a_late_error_comes_with_the_filemark_once(tape: int, trouble: Control) -> None:
    trouble.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C)
    os.write(tape, UNALIGNED[:BLOCK])
    assert [refusal(operate, tape, Op.WEOF) for _ in range(2)] == ["EIO", ""]


@fact
def asking_for_the_status_takes_a_late_error_away(tape: int, trouble: Control) -> None:
    trouble.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C)
    os.write(tape, UNALIGNED[:BLOCK])
    assert refusal(place, tape) == "EIO"
    assert refusal(os.write, tape, UNALIGNED[:BLOCK]) == ""
    assert refusal(operate, tape, Op.WEOF) == ""


@fact
def the_driver_goes_on_after_an_error_only_the_program_can_stop(tape: int, trouble: Control) -> None:
    trouble.fail(0, control.WRITE, key=control.MEDIUM_ERROR, asc=0x0C, after=1)
    assert write(tape, 3) == ["", "EIO", ""]


# The end of the medium


@fact
def the_block_that_meets_early_warning_is_on_tape_and_every_second_one_is_refused(tape: int, trouble: Control) -> None:
    trouble.resize("FACT", 8 * BLOCK, 4 * BLOCK)
    assert write(tape, 7) == ["", "", "", "", "ENOSPC", "", "ENOSPC"]
    operate(tape, Op.WEOF)
    assert write(tape, 2) == ["", "ENOSPC"]
    assert layout(trouble) == [BLOCK] * 5 + [None, BLOCK]


@fact
def at_the_physical_end_a_filemark_is_possible_still(tape: int, trouble: Control) -> None:
    trouble.resize("FACT", 2 * BLOCK, 0)
    assert write(tape, 5)[2:] == ["ENOSPC"] * 3
    operate(tape, Op.WEOF)
    assert layout(trouble) == [BLOCK, BLOCK, None]


# Filemarks that nobody asked for


@fact
def close_marks_what_was_written_and_nothing_twice(tape: int, trouble: Control) -> None:
    write(tape)
    os.close(tape)
    assert layout(trouble) == [BLOCK, None]
    again = os.open(NODE, os.O_RDWR)
    write(again)
    operate(again, Op.WEOF)
    os.close(again)
    assert layout(trouble) == [BLOCK, None, BLOCK, None]


@fact
def the_kernel_marks_for_a_writer_that_was_killed(tape: int, trouble: Control) -> None:
    os.close(tape)
    code = f"import os, signal; t = os.open({NODE!r}, os.O_RDWR); os.write(t, bytes(512)); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-S", "-c", code])
    assert killed.returncode == -signal.SIGKILL
    assert layout(trouble) == [512, None]


@fact
def some_movements_mark_what_was_written_and_some_do_not(tape: int, trouble: Control) -> None:
    marks = {Op.REW: 1, Op.BSF: 1, Op.SEEK: 1, Op.BSR: 0, Op.NOP: 0, Op.EOM: 0, Op.SETBLK: 0}
    for movement, count in marks.items():
        operate(tape, Op.REW)
        write(tape)
        refusal(operate, tape, movement, 0 if movement in (Op.SETBLK, Op.SEEK) else 1)
        assert layout(trouble) == [BLOCK, *[None] * count], movement


# Positions


@fact
def the_position_counts_blocks_and_filemarks_and_leads_back(tape: int, trouble: Control) -> None:
    write(tape, 3)
    operate(tape, Op.WEOF)
    os.write(tape, b"found")
    operate(tape, Op.WEOF)
    assert position(tape) == 6
    operate(tape, Op.SEEK, 4)
    assert place(tape)[:2] == (-1, -1)
    assert (position(tape), os.read(tape, BLOCK)) == (4, b"found")
    assert refusal(operate, tape, Op.SEEK, 100) == "EIO"
    assert position(tape) == 6


@fact
def a_write_truncates(tape: int, trouble: Control) -> None:
    write(tape, 4)
    operate(tape, Op.SEEK, 1)
    write(tape)
    assert layout(trouble) == [BLOCK, BLOCK]


@fact
def spacing_stops_behind_a_filemark_forwards_and_before_it_backwards(tape: int, trouble: Control) -> None:
    write(tape, 2)
    operate(tape, Op.WEOF)
    write(tape, 2)
    operate(tape, Op.REW)
    assert refusal(operate, tape, Op.FSR, 9) == "EIO"
    assert position(tape) == 3
    assert refusal(operate, tape, Op.BSR, 9) == "EIO"
    assert position(tape) == 2
    operate(tape, Op.EOM)
    assert place(tape).state & State.EOD
    assert position(tape) == 6  # a rewind wrote a mark


# Other hands


@fact
def another_cartridge_costs_one_error_and_is_then_written(tape: int, trouble: Control) -> None:
    write(tape)
    trouble.add("OTHER")
    trouble.swap(0, "OTHER")
    assert write(tape, 2) == ["EIO", ""]
    assert trouble.layout("OTHER") == [BLOCK]


@fact
def a_reset_of_the_drive_is_not_noticed_for_more_than_one_call(tape: int, trouble: Control) -> None:
    write(tape, 3)
    operate(tape, Op.WEOF)
    trouble.reset_drive(0)
    assert write(tape, 2)[0] == "EIO"
    refusal(os.close, tape)
    again = os.open(NODE, os.O_RDWR)
    operate(again, Op.REW)  # ends it on every kernel
    assert position(again) == 0
    os.close(again)


@fact
def a_rewind_after_open_is_the_only_sure_beginning(tape: int, trouble: Control) -> None:
    operate(tape, Op.OFFL)
    operate(tape, Op.LOAD)
    operate(tape, Op.REW)
    assert place(tape) == (0, 0, State.BOT | State.ONLINE)


@fact
def a_lock_by_flock_is_possible(tape: int, trouble: Control) -> None:
    fcntl.flock(tape, fcntl.LOCK_EX | fcntl.LOCK_NB)


def main() -> int:
    trouble = Control.from_environment()
    failed = 0
    for check in FACTS:
        trouble.reset(loaded=False)
        trouble.blank(0, "FACT")
        tape = os.open(NODE, os.O_RDWR)
        operate(tape, Op.REW)
        operate(tape, Op.SETBLK, 0)
        name = check.__name__.replace("_", " ")
        try:
            check(tape, trouble)
            print("as expected:", name)
        except Exception:
            failed += 1
            print("NOT AS EXPECTED:", name)
            traceback.print_exc(file=sys.stdout)
        trouble.heal(0)
        refusal(os.close, tape)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
