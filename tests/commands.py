"""The command `mien` in this process: everything but the second that Python and its imports take to start.

Real processes stay where they are the point: signals, kills, start-up, standard input, terminals and their encodings,
full disks, what is imported, several devices.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from mien.cli import main


def run_binary(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Runs `mien WORDS...` through its `main`, with its exit codes and messages.

    Args:
        words: The words of the command line.
        cwd: The folder to run it in; the present one without it.
        env: Further variables of the environment.

    Returns:
        Exit code, standard output and standard error, as of a process. An exception with which no command may end is
        raised, where a process would print its traceback.
    """
    arguments = ["mien", *map(str, words)]
    out, errors = io.BytesIO(), io.BytesIO()
    code = 0
    with (
        contextlib.chdir(cwd or Path.cwd()),
        patch.object(sys, "argv", arguments),
        patch.dict(os.environ, env or {}),
        contextlib.redirect_stdout(io.TextIOWrapper(out, encoding="utf-8", write_through=True)),
        contextlib.redirect_stderr(io.TextIOWrapper(errors, encoding="utf-8", write_through=True)),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())


def run_command(
    *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """As `run_binary`, with text."""
    done = run_binary(*words, cwd=cwd, env=env)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def interrupted_analysis(*words: object) -> "subprocess.CompletedProcess[str]":
    """Runs `mien analyze WORDS...` in a process of its own, with Ctrl-C after the head and three rows."""
    command = [sys.executable, "-m", "mien", "analyze", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(4):
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(command, process.returncode, out, errors)
