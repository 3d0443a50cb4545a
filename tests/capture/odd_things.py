"""Objects that a caller may pass, and nobody expects."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from unittest.mock import MagicMock, Mock

import orjson


class OwnText:
    """Raises whenever it is looked at."""

    def __init__(self, error: type[BaseException] = ValueError) -> None:
        self.error = error

    def _fail(self, *_: object) -> Any:
        raise self.error("no")

    __str__ = __iter__ = __len__ = __bool__ = _fail
    __eq__ = __format__ = _fail
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError("no")  # pytest, which shows it, ends at SystemExit

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise self.error("no")


class NoClass:
    """Says nothing about its class."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("no class")

    @__class__.setter
    def __class__(self, value: type) -> None:
        pass


class NoNameType(type):
    """A metaclass that keeps the name to itself."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class NoName(metaclass=NoNameType):
    """Neither name nor text."""

    def __str__(self) -> str:
        raise ValueError


class NoNameError(Exception, metaclass=NoNameType):
    """An exception without a name."""


class UnhashableType(type):  # noqa: PLW1641
    """Its classes have no hash."""

    def __eq__(cls, other: object) -> bool:
        return cls is other


class UnhashableError(Exception, metaclass=UnhashableType):
    """An exception whose class is no key."""


class OddMapping(Mapping[str, object]):
    """A mapping of which only the length is right."""

    def __init__(self, *raising: str) -> None:
        self.raising = raising

    def _may(self, name: str) -> None:
        if name in self.raising:
            raise SystemExit(name)

    def __getitem__(self, key: str) -> object:
        self._may("getitem")
        return key * 2

    def __iter__(self) -> Iterator[str]:
        self._may("iter")
        return iter("ab")

    def __len__(self) -> int:
        self._may("len")
        return 2


class EndlessMapping(OddMapping):
    """A mapping without an end."""

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "a"


class EndlessList(list[object]):
    """A list without an end."""

    def __iter__(self) -> Iterator[object]:
        while True:
            yield 1


class Pair(NamedTuple):
    """As in an application."""

    a: int
    b: int


class FailingZone(dt.tzinfo):
    """A time zone that fails: orjson would crash."""

    def tzname(self, when: dt.datetime | None) -> str:
        raise ValueError("no name")

    def dst(self, when: dt.datetime | None) -> dt.timedelta:
        raise ValueError("no summer")

    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
        raise ValueError("no offset")


class Text(str):
    """A str of one's own."""

    __slots__ = ()


class Number(int):
    """An int that fails."""

    def __int__(self) -> int:
        raise ValueError("no int")


class Color(enum.Enum):
    """As in an application."""

    RED = "red"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    """A number."""

    HIGH = 3


@dataclasses.dataclass
class Point:
    """As in an application."""

    x: object
    _hidden: int = 0


@dataclasses.dataclass(slots=True)
class Slotted:
    """One whose field may be missing: orjson would crash."""

    x: object


def half_made() -> Slotted:
    """Return one without its field."""
    made = Slotted(1)
    del made.x
    return made


class UnhappyPath:
    """A path that fails."""

    def __fspath__(self) -> str:
        raise ValueError


def cyclic() -> dict[str, object]:
    """Return a dict that holds itself in several ways."""
    made: dict[str, object] = {}
    made["self"] = made
    made["list"] = [made, {"again": made}]
    return made


def cyclic_point() -> Point:
    """Return a dataclass object that holds itself."""
    made = Point(None)
    made.x = made
    return made


def deep(levels: int) -> dict[str, object]:
    """Return a dict in a dict in a dict."""
    made: dict[str, object] = {}
    for _ in range(levels):
        made = {"in": made}
    return made


def doubling(levels: int) -> list[object]:
    """Return a small object whose text would fill the memory."""
    made: list[object] = [1]
    for _ in range(levels):
        made = [made, made]
    return made


UTC = dt.UTC
ABSTRACT_ZONE: Any = dt.tzinfo
WHEN = dt.datetime(2026, 3, 24, 17, 35, 22, 123456, tzinfo=UTC)

ODD: dict[str, Callable[[], object]] = {
    "raises": OwnText,
    "raises SystemExit": lambda: OwnText(SystemExit),
    "raises KeyboardInterrupt": lambda: OwnText(KeyboardInterrupt),
    "no class": NoClass,
    "no name": NoName,
    "class without a name": lambda: NoName,
    "exception class without a name": lambda: NoNameError,
    "exception without a name": lambda: NoNameError("x"),
    "unhashable class": lambda: UnhashableError("x"),
    "exception class": lambda: ValueError,
    "an exception": lambda: ValueError("x"),
    "mock of an exception": lambda: Mock(spec=ValueError),
    "mock of a text": lambda: Mock(spec=str),
    "mock of a dict": lambda: MagicMock(spec=dict),
    "magic mock": MagicMock,
    "a mapping": OddMapping,
    "mapping whose items fail": lambda: OddMapping("getitem"),
    "mapping whose keys fail": lambda: OddMapping("iter"),
    "mapping without an end": EndlessMapping,
    "list without an end": EndlessList,
    "mapping proxy": lambda: types.MappingProxyType({"a": 1}),
    "ordered dict": lambda: collections.OrderedDict(a=1),
    "chain map": lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    "named tuple": lambda: Pair(1, 2),
    "text of one's own": lambda: Text("text"),
    "int of one's own": lambda: Number(5),
    "bool": lambda: True,
    "None": lambda: None,
    "number": lambda: 5,
    "huge": lambda: 2**64,
    "hugely negative": lambda: -(2**63) - 1,
    "too long to print": lambda: 10**6_000,
    "NaN": lambda: math.nan,
    "infinite": lambda: -math.inf,
    "complex": lambda: 1j,
    "decimal": lambda: decimal.Decimal("1.5"),
    "bytes": lambda: b"a\xff\0\n",
    "bytearray": lambda: bytearray(b"x"),
    "memory": lambda: memoryview(b"abcdef")[::2],
    "memory of numbers": lambda: memoryview(bytes(16)).cast("d"),
    "surrogate": lambda: "\udc80",
    "control characters": lambda: "\0\n\r\x1b\u2028",
    "set": lambda: {1},
    "set of mixed things": lambda: frozenset({1, "a", None}),
    "generator": lambda: (x for x in "ab"),
    "function": lambda: half_made,
    "cycle": cyclic,
    "deep": lambda: deep(100),
    "very deep": lambda: deep(900),
    "keys of one text": lambda: {Text("a"): 1, "b": 2, NoClass(): 3, NoClass(): 4},
    "keys that are no text": lambda: {1: "a", "1": "b", None: 1, (2,): 1, b"x": 1},
    "surrogate key": lambda: {"\udc80": 1, "\\udc80": 2},
    "date": WHEN.date,
    "time": WHEN.time,
    "datetime": lambda: WHEN,
    "time zone that fails": lambda: WHEN.replace(tzinfo=FailingZone()),
    "abstract time zone": lambda: WHEN.replace(tzinfo=ABSTRACT_ZONE()),
    "enum": lambda: Color.PAIR,
    "int enum": lambda: Level.HIGH,
    "dataclass": lambda: Point(Color.RED),
    "dataclass that holds itself": cyclic_point,
    "dataclass with a surrogate": lambda: Point("\udc80"),
    "half a dataclass": half_made,
    "dataclass type": lambda: Point,
    "uuid": lambda: uuid.UUID(int=5),
    "fragment of two lines": lambda: orjson.Fragment(b'{\n"a": 1}'),
    "module": lambda: types,
    "path that fails": UnhappyPath,
    "object": object,
}
