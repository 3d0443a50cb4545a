"""Every option: its default, its environment variable, and what it refuses."""

from __future__ import annotations

import copy
import logging
import math
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.errors import SettingError, SpoolError, TelemetryError
from tokenpak.telemetry.settings import (
    MIB,
    OPTIONS,
    Settings,
    default_log_dir,
    resolve_settings,
)

BY_NAME = {option.name: option for option in OPTIONS}

GOOD: dict[str, list[Any]] = {
    "log_dir": ["/var/log/x", Path("/var/log/x")],
    "max_line_bytes": [1_000, 1_048_576],
    "max_pending_bytes": [4 * MIB, 1024 * MIB],
    "linger": [0, 0.5, 10],
    "full_wait": [0, 3600],
    "fsync": ["never", "interval", "batch"],
    "fsync_interval": [0.01, 3600],
    "recovery_interval": [0.05, 86_400],
    "exit_timeout": [0, 2.5, 3600],
    "spool_dir": ["/dev/shm/x", Path("/dev/shm/x")],
    "archive_after_days": [0, 1, 36_500],
    "prune_after_days": [0, 1, 36_500],
    "max_archive_bytes": [0, MIB, 2**62],
    "max_day_bytes": [0, MIB, 2**62],
    "max_dir_bytes": [0, MIB, 2**62],
    "group_access": [True, False],
    "sample": [0, 1, 0.5],
    "storm_first": [0, 1, 1_000_000],
    "storm_every": [0, 1, 1_000_000],
    "storm_window": [0.1, 86_400],
    "exception_facts": [True, False],
    "redact": ["credentials", "personal", "off"],
    "max_message_bytes": [0, 100, 1_048_576],
    "max_stack_bytes": [0, 100, 1_048_576],
    "max_context_bytes": [0, 100, 1_048_576],
    "context_allow": [(), ("model", "usage.total")],
    "context_deny": [(), ("prompt",)],
    "locals_frames": [0, 1, 50],
    "fields": [(), ("process", "trace")],
}


class BadPath:
    """A path that fails."""

    def __fspath__(self) -> str:
        raise RuntimeError("no path")


WRONG_PATHS = ["", "a\0b", 5, b"bytes", BadPath(), object()]
WRONG_SECONDS = [-1, math.nan, math.inf, "1", True, 1j, 10**400, [], 1e9]
WRONG: dict[str, list[Any]] = {
    "log_dir": WRONG_PATHS,
    "max_line_bytes": [999, 1_048_577, 32_000.0, "32000", True, -1],
    "max_pending_bytes": [4 * MIB - 1, 1024 * MIB + 1, 6e6, "x"],
    "linger": [*WRONG_SECONDS, 10.1],
    "full_wait": [*WRONG_SECONDS, 3600.1],
    "fsync": ["always", "", True, [], {}, 5, "Never"],
    "fsync_interval": [*WRONG_SECONDS, 0],
    "recovery_interval": [*WRONG_SECONDS, 0.01],
    "exit_timeout": [*WRONG_SECONDS, 3601],
    "spool_dir": WRONG_PATHS,
    "archive_after_days": [-1, 36_501, 7.0, "7", True],
    "prune_after_days": [-1, 36_501, 7.0, "7", True],
    "max_archive_bytes": [-1, 1, MIB - 1, 2**63, 1e9, "1", True],
    "max_day_bytes": [-1, 1, MIB - 1, 2**63, 1e9, "1", True],
    "max_dir_bytes": [-1, 1, MIB - 1, 2**63, 1e9, "1", True],
    "group_access": [1, 0, "yes", []],
    "sample": [-1, 1.1, math.nan, "0.5", True, {"a": 2}, {1: 0.5}, {"a": "b"}, []],
    "storm_first": [-1, 1_000_001, 5.0, "5", True],
    "storm_every": [-1, 1_000_001, 5.0, "5", True],
    "storm_window": [*WRONG_SECONDS[:-1], 0, 86_401],
    "exception_facts": [1, 0, "yes", []],
    "redact": [True, 1, "all", []],
    "max_message_bytes": [-1, 99, 1_048_577, 100.0, "100", True],
    "max_stack_bytes": [-1, 99, 1_048_577, 100.0, "100", True],
    "max_context_bytes": [-1, 99, 1_048_577, 100.0, "100", True],
    "context_allow": [5, True, b"model", [5], [""], {"model": 1}, iter(["model"])],
    "context_deny": [5, True, b"model", [5], [""], {"model": 1}, iter(["model"])],
    "locals_frames": [-1, 51, 1.0, "1", True],
    "fields": [5, "pid", ["pid"], {"process": True}, "process,pid", iter(["host"])],
}
WRONG_TEXTS = {
    "max_line_bytes": ["999", "32k", "1e6", "9" * 5_000, "-1"],
    "max_pending_bytes": ["64MiB", "0"],
    "linger": ["-1", "nan", "inf", "1e400", "20ms", "11"],
    "full_wait": ["nan", "forever"],
    "fsync": ["always", "NEVER", "1"],
    "fsync_interval": ["0"],
    "recovery_interval": ["0", "-0.0"],
    "exit_timeout": ["none"],
    "archive_after_days": ["7d", "-1"],
    "prune_after_days": ["never", "-1"],
    "max_archive_bytes": ["1GiB", "1"],
    "max_day_bytes": ["1GiB", "1"],
    "max_dir_bytes": ["1GiB", "1"],
    "group_access": ["maybe", "2", "tru"],
    "sample": ["2", "-0.1", "nan", "all", "KeyError=", "KeyError=2", "KeyError"],
    "storm_first": ["-1", "many"],
    "storm_every": ["-1", "1.5"],
    "storm_window": ["0", "1m"],
    "exception_facts": ["maybe", "2", "tru"],
    "redact": ["of", "Personal", "all"],
    "max_message_bytes": ["99", "1k"],
    "max_stack_bytes": ["99", "1k"],
    "max_context_bytes": ["99", "1k"],
    "locals_frames": ["51", "-1", "yes"],
    "fields": ["pid", "process;host", "all"],
}


