"""What users see of redaction: the log, the settings, marks that can be compared."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.capture.secrets_corpus import SECRETS
from tokenpak.telemetry.error_logger import ErrorLogger
from tokenpak.telemetry.errors import SettingError
from tokenpak.telemetry.store.names import KEY_NAME

MakeLogger = Callable[..., ErrorLogger]
SECRET = SECRETS[0].text


def records(log_dir: Path, stream: str = "errors") -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(log_dir.glob(f"{stream}-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_credentials_are_redacted_by_default(
    log_dir: Path, make_logger: MakeLogger
) -> None:
    """In all fields of both streams, with one mark for one secret."""
    logger = make_logger()
    logger.log_error(
        SECRET, ValueError(f"bad key {SECRET}"), {"key": SECRET, SECRET: 1}
    )
    logger.log_event(SECRET, SECRET, {"headers": {"Authorization": "Bearer x"}})
    assert logger.flush(timeout=60)

    (error,), (event,) = records(log_dir), records(log_dir, "events")
    mark = error["request_id"]
    assert mark.startswith("[redacted:openai_key:")
    assert error["message"] == f"bad key {mark}"
    assert error["stack_trace"] == f"ValueError: bad key {mark}\n"
    assert error["context"] == {"key": mark, mark: 1}
    assert (event["event"], event["request_id"]) == (mark, mark)
    assert event["context"]["headers"]["Authorization"].startswith("[redacted:")
    assert SECRET not in "".join(path.read_text() for path in log_dir.glob("*.jsonl"))


def test_marks_are_the_same_in_all_processes_and_over_days(log_dir: Path) -> None:
    """The key is kept in the directory; without it, another directory has others."""
    script = (
        "import sys\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "logger = ErrorLogger(sys.argv[1])\n"
        "logger.log_error('req', ValueError(sys.argv[2]))\n"
        "assert logger.close(timeout=100)\n"
    )
    for directory in (log_dir, log_dir, log_dir.parent / "other"):
        command = [sys.executable, "-c", script, str(directory), SECRET]
        subprocess.run(command, check=True, timeout=120)

    first, second = (record["message"] for record in records(log_dir))
    (other,) = (record["message"] for record in records(log_dir.parent / "other"))
    assert first == second != other


def test_q5_a_forked_child_makes_the_same_marks(log_dir: Path) -> None:
    """Whether its parent had made one before or not."""
    script = (
        "import os, sys\n"
        "from tokenpak.telemetry.error_logger import ErrorLogger\n"
        "logger = ErrorLogger(sys.argv[1])\n"
        "if sys.argv[3] == 'before':\n"
        "    logger.log_error('req', ValueError(sys.argv[2]))\n"
        "child = os.fork()\n"
        "logger.log_error('req', ValueError(sys.argv[2]))\n"
        "assert logger.close(timeout=100)\n"
        "if child:\n"
        "    sys.exit(os.waitpid(child, 0)[1])\n"
        "os._exit(0)\n"
    )
    for when in ("before", "after"):
        command = [sys.executable, "-W", "ignore", "-c", script]
        subprocess.run([*command, str(log_dir), SECRET, when], check=True, timeout=120)

    messages = [record["message"] for record in records(log_dir)]
    assert len(messages) == 5
    assert len(set(messages)) == 1


def test_c1_the_key_is_there_before_a_secret_is(
    log_dir: Path, make_logger: MakeLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read with the first record, which makes the spool, and no later one."""
    logger = make_logger()
    logger.log_error("req", ValueError("harmless"))
    assert (log_dir / KEY_NAME).exists()
    (log_dir / KEY_NAME).unlink()

    logger.log_error("req", ValueError(SECRET))

    assert not (log_dir / KEY_NAME).exists()
    assert logger.flush(timeout=60)
    assert records(log_dir)[1]["message"].startswith("[redacted:openai_key:")


@pytest.mark.parametrize(
    ("setting", "seen"),
    [
        ("off", {"password=x", "a@b.example"}),
        ("credentials", {"a@b.example"}),
        ("personal", set()),
    ],
)
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_the_setting_says_what_is_redacted(
    log_dir: Path,
    make_logger: MakeLogger,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    seen: set[str],
    how: str,
) -> None:
    """By argument, or TOKENPAK_REDACT."""
    if how == "environment":
        monkeypatch.setenv("TOKENPAK_REDACT", setting)
        logger = make_logger()
    else:
        logger = make_logger(redact=setting)
    logger.log_error("req", ValueError("password=x from a@b.example"))
    assert logger.flush(timeout=60)

    (record,) = records(log_dir)
    assert {
        text for text in ("password=x", "a@b.example") if text in record["message"]
    } == seen
    assert logger.settings.redact == setting
    assert (log_dir / KEY_NAME).exists() == (setting != "off")


def test_a_wrong_level_in_the_environment_redacts_all_the_same(
    log_dir: Path,
    make_logger: MakeLogger,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A typing error must not open what is closed by default."""
    monkeypatch.setenv("TOKENPAK_REDACT", "of")
    with caplog.at_level(logging.WARNING, "tokenpak.telemetry"):
        logger = make_logger()

    assert logger.settings.redact == "credentials"
    assert "TOKENPAK_REDACT='of'" in caplog.text


@pytest.mark.parametrize(
    "rules", [{"Upper": "x"}, {"a-b": "x"}, {"x": "("}, {"x": 7}, {7: "x"}]
)
def test_wrong_rules_are_refused_at_once(log_dir: Path, rules: Any) -> None:
    """A name that could not be in a mark, an expression that does not compile."""
    with pytest.raises(SettingError, match="redaction_rules"):
        ErrorLogger(log_dir, redaction_rules=rules)


def test_own_rules_are_for_the_whole_log(
    log_dir: Path, make_logger: MakeLogger
) -> None:
    """As an argument of the logger."""
    logger = make_logger(redaction_rules={"employee": r"EMP-\d+"})
    logger.log_error("EMP-17", ValueError("EMP-17"), {"by": "EMP-17"})
    assert logger.flush(timeout=60)

    (record,) = records(log_dir)
    assert record["request_id"] == record["message"] == record["context"]["by"]
    assert record["message"].startswith("[redacted:employee:")
