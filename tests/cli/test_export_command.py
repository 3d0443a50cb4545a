"""``tokenpak telemetry export``: options, messages and exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

import tokenpak
from tests.queue.test_recovery import make_orphan
from tokenpak.cli import main
from tokenpak.telemetry.queue import recovery

if TYPE_CHECKING:
    from pathlib import Path


def line(day: str, provider: str = "openai", **fields: Any) -> str:
    record = {
        "timestamp": f"{day}T12:00:00.000000Z",
        "request_id": f"{day} {provider}",
        "error_type": "ValueError",
        "message": "no",
        "stack_trace": "",
        "context": {"provider": provider},
    }
    return json.dumps({**record, **fields}, separators=(",", ":")) + "\n"


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Three days of errors by two providers, and one of events."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for day in ("2026-03-23", "2026-03-24", "2026-03-25"):
        text = line(day) + line(day, "anthropic")
        (folder / f"errors-{day}.jsonl").write_text(text)
    event = '{"timestamp":"t","request_id":null,"event":"done","context":{}}\n'
    (folder / "events-2026-03-24.jsonl").write_text(event)
    return folder


def run(*args: str | Path, env: dict[str, str] | None = None) -> Result:
    words = ["telemetry", "export", *map(str, args)]
    return CliRunner().invoke(main, words, env=env, prog_name="tokenpak")


def ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [record["request_id"] for record in json.loads(result.stdout)]


def test_all_errors_are_exported_as_json_by_default(log_dir: Path) -> None:
    """One array, day by day, and nothing on stderr."""
    result = run("--log-dir", log_dir)

    assert ids(result) == [
        f"2026-03-{day} {provider}"
        for day in (23, 24, 25)
        for provider in ("openai", "anthropic")
    ]
    assert result.stderr == ""


def test_the_directory_comes_from_the_environment(log_dir: Path) -> None:
    """As for the logger itself."""
    result = run(env={"TOKENPAK_LOG_DIR": str(log_dir)})

    assert len(ids(result)) == 6


def test_the_directory_is_in_the_home_directory_by_default(
    log_dir: Path, tmp_path: Path
) -> None:
    """``~/.tokenpak/logs``."""
    (tmp_path / ".tokenpak").mkdir()
    log_dir.rename(tmp_path / ".tokenpak" / "logs")

    result = run(env={"HOME": str(tmp_path), "TOKENPAK_LOG_DIR": ""})

    assert len(ids(result)) == 6


def test_options_filter(log_dir: Path) -> None:
    """By days, by an instant, by provider."""
    place = "--log-dir", log_dir

    one_day = run(*place, "--since", "2026-03-24", "--until", "2026-03-24")
    later = run(*place, "--since", "2026-03-24T14:00:01+02:00")
    other = run(*place, "--provider", "anthropic", "--until", "2026-03-23")

    assert ids(one_day) == ["2026-03-24 openai", "2026-03-24 anthropic"]
    assert ids(later) == ["2026-03-25 openai", "2026-03-25 anthropic"]
    assert ids(other) == ["2026-03-23 anthropic"]


def test_the_format_and_the_stream_can_be_chosen(log_dir: Path) -> None:
    """JSON Lines, CSV, and events."""
    place = "--log-dir", log_dir

    lines = run(*place, "--format", "jsonl", "--until", "2026-03-23")
    table = run(*place, "--format", "csv", "--stream", "events")

    assert lines.stdout == (log_dir / "errors-2026-03-23.jsonl").read_text()
    assert table.stdout_bytes.count(b"\r\n") == 2
    assert b"\r\nt,,done," in table.stdout_bytes


def test_nothing_to_export_is_an_empty_array(log_dir: Path) -> None:
    """Not an error."""
    result = run("--log-dir", log_dir, "--since", "2027-01-01")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "[]\n", "")


def test_r1_malformed_lines_are_counted_in_one_line_on_stderr(log_dir: Path) -> None:
    """How many, and in which files; what is intact is exported."""
    first = log_dir / "errors-2026-03-23.jsonl"
    second = log_dir / "errors-2026-03-24.jsonl"
    first.write_text("x\n" + first.read_text() + '{"timestamp": "torn')
    second.write_text("y\n" + second.read_text())

    result = run("--log-dir", log_dir)

    assert len(ids(result)) == 6
    assert result.stderr == f"Skipped 3 malformed lines: 2 in {first}, 1 in {second}.\n"


def test_r1_one_malformed_line_is_one(log_dir: Path) -> None:
    """The grammar of the message."""
    path = log_dir / "errors-2026-03-23.jsonl"
    path.write_text("x\n" + path.read_text())

    assert run("--log-dir", log_dir).stderr == (
        f"Skipped 1 malformed line: 1 in {path}.\n"
    )


def test_r1_many_damaged_files_still_make_one_line(log_dir: Path) -> None:
    """Five are named, the others counted."""
    for day in range(10, 20):
        (log_dir / f"errors-2026-02-{day}.jsonl").write_text("x\n")

    (message,) = run("--log-dir", log_dir).stderr.splitlines()

    assert message.startswith("Skipped 10 malformed lines: 1 in ")
    assert message.endswith("errors-2026-02-14.jsonl and 5 more files.")


def test_r1_a_file_that_cannot_be_read_is_named(log_dir: Path) -> None:
    """With the reason; the others are exported."""
    link = log_dir / "errors-2026-03-22.jsonl"
    link.symlink_to(log_dir / "errors-2026-03-23.jsonl")

    result = run("--log-dir", log_dir)

    assert len(ids(result)) == 6
    assert result.stderr == (
        "Not read, or not to the end: "
        f"{link} (a symbolic link, which is not followed).\n"
    )


def test_a_directory_that_does_not_exist_says_so(tmp_path: Path) -> None:
    """With what to try; nothing is created."""
    place = tmp_path / "nowhere"

    result = run("--log-dir", place)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"The log directory {place} does not exist." in result.stderr
    assert "--log-dir DIR or $TOKENPAK_LOG_DIR" in result.stderr
    assert not place.exists()


def test_a_file_is_no_log_directory(tmp_path: Path) -> None:
    """The message does not claim that it is missing."""
    place = tmp_path / "file"
    place.write_text("")

    result = run("--log-dir", place)

    assert result.exit_code == 1
    assert f"The log directory {place} is not a directory." in result.stderr


@pytest.mark.parametrize("option", ["--since", "--until"])
def test_a_wrong_date_is_a_usage_error_with_an_example(
    log_dir: Path, option: str
) -> None:
    """Both forms that would have been right are shown."""
    result = run("--log-dir", log_dir, option, "soon")

    assert result.exit_code == 2
    message = " ".join(result.stderr.split())
    assert f"'{option}': 'soon' is not a date like 2026-03-24" in message
    assert "2026-03-24T17:35:22Z" in message


def test_since_after_until_is_a_usage_error(log_dir: Path) -> None:
    """Rather than an export of nothing."""
    result = run("--log-dir", log_dir, "--since", "2026-03-25", "--until", "2026-03-24")

    assert result.exit_code == 2
    assert "--since: expected a time that is not after 2026-03-24." in result.stderr


def test_an_export_to_a_file_is_complete(log_dir: Path, tmp_path: Path) -> None:
    """And nothing goes to stdout; ``-`` is stdout."""
    target = tmp_path / "out.json"

    to_file = run("--log-dir", log_dir, "--output", target)
    to_stdout = run("--log-dir", log_dir, "--output", "-")

    assert (to_file.exit_code, to_file.stdout) == (0, "")
    assert target.read_text() == to_stdout.stdout
    assert sorted(os.listdir(tmp_path)) == ["logs", "out.json"]


def test_an_output_that_cannot_be_written_is_named(
    log_dir: Path, tmp_path: Path
) -> None:
    """A directory that is not there, or a directory where a file should be."""
    missing = run("--log-dir", log_dir, "-o", tmp_path / "no" / "out.json")
    folder = run("--log-dir", log_dir, "-o", tmp_path)

    assert (missing.exit_code, folder.exit_code) == (1, 1)
    assert str(tmp_path / "no") in missing.stderr
    assert "No such file or directory" in missing.stderr
    assert f"{tmp_path}: Is a directory" in folder.stderr


def test_an_output_that_is_the_log_itself_is_refused(log_dir: Path) -> None:
    """Exporting a file over itself would lose the other records of the day."""
    path = log_dir / "errors-2026-03-23.jsonl"
    before = path.read_text()

    result = run("--log-dir", log_dir, "-o", path)

    assert result.exit_code == 2
    assert "not one of the log's own" in " ".join(result.stderr.split())
    assert path.read_text() == before


def test_what_dead_processes_had_accepted_is_recovered_first(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is in the export."""

    def recover(place: str, **_more: float) -> recovery.Recovered:
        path = log_dir / "errors-2026-03-26.jsonl"
        path.write_text(line("2026-03-26"))
        assert place == str(log_dir)
        return recovery.Recovered(1, 1)

    monkeypatch.setattr(recovery, "recover", recover)
    (log_dir / "spool").mkdir()

    assert len(ids(run("--log-dir", log_dir))) == 7


