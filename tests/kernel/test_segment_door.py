"""Who gets the segment: one program of this user that says hello, while its source is waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import segment_programs as programs
from segment_programs import data_of
from segment_world import NEIGHBOUR, PAYLOAD_MAX, SEGMENT, Turn, World, begin, one_turn, processes, start_program

from tapeloom import _segment
from tapeloom.attach import attach
from tapeloom.errors import NotWaiting, SourceError, UsageError
from tapeloom.handshake import HELLO, HELLO_MAGIC, address, socket_path
from tapeloom.runtime.producer import CALLERS_MAX, Door


def call(path: Path, said: bytes | None = None) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with address(path) as place:
        connection.connect(place)
    if said is not None:
        connection.send(said)
    return connection


def finish(turn: Turn) -> None:
    """Lets an honest program have the turn."""
    start_program(programs.honest, turn.path(), 1, 100_000)
    turn.world.join()
    assert turn.errors == [None]
    assert turn.world.seen[0][0].data == data_of(1, 100_000)


def test_in_this_process_too(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        turn.path()
        with attach(tmp_path, "program") as producer:
            producer.write(b"abc")
            room = producer.reserve()
            assert len(room) == PAYLOAD_MAX - 3
            room[:2] = np.frombuffer(b"de", np.uint8)
            producer.commit(2)
            producer.write(np.arange(3, dtype=np.uint8))
            assert producer.bytes == 8
        turn.world.join()
        assert turn.world.seen[0][0].data == b"abcde\0\1\2"
        assert room[0] == ord("d")  # the memory stays as long as an array over it
        del room


def test_calls_that_make_no_sense(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        producer = attach(turn.path())
        with pytest.raises(UsageError, match="0 are reserved"):
            producer.commit(1)
        room = producer.reserve()
        with pytest.raises(UsageError, match=f"{len(room)} are reserved"):
            producer.commit(len(room) + 1)
        producer.commit(10)
        with pytest.raises(UsageError):
            producer.commit(1)
        producer.end()
        del room
        for again in (producer.end, producer.flush, producer.reserve, lambda: producer.write(b"x")):
            with pytest.raises(UsageError, match="ended"):
                again()
        turn.world.join()
        assert turn.errors == [None]


def test_nobody_waits(tmp_path: Path) -> None:
    with pytest.raises(NotWaiting, match="no job waits for a producer of source 'x'"):
        attach(tmp_path, "x")


def test_the_second_to_come_is_told_so(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        path = turn.path()
        first = attach(path)
        with pytest.raises(NotWaiting):
            attach(path)
        first.write(b"first")
        first.end()
        turn.world.join()
        assert turn.world.seen[0][0].data == b"first"


def test_the_second_in_the_queue_is_told_so(tmp_path: Path) -> None:
    """Both have connected before the job looks at either."""
    with one_turn(tmp_path) as turn:
        late = call(turn.path())
        first = attach(turn.path())
        with pytest.raises(ConnectionError):
            late.send(HELLO.pack(HELLO_MAGIC, _segment.ABI))
        late.close()
        first.end()
        turn.world.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_another_user_is_refused_even_where_the_file_modes_let_it_in() -> None:
    mine, theirs = processes.Pipe()
    with TemporaryDirectory() as state, one_turn(Path(state)) as turn:
        path = turn.path()
        os.chmod(state, 0o755)
        os.chmod(path.parent, 0o755)
        os.chmod(path, 0o666)
        start_program(programs.attaches, path, theirs, 65534)
        kind, words = mine.recv()
        assert kind == "NotWaiting"
        assert "belongs to user 0, the program to user 65534" in words
        finish(turn)


@pytest.mark.parametrize("said", [None, b"", b"GET / HTTP/1.0", HELLO.pack(HELLO_MAGIC, _segment.ABI)[:-1]])
def test_callers_that_are_no_producers_do_not_keep_one_away(tmp_path: Path, said: bytes | None) -> None:
    with one_turn(tmp_path) as turn:
        strangers = [call(turn.path(), said) for _ in range(CALLERS_MAX + 3)]
        finish(turn)
        for stranger in strangers:
            stranger.close()


def test_another_version_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with one_turn(tmp_path) as turn:
        path = turn.path()
        stranger = call(path, HELLO.pack(HELLO_MAGIC, 77))
        assert stranger.recv(1000).endswith(b"this job speaks version 1 of the segment, the program version 77")
        stranger.close()
        finish(turn)


def test_only_this_user_can_reach_the_socket(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        assert turn.path().parent.stat().st_mode & 0o777 == 0o700
        assert turn.path().stat().st_mode & 0o777 == 0o600
        finish(turn)


def test_a_folder_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "x")
    path.parent.mkdir()
    path.parent.chmod(0o755)
    with pytest.raises(SourceError, match="closed to others"):
        Door(path)


def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    path = socket_path(tmp_path, "program")
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as dead, address(path) as place:
        dead.bind(place)
    with one_turn(tmp_path) as turn:
        finish(turn)


def test_a_door_that_is_taken_is_not_opened_twice(tmp_path: Path) -> None:
    with one_turn(tmp_path) as turn:
        with pytest.raises(SourceError, match="another job waits"):
            Door(turn.path())
        finish(turn)


@pytest.mark.parametrize("name", ["../../etc/x", "Übung", "a" * 256, ".hidden", "with space", ""])
def test_any_source_name_has_a_socket_of_its_own(tmp_path: Path, name: str) -> None:
    deep = tmp_path / ("long folder " * 10) / ("name " * 20)
    with one_turn(deep, name) as turn:
        assert turn.path().parent.parent == deep
        finish(turn)


def test_names_do_not_meet() -> None:
    names = ["a", "A", "a.sock", "+a", "é", "e\u0301", "a/b", "a_b", "", "."]
    assert len({socket_path("state", name) for name in names}) == len(names)


def test_a_stream_without_a_segment_is_no_place_for_a_producer(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(ValueError, match="no segment"):
        _segment.Bridge(begin(world.arena, NEIGHBOUR, 1, 4096))
    with pytest.raises(ValueError, match="one page"):
        _segment.Bridge(begin(world.arena, SEGMENT, 1, 512))
