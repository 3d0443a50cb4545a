"""``tokenpak telemetry export --format parquet``: ended while DuckDB is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.test_export_command import log_dir
from tokenpak.cli.interrupt import tidy_end

__all__ = ["log_dir"]  # a fixture, which pytest finds by its name

pytest.importorskip("duckdb", reason="DuckDB is not installed")

SECONDS = 60.0
PROGRAM = """
import sys
import duckdb
from tokenpak.cli import main

real = duckdb.connect

class Slow:
    def __init__(self, connection):
        self.connection = connection
    def __enter__(self):
        return self
    def __exit__(self, *_error):
        self.connection.close()
    def execute(self, text):
        if text.startswith("COPY"):
            print("at it", file=sys.stderr, flush=True)
            self.connection.execute("SELECT sum(i % 7) FROM range(1000000000000) t(i)")
        return self.connection.execute(text)

duckdb.connect = lambda **options: Slow(real(**options))
main(sys.argv[1:])
"""
"""The export, whose writing of Parquet takes hours."""


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("fields", [(), ("--fields", "context")], ids=["all", "fields"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_s5_an_export_to_parquet_ends_at_a_signal_and_leaves_nothing(
    log_dir: Path, tmp_path: Path, number: signal.Signals, fields: tuple[str, ...]
) -> None:
    """With the status of the signal: no part of the output, nothing temporary."""
    place, out = tmp_path / "tmp", tmp_path / "out"
    place.mkdir()
    out.mkdir()
    words = ["telemetry", "export", "--format", "parquet", *fields]
    places = ["--log-dir", str(log_dir), "-o", str(out / "errors.parquet")]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words, *places],
        env={**os.environ, "TMPDIR": str(place)},
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        try:
            assert process.stderr.readline() == b"at it\n"
            begun = cpu_seconds(process)
            for _ in range(int(SECONDS * 100)):
                if cpu_seconds(process) - begun > 0.3:
                    break
                time.sleep(0.01)
            process.send_signal(number)
            status = process.wait(SECONDS)
            told = process.stderr.read()
        finally:
            process.kill()

    assert status == (1 if number == signal.SIGINT else 128 + number), told
    assert told.endswith(b"Aborted!\n") == (number == signal.SIGINT), told
    assert b"Traceback" not in told
    assert (list(place.iterdir()), list(out.iterdir())) == ([], [])


def test_what_a_library_makes_of_ctrl_c_is_ctrl_c() -> None:
    """And another error of its own, without a signal, is that."""
    with pytest.raises(KeyboardInterrupt), tidy_end():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None
    with pytest.raises(RuntimeError), tidy_end():
        raise RuntimeError("of its own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