@pytest.fixture
def no_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery fails, as it does for whoever may only read."""

    def recover(_place: str, **_more: float) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(recovery, "recover", recover)


@pytest.mark.usefixtures("no_recovery")
def test_r1_who_may_only_read_sees_what_waits_in_spools(log_dir: Path) -> None:
    """Behind the log's own records, by the same options, with nothing on stderr."""
    lines = [line("2026-03-22"), line("2026-03-26"), line("2026-03-26", "anthropic")]
    spool, _ = make_orphan(log_dir, [text.encode() for text in lines])
    spool.release()

    result = run("--log-dir", log_dir)
    some = run("--log-dir", log_dir, "--since", "2026-03-26", "--provider", "openai")

    assert ids(result)[6:] == [
        "2026-03-22 openai",
        "2026-03-26 openai",
        "2026-03-26 anthropic",
    ]
    assert ids(some) == ["2026-03-26 openai"]
    assert result.stderr == ""
    assert len(os.listdir(log_dir / "spool")) == 1


@pytest.mark.usefixtures("no_recovery")
def test_r1_a_spool_that_cannot_be_read_is_named(log_dir: Path) -> None:
    """With the reason; without spools, nothing is said."""
    without = run("--log-dir", log_dir)
    (log_dir / "spool").mkdir()
    path = log_dir / "spool" / "errors-0.spool"
    path.write_text("")

    result = run("--log-dir", log_dir)

    assert len(ids(result)) == len(ids(without)) == 6
    assert without.stderr == ""
    assert result.stderr == (
        f"Not read, or not to the end: {path} (is shorter than the head of a spool).\n"
    )