def cases(values: dict[str, list[Any]]) -> list[Any]:
    """Return one parameter set for each name and value."""
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, each in values.items()
        for number, value in enumerate(each)
    ]


def test_every_option_is_covered_here() -> None:
    """An option that is added has to be tested."""
    assert set(GOOD) == set(WRONG) == set(BY_NAME)


def test_the_defaults_are_those_that_are_documented() -> None:
    """With nothing given, and nothing in the environment."""
    home = os.environ["HOME"]

    found = resolve_settings({}, {})

    assert found == Settings(
        log_dir=f"{home}/.tokenpak/logs",
        max_line_bytes=32_000,
        max_pending_bytes=64 * MIB,
        linger=0.02,
        full_wait=0.0,
        fsync="never",
        fsync_interval=1.0,
        recovery_interval=30.0,
        exit_timeout=5.0,
        spool_dir=None,
        archive_after_days=7,
        prune_after_days=0,
        max_archive_bytes=0,
        max_day_bytes=0,
        max_dir_bytes=0,
        group_access=False,
        sample=1.0,
        storm_first=0,
        storm_every=100,
        storm_window=60.0,
        exception_facts=True,
        redact="credentials",
        max_message_bytes=0,
        max_stack_bytes=0,
        max_context_bytes=0,
        context_allow=(),
        context_deny=(),
        locals_frames=0,
        fields=(),
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_a_default_is_a_value_that_is_accepted(name: str) -> None:
    """And the description of an option is complete."""
    option = BY_NAME[name]

    assert option.default is None or option.accepts(option.default)
    assert option.variable == f"TOKENPAK_{name.upper()}"
    assert all((option.unit, option.expected, option.purpose))


@pytest.mark.parametrize(("name", "value"), cases(GOOD))
def test_a_good_value_is_used(name: str, value: Any) -> None:
    """From code, and as a text from the environment."""
    from_code = getattr(resolve_settings({name: value}, {}), name)
    variable = BY_NAME[name].variable
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    from_environment = getattr(resolve_settings({}, {variable: text}), name)

    expected = str(value) if isinstance(value, Path) else value
    assert from_code == from_environment == expected


@pytest.mark.parametrize(("name", "value"), cases(WRONG))
def test_a_wrong_value_in_code_is_refused(name: str, value: Any) -> None:
    """At construction, with the name, the value, and what would have been right."""
    with pytest.raises(SettingError) as caught:
        ErrorLogger(**{name: value})

    error = caught.value
    assert (error.setting, error.expected) == (name, BY_NAME[name].expected)
    assert error.value is value
    assert isinstance(error, TelemetryError)
    assert isinstance(error, ValueError)
    assert str(error).startswith(f"{name}={value!r}: expected ")


@pytest.mark.parametrize(("name", "text"), cases(WRONG_TEXTS))
def test_a_wrong_value_in_the_environment_is_warned_about(
    name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the default used: a program must not fail where somebody else deploys it."""
    option = BY_NAME[name]

    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        found = resolve_settings({}, {option.variable: text})

    assert getattr(found, name) == option.default
    (record,) = caplog.records
    assert record.name == "tokenpak.telemetry"
    for part in (option.variable, repr(text), option.expected, repr(option.default)):
        assert part in record.getMessage()


@pytest.mark.parametrize("value", [{"KeyError": 0.1, "*": 1}, {}, bool])
def test_sampling_may_be_by_type_or_by_a_callable(value: Any) -> None:
    """In code."""
    assert resolve_settings({"sample": value}, {}).sample == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KeyError=0.1", {"KeyError": 0.1}),
        (" KeyError = 0.1 , *=1,", {"KeyError": 0.1, "*": 1.0}),
    ],
)
def test_sampling_by_type_can_be_said_in_the_environment(
    text: str, expected: dict[str, float]
) -> None:
    """As pairs."""
    assert resolve_settings({}, {"TOKENPAK_SAMPLE": text}).sample == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" model , usage.total ,,model", ("model", "usage.total")),
        (["model", " prompt"], ("model", "prompt")),
        (frozenset(["model"]), ("model",)),
        (",", ()),
    ],
)
def test_names_may_be_a_text_or_a_collection(
    value: Any, expected: tuple[str, ...]
) -> None:
    """Each once, in the order that they are given in."""
    for name in ("context_allow", "context_deny"):
        assert getattr(resolve_settings({name: value}, {}), name) == expected


def test_fields_have_an_order_of_their_own() -> None:
    """Whatever order they are asked for in."""
    found = resolve_settings({"fields": "trace, process,host,host"}, {})

    assert found.fields == ("process", "host", "trace")


def test_an_argument_comes_before_the_environment(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which is not even looked at then."""
    environ = {"TOKENPAK_LINGER": "wrong", "TOKENPAK_FSYNC": "batch"}

    found = resolve_settings({"linger": 0.5, "fsync": None}, environ)

    assert (found.linger, found.fsync) == (0.5, "batch")
    assert caplog.records == []


@pytest.mark.parametrize("name", BY_NAME)
def test_an_empty_variable_is_as_good_as_none(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As ``X= command`` in a shell leaves it."""
    assert resolve_settings({}, {BY_NAME[name].variable: ""}) == resolve_settings(
        {}, {}
    )
    assert caplog.records == []


def test_an_unknown_setting_is_refused_with_those_that_exist() -> None:
    """So that a slip of the pen is found at once."""
    with pytest.raises(SettingError) as caught:
        resolve_settings({"lnger": 1}, {})

    assert caught.value.setting == "lnger"
    assert all(name in caught.value.expected for name in BY_NAME)


def test_paths_are_made_absolute_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later chdir() does not move the log; ``~`` is the home directory."""
    monkeypatch.chdir(tmp_path)
    home = os.environ["HOME"]

    found = resolve_settings({"log_dir": "logs", "spool_dir": "~/spool"}, {})

    assert (found.log_dir, found.spool_dir) == (str(tmp_path / "logs"), f"{home}/spool")
    assert default_log_dir({"TOKENPAK_LOG_DIR": "logs"}) == str(tmp_path / "logs")
    assert default_log_dir({"TOKENPAK_LOG_DIR": ""}) == f"{home}/.tokenpak/logs"
    assert default_log_dir({}) == f"{home}/.tokenpak/logs"


def test_c1_a_current_directory_that_is_gone_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first log_error() of a process makes the logger, and must not raise."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert resolve_settings({}, {"TOKENPAK_LOG_DIR": "logs"}).log_dir == "logs"
    assert resolve_settings({"log_dir": "/x"}, {}).log_dir == "/x"


def test_settings_do_not_change() -> None:
    """They are read by several threads."""
    found = resolve_settings({}, {})

    with pytest.raises(AttributeError):
        found.linger = 1.0  # type: ignore[misc]


@given(st.sampled_from(sorted(set(BY_NAME) - {"log_dir", "spool_dir"})), st.text())
def test_no_text_in_the_environment_raises(name: str, text: str) -> None:
    """Whatever it is, there is a value that can be used afterwards."""
    logging.getLogger("tokenpak.telemetry").disabled = True
    try:
        found = resolve_settings({}, {BY_NAME[name].variable: text})
    finally:
        logging.getLogger("tokenpak.telemetry").disabled = False

    assert BY_NAME[name].accepts(getattr(found, name))


@pytest.mark.parametrize(
    "error",
    [
        SettingError("linger", -1, "a number"),
        SpoolError("/x/y.spool", "of version 9"),
        TelemetryError("text"),
    ],
)
def test_errors_survive_pickling(error: TelemetryError) -> None:
    """With their facts, as they must to come back from a worker process."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__
        assert again.args == error.args
