"""Everybody is told once, who is down is told later, and a restart repeats nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from tokenpak.telemetry.watch.alerts import CRITICAL, Alert
from tokenpak.telemetry.watch.outbox import LONGEST_PAUSE, MOST_WAITING, Outbox
from tokenpak.telemetry.watch.targets import NotToldError, Target

NOW = 1_800_000_000.0


class Friend:
    """A target that is told, or down."""

    batch = 2

    def __init__(self, name: str, *, repeat: float = 0.0) -> None:
        self.name = self.identity = name
        self.repeat = repeat
        self.down = False
        self.tries = 0
        self.told: list[tuple[str, str]] = []

    def tell(
        self,
        alerts: Sequence[Alert],
        now: float,
        stop: Callable[[], bool] = bool,
    ) -> None:
        del now, stop
        self.tries += 1
        if self.down:
            raise NotToldError("down")
        assert len(alerts) <= self.batch
        self.told += [(alert.error_type, alert.status) for alert in alerts]


def make_alert(name: str) -> Alert:
    return Alert(CRITICAL, name, "critical", name, "", NOW)


def end(alert: Alert) -> Alert:
    alert.ends_at = NOW + 60
    return alert


def test_watch_everybody_is_told_each_thing_once() -> None:
    """That it fires, and that it is over, in batches that the target takes."""
    friend = Friend("a")
    outbox = Outbox([friend], print)
    alerts = [make_alert(name) for name in "xyz"]

    for elapsed in range(3):
        outbox.deliver(alerts, NOW, elapsed=elapsed)
    assert friend.told == [("x", "firing"), ("y", "firing"), ("z", "firing")]
    outbox.add([end(alerts[0])])
    for elapsed in range(3, 6):
        outbox.deliver(alerts[1:], NOW, elapsed=elapsed)

    assert friend.told[3:] == [("x", "resolved")]


def test_watch_who_is_down_is_tried_again_ever_more_seldom() -> None:
    """And holds up nobody else; when it is back it is told all that it has missed."""
    friend, other = Friend("a"), Friend("b")
    friend.down = True
    said: list[str] = []
    outbox = Outbox([friend, other], said.append)
    alert = make_alert("x")

    for elapsed in range(1_000):
        outbox.deliver([alert], NOW, elapsed=elapsed)
    assert friend.tries == 11  # at 0, 1, 3, 7, …, 255, 511 and 811 seconds
    assert other.told == [("x", "firing")]
    assert len(said) == 1
    assert outbox.failing == ["a"]

    friend.down = False
    outbox.add([end(alert)])
    outbox.deliver([], NOW + 60, elapsed=1_000 + LONGEST_PAUSE)

    assert friend.told == [("x", "resolved")]
    assert said[1] == "a can be reached again."
    assert outbox.failing == []


def test_watch_who_is_down_is_tried_when_the_others_were_told() -> None:
    """It may take a minute to fail, for which nobody else should wait."""
    order: list[str] = []

    class Listed(Friend):
        def tell(
            self,
            alerts: Sequence[Alert],
            now: float,
            stop: Callable[[], bool] = bool,
        ) -> None:
            order.append(self.name)
            super().tell(alerts, now, stop)

    friend, other = Listed("a"), Listed("b")
    friend.down = True
    outbox = Outbox([friend, other], lambda _text: None)
    alerts = [make_alert("x")]
    outbox.deliver(alerts, NOW, elapsed=0)
    assert order == ["a", "b"]

    alerts.append(make_alert("y"))
    outbox.deliver(alerts, NOW, elapsed=100)

    assert order == ["a", "b", "b", "a"]


def test_watch_a_restart_repeats_nothing_and_forgets_nobody() -> None:
    """What each knows is in the state, also of an alert that is over."""
    friend, down = Friend("a"), Friend("b")
    down.down = True
    outbox = Outbox([friend, down], print)
    alert, over = make_alert("x"), end(make_alert("y"))
    outbox.add([over])
    outbox.deliver([alert], NOW, elapsed=0)
    data = orjson.loads(orjson.dumps(outbox.as_data()))

    down.down = False
    targets: list[Target] = [friend, down, Friend("new")]
    again = Outbox(targets, print)
    again.restore(data)
    again.deliver([alert], NOW, elapsed=0)

    assert friend.told == [("y", "resolved"), ("x", "firing")]
    assert sorted(down.told) == [("x", "firing"), ("y", "resolved")]
    assert again.as_data()["over"] == []


def test_watch_alertmanager_is_told_again_that_it_goes_on() -> None:
    """It takes an alert that it does not hear of for over."""
    friend = Friend("a", repeat=60.0)
    outbox = Outbox([friend], print)
    alert = make_alert("x")

    for elapsed in range(0, 200, 10):
        outbox.deliver([alert], NOW, elapsed=elapsed)

    assert friend.told == [("x", "firing")] * 4


def test_watch_what_waits_for_one_that_is_down_is_bounded() -> None:
    """In number and in time."""
    friend = Friend("a")
    friend.down = True
    outbox = Outbox([friend], lambda _text: None)

    for number in range(3 * MOST_WAITING):
        outbox.add([end(make_alert(str(number)))])
        outbox.deliver([], NOW, elapsed=number)
    assert len(outbox.as_data()["over"]) == MOST_WAITING

    outbox.deliver([], NOW + 2 * 86_400, elapsed=0)
    assert outbox.as_data() == {"over": [], "told": {"a": {}}}
