"""``tokenpak telemetry report``: formats, messages and exit status."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from click.testing import CliRunner, Result

from tests.queue.test_recovery import make_orphan
from tests.report.logs import failure, write
from tokenpak.cli import main
from tokenpak.telemetry.store.names import ARCHIVE_DIR

if TYPE_CHECKING:
    from pathlib import Path

DAY = ("--since", "2026-03-24", "--until", "2026-03-24")


def run(*args: str | Path) -> Result:
    words = ["telemetry", "report", *map(str, args)]
    return CliRunner().invoke(main, words, prog_name="tokenpak")


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Two days, of which the second has a new failure."""
    records = [*(failure(i + 0.5) for i in range(40)), failure(3, "NewError")]
    return write(tmp_path / "logs", records)


def test_text_is_the_default(log_dir: Path) -> None:
    """On stdout, and nothing on stderr."""
    result = run("--log-dir", log_dir, *DAY)

    assert result.exit_code == 0
    assert result.stdout.startswith("25 errors in 24 hours, 1.6 \xd7 the 16 before.\n")
    assert "NewError" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_json_is_one_object(log_dir: Path) -> None:
    """For other programs."""
    result = run("--log-dir", log_dir, *DAY, "--format", "json")

    data = json.loads(result.stdout)
    assert (data["total"]["now"], data["new"][0]["error_type"]) == (25, "NewError")


def test_html_is_a_file(log_dir: Path, tmp_path: Path) -> None:
    """And stderr says so."""
    page = tmp_path / "report.html"

    result = run("--log-dir", log_dir, *DAY, "--html", page)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{page} is written.\n"
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_a_sentence(
    log_dir: Path, tmp_path: Path
) -> None:
    """Status 1; and 2 for a file of the log."""
    nowhere = run("--log-dir", log_dir, *DAY, "--html", tmp_path / "no" / "page.html")
    log_file = log_dir / "errors-2026-03-24.jsonl"
    before = log_file.read_bytes()
    itself = run("--log-dir", log_dir, *DAY, "--html", log_file)

    assert nowhere.exit_code == 1
    assert "The page cannot be written" in nowhere.stderr
    assert itself.exit_code == 2
    assert log_file.read_bytes() == before


def test_cron_can_ask_for_a_status(log_dir: Path) -> None:
    """1 if something is new or rose; the report is printed all the same."""
    new = run("--log-dir", log_dir, *DAY, "--fail-on", "new")
    rose = run("--log-dir", log_dir, *DAY, "--fail-on", "rise")
    before = run(
        *("--log-dir", log_dir, "--since", "2026-03-23", "--until", "2026-03-23"),
        *("--fail-on", "rise"),
    )

    assert (new.exit_code, rose.exit_code) == (1, 0)
    assert before.exit_code == 1
    assert "NewError" in new.stdout


def test_wrong_usage_is_status_2(log_dir: Path) -> None:
    """With a sentence that says what would be right."""
    for args in (
        ("--since", "2026-03-25", "--until", "2026-03-24"),
        ("--since", "2999-01-01"),
        ("--history", "soon"),
        ("--format", "xml"),
        ("--fail-on", "x"),
    ):
        result = run("--log-dir", log_dir, *args)

        assert result.exit_code == 2, args
        assert "Traceback" not in result.stderr


def test_no_directory_is_a_sentence(tmp_path: Path) -> None:
    """As for every command."""
    result = run("--log-dir", tmp_path / "missing")

    assert result.exit_code == 1
    assert "does not exist" in result.stderr


def test_an_archive_that_cannot_be_listed_is_a_sentence(log_dir: Path) -> None:
    """Among what was not read; all else is reported."""
    (log_dir / ARCHIVE_DIR).write_text("no directory")

    result = run("--log-dir", log_dir, *DAY)

    assert result.exit_code == 0
    assert f"{log_dir / ARCHIVE_DIR}" in result.output
    assert "Not a directory" in result.output


def test_an_empty_directory_is_no_error(tmp_path: Path) -> None:
    """In every format."""
    for args in ((), ("--format", "json"), ("--html", str(tmp_path / "page.html"))):
        assert run("--log-dir", tmp_path, *args).exit_code == 0


