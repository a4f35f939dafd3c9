"The command: help, refusals, and what it says of data and of submissions."

import resource
import sys

import pytest
from conftest import run

from voc_cv.data import open_voc, toy_voc, write_kaggle, write_voc
from voc_cv.submit import write_submission


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    "The same images in both layouts, and a submission of the true answers but for one label."
    folder = tmp_path_factory.mktemp('sets')
    train, val = toy_voc(4), toy_voc(3, split='val')
    write_voc(folder / 'devkit', train=train, val=val)
    write_kaggle(folder / 'contest', train, val)
    labels = val.labels.copy()
    labels.iloc[0] = ~labels.iloc[0]
    write_submission(folder / 'submission.csv', labels, lambda id: val[id].mask)
    return folder


def test_every_command_has_its_help(command):
    "Else one has to read the source to use the command."
    done = command('--help')
    words = 'run sweep compare predict finetune export info check score'.split()
    assert done.returncode == 0 and all(word in done.stdout for word in words)
    for sub in words:
        assert command(sub, '--help').returncode == 0


HEAVY = {
    'tensorflow',
    'keras',
    'torch',
    'transformers',
    'pandas',
    'numpy',
    'nbformat',
    'papermill',
    'yaml',
    'matplotlib',
}


@pytest.mark.parametrize('module', ['files', 'run'])
def test_importing_the_command_loads_nothing_heavy(module):
    "Else each `voc_cv --help` waits for frameworks."
    done = run(sys.executable, '-c', f'import sys, voc_cv.{module}; print(*sys.modules)')
    assert done.returncode == 0 and not HEAVY & set(done.stdout.split()), HEAVY & set(
        done.stdout.split()
    )


def test_help_answers_at_once(command):
    "Else each `voc_cv --help` takes seconds."
    def seconds():
        "Of the processor: they grow less than those on the clock when the machine is busy."
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command('--help').returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.parametrize(
    'args, said',
    [
        (('run', '-p', '03_segment.epoch=3'), "did you mean 'epochs'?"),
        (('run', '-p', '03_segmet.epochs=3'), "did you mean '03_segment'?"),
        (('run', '-p', 'limit=many'), 'expected int'),
        (('run', '--params', 'nowhere.yaml'), 'smoke.yaml'),
        (('run', '--only', '12_win'), 'there is no stage'),
        (('run', '--root', 'nowhere'), 'nowhere: there is no such folder'),
        (('run', '--stages', 'x'), 'invalid loads value'),
        (('sweep', 'nowhere.yaml'), 'nowhere.yaml: there is no such file'),
        (('sweep', 'batch.yaml', '-p', '03_segment.epoch=3'), "did you mean 'epochs'?"),
        (('sweep', 'batch.yaml', '--gpus', '1'), 'name its address with --ray'),
        (('sweep', 'batch.yaml', '--ray', 'local', '--jobs', '2'), 'jobs: Ray knows'),
        (('predict', 'nowhere', '--ray', 'local'), 'nowhere: there is no such file'),
        (('compare', 'nowhere'), 'nowhere: there is no such folder'),
        (('finetune', '--out', 'x'), 'name the model to begin with'),
        (('info', 'nowhere'), 'nowhere: there is no such folder'),
        (('check', 'nowhere.csv', '--root', ''), 'nowhere.csv: there is no such file'),
        (('score', 'nowhere.csv'), 'say which data'),
    ],
)
def test_a_mistake_in_a_command_is_refused_with_a_hint_and_leaves_nothing(
    here, tmp_path, monkeypatch, args, said
):
    "Else a typing error costs a run, or ends in a traceback."
    monkeypatch.chdir(tmp_path)
    done = here(*args)
    assert done.returncode == 2 and said in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr
    assert not [*tmp_path.iterdir()], 'a refused command leaves nothing'


def test_a_refusal_is_the_exit_status_of_the_process(command, tmp_path):
    "Else a script goes on after a command that was refused."
    done = command('run', '-p', '03_segment.epoch=3', cwd=tmp_path)
    assert done.returncode == 2 and "did you mean 'epochs'?" in done.stderr, done.stderr
    assert 'Traceback' not in done.stderr and not [*tmp_path.iterdir()]


def test_info_says_how_much_there_is_and_that_it_is_sound(here, sets):
    "Else nobody knows before a long run whether the data is whole."
    for name in ('devkit', 'contest'):
        done = here('info', sets / name)
        assert (
            done.returncode == 0 and done.stdout.endswith('sound\n') and '4 images' in done.stdout
        ), done.stdout + done.stderr


def test_both_layouts_give_the_same_scores(here, sets):
    "Else scores depend on the folders that the same images lie in."
    answers = [
        here('score', sets / 'submission.csv', '--root', sets / name)
        for name in ('devkit', 'contest')
    ]
    assert all(a.returncode == 0 for a in answers), answers
    assert answers[0].stdout == answers[1].stdout
    assert (
        'classification  0.6667' in answers[0].stdout
        and 'segmentation    1.0000' in answers[0].stdout
    )  # one of three is all wrong


def test_a_submission_to_another_data_set_is_noticed(here, sets):
    "Else the answer to the wrong images is sent to the contest."
    done = here('check', sets / 'submission.csv', '--root', sets / 'devkit', '--split', 'train')
    assert done.returncode == 1 and 'answers another data set' in done.stdout
    assert (
        here(
            'score', sets / 'submission.csv', '--root', sets / 'devkit', '--split', 'train'
        ).returncode
        == 2
    )


def test_unknown_truth_cannot_be_scored(here, sets, tmp_path):
    "Else a score is made up where nobody knows the truth."
    write_kaggle(
        tmp_path / 'hidden',
        open_voc(sets / 'contest', 'train'),
        open_voc(sets / 'contest', 'test'),
        hide_test=True,
    )
    assert here('check', sets / 'submission.csv', '--root', tmp_path / 'hidden').returncode == 0
    done = here('score', sets / 'submission.csv', '--root', tmp_path / 'hidden')
    assert done.returncode == 2 and 'has no truth' in done.stderr
