"Every command of the README works: those of `voc_cv` are run, at tiny size, the others looked up."

import configparser
import re
import shlex
import shutil

import pandas as pd
import pytest
from conftest import BIN, ROOT, run, tiny_segformer
from PIL import Image

from voc_cv.data import toy_voc, write_voc

TEXT = (ROOT / 'README.md').read_text()
LINES = [
    line.split('  #')[0].strip()
    for block in re.findall(r'```sh\n(.*?)```', TEXT, re.S)
    for line in re.sub(r'\\\n\s*', '', block).splitlines()  # a long one goes on after a \
    if line.strip() and not line.startswith('#')
]
OURS = [line for line in LINES if line.startswith('voc_cv ')]
TINY = {'run': ['-p', 'limit=6', '--only', '01_augment']}
ELSEWHERE = {  # the long ones: what is run where
    'sweep': 'tests/test_sweep.py',
    '--ray': 'tests/test_ray.py',
    'finetune': 'tests/test_together.py',
    'export': 'tests/test_onnx.py',
    'compare': 'tests/test_compare.py',
    '--from': 'tests/test_pipeline.py',
    'check': 'tests/test_pipeline.py',
    'score': 'tests/test_pipeline.py',
    'predict holiday/ --run': 'tests/test_pipeline.py',
}


def elsewhere(line):
    "The test that runs this command, or ''."
    return next((file for word, file in ELSEWHERE.items() if word in line), '')


@pytest.fixture(scope='module')
def desk(tmp_path_factory):
    "A folder in which the README's paths exist."
    desk = tmp_path_factory.mktemp('desk')
    write_voc(desk / 'path/to/VOC2012', **{s: toy_voc(6, split=s) for s in ('train', 'val')})
    tiny_segformer(desk / 'path/to/model')
    for name in ('photo.jpg', 'holiday/b c.jpg', 'archive/2026/d.png'):
        (desk / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(toy_voc(1)[0].image).save(desk / name)
    shutil.copytree(ROOT / 'params', desk / 'params')
    return desk


@pytest.mark.parametrize('line', [line for line in OURS if not elsewhere(line)])
def test_a_command_of_the_readme_runs(line, desk, here, monkeypatch):
    "Else a reader copies a line of the README and it fails."
    words = shlex.split(line)[1:]
    if '--detector' in words:  # no detector fits into a test; test_detector asks one
        at = words.index('--detector')
        words[at : at + 2] = []
    monkeypatch.chdir(desk)
    done = here(*words, *TINY.get(words[0], []))
    assert done.returncode == 0, f'{line}\n{done.stdout}{done.stderr}'


@pytest.mark.parametrize('line', [line for line in OURS if elsewhere(line)])
def test_a_long_command_is_known_and_run_by_another_test(line):
    "Else a reader copies a line of the README and it fails after an hour."
    words = shlex.split(line)
    assert (ROOT / elsewhere(line)).is_file()
    told = run(BIN / 'voc_cv', words[1], '--help').stdout
    assert not [w for w in words if w.startswith('--') and w not in told], f'{line}\n{told}'


@pytest.mark.parametrize('line', [line for line in LINES if line.startswith('make ')])
def test_a_target_of_make_is_there(line):
    "Else a reader copies a line of the README and make knows nothing of it."
    done = run('make', '-n', '-o', '.venv/ready', *shlex.split(line)[1:])
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    for word in shlex.split(line)[2:]:
        assert word.partition('=')[0] in ('DATA', 'segmenter', 'detector')


def test_other_commands_of_the_readme_and_their_extras_are_known():
    "Else a reader installs an extra that is not there."
    rest = [line for line in LINES if not line.startswith(('voc_cv ', 'make '))]
    assert {line.split()[0] for line in rest} <= {'papermill', 'accelerate', 'pip'}
    extras = configparser.ConfigParser(delimiters=['='])
    extras.read(ROOT / 'settings.ini')
    there = {name.removesuffix('_requirements') for name in extras['DEFAULT']} | {'all'}
    asked = re.findall(r"pip install -e '\.\[([\w,]+)\]'", TEXT)
    assert asked and {name for some in asked for name in some.split(',')} <= there


def test_links_lead_to_a_heading_or_a_file():
    "Else a reader of the README clicks into nothing."
    for target in re.findall(r'\]\(([^)#:]*)(?:#[^)]*)?\)', TEXT):
        assert not target or (ROOT / target).exists(), target
    heads = {
        re.sub(r'[^\w -]', '', head).strip().lower().replace(' ', '-')
        for head in re.findall(r'^#+ (.*)$', TEXT, re.M)
    }
    assert {*re.findall(r'\]\(#([^)]+)\)', TEXT)} <= heads


def test_what_a_run_prints_is_what_was_measured():
    "Else a reader waits five minutes for figures that the README has made up."
    shown = re.search(r'```text\n(.*?)```', TEXT, re.S)[1]
    table = pd.read_csv(ROOT / 'results/toy.csv').set_index(['line', 'score']).value
    for line in ('02 head', '03 decoder', '06 submission'):
        kind, name = line.split()
        part = re.search(rf'^{kind}_\w+\n(.*?)\n\n', shown, re.S | re.M)[1]
        said = re.search(rf'^{name} .*$', part, re.M)[0].split()
        for value in table[line]:
            assert f'{value:.4g}' in said, f'{line}: {value} is not in {said}'
    seconds = table[[stage for stage, score in table.index if score == 'seconds']].sum()
    assert round(seconds / 60) == 4 and 'draws: 5 minutes on two cores' in TEXT  # with its start


def test_a_stage_is_a_plain_papermill_notebook(tmp_path):
    """Else stages cannot be run by papermill where others run theirs.

    As the README's line for papermill says, on the quickest stage."""
    line = next(line for line in LINES if line.startswith('papermill'))
    words = shlex.split(line)
    assert (ROOT / words[1]).is_file()
    given = ['-p', 'out', tmp_path / 'run', '-p', 'limit', 4, '-p', 'copies', 1, '-p', 'size', 32]
    done = run(BIN / 'papermill', ROOT / 'nbs/01_augment.ipynb', tmp_path / 'out.ipynb', *given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len([*tmp_path.glob('run/augmented/JPEGImages/*')]) == 8, 'four images and their copies'
