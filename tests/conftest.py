"""What the tests share, and the closing line: `N passed, N failed`, alone and last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
counts = {'passed': 0, 'failed': 0}
# a thread that waits for others shall sleep: spinning, it takes their core on a busy machine
os.environ.setdefault('OMP_WAIT_POLICY', 'passive')


def run(*command, cwd=ROOT, timeout=900, **env):
    "A finished process with its output as text."
    environment = (
        os.environ
        | {'PATH': f'{BIN}{os.pathsep}{os.environ["PATH"]}', 'TF_CPP_MIN_LOG_LEVEL': '3'}
        | env
    )
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
    )


@pytest.fixture(scope='session')
def command():
    "The command `voc_cv` in a process of its own."
    return lambda *args, **kwargs: run(BIN / 'voc_cv', *args, **kwargs)


def pytest_runtest_logreport(report):
    if report.failed:
        counts['failed'] += 1
    elif report.when == 'call' and report.passed:
        counts['passed'] += 1


def pytest_collectreport(report):
    if report.failed:
        counts['failed'] += 1


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and not counts['passed']:
        session.exitstatus = 1  # a run that tested nothing has failed


def pytest_unconfigure(config):
    print(f'\n{counts["passed"]} passed, {counts["failed"]} failed', flush=True)
