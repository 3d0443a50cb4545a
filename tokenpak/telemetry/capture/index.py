"""
Find what is known of a stack by looking at each of its frames once.

A stack is a sequence of frames, each at an instruction of a code object.  The obvious
index, a dict with the whole sequence as its key, makes a number, an entry of a list and
a hash of each frame, which takes twice as long as to look at the frame at all.  Here
the frames are compared, one after the other, with those that are expected:

    node    run: frames that all stacks through this node have in common
            end: what is known of the stack that ends behind the run, if one does
            branches: where stacks differ, the nodes that follow, by the next frame

so only where stacks part is there a look into a dict.  Reading takes no lock.  A node's
run never changes; what is added is linked in by single steps.  Two threads that add at
the same time may lose one of the two, which is then added when it is met again.

Assumption about CPython (tested): from 3.11 on, the instructions of a code object are
part of the object itself, so ``id(code) + tb_lasti`` is an address inside it: one
number that names code object and instruction, as long as the object lives.  The runs,
and what is kept at the ends, see to that.
"""

from __future__ import annotations

from types import CodeType, TracebackType
from typing import Generic, TypeVar

Frame = tuple[CodeType, int]
"""A code object, and the offset of the instruction (``tb_lasti``)."""

V = TypeVar("V")


class Node(Generic[V]):
    """See above."""

    __slots__ = ("branches", "end", "run")

    def __init__(
        self, run: tuple[Frame, ...], end: V | None, branches: dict[int, Node[V]]
    ) -> None:
        self.run = run
        self.end = end
        self.branches = branches


def find(node: Node[V] | None, tb: TracebackType | None) -> V | None:
    """Return what is kept under *node* for the stack of *tb*, or None."""
    try:
        while True:
            # No node, or a stack that is shorter and has no frame: an AttributeError.
            for code, instruction in node.run:  # type: ignore[union-attr]
                if (
                    tb.tb_frame.f_code is not code  # type: ignore[union-attr]
                    or tb.tb_lasti != instruction  # type: ignore[union-attr]
                ):
                    return None
                tb = tb.tb_next  # type: ignore[union-attr]
            if tb is None:
                return node.end  # type: ignore[union-attr]
            node = node.branches[  # type: ignore[union-attr]
                id(tb.tb_frame.f_code) + tb.tb_lasti
            ]
            tb = tb.tb_next
    except (AttributeError, KeyError):
        return None


def add(node: Node[V] | None, frames: tuple[Frame, ...], end: V) -> Node[V]:
    """
    Return *node*, or what is to stand in its place, with *end* kept for *frames*.

    *end* must keep the code objects of *frames* alive.
    """
    if node is None:
        return Node(frames, end, {})
    common = 0
    for expected, frame in zip(node.run, frames, strict=False):
        if expected[0] is not frame[0] or expected[1] != frame[1]:
            break
        common += 1
    if common < len(node.run):
        rest = Node(node.run[common + 1 :], node.end, node.branches)
        branches = {_address(node.run[common]): rest}
        node = Node(node.run[:common], None, branches)
    if common == len(frames):
        node.end = end
        return node
    address = _address(frames[common])
    branch = node.branches.get(address)
    node.branches[address] = add(branch, frames[common + 1 :], end)
    return node


def _address(frame: Frame) -> int:
    return id(frame[0]) + frame[1]


__all__ = ["Frame", "Node", "add", "find"]
