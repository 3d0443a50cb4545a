"""X1: importing starts nothing, and neither does a logger that is not used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROBE = """
import os, sys

opened, read = [], []

def hook(name, args):
    if name in ("open", "os.mkdir", "os.rename", "os.remove", "socket.connect"):
        opened.append((name, *map(str, args)))
    elif name in ("subprocess.Popen", "os.fork", "_thread.start_new_thread"):
        opened.append((name,))

class Environ(dict):
    def _note(self, key):
        frame = sys._getframe(2)
        while frame and frame.f_code.co_filename.endswith("os.py"):
            frame = frame.f_back
        read.append((key, frame.f_code.co_filename))
    def __getitem__(self, key):
        self._note(key)
        return super().__getitem__(key)
    def get(self, key, default=None):
        self._note(key)
        return super().get(key, default)
    def __contains__(self, key):
        self._note(key)
        return super().__contains__(key)

before_modules = set(sys.modules)
os.environ = Environ(os.environ)
sys.addaudithook(hook)
import tokenpak.telemetry.error_logger as imported
own = os.path.dirname(os.path.dirname(imported.__file__))
print({
    "threads": len(sys._current_frames()),
    "files": [
        event for event in opened
        if not (event[0] == "open" and event[2] in ("r", "rb", "None")
                and event[1].endswith((".py", ".pyc", ".so", ".cfg", ".toml")))
        and ".pyc." not in event[1] and "__pycache__" not in event[1]
        and not event[1].startswith(("/proc", "/sys", "/etc"))
    ],
    "read": [
        (key, name) for key, name in read
        if name.startswith(own) or key == "HOME" or key.startswith("TOKENPAK")
    ],
    "modules": sorted({
        name.split(".")[0] for name in set(sys.modules) - before_modules
    } & {"click", "prometheus_client", "hypothesis", "pytest", "multiprocessing"}),
    "children": [hook for hook in opened if hook[0].endswith(("Popen", "fork"))],
})
"""


def test_x1_importing_starts_nothing(tmp_path: Path) -> None:
    """No thread, file or directory; no environment read; neither click nor the like."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TOKENPAK_LOG_DIR": str(tmp_path / "logs"),
        "TOKENPAK_LINGER": "wrong",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )

    assert done.stderr == ""
    assert eval(done.stdout) == {
        "threads": 1,
        "files": [],
        "read": [],
        "modules": [],
        "children": [],
    }
    assert list(tmp_path.iterdir()) == []


def test_x1_a_logger_starts_nothing_before_its_first_record(tmp_path: Path) -> None:
    """Nor does the logger of the process; the first record starts it."""
    code = (
        "import os, sys\n"
        "from tokenpak.telemetry.error_logger import get_error_logger\n"
        "logger = get_error_logger()\n"
        "home = os.environ['HOME']\n"
        "print(len(sys._current_frames()), os.listdir(home))\n"
        "logger.log_event('first')\n"
        "print(os.listdir(home))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            # Its end waits only so long until the record is in the log.
            "TOKENPAK_EXIT_TIMEOUT": "120",
        },
    )

    assert done.stdout.split("\n") == ["1 []", "['.tokenpak']", ""]
    (log,) = (tmp_path / ".tokenpak" / "logs").glob("events-*.jsonl")
    assert log.read_text().count("\n") == 1
