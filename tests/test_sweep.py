"Many runs by one command: checked first, side by side, failing alone, interrupted, called again."

import json
import os
import signal
import subprocess
import time

import pandas as pd
import pytest
from conftest import BIN, ROOT, notebook

from voc_cv.run import STAGES as ALL
from voc_cv.run import known_parameters, project_folder
from voc_cv.scale import choose_score, find_base, plan_runs, read_sweep, run_sweep

STAGES = {'add': (), 'double': ('add',)}
ADD = """import os, time
from pathlib import Path
from voc_cv.files import add_scores
if number == 13: raise ValueError('number: 13 brings bad luck')
add_scores(out, 'add', {'sum': {'value': number + more, 'value 95 %': '0.5 to 9.5'}})
while number == wait and not (Path(out).parent.parent / 'go').exists():
    (Path(out) / 'waiting').write_text(str(os.getpid()))
    time.sleep(.1)
"""
DOUBLE = """import os
from voc_cv.files import add_scores, read_scores
value = 2 * read_scores(out)['add']['sum']['value']
threads = os.environ.get('OMP_NUM_THREADS', '')
add_scores(out, 'double', {label or 'none': {'value': value, 'threads': threads}})
"""


@pytest.fixture
def sweep(tmp_path):
    "(its file's folder, the command's arguments): `vary` is to be written into vary.yaml."
    notebook(tmp_path / 'add.ipynb', 'number = 0\nmore = 0.\nwait = -1\nout = ""', ADD)
    notebook(tmp_path / 'double.ipynb', 'label = ""\nmore = 0.\nout = ""', DOUBLE)
    (tmp_path / 'base.yaml').write_text('add: {more: 1}')
    args = 'sweep', tmp_path / 'vary.yaml', '--out', tmp_path / 'runs', '--nbs', tmp_path
    return tmp_path, [*map(str, args), '--stages', json.dumps(STAGES)]


HEAD = 'base: base.yaml\nscore: double/*/value\n'


def test_a_sweep_compares_its_runs_and_repeats_only_what_failed(sweep, here, monkeypatch):
    "Else one bad value costs all runs, or a corrected one trains all of them again."
    folder, args = sweep
    vary = 'all: {more: 2}\nvary:\n- add.number: {one: 1, bad: 13}\n  label: [x]\n'
    (folder / 'vary.yaml').write_text(HEAD + vary + '- add.number: [3]')
    monkeypatch.setenv('OMP_NUM_THREADS', '')
    done = here(*args, '--jobs', 2, '-p', 'double.more=0.5')
    assert done.returncode == 1, done.stdout + done.stderr
    assert '3 runs, 2 at a time' in done.stdout and 'one-x begins' in done.stdout
    assert 'bad-x FAILED after 0:' in done.stdout and 'that was the last' in done.stdout
    table = pd.read_csv(folder / 'runs/sweep.csv', index_col='run')
    assert [*table.index] == ['one-x', 'bad-x', 'number-3']
    assert [*table['add.number']] == [1, 13, 3] and [*table.label.fillna('')] == ['x', 'x', '']
    assert table.failure['bad-x'] == 'add failed with ValueError: number: 13 brings bad luck'
    assert table.failure.isna().sum() == 2 and table.filter(like='/').loc['bad-x'].isna().all()
    assert [*table['add/sum/value'].dropna()] == [3, 5], 'the block `all` is laid over the base'
    assert table['double/x/value']['one-x'] == 6 and table['double/none/value']['number-3'] == 10
    assert (table.seconds > 0).tolist() == [True, False, True]
    record = json.loads((folder / 'runs/one-x/.stages/double.json').read_text())
    assert record['parameters']['more'] == 0.5, 'the command line is laid over the file'
    picture = (folder / 'runs/sweep.svg').read_text()
    assert all(name in picture for name in ('one-x', 'bad-x', 'number-3', 'no score'))
    assert (folder / 'runs/sweep.png').read_bytes()[:4] == b'\x89PNG'

    vary = vary.replace('13', '4')
    (folder / 'vary.yaml').write_text(HEAD + vary + '- add.number: [3]')
    done = here(*args, '-p', 'double.more=0.5')
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if 'kept' in line] == [
        'one-x',
        'number-3',
    ]
    again = pd.read_csv(folder / 'runs/sweep.csv', index_col='run')
    assert again['double/x/value']['bad-x'] == 12 and again.failure.isna().all()
    assert again.seconds['one-x'] == table.seconds['one-x'], 'of the work, not of looking it up'
    assert not [p for p in (folder / 'runs').iterdir() if p.name.startswith('.')]


def test_runs_side_by_side_share_the_cores(monkeypatch):
    "Else four runs on four cores each use all of them, and take longer than one by one."
    from voc_cv.scale import share_cores

    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    assert [share_cores(n).get('OMP_NUM_THREADS') for n in (1, 2, 3, 16)] == [None, '4', '2', '1']
    monkeypatch.setenv('OMP_NUM_THREADS', '5')
    assert share_cores(2)['OMP_NUM_THREADS'] == '5', 'who has said it is obeyed'


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(true, seconds=60):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