def test_damage_is_told_of_and_is_no_failure(log_dir: Path) -> None:
    """What could be read is reported."""
    with open(log_dir / "errors-2026-03-24.jsonl", "ab") as file:
        file.write(b'{"cut\n')

    result = run("--log-dir", log_dir, *DAY)

    assert result.exit_code == 0
    assert "1 malformed line: 1 in " in result.stdout


def test_what_dead_processes_accepted_is_reported(log_dir: Path) -> None:
    """It is appended first, as for an export."""
    spool, _ = make_orphan(log_dir, [orjson.dumps(failure(2)) + b"\n"])
    spool.release()

    assert run("--log-dir", log_dir, *DAY).stdout.startswith("26 errors")


@pytest.mark.parametrize(
    ("module", "args"), [("rich", ()), ("jinja2", ("--html", "page.html"))]
)
def test_without_the_extra_it_says_what_to_install(
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    module: str,
    args: tuple[str, ...],
) -> None:
    """The page needs jinja2; a terminal without rich is shown plain text."""
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest)

    for name in list(sys.modules):
        if name.startswith(
            ("tokenpak.telemetry.report.page", "tokenpak.telemetry.report.tables")
        ):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.chdir(tmp_path)

    result = run("--log-dir", log_dir, *DAY, *args)

    if args:
        assert result.exit_code == 1
        assert "pip install 'tokenpak-telemetry[report]'" in result.stderr
    else:
        assert result.exit_code == 0


def test_nothing_heavy_is_imported_for_help() -> None:
    """Neither what a report is made of, nor what it is shown with."""
    program = (
        "import sys\n"
        "from tokenpak.cli import main\n"
        "main(['telemetry', 'report', '--help'], standalone_mode=False)\n"
        "print({'rich', 'jinja2', 'tokenpak.telemetry.report'} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.endswith("\nset()\n")


def shell(command: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
    )


def test_a_closed_stdout_is_a_sentence(log_dir: Path) -> None:
    """Status 1; and no matter for a page."""
    command = f"{sys.executable} -m tokenpak telemetry report --log-dir {log_dir}"
    for more in ("", "--format json"):
        done = shell(f"{command} {more} >&-")

        assert done.returncode == 1
        assert done.stderr == (
            b"Error: The output cannot be written: stdout is closed.\n"
        )
    assert shell(f"{command} --html {log_dir}/page.html >&-").returncode == 0


def test_a_page_can_go_through_a_pipe(log_dir: Path) -> None:
    """By a name of /dev, which leads to what has none."""
    done = shell(
        f"{sys.executable} -m tokenpak telemetry report --log-dir {log_dir} "
        "--html /dev/stdout | cat"
    )

    assert done.stdout.startswith(b"<!doctype html>")
    assert done.stderr == b"/dev/stdout is written.\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_who_has_read_enough_gets_the_same_status(log_dir: Path, form: str) -> None:
    """0, as of an export; 1 only for what was asked for."""
    command = [sys.executable, "-m", "tokenpak", "telemetry", "report", *DAY]
    command += ["--log-dir", str(log_dir), "--format", form]
    for more, status in (((), 0), (("--fail-on", "new"), 1)):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as out:
            done = subprocess.run(
                [*command, *more],
                stdout=out,
                stderr=subprocess.PIPE,
                timeout=60,
                check=False,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )

        assert (done.returncode, done.stderr) == (status, b"")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_a_terminal_of_any_encoding_is_shown_the_report(
    log_dir: Path, encoding: str
) -> None:
    """A sign that it has not is a question mark, and not the end."""
    pty = pytest.importorskip("pty")
    controller, terminal = pty.openpty()
    words = ["-m", "tokenpak", "telemetry", "report", "--log-dir", str(log_dir), *DAY]
    with subprocess.Popen(
        [sys.executable, *words],
        stdout=terminal,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONIOENCODING": encoding,
            "TERM": "xterm",
        },
    ) as child:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # EIO: the other end is closed
            while data := os.read(controller, 65536):
                shown += data
        os.close(controller)
        assert child.stderr
        assert child.stderr.read() == b""

    assert child.returncode == 0
    assert b"NewError" in shown
    assert b"\x1b[" in shown  # in colours


def test_a_closed_pipe_ends_quietly(log_dir: Path) -> None:
    """``| head`` has what it wants."""
    done = subprocess.run(
        f"{sys.executable} -m tokenpak telemetry report --log-dir {log_dir} "
        f"{' '.join(DAY)} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.stdout.startswith("25 errors")
    assert done.stderr == ""
