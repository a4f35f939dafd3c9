"Submissions as people send them: other orders, other tools' habits, shifted, cut, doubled."

import csv
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from voc_cv.data import VOID, VocDataset, toy_voc
from voc_cv.measure import dice
from voc_cv.submit import (
    check_submission,
    claimed_twice,
    covered,
    encode_mask,
    expected_rows,
    parse_runs,
    read_submission,
    rle_decode,
    rle_encode,
    score_submission,
    whole_numbers,
    write_submission,
)

TOYS = toy_voc(3)
ROLLED = {s.id: np.roll(np.where(s.mask == VOID, 0, s.mask), 9, 1).astype(np.uint8) for s in TOYS}


@pytest.fixture
def lines(tmp_path):
    "The lines of a sound submission, the file, and its scores."
    file = tmp_path / 'submission.csv'
    write_submission(file, TOYS.labels, ROLLED.get)
    scores = score_submission(file, TOYS)
    assert 0.3 < scores.segmentation.mean() < 1
    return file.read_text().splitlines(), file, scores


def test_rows_are_found_by_their_id(lines):
    "Else a submission whose rows were sorted scores 0."
    (head, *rows), file, scores = lines
    rng = np.random.default_rng(0)
    for order in (rows[::-1], rows[::2] + rows[1::2], list(rng.permutation(rows))):
        file.write_text('\n'.join([head, *order]) + '\n')
        assert check_submission(file, TOYS).empty
        pd.testing.assert_frame_equal(score_submission(file, TOYS), scores)


def test_habits_of_other_tools_change_nothing(lines):
    "Else a submission that Windows or a spreadsheet has saved is refused."
    rows, file, scores = lines
    text = '\n'.join(rows) + '\n'
    cells = list(csv.reader(rows))
    quoted = '\n'.join(','.join(f'"{c}"' for c in row) for row in cells)
    for same in (
        text.encode('utf-8-sig'),
        text.replace('\n', '\r\n').encode(),
        text.rstrip('\n').encode(),
        text.replace('\n', '\n\n').encode(),
        quoted.encode(),
    ):
        file.write_bytes(same)
        pd.testing.assert_frame_equal(score_submission(file, TOYS), scores)
    table = pd.read_csv(file, keep_default_na=False)  # as everybody reads a CSV
    pd.testing.assert_frame_equal(score_submission(table, TOYS), scores)
    pd.testing.assert_frame_equal(score_submission(read_submission(file), TOYS), scores)


def test_a_row_longer_than_csv_likes_is_read(tmp_path):
    """Else the submission of a large, detailed mask cannot be read.

    131,072 letters are the most that Python's csv reads unless it is told."""
    noise = np.random.default_rng(0).integers(0, 21, (300, 300)).astype(np.uint8)
    data = VocDataset(['x'], lambda id: np.zeros((300, 300, 3), np.uint8), lambda id: noise)
    file, limit = tmp_path / 'long.csv', csv.field_size_limit()
    write_submission(file, data.labels, lambda id: noise)
    assert file.stat().st_size > 600_000
    assert score_submission(file, data).loc['x'].tolist() == [1, 1]
    assert csv.field_size_limit() == limit


def test_shifted_cut_and_foreign_files_are_refused(lines):
    "Else a file with row numbers, or half a file, is sent to the contest."
    (head, *rows), file, _ = lines
    numbered = [f'{k},{row}' for k, row in enumerate(rows)]
    for wrong, says in (
        ([head, *numbered], 'line 2: expected two cells.*without row numbers'),
        ([f',{head}', *numbered], 'expected the columns Id, Predicted'),
        ([head, *(f'{row},' for row in rows)], 'line 2: expected two cells'),
        ([head, *rows[:3], rows[3] + ',1 1'], 'line 5: expected two cells'),
        ([head, *rows[:-1], rows[-1].split(',')[0]], 'line 7: .*it breaks off'),
        ([line.replace(',', ';') for line in (head, *rows)], 'expected the columns Id, Predicted'),
        ([line.replace(',', '\t') for line in (head, *rows)], 'expected the columns'),
        (rows, 'expected the columns'),
        ([], 'an empty file'),
        ([head, '"' + rows[0], *rows[1:]], 'is not a CSV'),
    ):
        file.write_text('\n'.join(wrong))
        for f in (read_submission, lambda p: check_submission(p, TOYS)):
            with pytest.raises(ValueError, match=says) as error:
                f(file)
            assert len(str(error.value)) < 400 + len(str(file))
    file.write_bytes('\n'.join([head, *rows]).encode('utf-16'))
    with pytest.raises(ValueError, match='UTF-8'):
        read_submission(file)
    with pytest.raises(FileNotFoundError):
        read_submission(file.with_name('no.csv'))


