"""The arena plan: buffers that are needed at the same time never share a byte, and the plan is tight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toolchain.exporters.c.arena import ALIGNMENT, Buffer, plan

buffers = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 10)).map(lambda t: (t[0], t[1], t[1] + t[2])),
    max_size=25,
)


@given(buffers, st.integers(0, 100))
def test_overlapping_lifetimes_never_share_memory(made: list[tuple[int, int, int]], start: int) -> None:
    all_of_them = [Buffer(f"b{i}", *entry) for i, entry in enumerate(made)]
    offsets, end = plan(all_of_them, start)
    for i, a in enumerate(all_of_them):
        assert offsets[a.name] % ALIGNMENT == 0
        assert start <= offsets[a.name] and offsets[a.name] + a.bytes <= end
        for b in all_of_them[i + 1 :]:
            if a.first <= b.last and b.first <= a.last:
                disjoint = offsets[a.name] + a.bytes <= offsets[b.name] or offsets[b.name] + b.bytes <= offsets[a.name]
                assert disjoint or not a.bytes or not b.bytes


def test_ping_pong_needs_two_buffers_however_long_the_chain() -> None:
    chain = [Buffer(f"layer{i}", 640, i, i + 1) for i in range(9)]
    _, end = plan(chain)
    assert end == 2 * 640


def test_a_small_buffer_fills_a_gap() -> None:
    offsets, end = plan([Buffer("big", 64, 0, 9), Buffer("early", 32, 0, 3), Buffer("late", 32, 4, 9)])
    assert end == 96 and offsets["early"] == offsets["late"] == 64
