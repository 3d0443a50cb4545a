"""Reading is only reading."""

from __future__ import annotations

import subprocess
import sys


def test_x1_importing_the_reader_loads_no_writer() -> None:
    """Neither queue nor capture, no lock, no command line, no thread."""
    code = (
        "import sys, threading, tokenpak.telemetry.read\n"
        "heavy = ('tokenpak.telemetry.queue', 'tokenpak.telemetry.capture',\n"
        "    'tokenpak.telemetry.error_logger', 'tokenpak.cli', 'click',\n"
        "    'filelock', 'prometheus_client', 'logging')\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(threading.active_count())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert done.stdout.split("\n") == ["[]", "1", ""]
