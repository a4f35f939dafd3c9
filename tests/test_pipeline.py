"The smoke pipeline through papermill, and runs that fail, are killed, or are interrupted."

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, run
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from voc_cv.run import STAGES, StageError, run_pipeline

NAMES = (
    '00_data',
    '01_augment',
    '02_classify',
    '03_segment',
    '04_postprocess',
    '05_attack',
    '06_submit',
)
SMALL = (  # as arguments: twenty-four images, each training and each attack as short as it can be
    'limit=24 02_classify.epochs=5 cnn_epochs=1 vit_epochs=1 03_segment.epochs=2 size=64 '
    'images=1 steps=2 queries=3'
).split()
SMALL = tuple(itertools.chain.from_iterable(('-p', setting) for setting in SMALL))

HEAR = '''import json, os, sys

def hear(event, args):
    "Write down which process opens which file below the run's folder."
    if event != 'open' or not isinstance(args[0], str): return
    if os.path.abspath(args[0]).startswith(OUT):
        os.write(LOG, (json.dumps([os.getpid(), os.path.abspath(args[0])]) + chr(10)).encode())

OUT = os.environ['HEAR_OUT'] + os.sep
LOG = os.open(os.environ['HEAR_LOG'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(hear)
'''


@pytest.fixture(scope='module')
def smoke(command, tmp_path_factory):
    out = tmp_path_factory.mktemp('smoke') / 'run'
    (out.parent / 'sitecustomize.py').write_text(HEAR)  # Python loads it at the start
    path = os.pathsep.join(filter(None, [str(out.parent), os.environ.get('PYTHONPATH')]))
    listening = {'HEAR_OUT': str(out), 'HEAR_LOG': str(out.parent / 'opened'), 'PYTHONPATH': path}
    done = command('run', '--out', out, *SMALL, **listening)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    (out.parent / 'errors').write_text(done.stderr)
    return out


def test_a_run_prints_no_lines_but_ours(smoke):
    "Else what a stage is doing is lost among the greetings and warnings of libraries."
    assert (smoke.parent / 'errors').read_text() == '', 'our own lines go to the output'


def test_a_stage_reads_from_the_stages_that_it_names_and_no_others(smoke):
    "Else a stage is kept although what it reads has changed, and its scores are of another model."
    opened = [json.loads(line) for line in (smoke.parent / 'opened').read_text().splitlines()]
    records = {name: json.loads((smoke / f'.stages/{name}.json').read_text()) for name in NAMES}
    makers = {str(smoke / file): name for name in NAMES for file in records[name]['files']}
    begun: dict = {}  # the file in which a stage's process notes what it writes; the run knows all
    for process, path in opened:
        if path.endswith('.begun'):
            begun.setdefault(process, set()).add(Path(path).stem)
    stages = {process: min(names) for process, names in begun.items() if len(names) == 1}
    heard = {(stages.get(process), makers.get(path)) for process, path in opened}
    readers = {(who, whose) for who, whose in heard if who and whose and who != whose}
    assert readers == {(who, whose) for who, named in STAGES.items() for whose in named}


def test_a_run_leaves_all_that_is_promised(smoke):
    "Else an hour's run ends without its report, scores or submission."
    names = {p.name for p in smoke.iterdir()}
    assert {
        'submission.csv',
        'scores.json',
        'params.yaml',
        'report.html',
        'models',
        'classify',
        'segment',
        'postprocess',
    } <= names
    for stage in NAMES:
        cells = nbformat.read(smoke / f'{stage}.ipynb', as_version=4).cells
        outputs = [o for c in cells if c.cell_type == 'code' for o in c.outputs]
        assert any(k.startswith('image/') for o in outputs for k in o.get('data', {})), (
            f'{stage} shows a picture'
        )
    assert set(json.loads((smoke / 'scores.json').read_text())) == {
        '00_data',
        '02_classify',
        '03_segment',
        '04_postprocess',
        '05_attack',
        '06_submit',
    }
    assert '<img' in (smoke / 'report.html').read_text()
    assert not [p for p in smoke.rglob('.*') if p.name != '.stages'], 'nothing half-written is left'