def test_every_wrong_row_is_named(lines):
    "Else one wrong row among thousands is found by nobody."
    (head, *rows), file, _ = lines
    a, b, _ = TOYS.ids
    for wrong, row, says in (
        ([*rows, rows[0]], f'{a}_classification', 'more than once'),
        (rows[1:], f'{a}_classification', 'is missing'),
        ([*rows, 'other_segmentation,'], 'other_segmentation', 'no row for an image'),
        ([rows[0].replace('_class', '_Class'), *rows[1:]], f'{a}_classification', 'is missing'),
        ([f'{a}_classification,2.0 1', *rows[1:]], f'{a}_classification', "got '2.0'"),
        ([f'{a}_classification,2', *rows[1:]], f'{a}_classification', 'pairs'),
        ([f'{a}_classification,-1 1', *rows[1:]], f'{a}_classification', 'not filled in'),
        ([f'{a}_classification,1e1 1', *rows[1:]], f'{a}_classification', "got '1e1'"),
        ([f'{a}_classification,' + '9' * 400 + ' 1', *rows[1:]], f'{a}_classification', 'whole'),
        ([f'{a}_classification,21 1', *rows[1:]], f'{a}_classification', 'only 20 places'),
    ):
        file.write_text('\n'.join([head, *wrong]) + '\n')
        problems = check_submission(file, TOYS)
        assert problems.Id.tolist()[0] == row and says in problems.problem[0], problems
        assert problems.problem.str.len().max() < 200
        with pytest.raises(ValueError, match='cannot be scored'):
            score_submission(file, TOYS)
    missing = pd.DataFrame({'Predicted': [np.nan] * 6}, expected_rows(TOYS.ids))
    assert check_submission(missing, TOYS).problem.str.contains('read_submission keeps').all()


def test_runs_are_counted_as_pixels_are():
    """Else shares and overlaps of a submission are miscounted.

    Shares of runs, and pixels claimed twice, against arrays that hold every place."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n = int(rng.integers(1, 9))
        planes = rng.random((4, n)) < rng.random()
        starts, lengths = parse_runs(rle_encode(planes), planes.size)
        places = np.arange(planes.size + 1)
        below = np.append(0, planes.ravel().cumsum())
        np.testing.assert_array_equal(covered(places, starts, starts + lengths), below)
        assert claimed_twice(starts, lengths, n) == (planes.sum(0) > 1).sum()


def test_the_score_is_that_of_all_planes():
    """Else the contest gives another score than `voc_cv score`.

    The definition, on the stack of twenty planes, for predictions that claim pixels of void, too.
    """
    rng, values = np.random.default_rng(1), np.array([0, 0, 1, 2, 19, 20, 255], np.uint8)
    masks = {f'{k}': rng.choice(values, (2, 3, 1 + k % 6)) for k in range(80)}
    black = {id: np.zeros((*a.shape, 3), np.uint8) for id, (a, _) in masks.items()}
    data = VocDataset([*masks], black.get, lambda id: masks[id][0])
    rows = {}
    for id, (_, b) in masks.items():
        labels = rng.random(20) < 0.1
        rows |= {f'{id}_classification': rle_encode(labels), f'{id}_segmentation': encode_mask(b)}
    scores = score_submission(pd.DataFrame({'Predicted': rows}), data)
    for s in data:
        truth = s.mask == np.arange(1, 21)[:, None, None]
        said = rle_decode(rows[f'{s.id}_segmentation'], truth.shape) & (s.mask != VOID)
        assert scores.segmentation[s.id] == dice((said & truth).sum(), truth.sum(), said.sum())
        said = rle_decode(rows[f'{s.id}_classification'], (20,))
        assert scores.classification[s.id] == dice(
            (said & s.labels).sum(), s.labels.sum(), said.sum()
        )


def test_the_quick_reading_of_numbers_is_the_slow_one():
    "Else a submission is read as other numbers than it holds."
    for text in ('', ' ', '1 2', ' 1  2 ', '007 1', '1\t2\n3 4', '999999999999999 1'):
        assert whole_numbers(text).ravel().tolist() == [int(w) for w in text.split()]
    for text in (
        '1',
        '1 2 3',
        '1 -2',
        '+1 2',
        '1_0 2',
        '1 ٣',
        '1 1000000000000000',
        '1 ' + '9' * 30,
    ):
        with pytest.raises(ValueError, match='expected|whole'):
            whole_numbers(text)


MANY = '''
import numpy as np
from voc_cv.data import VocDataset, toy_voc
from voc_cv.submit import check_submission, score_submission, write_submission

toys, n = toy_voc(16), 2000
masks = [s.mask for s in toys]
ids = [f'{k:05d}' for k in range(n)]
big = VocDataset(ids, lambda id: None, lambda id: masks[int(id) % 16], name='big')
write_submission('big.csv', big.labels, lambda id: np.roll(masks[int(id) % 16], 3, 1))
assert check_submission('big.csv', big).empty
assert .5 < score_submission('big.csv', big).to_numpy().mean() < 1
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))
print(int(peak.split()[1]) // 1024)
'''


@pytest.mark.skipif(not os.path.exists('/proc/self/status'), reason='asks Linux for its memory')
def test_many_images_need_little_memory(tmp_path):
    """Else a submission of many images takes all the memory there is.

    No plane of any image is ever built: 2,000 images cost no more than their texts."""
    done = subprocess.run(
        [sys.executable, '-c', MANY],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {'PYTHONPATH': str(ROOT), 'VOC_CV_CACHE': str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Checking' in done.stderr and 'Scoring' in done.stderr  # it says what it is doing
    assert int(done.stdout) < 500  # MB