def test_r1_what_acts_on_a_terminal_in_the_name_of_a_spool_is_shown(
    log_dir: Path,
) -> None:
    """A directory that several users share has names that others have chosen."""
    (log_dir / "spool").mkdir()
    (log_dir / "spool" / "\x1b]0;title\x07\x9b2J\x7f.spool").write_text("")

    shown = [run("--log-dir", log_dir).stderr]
    for words in (["show", "req"], ["verify"], ["verify", "--format", "json"]):
        done = CliRunner().invoke(
            main, ["telemetry", *words, "--log-dir", str(log_dir)]
        )
        shown.append(done.output)

    for text in shown:
        assert ".spool" in text
        assert not set(text) & set("\x1b\x07\x9b\x7f")
    assert json.loads(shown[-1])["findings"][0]["file"].endswith("\x7f.spool")


def test_the_help_shows_examples() -> None:
    """Each line as it is written, and the exit status."""
    result = run("--help")

    assert result.exit_code == 0
    assert "\n    tokenpak telemetry export > errors.json\n" in result.output
    assert "Exit status: 0 exported" in result.output
    for option in ("--format", "--since", "--until", "--provider", "--stream"):
        assert option in result.output


def test_the_version_is_the_package_s() -> None:
    """``tokenpak --version``."""
    result = CliRunner().invoke(main, ["--version"])

    assert result.output == f"tokenpak, version {tokenpak.__version__}\n"


