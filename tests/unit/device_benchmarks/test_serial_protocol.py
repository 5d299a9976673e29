"""The line protocol, spoken by real firmware in an emulator, over connections that lose, change and invent bytes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from device_benchmarks.board_identity import counts_of
from device_benchmarks.serial_protocol import Board, BoardReset, checksum, decode, encode
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import expected_outputs, random_graph
from toolchain.errors import DeviceTimeout, InvalidInput

SHORT = {"answer_seconds": 2.0, "run_seconds": 2.0}  # of an emulator that computes; one that waits is silent at once


class BadConnection:
    """Changes the bytes of a connection, in both directions, at random but always in the same way."""

    def __init__(self, stream, seed, lose=0.0, change=0.0, invent=0.0):
        self._stream, self._random, self._rates = stream, random.Random(seed), (lose, change, invent)

    def write(self, data):
        self._stream.write(self._damage(data))

    def read(self, seconds):
        while data := self._stream.read(seconds):
            if damaged := self._damage(data):
                return damaged
        return b""

    def _damage(self, data):
        lose, change, invent = self._rates
        out = bytearray()
        for byte in data:
            if self._random.random() < invent:
                out.append(self._random.randrange(256))
            if self._random.random() >= lose:
                out.append(byte ^ (1 << self._random.randrange(8)) if self._random.random() < change else byte)
        return bytes(out)


class Resetting:
    """A board that can be started anew while its host is connected."""

    def __init__(self, image):
        self._image = image
        self.reset()

    def reset(self):
        self._emulator = UnicornEmulator(self._image)

    def write(self, data):
        self._emulator.write(data)

    def read(self, seconds):
        return self._emulator.read(seconds)


@pytest.fixture
def emulator(firmware):
    return UnicornEmulator(firmware("cortex-m0plus"))


def test_a_line_is_a_letter_hex_digits_and_a_checksum_over_both():
    line = encode(b"I", b"\x01\xab\x00\x00")

    assert line == b"I01AB0000" + b"%04X" % checksum(b"I\x01\xab\x00\x00") + b"\n"
    assert decode(line.strip()) == (b"I", b"\x01\xab\x00\x00")


@pytest.mark.parametrize("place", range(13))
def test_a_changed_character_is_noticed(place):
    line = bytearray(encode(b"I", b"\x01\xab\x00\x00").strip())
    line[place] = ord("7") if line[place] != ord("7") else ord("8")

    assert decode(bytes(line)) is None


def test_what_precedes_the_last_letter_of_a_line_is_cut_off():
    assert decode(b"W0012" + encode(b"R", bytes(4)).strip()) == (b"R", bytes(4))


def test_a_board_tells_what_it_serves(emulator, firmware):
    identity = Board(emulator).identify()

    assert (identity.model, identity.board, identity.build) == ("tiny", "microbit", firmware("cortex-m0plus").build)
    assert (identity.max_nodes, identity.max_edges, identity.max_graphs) == (20, 40, 3)
    assert (identity.features, identity.edge_features, identity.reads_edge_weight) == (3, 2, True)
    assert (identity.num_outputs, identity.cycles_per_second) == (2, 0)


@pytest.mark.parametrize("seed", range(4))
def test_outputs_come_back_bit_for_bit(emulator, seed):
    graph, board = random_graph(seed), Board(emulator)

    board.load(graph)
    prepared, inference = board.prepare(*counts_of(graph)), board.infer()

    assert (prepared.status, inference.result.status) == (0, 0)
    for found, expected in zip(inference.outputs, expected_outputs(graph), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_prepared_graph_is_run_with_other_features(emulator):
    first, board = random_graph(1), Board(emulator)
    second = type(first)(
        first.x + 1, first.edge_index, first.edge_weight, first.edge_attr, first.batch, first.num_graphs
    )

    board.load(first)
    board.prepare(*counts_of(first))
    board.infer()
    board.load(second)
    found = board.infer().outputs

    for a, b in zip(found, expected_outputs(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_runs_in_a_row_send_no_outputs_and_change_none(emulator):
    graph, board = random_graph(2), Board(emulator)

    board.load(graph)
    board.prepare(*counts_of(graph))
    (burst, seconds), inference = board.infer_in_a_row(3, 60), board.infer()

    assert (burst.status, burst.lines) == (0, 0)
    assert seconds > 0
    assert inference.result.lines == graph.num_nodes + graph.num_graphs
    np.testing.assert_array_equal(inference.outputs[0], expected_outputs(graph)[0])


def test_runs_in_a_row_are_as_many_as_were_asked_for(firmware):
    emulator = UnicornEmulator(firmware("cortex-m0plus"), counting=True)
    graph, board = random_graph(2), Board(emulator)
    board.load(graph)
    board.prepare(*counts_of(graph))
    emulator.counts(0)

    counts = []
    for runs in (0, 1, 2, 7):
        board.infer_in_a_row(runs, 60)
        counts.append(emulator.counts(0).total)

    assert counts[0] == counts[1]
    assert counts[3] - counts[1] == 6 * (counts[2] - counts[1])


@pytest.mark.parametrize("stage", ["load", "prepare", "infer"])
def test_a_board_that_starts_anew_is_noticed(firmware, stage):
    graph, stream = random_graph(1), Resetting(firmware("cortex-m0plus"))
    board = Board(stream)
    board.load(graph)
    if stage != "load":
        board.prepare(*counts_of(graph))
    if stage == "infer":
        board.infer()

    stream.reset()

    with pytest.raises(BoardReset, match="the board has started anew, 1 times by now"):
        board.identify()
    assert board.resets == 1
    board.identify()  # known now


@pytest.mark.parametrize(
    "rates", [{"lose": 0.003}, {"change": 0.003}, {"invent": 0.003}, {"lose": 0.002, "change": 0.002, "invent": 0.002}]
)
def test_outputs_are_right_over_a_connection_that_damages_lines(emulator, rates):
    graph = random_graph(3)
    board = Board(BadConnection(emulator, 7, **rates), attempts=60, **SHORT)

    board.load(graph)
    board.prepare(*counts_of(graph))
    found = board.infer().outputs

    for a, b in zip(found, expected_outputs(graph), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_board_is_in_step_again_with_the_line_after_garbage(emulator):
    emulator.write(bytes(range(256)) * 3 + b"W01\nR00\r\n\n\nWWWW" + b"0" * 500)

    assert Board(emulator).identify().model == "tiny"


def test_a_connection_that_swallows_everything_is_given_up(emulator):
    board = Board(BadConnection(emulator, 0, lose=1.0), attempts=3, **SHORT)

    with pytest.raises(DeviceTimeout, match=r"does not answer a line I: it did not answer within 2 s, 3 times"):
        board.identify()


def test_an_unknown_command_is_answered_as_such(emulator):
    emulator.write(encode(b"Q", bytes(4)))

    letter, answer = decode(emulator.read(1.0).strip())

    assert (letter, answer[1]) == (b"X", 2)


def test_a_line_beyond_the_input_is_refused_and_writes_nothing(emulator):
    graph, board = random_graph(1), Board(emulator)
    board.load(graph)
    board.prepare(*counts_of(graph))
    for block in (board.identity.input_bytes // 32, 0x7FFF, 0xFFFF):
        emulator.write(encode(b"W", b"\x01\x00" + block.to_bytes(2, "little") + bytes(32)))
        letter, answer = decode(emulator.read(1.0).strip())
        assert (letter, answer[1]) == (b"W", 3)

    found = board.infer().outputs

    np.testing.assert_array_equal(found[0], expected_outputs(graph)[0])


def test_a_line_that_is_too_long_is_refused(emulator):
    emulator.write(encode(b"W", bytes(4 + 33)))

    letter, answer = decode(emulator.read(1.0).strip())

    assert (letter, answer[1]) == (b"X", 1)


def test_a_graph_that_the_model_refuses_comes_back_with_its_status(emulator):
    graph, board = random_graph(1), Board(emulator)
    board.load(graph)

    broken = type(graph)(graph.x, graph.edge_index, graph.edge_weight, graph.edge_attr, graph.batch, 3)
    object.__setattr__(broken, "num_graphs", 0)

    assert board.prepare(*counts_of(broken)).status == 5  # GNN_ERROR_GRAPHS


def test_a_graph_with_more_nodes_than_the_board_has_room_for_is_refused_by_the_host(emulator):
    graph = random_graph(1)
    large = type(graph).concatenate([graph, graph, graph])

    with pytest.raises(InvalidInput, match=r"the board has room for"):
        Board(emulator).load(large)


def test_what_the_model_reads_must_be_there(emulator):
    graph = random_graph(1)
    without = type(graph)(graph.x, graph.edge_index, None, graph.edge_attr, graph.batch, graph.num_graphs)

    with pytest.raises(InvalidInput, match="edge_weight: missing"):
        Board(emulator).load(without)
