"""A run touches only what is its own, never takes a stale result for a fresh one, reads what people
write, and ends in a sentence. Hours of the same: tests/soak.py."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import soak
from conftest import BIN, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pipeline import go_in_here, tiny, wait_for

from voc_cv import files
from voc_cv import run as pipeline
from voc_cv.files import alone_in, clear_parts, replacing
from voc_cv.run import (
    StageError,
    check_value,
    hub_commits,
    main,
    named_files,
    parse_value,
    read_note,
    read_params,
    read_yaml,
    run_pipeline,
    stage_parameters,
    whole_paths,
    write_note,
    write_yaml,
)

# ---------- what is not ours


def test_a_note_that_leads_out_deletes_nothing(tmp_path):
    "Else a run that somebody sent deletes one's own files."
    go_in_here(tmp_path, one='(out / "a.txt").write_text("1")')
    precious, out = tmp_path / 'precious.txt', tmp_path / 'run'
    for name in ('../precious.txt', str(precious), 'a/../../precious.txt'):
        precious.write_text('precious')
        note = json.loads((out / '.stages/one.json').read_text())
        note['files'] |= {name: None}
        note['key'] = ''
        (out / '.stages/one.json').write_text(json.dumps(note))
        assert read_note(out, 'one') == {}
    (out / 'link').symlink_to(tmp_path)
    write_note(out, 'one', {'key': '', 'files': {'link/precious.txt': None, 'gone.txt': None}})
    go_in_here(tmp_path, one='(out / "a.txt").write_text("2")')
    assert precious.read_text() == 'precious' and (out / 'link').is_symlink()
    assert (out / 'a.txt').read_text() == '2'


def test_names_that_look_like_ours_are_left_alone_and_ours_are_not(tmp_path):
    "Else tidying up deletes what is not ours, or leaves half files for ever."
    host = files.this_host()
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    (tmp_path / 'data').mkdir()
    (tmp_path / '.old-data').mkdir()
    (tmp_path / f'.{ended.pid}-1-a.txt').touch()  # looks like a part, and is none of ours
    (tmp_path / f'.voc_cv-{host}-{ended.pid}-1-link').symlink_to(tmp_path / 'data')
    (tmp_path / 'elsewhere').symlink_to(tmp_path.parent)
    (tmp_path.parent / f'.voc_cv-{host}-{ended.pid}-1-b.txt').touch()  # behind a link
    (tmp_path / '.voc_cv-other-1-1-c.txt').touch()  # of another machine, a moment ago
    kept = {*os.listdir(tmp_path)}
    (tmp_path / f'.voc_cv-{host}-{ended.pid}-1-a.txt').touch()
    (tmp_path / '.voc_cv-other-1-1-d.txt').touch()
    os.utime(tmp_path / '.voc_cv-other-1-1-d.txt', (0, 0))
    clear_parts(tmp_path)
    assert {*os.listdir(tmp_path)} == kept
    assert (tmp_path.parent / f'.voc_cv-{host}-{ended.pid}-1-b.txt').exists()


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    "Else saving a model over a link empties the folder that it leads to."
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'disk/mine.txt').touch()
    (tmp_path / 'model').symlink_to(tmp_path / 'disk')
    with replacing(tmp_path / 'model') as part:
        part.mkdir()
    assert (tmp_path / 'disk/mine.txt').exists() and not (tmp_path / 'model').is_symlink()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / 'disk') as part:
        part.write_text('a file in the place of a folder')
    assert (tmp_path / 'disk/mine.txt').exists()


def test_files_that_no_run_has_made_are_not_overwritten(tmp_path):
    "Else a run into the wrong folder writes over one's own files."
    go = 'raise Exception("not run")'
    tiny(tmp_path, one=go)
    for out in (tmp_path, tmp_path / 'run'):
        out.mkdir(exist_ok=True)
        (out / 'scores.json').write_text('mine')
        with pytest.raises(ValueError, match='which no run has made'):
            run_pipeline(tmp_path / 'p.yaml', out=out, nbs=tmp_path, stages={'one': ()})
        assert (out / 'scores.json').read_text() == 'mine' and not (out / '.stages').exists()


def test_braces_quotes_and_spaces_are_kept_in_a_path(tmp_path):
    "Else results of a folder with a strange name lie in another."
    tiny(tmp_path, one='(out / "one.txt").write_text(str(out))')
    out = tmp_path / """a {out} {0} "b" 'c' $d \\e ü %s"""
    run_pipeline(tmp_path / 'p.yaml', out=out, nbs=tmp_path, stages={'one': ()})
    assert (out / 'one.txt').read_text() == str(out)


def test_the_owner_of_a_folder_is_named_and_a_dead_one_owns_nothing(tmp_path):
    "Else two runs mix in one folder, or a killed one locks it for ever."
    code = 'import sys, time; from voc_cv.files import alone_in\n'
    code += 'with alone_in(sys.argv[1]): time.sleep(60)'
    owner = subprocess.Popen([sys.executable, '-c', code, tmp_path / 'run'])
    wait_for(tmp_path / 'run/.stages/owner.json', 'since')
    tiny(tmp_path, one='pass')
    how = {'out': tmp_path / 'run', 'nbs': tmp_path, 'stages': {'one': ()}, 'quiet': True}
    with pytest.raises(ValueError, match=f'process {owner.pid} on .*, since 2.*is at work there'):
        run_pipeline(tmp_path / 'p.yaml', **how)
    owner.kill()
    owner.wait()
    with alone_in(tmp_path / 'run'), alone_in(tmp_path / 'run'):
        pass
    assert not (tmp_path / 'run/.stages/owner.json').exists()


# ---------- paths, fingerprints, kills


def test_only_paths_are_looked_at_on_disk(tmp_path, monkeypatch):
    "Else a folder that happens to be called `val` changes what a run means."
    monkeypatch.chdir(tmp_path)
    for name in ('val', 'cnn', 'unet', 'imagenet', 'best', 'efficientnet-lite0', 'FPN/mobilenetv2'):
        (tmp_path / name).mkdir(parents=True)
    for name in ('mine', 'google/vit'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'config.json').touch()
    (tmp_path / 'd.onnx').touch()
    plain = {
        'split': 'val', 'models': 'cnn', 'segmenter': 'unet', 'encoder_weights': 'imagenet',
        'policy': 'best', 'backbone': 'efficientnet-lite0', 'targets': 'FPN/mobilenetv2', 'n': 3,
    }  # fmt: skip
    assert whole_paths(plain) == plain and named_files(plain) == []
    paths = {'root': 'val', 'trained': 'cnn', 'detector': 'd.onnx', 'segmenter': './unet'}
    paths |= {'backbone': 'google/vit', 'image': '~/no such file', 'targets': 'other/hub mine'}
    whole = whole_paths(paths)
    here = tmp_path.resolve()
    assert whole == paths | {
        'root': f'{here}/val', 'trained': f'{here}/cnn', 'detector': f'{here}/d.onnx',
        'segmenter': f'{here}/unet', 'backbone': f'{here}/google/vit',
        'targets': f'other/hub {here}/mine',
    }  # fmt: skip
    assert len(named_files(paths)) == 5  # not the data
    assert [*hub_commits(paths)] == ['other/hub']


def test_a_linked_file_keeps_its_ending(tmp_path):
    "Else a detector from the hub's cache, which links, is no .onnx any more."
    (tmp_path / 'blob').touch()
    (tmp_path / 'd.onnx').symlink_to(tmp_path / 'blob')
    assert whole_paths({'detector': f'{tmp_path}/./d.onnx'})['detector'].endswith('/d.onnx')


@pytest.mark.parametrize('changed', ['weights.h5', 'a/model.safetensors', 'd.onnx', 'd.onnx.data'])
def test_whatever_a_stage_reads_is_in_its_fingerprint(tmp_path, changed):
    "Else after a model was trained again its old results are kept."
    values = {'encoder_weights': 'weights.h5', 'targets': 'unet ./a', 'detector': 'd.onnx'}
    for name in ('weights.h5', 'a/model.safetensors', 'd.onnx', 'd.onnx.data'):
        with replacing(tmp_path / name) as part:
            part.write_text('1')
    usual = os.getcwd()
    os.chdir(tmp_path)
    try:
        before = named_files(values)
        (tmp_path / changed).write_text('22')
        assert named_files(values) != before and len(before) == 3
    finally:
        os.chdir(usual)


def test_a_model_loaded_for_the_first_time_gets_its_commit(tmp_path, monkeypatch):
    "Else a run is repeated although nothing changed, or kept although the hub's model did."
    refs = tmp_path / 'hub/models--a--b/refs'
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'hub'))
    work = (
        f'from pathlib import Path\nr = Path({str(refs)!r})\nr.mkdir(parents=True, exist_ok=True)\n'
    )
    work += '(r / "main").exists() or (r / "main").write_text("1" * 40)'
    soak.notebook(tmp_path / 'one.ipynb', 'segmenter = "a/b"\nrevision = "main"\nout = ""', work)
    (tmp_path / 'p.yaml').write_text('')
    said = []
    for commit in (None, None, '2'):
        if commit:
            (refs / 'main').write_text(commit * 40)
        monkeypatch.setattr(pipeline, 'log', said.append)
        run_pipeline(tmp_path / 'p.yaml', out=tmp_path / 'run', nbs=tmp_path, stages={'one': ()})
    ends = ['kept' in line for line in said if line.endswith((' s', 'kept'))]
    assert ends == [False, True, False]


def test_what_a_killed_stage_had_begun_does_not_confuse_the_next(tmp_path):
    "Else halves of two runs are scored as one."
    out = tmp_path / 'run'
    work = """from voc_cv.files import replacing