def test_executed_notebooks_hold_no_lessons(smoke):
    "Else a run's results must be looked for between the lessons."
    for path in smoke.glob('0*.ipynb'):
        cells = nbformat.read(path, as_version=4).cells
        start = [c.source.split('\n')[0] for c in cells].index('## Run')
        assert [c.source[:2] for c in cells[:start] if c.cell_type == 'markdown'] == ['# '], (
            f'{path.name}: only the title stands before Run'
        )
        assert not [c.id for c in cells if c.id.endswith('-lesson')], path.name


def test_a_submission_is_sound_and_scores_as_the_stages_say(smoke, here):
    "Else the contest refuses it, or gives another score than the report."
    check = here('check', smoke / 'submission.csv')
    assert check.returncode == 0 and 'sound: 48 rows' in check.stdout, check.stdout + check.stderr
    score = here('score', smoke / 'submission.csv')
    said = {line.split()[0]: float(line.split()[1]) for line in score.stdout.splitlines()}
    scores = json.loads((smoke / 'scores.json').read_text())
    assert said['segmentation'] == pytest.approx(
        scores['04_postprocess']['after']['Dice'], abs=1e-4
    )  # from runs, and from masks
    assert said['segmentation'] == pytest.approx(
        scores['06_submit']['submission']['segmentation'], abs=1e-4
    )


def test_a_second_run_keeps_everything(smoke, here):
    "Else the same command trains everything again."
    done = here('run', '--out', smoke, *SMALL)
    assert done.returncode == 0 and done.stdout.count('unchanged, kept') == 7, (
        done.stdout + done.stderr
    )


def test_a_damaged_result_is_made_again(smoke, here):
    "Else a damaged mask is submitted because its stage counts as done."
    mask = next((smoke / 'postprocess' / 'val').glob('*.png'))
    whole = mask.read_bytes()
    mask.write_bytes(whole[:20])
    done = here('run', '--out', smoke, *SMALL)
    assert done.returncode == 0 and mask.read_bytes() == whole
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith(' s')] == [
        '04_postprocess'
    ]


@pytest.mark.parametrize('name', ['cnn', 'vit', 'head'])
def test_trained_classifiers_answer_the_same_when_they_are_loaded(smoke, name):
    "Else a model that was saved answers otherwise when it is loaded."
    from voc_cv.classify import open_parts, train_or_load

    about = json.loads((smoke / '.stages/02_classify.json').read_text())['parameters']
    parts = open_parts(*(about[k] for k in ('root', 'split', 'limit', 'tune', 'seed')))
    _, told = train_or_load(name, parts, str(smoke / 'models'), {}, '', 0, 0)
    assert told.history is None, 'nothing was trained again'
    check_alike(name, smoke, told.reported)


def check_alike(name, smoke, again):
    "What a classifier of a run has answered, and what it answers once it is loaded."
    first = pd.read_csv(smoke / 'classify' / f'{name}_val.csv', index_col='Id')
    if name != 'cnn':
        assert again.index.equals(first.index) and again.columns.equals(first.columns)
        np.testing.assert_allclose(again, first, atol=2e-4)
    # after a single step the CNN's moving averages are far off and its logits in the
    # hundreds, so that the order of float sums shows here and there
    else:
        assert (first - again).abs().to_numpy().mean() < 0.02 < first.to_numpy().std()


@pytest.mark.slow
def test_trained_classifiers_serve_another_run(smoke, command, tmp_path):
    "Else `trained=` trains everything again, or answers otherwise."
    out = tmp_path / 'run'
    trained = '-p', f'trained={smoke / "models"}'
    done = command('run', '--out', out, '--only', '02', *SMALL, *trained)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    for name in ('cnn', 'vit', 'head'):
        check_alike(name, smoke, pd.read_csv(out / f'classify/{name}_val.csv', index_col='Id'))
    cells = nbformat.read(out / '02_classify.ipynb', as_version=4).cells
    assert not any(
        'image/png' in o.get('data', {}) for c in cells if c.id == 'run-curves' for o in c.outputs
    ), 'nothing was trained again'


