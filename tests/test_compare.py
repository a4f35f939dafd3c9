"Runs side by side, and what runs of a sweep share."

import json
import shutil

import pandas as pd
import pytest
from conftest import notebook

from voc_cv.files import add_scores
from voc_cv.run import is_fresh, note_path, read_note, write_note
from voc_cv.scale import compare_runs, run_sweep, take_over


def made_run(folder, dice, seconds=None, **parameters):
    "A run's folder; with seconds it has the notes of a run, else only what one sends around."
    add_scores(folder, '03_segment', {'unet': {'Dice': dice}, 'all background': {'Dice': 0.9}})
    if seconds is None:
        values = ''.join(f'\n    {k}: {json.dumps(v)}' for k, v in parameters.items())
        text = f'commit: abc\nparameters:\n  03_segment:{values}'
        (folder / 'params.yaml').write_text(text)
    else:
        note = {'key': 'x', 'parameters': parameters, 'files': {}, 'scores': None}
        write_note(folder, '03_segment', note | {'seconds': seconds})
    return folder


def test_runs_of_any_origin_are_compared(tmp_path, command):
    "Else a colleague's run cannot be laid beside one's own."
    made_run(tmp_path / 'monday/mine', 0.4, 30.0, loss='dice', size=128, out='here')
    made_run(tmp_path / 'tuesday/mine', 0.5, 20.0, loss='<b>focal</b>', size=128, out='there')
    made_run(tmp_path / 'sent', 0.45, loss='dice', size=160)
    done = command('compare', 'monday', 'tuesday/mine', 'sent', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ['run', '03_segment.loss', '03_segment.size', 'Dice', 'time']
    assert lines[1].split() == ['monday/mine', 'dice', '128', '0.4', '0:30']
    assert lines[2].split() == ['tuesday/mine', '<b>focal</b>', '128', '0.5*', '0:20*']
    table = pd.read_csv(tmp_path / 'runs/compare/compare.csv')
    assert [*table['03_segment.size']] == [128, 128, 160] and table.seconds.isna().tolist()[2]
    best = table.best.fillna('').tolist()
    assert best[0] == best[2] == '' and 'seconds' in best[1] and '03_segment/*/Dice' in best[1]
    page = (tmp_path / 'runs/compare/compare.html').read_text()
    assert '&lt;b&gt;focal' in page and '<b>focal' not in page and '<b>0.5</b>' in page
    assert '<svg' in page and 'src=' not in page and 'href="http' not in page


def test_what_cannot_be_compared_is_said(tmp_path, command):
    "Else a mistyped folder gives an empty table instead of a sentence."
    (tmp_path / 'empty').mkdir()
    for args, said in (
        (['nowhere'], 'nowhere: there is no such folder'),
        (['empty'], "empty: expected a run's folder"),
        (['.', '--score', 'Dice'], 'such as 03_segment/*/Dice'),
    ):
        if args[0] == '.':
            made_run(tmp_path / 'one', 0.4, size=1)
        done = command('compare', *args, cwd=tmp_path)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    assert not (tmp_path / 'runs').exists()


def test_a_run_that_is_not_finished_has_no_scores_of_that_stage(tmp_path):
    "Else a run that did not end is judged by what an earlier one has left."
    made_run(tmp_path / 'runs/a', 0.4, 1.0, size=1)
    made_run(tmp_path / 'runs/b', 0.5, 1.0, size=2)
    write_note(tmp_path / 'runs/b', '03_segment', {'key': '', 'files': {}})
    table = compare_runs([tmp_path / 'runs'], out=tmp_path / 'out', quiet=True)
    assert table.failure.tolist() == ['', 'not finished: 03_segment']
    assert table['03_segment/unet/Dice'].isna().tolist() == [False, True]


FIRST = """
from pathlib import Path
with open(Path(out).parent.parent / 'journal', 'a') as file:
    print('first', Path(out).name, file=file)
if x == 13: raise ValueError('x: 13 brings bad luck')
(Path(out) / 'deep/er').mkdir(parents=True, exist_ok=True)
(Path(out) / 'deep/er/first.txt').write_text(str(x))
"""
SECOND = """
from pathlib import Path
from voc_cv.files import add_scores
value = float((Path(out) / 'deep/er/first.txt').read_text()) * y
add_scores(out, 'second', {'it': {'value': value}})
"""


@pytest.fixture
def sweep(tmp_path):
    "(folder, a function that makes the sweep of such values)."
    notebook(tmp_path / 'first.ipynb', 'x = 1\nout = ""', FIRST)
    notebook(tmp_path / 'second.ipynb', 'y = 1\nout = ""', SECOND)
    (tmp_path / 'none.yaml').write_text('')

    def make(vary):
        (tmp_path / 'vary.yaml').write_text(f'base: none.yaml\nvary: {vary}\n')
        stages = {'first': (), 'second': ('first',)}
        how = {'out': tmp_path / 'runs', 'nbs': tmp_path, 'stages': stages, 'quiet': True}
        return run_sweep(tmp_path / 'vary.yaml', jobs=2, **how)

    return tmp_path, make


def test_shared_stages_are_made_once_and_every_run_is_whole(sweep):
    "Else a sweep trains the same network once a run, or leaves runs that lack files."
    folder, make = sweep
    vary = '[{first.x: [1], second.y: [3, 5]}, {first.x: [2], second.y: [3]}]'
    table = make(vary)
    assert table.failure.eq('').all() and [*table['second/it/value']] == [3, 5, 6]
    journal = (folder / 'journal').read_text().split()
    assert sorted(journal[1::2]) == ['x-1-y-3', 'x-2-y-3']
    one, other = folder / 'runs/x-1-y-3', folder / 'runs/x-1-y-5'
    assert read_note(other, 'first') == read_note(one, 'first') | {'from': 'x-1-y-3'}
    (other / 'deep/er/first.txt').write_text('7')  # whoever meddles with one does not with both
    assert (one / 'deep/er/first.txt').read_text() == '1'
    shutil.rmtree(one)
    assert [*make(vary)['second/it/value']] == [3, 5, 6], 'mended, and what is gone made again'
    assert len((folder / 'journal').read_text().split()) == len(journal) + 2


def test_a_shared_stage_that_fails_is_tried_once(sweep):
    "Else what fails after an hour fails again for each run of the sweep."
    folder, make = sweep
    table = make('{first.x: [13], second.y: [1, 2, 3]}')
    assert (folder / 'journal').read_text().split('\n')[:-1] == ['first x-13-y-1']
    words = 'first failed with ValueError: x: 13 brings bad luck'
    assert table.failure.tolist() == [words, *2 * [f'shared with x-13-y-1: {words}']]


def test_a_take_over_that_was_cut_off_is_no_result(sweep, monkeypatch):
    "Else a run that was copied by half, or from a damaged one, counts as done."
    folder, make = sweep
    make('{second.y: [3]}')
    source, target = folder / 'runs/y-3', folder / 'runs/other'
    key = read_note(source, 'first')['key']

    def cut_off(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('voc_cv.scale.shutil.copy2', cut_off)
        with pytest.raises(KeyboardInterrupt):
            take_over(source, target, 'first')
    assert note_path(target, 'first').is_file() and not is_fresh(target, 'first', key)
    assert take_over(source, target, 'first') and is_fresh(target, 'first', key)
    (source / 'deep/er/first.txt').write_text('damaged')
    assert not take_over(source, folder / 'runs/third', 'first')
