"""
From a tally to a report: what was counted by kind and place is added up, and judged.

Pure.  What a report holds is bounded, as what is counted is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tokenpak.telemetry.read.strict import strict_text
from tokenpak.telemetry.report.chance import adjusted, chance_of, dispersion_of
from tokenpak.telemetry.report.kinds import digest_of, place_of
from tokenpak.telemetry.report.model import (
    DIMENSIONS,
    By,
    Cell,
    Count,
    Health,
    Kind,
    Place,
    Report,
    Rise,
    Spread,
)
from tokenpak.telemetry.report.quantiles import Values
from tokenpak.telemetry.report.tally import NONE, OTHER, REST, Entry, Group, Key, Tally
from tokenpak.telemetry.report.window import BEFORE, HISTORY, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenpak.telemetry.report.gather import Gathered

VERSION: Final = 1
MOST_ROWS: Final = 40
"""Names, kinds and places that are told one by one."""
MOST_CELLS: Final = 400
MOST_FILES: Final = 20
SURE: Final = 0.05
"""Of what is said to have risen, so much is expected to be noise."""
LEAST_RATIO: Final = 1.2
"""What rose by less is no news, however sure it is."""


@dataclass(slots=True)
class _Sum:
    """Entries, added up."""

    slots: int
    counts: list[int] = field(default_factory=list)
    held_now: int = 0
    held_before: int = 0

    def add(self, entry: Entry | _Sum) -> None:
        if not self.counts:
            self.counts = list(entry.counts)
        elif entry.counts:
            self.counts = [
                a + b for a, b in zip(self.counts, entry.counts, strict=True)
            ]
        self.held_now += entry.held_now
        self.held_before += entry.held_before

    @property
    def now_by_slot(self) -> tuple[int, ...]:
        return tuple(self.counts[BEFORE + self.slots :]) or (0,) * self.slots

    @property
    def before_by_slot(self) -> tuple[int, ...]:
        return tuple(self.counts[BEFORE : BEFORE + self.slots]) or (0,) * self.slots

    @property
    def now(self) -> int:
        return sum(self.now_by_slot)

    @property
    def before(self) -> int:
        return sum(self.before_by_slot)

    @property
    def ratio(self) -> float | None:
        before = self.before + self.held_before
        return (self.now + self.held_now) / before if before else None

    @property
    def is_empty(self) -> bool:
        return not (self.now or self.before or self.held_now or self.held_before)


def summarise(gathered: Gathered, log_dir: str, stream: str) -> Report:
    """Return the report of what was gathered."""
    tally = gathered.tally
    window, slots = tally.window, tally.window.slots
    total = _Sum(slots)
    by: dict[By, dict[str, _Sum]] = {name: {} for name in DIMENSIONS}
    for key, entry in tally.entries.items():
        total.add(entry)
        for dimension in DIMENSIONS:
            name = getattr(key, dimension)
            sums = by[dimension]
            sums.setdefault(name, _Sum(slots)).add(entry)
    for sums in by.values():
        for name in [name for name, found in sums.items() if found.is_empty]:
            del sums[name]
    kinds, complete = _kinds(tally)
    current = [kind for kind, _ in kinds if kind.now]
    new = [kind for kind in current if kind.new]
    everything = _all_of(tally)
    return Report(
        version=VERSION,
        log_dir=strict_text(log_dir),
        stream=stream,
        since=iso(window.since),
        until=iso(window.until),
        before_since=iso(window.before),
        history_since=iso(window.history),
        slot_seconds=window.slot_length.total_seconds(),
        total=_count("all", total),
        series_before=total.before_by_slot,
        by={dimension: _counts(sums, slots) for dimension, sums in by.items()},
        new=tuple(new[:MOST_ROWS]),
        new_total=len(new),
        kinds=tuple(current[:MOST_ROWS]),
        kinds_total=len(current),
        kinds_complete=complete,
        rose=_rises(total, by, kinds),
        duration_ms=_spread(everything[0].duration),
        duration_ms_before=_spread(everything[1].duration),
        cost=_spread(everything[0].cost),
        cost_before=_spread(everything[1].cost),
        places=_places(tally),
        cells=_cells(tally.entries, slots),
        health=_health(gathered, total.held_now),
    )


def _count(name: str, found: _Sum) -> Count:
    return Count(
        strict_text(name),
        found.now,
        found.before,
        found.ratio,
        found.held_now,
        found.held_before,
        found.now_by_slot,
    )


def _counts(sums: dict[str, _Sum], slots: int) -> tuple[Count, ...]:
    ordered = sorted(
        sums.items(),
        key=lambda item: (
            item[0] == OTHER,
            -item[1].now - item[1].held_now,
            -item[1].before,
            item[0],
        ),
    )
    rows = [_count(name, found) for name, found in ordered[:MOST_ROWS]]
    if len(ordered) > MOST_ROWS:
        rest = _Sum(slots)
        for _, found in ordered[MOST_ROWS:]:
            rest.add(found)
        rows.append(_count(OTHER, rest))
    return tuple(rows)


def _kinds(tally: Tally) -> tuple[list[tuple[Kind, _Sum]], bool]:
    """Return the kinds of failures, the most frequent first, and if that is all."""
    slots = tally.window.slots
    grouped: dict[tuple[str, str, str], list[tuple[Key, Entry]]] = defaultdict(list)
    complete = True
    for key, entry in tally.entries.items():
        if key.shape == REST:
            complete = False
        else:
            grouped[key.error_type, key.frames, key.shape].append((key, entry))
    kinds = []
    for (error_type, frames, shape), members in grouped.items():
        found = _Sum(slots)
        places: Counter[str] = Counter()
        for key, entry in members:
            found.add(entry)
            if here := sum(entry.counts[BEFORE + slots :]):
                names = [name for name in (key.provider, key.model) if name != NONE]
                places["/".join(names) or NONE] += here
        if not found.now and not found.before:
            continue
        example = min((entry for _, entry in members), key=lambda entry: entry.first)
        common = sorted(places.items(), key=lambda item: (-item[1], item[0]))
        kind = Kind(
            fingerprint=digest_of(error_type, frames, shape),
            error_type=strict_text(error_type),
            message=strict_text(example.message or shape),
            request_id=strict_text(example.request_id),
            where=strict_text(place_of(frames)),
            new=found.now > 0 and _is_unseen(found),
            now=found.now,
            before=found.before,
            ratio=found.ratio,
            first=example.first if found.now else "",
            last=max(entry.last for _, entry in members),
            places=tuple((strict_text(name), number) for name, number in common[:3]),
            series=found.now_by_slot,
        )
        kinds.append((kind, found))
    kinds.sort(key=lambda item: (-item[0].now, item[0].first, item[0].fingerprint))
    return kinds, complete


def _is_unseen(found: _Sum) -> bool:
    return not (found.before or found.held_before or found.counts[HISTORY])


def _rises(
    total: _Sum, by: dict[By, dict[str, _Sum]], kinds: list[tuple[Kind, _Sum]]
) -> tuple[Rise, ...]:
    candidates: list[tuple[str, str, _Sum]] = [("all", "all", total)]
    for dimension, sums in by.items():
        if set(sums) != {NONE}:
            candidates += [(dimension, n, s) for n, s in sums.items() if n != OTHER]
    # What is new is told as such.
    candidates += [
        ("fingerprint", kind.fingerprint, found)
        for kind, found in kinds
        if not kind.new
    ]
    chances = [
        chance_of(
            found.now + found.held_now,
            found.before + found.held_before,
            dispersion_of(found.before_by_slot),
        )
        for _, _, found in candidates
    ]
    rises = [
        Rise(
            dimension,
            strict_text(name),
            found.now + found.held_now,
            found.before + found.held_before,
            found.ratio,
            chance,
            corrected,
        )
        for (dimension, name, found), chance, corrected in zip(
            candidates, chances, adjusted(chances), strict=True
        )
        if corrected <= SURE and (found.ratio is None or found.ratio >= LEAST_RATIO)
    ]
    rises.sort(key=lambda rise: (rise.chance, rise.before - rise.now, rise.name))
    return tuple(rises[:MOST_ROWS])


def _spread(values: Values) -> Spread:
    p50, p95 = values.quantile(0.5), values.quantile(0.95)
    return Spread(
        values.count,
        _rounded(values.sum),
        None if p50 is None else _rounded(p50),
        None if p95 is None else _rounded(p95),
        values.exact,
    )


def _rounded(value: float) -> float:
    # Floats add up to something else in another order: not in twelve digits.
    return float(f"{value:.12g}")


def _all_of(tally: Tally) -> tuple[Group, Group]:
    now, before = Group(), Group()
    for groups in tally.groups.values():
        for whole, part in zip((now, before), groups, strict=True):
            whole.duration.add_all(part.duration)
            whole.cost.add_all(part.cost)
    return now, before


def _places(tally: Tally) -> tuple[Place, ...]:
    places = [
        Place(
            strict_text(provider),
            strict_text(model),
            _spread(now.duration),
            _spread(before.duration),
            _spread(now.cost),
            _spread(before.cost),
        )
        for (provider, model), (now, before) in tally.groups.items()
        if now.duration.count or now.cost.count
    ]
    places.sort(
        key=lambda p: (
            -max(p.duration_ms.count, p.cost.count),
            p.provider,
            p.model,
        )
    )
    return tuple(places[:MOST_ROWS])


def _cells(entries: dict[Key, Entry], slots: int) -> tuple[Cell, ...]:
    sums: dict[tuple[str, str, str, str], _Sum] = {}
    for key, entry in entries.items():
        names = (key.error_type, key.provider, key.model, key.kind)
        sums.setdefault(names, _Sum(slots)).add(entry)
    found = [item for item in sums.items() if item[1].now or item[1].before]
    found.sort(key=lambda item: (-item[1].now, item[0]))
    rest = _Sum(slots)
    for _, few in found[MOST_CELLS:]:
        rest.add(few)
    if not rest.is_empty:
        found[MOST_CELLS:] = [((OTHER,) * 4, rest)]
    return tuple(
        Cell(
            strict_text(names[0]),
            strict_text(names[1]),
            strict_text(names[2]),
            strict_text(names[3]),
            s.before,
            s.now_by_slot,
        )
        for names, s in found
    )


def _health(gathered: Gathered, held_back: int) -> Health:
    tally = gathered.tally
    return Health(
        malformed=sum(gathered.malformed.values()),
        malformed_files=_clean(gathered.malformed.most_common(MOST_FILES)),
        unreadable=tuple(
            (strict_text(damage.file), strict_text(damage.reason))
            for damage in gathered.unreadable[:MOST_FILES]
        ),
        dropped=_clean(tally.dropped.now.most_common()),
        dropped_before=_clean(tally.dropped.before.most_common()),
        held_back=held_back,
        undated=tally.undated,
        unusable=dict(sorted(tally.unusable.items())),
    )


def _clean(
    counts: Iterable[tuple[str, int]] | Sequence[tuple[str, int]],
) -> dict[str, int]:
    return {strict_text(name): number for name, number in counts}


__all__ = ["LEAST_RATIO", "MOST_CELLS", "MOST_ROWS", "SURE", "VERSION", "summarise"]