def test_a_contest_with_hidden_truth_ends_in_a_submission(command, here, tmp_path):
    "Else the contest itself, whose truth nobody has, cannot be entered."
    from voc_cv.data import toy_voc, write_kaggle

    root, out = tmp_path / 'the contest', tmp_path / 'run'  # a path with a space, too
    write_kaggle(root, toy_voc(24), toy_voc(5, split='test'), hide_test=True)
    given = '--params', ROOT / 'params' / 'kaggle.yaml', '--root', root, '--out', out
    one = '-p', 'models=head'  # those from scratch are learned alike, see `smoke`
    stages = [word for stage in NAMES if stage != '01_augment' for word in ('--only', stage)]
    # by torch alone, as where there is a GPU, and as it is quicker to load
    done = command('run', *given, *SMALL, *one, *stages, KERAS_BACKEND='torch')
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    check = here('check', out / 'submission.csv')
    assert check.returncode == 0 and 'sound: 10 rows' in check.stdout, check.stdout + check.stderr
    assert set(json.loads((out / 'scores.json').read_text())) == {
        '00_data',
        '05_attack',
    }, 'nothing is scored that nobody knows'
    assert here('score', out / 'submission.csv').returncode == 2


def tiny(folder, **stages):
    "Stage notebooks of two cells: the parameters and the work."
    for name, work in stages.items():
        cells = [
            new_code_cell('out = ""', metadata={'tags': ['parameters']}),
            new_code_cell(f'import time; from pathlib import Path; out = Path(out)\n{work}'),
        ]
        nbformat.write(
            new_notebook(
                cells=cells,
                metadata={
                    'kernelspec': {
                        'name': 'python3',
                        'language': 'python',
                        'display_name': 'python3',
                    }
                },
            ),
            folder / f'{name}.ipynb',
        )
    (folder / 'p.yaml').write_text('all: {}\n')
    inputs = {n: tuple(stages)[:i] for i, n in enumerate(stages)}
    return [
        sys.executable,
        '-c',
        'import sys; from voc_cv.run import *\n'
        f'try: run_pipeline(params="p.yaml", out="run", nbs=".", stages={inputs!r})\n'
        'except KeyboardInterrupt: sys.exit(130)',
    ]


def go_in_here(folder, **stages):
    "Like `tiny` and its command, but without the seconds that a new process takes to begin."
    tiny(folder, **stages)
    inputs = {n: tuple(stages)[:i] for i, n in enumerate(stages)}
    return run_pipeline(folder / 'p.yaml', out=folder / 'run', nbs=folder, stages=inputs)


def wait_for(path, text='', seconds=60):
    "Until a file is there and holds this text."
    end = time.time() + seconds
    while not (path.exists() and text in path.read_text()) and time.time() < end:
        time.sleep(0.05)
    assert path.exists(), f'{path} did not appear'


TRAINING = """done = out / "training" / "two" / "epochs"
done.parent.mkdir(parents=True, exist_ok=True)
begun = int(done.read_text()) if done.exists() else 0
for epoch in range(begun, 4):
    done.write_text(str(epoch + 1))
    if epoch == 2 and not (out / "again").exists(): time.sleep(60)
(out / "two.txt").write_text(f"{begun} epochs were done")
"""