def test_python_m_tokenpak_is_the_command(log_dir: Path) -> None:
    """With the same name in its messages."""
    command = [sys.executable, "-m", "tokenpak", "telemetry", "export"]

    done = subprocess.run(
        [*command, "--log-dir", str(log_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    wrong = subprocess.run(
        [*command, "--format", "xml"], capture_output=True, text=True, check=False
    )

    assert len(json.loads(done.stdout)) == 6
    assert done.stderr == ""
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Usage: tokenpak telemetry export ")


def test_a_closed_pipe_ends_quietly(log_dir: Path) -> None:
    """``| head``: no traceback, no complaint of the interpreter at its exit."""
    path = log_dir / "errors-2026-03-23.jsonl"
    path.write_text(line("2026-03-23", message="x" * 1000) * 5000)
    command = [sys.executable, "-m", "tokenpak", "telemetry", "export"]

    with subprocess.Popen(
        [*command, "--log-dir", str(log_dir), "--format", "jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        complaint = process.stderr.read()

    assert json.loads(first)["request_id"] == "2026-03-23 openai"
    assert complaint == b""
    assert process.returncode == 0


def test_options_of_the_query_are_all_there(log_dir: Path) -> None:
    """By condition, text, request, class, number; and both streams."""
    path = log_dir / "errors-2026-03-24.jsonl"
    context = {"provider": "groq", "duration_ms": 1500, "retry": {"n": 2}}
    slow = line("2026-03-24", "groq", context=context, message="timed out")
    path.write_text(path.read_text() + slow)

    for options in (
        ("--where", "duration_ms>1000"),
        ("--where", "retry.n=2", "--where", "provider!=openai"),
        ("--grep", "timed"),
        ("--request-id", "2026-03-24 groq"),
        ("--provider", "groq", "--error-type", "ValueError", "--limit", "1"),
    ):
        assert ids(run("--log-dir", log_dir, *options)) == ["2026-03-24 groq"], options
    last = run("--log-dir", log_dir, "--last", "1", "--until", "2026-03-23")
    both = run("--log-dir", log_dir, "--stream", "all", "--format", "jsonl")
    assert ids(last) == ["2026-03-23 anthropic"]
    assert both.stdout.count("\n") == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--where", "duration_ms"), "a condition like provider=openai"),
        (("--where", "n>many"), "a number behind >"),
        (("--limit", "1", "--last", "1"), "either limit or last"),
        (("--limit", "-1"), "-1 is not in the range"),
        (("--fields", "a,,b"), "names of fields, none twice"),
        (("--since", "12 parsecs"), "30m, 2h or 7d"),
    ],
)
def test_wrong_options_say_what_would_be_right(
    log_dir: Path, options: tuple[str, ...], message: str
) -> None:
    """Exit status 2, no traceback."""
    result = run("--log-dir", log_dir, *options)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_fields_and_cells_can_be_chosen(log_dir: Path) -> None:
    """``--fields``, ``--raw``."""
    path = log_dir / "errors-2026-03-24.jsonl"
    path.write_text(line("2026-03-24", message="=1+1"))
    options = ("--log-dir", log_dir, "--format", "csv", "--since", "2026-03-24")
    chosen = (*options, "--until", "2026-03-24", "--fields", "message,context.provider")

    safe, raw = run(*chosen), run(*chosen, "--raw")

    assert safe.stdout_bytes == b"message,context.provider\r\n'=1+1,openai\r\n"
    assert raw.stdout_bytes == b"message,context.provider\r\n=1+1,openai\r\n"