import os, signal
(out / 'segment').mkdir(exist_ok=True)
for name in {names}:
    (out / 'segment' / name).write_text(name)
with replacing(out / 'models' / '{model}') as part:
    part.mkdir()
    (part / 'weights').write_text('1')
{end}"""
    kill = 'os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)'
    go = tiny(tmp_path, one=work.format(names=['a', 'b'], model='first', end=kill), two='pass')
    (out / 'segment').mkdir(parents=True)
    assert run(*go, cwd=tmp_path).returncode == -signal.SIGKILL
    assert (out / 'models/first/weights').exists()
    (out / 'segment/mine').touch()  # somebody puts a file there before the run is repeated
    with pytest.raises(ValueError, match='two: reads what one makes, which was begun'):
        run_pipeline(tmp_path / 'p.yaml', out=out, nbs=tmp_path, only=['two'],
                     stages={'one': (), 'two': ('one',)})  # fmt: skip
    go_in_here(tmp_path, one=work.format(names=['b', 'c'], model='second', end=''), two='pass')
    assert sorted(p.name for p in (out / 'segment').iterdir()) == ['b', 'c', 'mine']
    assert [p.name for p in (out / 'models').iterdir()] == ['second']


def test_cut_notes_and_scores_count_as_not_run(tmp_path):
    "Else a full disk leaves half a note, and its stage counts as done."
    work = 'from voc_cv.files import add_scores; add_scores(out, "one", {"a": {"b": 1}})'
    out = go_in_here(tmp_path, one=work)
    for name, cut in (('.stages/one.json', 20), ('scores.json', 9)):
        whole = (out / name).read_text()
        (out / name).write_text(whole[:cut])
        os.utime(out / 'one.ipynb', (0, 0))
        go_in_here(tmp_path, one=work)
        assert (out / 'one.ipynb').stat().st_mtime > 1, f'{name}: it ran again'
        if name == 'scores.json':
            assert (out / name).read_text() == whole


def test_changed_inputs_are_seen_although_nobody_noted_them(tmp_path, capsys):
    "Else masks that were painted over are scored by the old ones' results."
    stages = {'one': '(out / "a.txt").write_text("1")', 'two': 'print((out / "a.txt").read_text())'}
    out = go_in_here(tmp_path, **stages)
    (out / 'a.txt').write_text('painted over')
    capsys.readouterr()
    run_pipeline(tmp_path / 'p.yaml', out=out, nbs=tmp_path, only=['two'],
                 stages={'one': (), 'two': ('one',)})  # fmt: skip
    assert 'kept' not in capsys.readouterr().out


def test_kills_at_random_moments_leave_what_an_unbroken_run_leaves(tmp_path):
    "Else a kill at a bad moment leaves results that are not the run's."
    hit, unequal, orphans, lost = soak.run_kills(tmp_path, 2, seed=1)
    assert hit >= 2 and (unequal, orphans, lost) == (0, 0, 0)


def test_a_terminated_run_takes_its_kernel_along_and_says_so(tmp_path):
    "Else a stopped run goes on using the machine unseen."
    command = [*soak.three_stages(tmp_path / 'nbs', 'import time; time.sleep(60)'), '--out']
    process = subprocess.Popen(
        [*command, tmp_path / 'run'], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    end = time.time() + 60
    while not (tmp_path / 'run/.stages/1_write.json').exists() and time.time() < end:
        time.sleep(0.05)
    while not soak.children(process.pid) and time.time() < end:
        time.sleep(0.05)
    below = soak.children(process.pid)
    process.terminate()
    assert 'what is done is kept' in process.communicate(timeout=30)[1]
    assert process.returncode == 130 and below and not any(map(soak.lives, below))


def test_full_and_read_only_disks_are_said(tmp_path):
    "Else a full disk leaves half files that count as whole."
    answers = soak.full_disk(tmp_path / 'full', ['60k']), soak.read_only(tmp_path / 'read')
    if answers == (None, None):
        pytest.skip('only root can make a small disk')
    assert answers == (True, True)


# ---------- the answer's parameters


def test_check_uses_what_the_submission_was_made_with(tmp_path, capsys):
    "Else a sound submission is called wrong, for it is compared with other data."
    from voc_cv.data import toy_voc
    from voc_cv.submit import write_submission

    toys = toy_voc(3, split='val', seed=5)
    write_submission(tmp_path / 'submission.csv', toys.labels, lambda id: toys[id].mask)
    blocks = {'00_data': {'root': '', 'split': 'val', 'limit': 7, 'seed': 1}}
    blocks['06_submit'] = {'root': '', 'split': 'val', 'limit': 3, 'seed': 5}
    (tmp_path / 'params.yaml').write_text(write_yaml({'parameters': blocks}))
    assert main(['check', str(tmp_path / 'submission.csv')]) == 0
    assert main(['score', str(tmp_path / 'submission.csv')]) == 0
    assert 'sound: 6 rows' in capsys.readouterr().out
    (tmp_path / 'params.yaml').write_text('parameters: {06_submit: {limit: [many]}}')
    assert main(['check', str(tmp_path / 'submission.csv')]) == 2
    assert 'params.yaml: limit: expected int' in capsys.readouterr().err


# ---------- what people write

LAUGHS = b'a: &a [x, x, x, x, x, x, x, x, x]\n' + b''.join(
    b'%c: &%c [%s]\n' % (i + 1, i + 1, b', '.join([b'*%c' % i] * 9)) for i in range(97, 110)
)


@pytest.mark.parametrize(
    'content, said',
    [
        (LAUGHS, 'aliases written out'),
        (b'a: &a [*a]', 'holds itself'),
        (b'[' * 20_000, 'nested too deep'),
        (b'a: ' * 200, 'is no YAML'),
        (b'{a: ' * 60 + b'1' + b'}' * 60, 'nested'),
        (b'all: {limit: 1, limit: 2}', 'more than once'),
        (b'all: !!python/object/apply:os.system [ls]', 'is no YAML'),
        (b'all: {limit: !!int x}', 'is no YAML'),
        (b'x' * 300_000, 'at most 262144'),
        (b'\xff\xfe\x00', 'UTF-8'),
        (b'all: {limit: \x00}', 'is no YAML'),
        (b'- 1', 'expected blocks'),
        (b'parameters: 7', 'expected blocks'),
    ],
)
def test_damaged_files_of_parameters_are_refused_by_name(tmp_path, content, said):
    "Else a forged or damaged YAML takes all the memory, or runs code."
    (tmp_path / 'p.yaml').write_bytes(content)
    start = time.time()
    with pytest.raises(ValueError) as e:
        read_params(tmp_path / 'p.yaml')
    assert said in str(e.value) and 'p.yaml' in str(e.value) and len(str(e.value)) < 700
    assert time.time() - start < 5


@pytest.mark.parametrize(
    'text, default, value',
    [
        ('8', 1, 8),
        ('1_000', 1, 1000),
        ('+3', 1, 3),
        ('0', 1, 0),
        ('1e-3', 0.1, 0.001),
        ('1E5', 0.1, 1e5),
        ('.5', 0.1, 0.5),
        ('2.', 0.1, 2.0),
        ('8', 0.1, 8.0),
        ('true', False, True),
        ('010', '', '010'),
        ('12:30', '', '12:30'),
    ],
)
def test_numbers_are_read_as_people_write_them(text, default, value):
    "Else `lr=1e-3` is refused or read as text."
    found = parse_value('x', text, default)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    'text, default',
    [
        *(
            (t, 1)
            for t in ('010', '12:30', '0x10', '0b1', '1e3', '8.0', '9' * 400, '', 'yes', '[1]')
        ),
        *((t, 0.1) for t in ('12:30', '1e400', '.inf', '.nan', '1,5', '1e', 'e3', '1' + '0' * 400)),
        *((t, False) for t in ('1', '0', 'maybe')),
        ('a\0b', ''),
    ],
)
def test_what_is_no_such_number_is_refused(text, default):
    "Else `12:30` or `0x10` becomes a number that nobody meant."
    with pytest.raises(ValueError, match='^lr: expected') as e:
        parse_value('lr', text, default)
    assert len(str(e.value)) < 400


@settings(max_examples=200, deadline=None, database=None)
@given(
    st.dictionaries(
        st.text(min_size=1),
        st.one_of(
            st.text(),
            st.booleans(),
            st.integers(-(2**62), 2**62),
            st.floats(allow_nan=False, allow_infinity=False),
            st.none(),
            st.sampled_from(['1e-3', '010', '12:30', 'no', '~', '=', '2012-05-07', '0x1', '1_0']),
        ),
    )
)
def test_a_record_reads_back_as_what_was_run(values):
    "Else a run that is repeated from its record is another one."
    values.pop('<<', None)
    assert read_yaml(write_yaml({'x': values}), 'x') == {'x': values}


@pytest.mark.parametrize(
    'value', ['x' * 10**6, [['x'] * 10**4] * 10**4, 10**3999, {'a': 'b' * 10**6}]
)
def test_a_message_quotes_at_most_two_hundred_characters(value):
    "Else one damaged value fills the screen."
    for default in (1, 0.5, False, ''):
        with pytest.raises(ValueError) as e:
            check_value('x', value, default)
        assert len(str(e.value)) < 400
    with pytest.raises(ValueError) as e:
        pipeline.resolve({'a': {'b': 1}}, {'a': value})
    assert len(str(e.value)) < 400


@pytest.mark.parametrize(
    'cell',
    [
        'a = b = 3',
        'a = [1]',
        'a = 2 * 3',
        'a =',
        '(' * 500,
        'a: int = 3',
        'a = ' + '-' * 5000 + '1',
        'a = ""' + '-1' * 2000,
    ],
)
def test_cells_that_are_no_plain_parameters_are_refused(tmp_path, cell):
    "Else parameters of one's own stage are misread, or a forged one runs code."
    soak.notebook(tmp_path / 'a.ipynb', cell, '')
    with pytest.raises(ValueError, match='a.ipynb'):
        stage_parameters(tmp_path / 'a.ipynb')


@pytest.mark.parametrize(
    'stages',
    ['3', '[]', '["a"]', '{"a": 3}', '{"../a": []}', '{"a": ["b"]}', '[' * 10**5, '{"": []}'],
)
def test_stages_that_are_none_are_refused(tmp_path, stages, capsys):
    "Else a mistyped --stages ends in a traceback, or leads out of the folder."
    try:
        code = main(
            ['run', '--stages', stages, '--nbs', str(tmp_path), '--out', str(tmp_path / 'r')]
        )
    except SystemExit as e:  # of argparse
        code = e.code
    assert code == 2 and 'Traceback' not in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


# ---------- sentences


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    'Else "No space left" does not say where.'
    with pytest.raises(OSError) as e, replacing(tmp_path / 'a.txt') as part:
        part.touch()
        raise OSError(errno.ENOSPC, 'No space left on device')
    assert e.value.filename == str(tmp_path / 'a.txt') and not [*tmp_path.iterdir()]
    monkeypatch.setattr(os, 'statvfs', lambda path: SimpleNamespace(f_bavail=0, f_frsize=4096))
    with pytest.raises(OSError, match='No space left.*a.pt'), replacing(tmp_path / 'a.pt'):
        raise RuntimeError('unexpected pos 64 vs 0')  # what a library says of a full disk
    monkeypatch.undo()
    with pytest.raises(RuntimeError), replacing(tmp_path / 'a.pt'):
        raise RuntimeError('something else')


def test_a_fault_of_ours_ends_in_a_sentence_too(monkeypatch, capsys):
    "Else a fault of ours is a page of code, and nothing to send us."
    def fails(args):
        raise KeyError('x' * 10**5)

    monkeypatch.setattr(pipeline, 'dispatch', fails)
    assert main(['info', 'nowhere']) == 70
    said = capsys.readouterr().err
    assert said.startswith('voc_cv info: KeyError') and len(said) < 500 and 'Traceback' not in said
    file = Path(said.split()[-1])
    assert 'in fails' in file.read_text()
    file.unlink()


def test_a_closed_pipe_is_no_error(tmp_path):
    "Else `voc_cv info | head` ends in a traceback."
    from voc_cv.data import toy_voc, write_voc

    write_voc(tmp_path / 'set', val=toy_voc(2, split='val'))
    process = subprocess.Popen(
        [BIN / 'voc_cv', 'info', tmp_path / 'set'], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 141 and said == b'', said


@pytest.mark.parametrize('part', ['source', 'cell_type', 'metadata', 'outputs'])
def test_a_cell_without_one_of_its_parts_is_refused_by_name(tmp_path, part):
    "Else a damaged notebook ends in a traceback."
    soak.notebook(tmp_path / 'a.ipynb', 'n = 3', '')
    text = (tmp_path / 'a.ipynb').read_text()
    (tmp_path / 'a.ipynb').write_text(text.replace(f'"{part}"', '"other"'))
    with pytest.raises(ValueError, match='a.ipynb: is no notebook'):
        stage_parameters(tmp_path / 'a.ipynb')


@pytest.mark.parametrize('name', ['parameters', 'notes', 'scores', 'notebooks'])
def test_random_files_end_in_a_sentence(tmp_path, name):
    "Else a damaged file ends in a traceback, or is read as something else."
    file, whole, call = soak.samples(tmp_path)[name]
    tries, faults = soak.fuzz(name, file, whole, call, 150)
    assert tries >= 100 and not faults, faults


def test_a_failing_stage_is_told_by_its_own_error(tmp_path):
    "Else a stage that failed counts as done."
    with pytest.raises(StageError, match='ZeroDivisionError'):
        go_in_here(tmp_path, one='1 / 0')