def kill_in_training(folder, how):
    "The command of two stages, of which the second was killed after the third of four epochs."
    go = tiny(folder, one='(out / "one.txt").write_text("1")', two=TRAINING)

    def heed():  # a shell makes what it starts in the background deaf to it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        go,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed,
    )
    checkpoint = folder / 'run' / 'training' / 'two' / 'epochs'
    wait_for(checkpoint, '3')
    os.killpg(process.pid, how) if how == signal.SIGKILL else process.send_signal(how)
    process.wait(30)
    assert process.returncode != 0 and not (folder / 'run' / 'two.txt').exists()
    assert checkpoint.read_text() == '3', 'what is needed to go on is left'
    (folder / 'run' / 'again').touch()
    return go


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_goes_on_where_it_was(tmp_path, how):
    "Else a killed night is a lost night."
    go = kill_in_training(tmp_path, how)
    done = run(*go, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'one              unchanged, kept' in done.stdout
    assert (tmp_path / 'run' / 'two.txt').read_text() == '3 epochs were done'
    assert {p.name for p in (tmp_path / 'run').iterdir()} == {
        '.stages',
        'again',
        'one.ipynb',
        'one.txt',
        'two.ipynb',
        'two.txt',
    }, 'what the killed run left is cleared away, the checkpoint too'


def test_a_killed_training_of_other_code_begins_anew(tmp_path):
    "Else what old code has trained by half is finished by new code and called its result."
    kill_in_training(tmp_path, signal.SIGKILL)
    go = tiny(tmp_path, one='(out / "one.txt").write_text("1")', two=TRAINING + 'print("new")')
    done = run(*go, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'two.txt').read_text() == '0 epochs were done'
    assert not (tmp_path / 'run' / 'training').exists()


def test_files_of_an_earlier_run_go_away_and_ones_own_stay(tmp_path):
    "Else masks of an earlier run are scored among those of this one, or one's own files go."
    go_in_here(tmp_path, one='[(out / f"{i}.txt").write_text("x") for i in range(3)]')
    (tmp_path / 'run' / 'mine.txt').touch()
    go_in_here(tmp_path, one='[(out / f"{i}.txt").write_text("y") for i in range(2)]')
    assert sorted(p.name for p in (tmp_path / 'run').glob('*.txt')) == [
        '0.txt',
        '1.txt',
        'mine.txt',
    ]


def test_files_of_a_failed_run_go_away_too(tmp_path):
    "Else what a failed run has left is taken for a result of the next."
    work = '(out / "{}.txt").write_text("x")'
    go_in_here(tmp_path, one=work.format('a'))
    with pytest.raises(StageError, match='ZeroDivisionError'):
        go_in_here(tmp_path, one=work.format('b') + '; 1 / 0')
    assert (tmp_path / 'run' / 'b.txt').exists()
    go_in_here(tmp_path, one=work.format('a'))
    assert [p.name for p in (tmp_path / 'run').glob('*.txt')] == ['a.txt']


def test_a_dead_process_is_reported_and_its_notebook_kept(tmp_path):
    "Else a run that was out of memory ends without a word of where."
    with pytest.raises(StageError, match='one: its process died'):
        go_in_here(tmp_path, one='import os, signal; os.kill(os.getpid(), signal.SIGKILL)')
    cells = json.loads((tmp_path / 'run' / 'one.ipynb').read_text())['cells']
    assert cells[-1]['metadata']['papermill']['start_time'], 'executed up to there'


def test_the_command_line_prevails_over_the_file_and_a_record_repeats_the_run(tmp_path):
    "Else `-p` is ignored, a run cannot be repeated, or is scored on what it learned from."
    from voc_cv.run import STAGES, all_parameters, project_folder

    (tmp_path / 'p.yaml').write_text('all: {limit: 5}\n03_segment: {size: 320, limit: 7}\n')
    values = all_parameters(
        project_folder('nbs'), STAGES, tmp_path / 'p.yaml', None, ['size=64', '02_classify.limit=9']
    )
    assert (
        values['03_segment']['size'],
        values['03_segment']['limit'],
        values['02_classify']['limit'],
        values['06_submit']['limit'],
    ) == (64, 7, 9, 5)
    (tmp_path / 'params.yaml').write_text(
        json.dumps({'finished': 'today', 'versions': {}, 'parameters': values})
    )  # a run's record
    assert (
        all_parameters(project_folder('nbs'), STAGES, tmp_path / 'params.yaml', None, []) == values
    )
    for split in ('train', 'tune'):
        with pytest.raises(ValueError, match='learned from'):
            all_parameters(
                project_folder('nbs'), STAGES, tmp_path / 'p.yaml', None, [f'split={split}']
            )


def test_a_failed_stage_says_where_to_look(command, tmp_path):
    "Else one searches a log of hours for what went wrong."
    done = command('run', '--out', tmp_path / 'run', '--only', '04_postprocess', '-p', 'limit=4')
    assert done.returncode == 1
    assert (
        'run the stage that makes them first' in done.stderr
        and str(tmp_path / 'run' / '04_postprocess.ipynb') in done.stderr
    )
    cells = nbformat.read(tmp_path / 'run' / '04_postprocess.ipynb', as_version=4).cells
    assert any(o.output_type == 'error' for c in cells if c.cell_type == 'code' for o in c.outputs)


def test_damaged_data_stop_the_run_with_the_whole_list(command, tmp_path):
    "Else damaged images are found one a run."
    from voc_cv.data import toy_voc, write_voc

    write_voc(tmp_path / 'set', train=toy_voc(6), val=toy_voc(3, split='val'))
    for i in (1, 3):
        (tmp_path / f'set/JPEGImages/toy_train_0000{i}.png').unlink()
    done = command('run', '--root', tmp_path / 'set', '--out', tmp_path / 'run')
    assert done.returncode == 1 and '00_data failed' in done.stderr
    assert all(f'toy_train_0000{i}.' in done.stderr for i in (1, 3))


@pytest.mark.parametrize('stage', NAMES)
def test_a_run_needs_nothing_of_a_lesson(stage, tmp_path):
    "Else a run fails at a name that only a lesson had."
    from voc_cv.run import lay_out

    lay_out(ROOT / 'nbs' / f'{stage}.ipynb', tmp_path / f'{stage}.ipynb')
    done = run(
        'ruff', 'check', '--isolated', '--no-cache', '--select', 'F821', tmp_path
    )  # names that nothing defines
    assert done.returncode == 0, done.stdout + done.stderr


def test_parameters_that_we_ship_fit_the_notebooks():
    "Else the README's `--params params/voc.yaml` is refused."
    from voc_cv.run import STAGES, project_folder, read_params, resolve, stage_parameters

    known = {s: stage_parameters(project_folder('nbs') / f'{s}.ipynb') for s in STAGES}
    for file in project_folder('params').glob('*.yaml'):
        assert set(resolve(known, read_params(file))) == set(STAGES)


def lesson_and_run(path, lesson='1 / 0', runs='1 / 0', work='pass'):
    "A stage with a lesson and a section Run, and with a heading Runs before it."
    cells = [
        new_code_cell('out = ""', metadata={'tags': ['parameters']}),
        new_markdown_cell('# Title'),
        new_code_cell('from pathlib import Path', id='imports'),
        new_code_cell('#| export\ndef one(): return "1"'),
        new_code_cell(lesson),
        new_markdown_cell('## Runs\nof pixels'),
        new_code_cell(runs),
        new_markdown_cell('## Run'),
        new_code_cell(f'(Path(out) / "one.txt").write_text(one())\n{work}'),
        new_markdown_cell('### End'),
    ]
    nbformat.write(
        new_notebook(
            cells=cells,
            metadata={
                'kernelspec': {'name': 'python3', 'language': 'python', 'display_name': 'python3'}
            },
        ),
        path,
    )


def test_a_run_executes_no_lessons_and_they_make_nothing_stale(tmp_path, capsys):
    "Else runs take longer by all lessons, or a changed lesson costs a training."
    (tmp_path / 'p.yaml').write_text('all: {}\n')
    for lesson, work, kept in (
        ('1 / 0', 'pass', False),
        ('2 / 0', 'pass', True),
        ('2 / 0', 'print("new")', False),
    ):
        lesson_and_run(tmp_path / 'one.ipynb', lesson, work=work)
        run_pipeline(tmp_path / 'p.yaml', out=tmp_path / 'run', nbs=tmp_path, stages={'one': ()})
        assert ('kept' in capsys.readouterr().out) == kept
    assert (tmp_path / 'run' / 'one.txt').read_text() == '1'
    cells = nbformat.read(tmp_path / 'run' / 'one.ipynb', as_version=4).cells
    assert [c.source for c in cells if c.cell_type == 'markdown'] == [
        '# Title',
        '## Run',
        '### End',
    ]


def test_the_report_begins_at_run_and_not_at_runs(tmp_path):
    "Else the report shows a lesson among the results."
    from voc_cv.run import run_section

    lesson_and_run(tmp_path / 'one.ipynb')
    assert [c.source for c in run_section(tmp_path / 'one.ipynb')] == ['## Run', '### End']


def test_used_modules_are_found_inside_functions():
    "Else a stage is kept although the code that it uses has changed."
    from voc_cv.run import package_folder, used_modules

    for source in (
        'def f():\n    from voc_cv.submit import rle_encode',
        'from voc_cv import submit',
        'import voc_cv.submit as s',
    ):
        assert {'submit', 'data', 'files', 'toy'} <= {
            p.stem for p in used_modules(source, package_folder())
        }


def quick(go):
    "The command of `tiny` with a line of the log each fifth of a second."
    return [*go[:2], go[2].replace('\n', '\nimport voc_cv.run; voc_cv.run.PAUSE = .2\n', 1)]


COUNT = 'from tqdm import tqdm\nfor i in tqdm(range(20), "Counting"): time.sleep(.1)'


@pytest.mark.parametrize('work, said', [(COUNT, r', Counting \d+%'), ('time.sleep(2)', '')])
def test_a_log_shows_what_a_run_is_doing(tmp_path, work, said):
    "Else a run in the background says nothing for an hour."
    done = run(*quick(tiny(tmp_path, one=work)), cwd=tmp_path)
    first, *inside, last = done.stdout.splitlines()
    assert first == 'one              begins, 3 cells', done.stdout + done.stderr
    assert re.fullmatch(r'one {14} +\d+\.\d s', last), done.stdout
    assert any(
        re.fullmatch(rf'one {{14}}cell [\w-]+ \(3 of 3\), 0:\d\d{said}', line) for line in inside
    ), done.stdout
    assert '|' not in done.stdout + done.stderr, 'no bar is drawn into a file'


@pytest.mark.parametrize('columns', [0, 100])
def test_bars_in_a_terminal_and_lines_where_it_has_no_width(tmp_path, columns):
    "Else a terminal without a width fills with torn bars."
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    drawn = []

    def read():
        try:
            while part := os.read(ours, 4096):
                drawn.append(part.decode(errors='replace'))
        except OSError:
            pass  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    done = subprocess.run(
        quick(tiny(tmp_path, one=COUNT)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=120,
    )
    os.close(theirs)
    reader.join(10)
    screen = ''.join(drawn)
    if columns:
        assert (
            'Counting:' in screen and '| 2/3 [' in screen and len(done.stdout.splitlines()) == 1
        ), screen + done.stdout
    else:
        assert 'Counting' in done.stdout and 'begins' in done.stdout and '%|' not in screen, (
            screen + done.stdout
        )


def test_another_detector_in_the_same_file_is_noticed(tmp_path):
    "Else the labels of an old detector are kept for those of the new one."
    from voc_cv.run import named_files

    (tmp_path / 'd.onnx').write_bytes(b'1')
    before = named_files({'detector': str(tmp_path / 'd.onnx'), 'models': 'cnn vit', 'limit': 8})
    (tmp_path / 'd.onnx').write_bytes(b'22')
    after = named_files({'detector': str(tmp_path / 'd.onnx'), 'models': 'cnn vit', 'limit': 8})
    assert len(before) == 1 and before != after