def test_an_interrupted_sweep_leaves_no_process_and_goes_on(sweep, here):
    "Else Ctrl-C leaves trainings that nobody sees, or costs what is done."
    folder, args = sweep
    values = '{add.number: [1, 2, 3]}\nonly: [add]\n'
    (folder / 'vary.yaml').write_text(f'base: base.yaml\nvary: {values}')
    args += ['-p', 'wait=2']
    process = subprocess.Popen(
        [BIN / 'voc_cv', *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    waiting = folder / 'runs/number-2/waiting'
    wait_for(lambda: waiting.exists() and waiting.read_text())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert '1 of 3 runs are done and kept' in out and 'the same command goes on' in err
    assert 'Traceback' not in err
    wait_for(lambda: not alive(int(waiting.read_text())), 30)
    assert not (folder / 'runs/number-3').exists(), 'nothing begins any more'
    assert not (folder / 'runs/sweep.csv').exists()
    note = json.loads((folder / 'runs/number-2/.stages/add.json').read_text())
    assert not note['key'] and 'waiting' in note['files'], 'it had time to note what it wrote'

    (folder / 'go').touch()
    done = here(*args)
    assert done.returncode == 0 and 'number-1 unchanged, kept' in done.stdout, done.stdout
    assert [*pd.read_csv(folder / 'runs/sweep.csv')['add/sum/value']] == [2, 3, 4]
    assert not (folder / 'runs/sweep.png').exists(), 'no score is named and none is usual'


@pytest.mark.parametrize(
    'vary, more, said',
    [
        ('vary: {add.numbr: [1]}', {}, "did you mean 'number'?"),
        ('vary: {ad.number: [1]}', {}, "did you mean 'add'?"),
        ('vary: {add.number: [1, 2, three]}', {}, "add.number: expected int, like its default 0"),
        ('vary: {add.number: [1, 2.5]}', {}, 'got float 2.5'),
        ('add: {numbr: 1}\nvary: {label: [a]}', {}, "did you mean 'number'?"),
        ('vary: {label: [a, a/]}', {}, 'several runs would be called a'),
        ('vary: {add.number: []}', {}, 'expected a list of values'),
        ('all: {more: 1}', {}, 'vary: expected stage.name'),
        ('- 1', {}, 'expected blocks of parameters'),
        ('vary: {add.number: [1]}\nonly: [ad]', {}, "there is no stage 'ad'"),
        ('vary: {add.number: [1]}\nscore: Dice', {}, 'score: expected stage/line/column'),
        ('vary: {add.number: [1]}', {'overrides': ['number=3']}, 'the sweep varies add.number'),
        ('vary: {more: [1]}', {'overrides': ['add.more=3']}, 'the sweep varies more'),
        ('vary: {add.number: [1]}', {'overrides': ['numbr=3']}, "did you mean 'number'?"),
        ('vary: {add.number: [1]}', {'root': 'nowhere'}, 'nowhere: there is no such folder'),
        ('vary: {add.number: [1]}', {'jobs': 0}, 'jobs: expected 1 or more'),
        ('vary: {add.number: [1]}', {'only': ['9']}, "there is no stage '9'"),
        ('base: x.yaml\nvary: {add.number: [1]}', {}, 'x.yaml: there is no such file'),
    ],
)
def test_a_mistake_in_a_sweep_is_refused_before_anything_runs(sweep, vary, more, said):
    "Else a slip in the twentieth run shows after a night of nineteen."
    folder, _ = sweep
    (folder / 'vary.yaml').write_text(vary if 'base' in vary else f'{vary}\nbase: base.yaml')
    if vary == '- 1':
        (folder / 'vary.yaml').write_text(vary)
    how = {'out': folder / 'runs', 'nbs': folder, 'stages': STAGES, 'quiet': True} | more
    with pytest.raises((ValueError, OSError)) as e:
        run_sweep(folder / 'vary.yaml', **how)
    assert said in str(e.value), e.value
    assert not (folder / 'runs').exists()


SHIPPED = sorted(ROOT.glob('params/sweeps/*.yaml'))


def test_the_sweeps_of_the_original_are_there():
    "Else a table that the original had cannot be made again."
    names = {p.stem for p in SHIPPED}
    assert names >= {'batch', 'losses', 'backbones', 'architectures', 'augment', 'weights'}


@pytest.mark.parametrize('path', SHIPPED, ids=lambda p: p.stem)
@pytest.mark.parametrize('root', [None, 'VOC2012'])
def test_sweeps_that_we_ship_fit_the_notebooks(path, root):
    "Else a sweep that the README names is refused, or fails at its last run."
    assert f'voc_cv sweep {path.name}' in path.read_text().split('\nvary')[0], 'says its command'
    known, sweep = known_parameters(project_folder('nbs'), ALL), read_sweep(path)
    plans = plan_runs(sweep, known, find_base(path, sweep.base, root), root, [])
    usual = '02_classify/*/mAP' if sweep.only == ['02_classify'] else '03_segment/*/Dice'
    assert len(plans) >= 2 and choose_score(sweep.score, sweep.only) == usual
    for plan in plans:
        size = plan.varied.get('03_segment.size', 0)
        net = str(plan.varied.get('03_segment.segmenter', ''))
        assert size % (48 if net.startswith('PSPNet') else 32) == 0, 'no such net can be built'
