"""What the tests share; what a user would lose, shown with each failure; and the closing line:
`N passed, N failed`, alone and last."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from voc_cv.scale import limit_threads

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
counts = {'passed': 0, 'failed': 0}
SLOW = os.environ.get('VOC_CV_SLOW', '') not in ('', '0')
FIRST = (  # the files that take longest, so that no worker begins one when all else is done
    'test_notebooks', 'test_pipeline', 'test_original', 'test_resume_keras', 'test_ray',
    'test_backends', 'test_segmenter', 'test_resume_segment', 'test_trust_runs', 'test_sweep',
)  # fmt: skip
# Two workers share the cores: where each process takes all of them for its tiny arrays, up to two
# fifths more CPU goes into threads that wait for each other.
os.environ.update(limit_threads(1))


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


def notebook(path, parameters, work):
    "A stage of two cells, written without nbformat."
    cells = [
        {'cell_type': 'code', 'id': id, 'metadata': {'tags': tags}, 'source': text}
        | {'outputs': [], 'execution_count': None}
        for id, tags, text in (('parameters', ['parameters'], parameters), ('work', [], work))
    ]
    kernel = {'name': 'python3', 'language': 'python', 'display_name': 'python3'}
    whole = {'cells': cells, 'metadata': {'kernelspec': kernel}, 'nbformat': 4, 'nbformat_minor': 5}
    path.write_text(json.dumps(whole))


def tiny_segformer(folder, **more):
    "A folder with a tiny segmenter of random weights, its processor for 64 x 64 pixels; its path."
    import torch
    import transformers

    from voc_cv.data import VOC_CLASSES

    torch.manual_seed(3)
    names = dict(enumerate(['background', *VOC_CLASSES]))
    config = transformers.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        hidden_sizes=[8, 16],
        num_attention_heads=[1, 2],
        decoder_hidden_size=16,
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        id2label=names,
        label2id={v: k for k, v in names.items()},
        **more,
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    transformers.SegformerImageProcessorPil(size={'height': 64, 'width': 64}).save_pretrained(
        folder
    )
    return folder


@pytest.fixture(scope='session')
def command():
    "The command `voc_cv` in a process of its own."
    return lambda *args, **kwargs: run(BIN / 'voc_cv', *args, **kwargs)


@pytest.fixture
def here(capsys):
    "The command `voc_cv` in this process, which has loaded already what it needs."

    from voc_cv.run import main

    def call(*args):
        capsys.readouterr()
        try:
            code = main([*map(str, args)])
        except SystemExit as e:  # of argparse
            code = e.code
        said = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=said.out, stderr=said.err)

    return call


def loss(test):
    "What a user would lose: what follows the `Else` that begins a test's docstring, or ''."
    first = ' '.join((test.__doc__ or '').partition('\n\n')[0].split())
    return first.removeprefix('Else ') if first.startswith('Else ') else ''


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    lost = loss(getattr(item, 'function', None))
    if report.failed and lost:
        report.sections.append(('What a user would lose', f'As it is now, {lost}'))


def pytest_configure(config):
    said = 'slow: has a quick sibling, and runs with VOC_CV_SLOW=1 only, as CI does each week'
    config.addinivalue_line('markers', said)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else 99)
    for item in items:
        if item.get_closest_marker('slow') and not SLOW:
            item.add_marker(pytest.mark.skip(reason='minutes; VOC_CV_SLOW=1 runs it'))


def pytest_runtest_logreport(report):
    if report.failed:
        counts['failed'] += 1
    elif report.when == 'call' and report.passed:
        counts['passed'] += 1


def pytest_collectreport(report):
    if report.failed:
        counts['failed'] += 1


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == 0 and not counts['passed'] and 'PYTEST_XDIST_WORKER' not in os.environ:
        session.exitstatus = 1  # a run that tested nothing has failed


def pytest_unconfigure(config):
    if 'PYTEST_XDIST_WORKER' in os.environ:
        return  # the process that started the workers counts for all
    print(f'\n{counts["passed"]} passed, {counts["failed"]} failed', flush=True)
