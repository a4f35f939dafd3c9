"Files that lie: each is refused with what was expected and what came; a damaged set as a whole."

import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from voc_cv.data import (
    VOC_CLASSES,
    VocDataset,
    find_problems,
    open_voc,
    read_image,
    read_mask,
    read_npy,
    toy_voc,
    write_kaggle,
    write_voc,
)


@pytest.fixture
def contest(tmp_path):
    write_kaggle(tmp_path / 'set', toy_voc(6))
    return tmp_path / 'set'


@pytest.fixture
def devkit(tmp_path):
    write_voc(tmp_path / 'set', train=toy_voc(6))
    return tmp_path / 'set'


def table(root):
    return root / 'train/train_set.csv'


def array(root, kind, i):
    return root / f'train/{kind}/train_toy_train_0000{i}.npy'


def test_a_damaged_contest_is_reported_whole(contest):
    "Else the damages of a download come to light one by one, a run each."
    array(contest, 'img', 0).unlink()
    np.save(array(contest, 'img', 1), np.array([{'run': 'me'}], object), allow_pickle=True)
    with open(array(contest, 'seg', 2), 'wb') as f:
        np.lib.format.write_array_header_1_0(
            f, {'descr': '|u1', 'fortran_order': False, 'shape': (2_000_000, 2_000_000)}
        )
    np.save(array(contest, 'seg', 3), np.zeros((9, 9), np.uint8))
    np.save(array(contest, 'seg', 4), np.full_like(np.load(array(contest, 'seg', 4)), 21))
    with open(array(contest, 'img', 5), 'r+b') as f:
        f.truncate(500)
    problems = find_problems(open_voc(contest, 'train')).set_index('Id').problem
    for i, said in enumerate(
        ('no such file', 'dtype object', 'more than the limit', '(9, 9)', '[21]', 'header promises')
    ):
        assert said in problems[f'toy_train_0000{i}'], problems
    assert len(problems) == 6


def test_a_damaged_devkit_is_reported_whole(devkit):
    "Else the damages of a download come to light one by one, a run each."
    picture = devkit / 'JPEGImages/toy_train_00000.png'
    Image.open(picture).save(devkit / 'JPEGImages/toy_train_00000.jpg')
    picture.unlink()
    whole = devkit / 'JPEGImages/toy_train_00000.jpg'
    whole.write_bytes(whole.read_bytes()[:3000])  # a truncated JPEG
    Image.new('L', (20, 20)).save(
        devkit / 'SegmentationClass/toy_train_00001.png'
    )  # of another size
    Image.open(devkit / 'JPEGImages/toy_train_00002.png').save(
        devkit / 'SegmentationClass/toy_train_00002.png'
    )  # colours
    (devkit / 'SegmentationClass/toy_train_00003.png').unlink()
    problems = find_problems(open_voc(devkit, 'train'))
    assert problems.Id.tolist() == [f'toy_train_0000{i}' for i in range(4)]
    for said, problem in zip(
        ('truncated', '(20, 20)', 'save class numbers, not colours', 'no such file'),
        problems.problem,
        strict=True,
    ):
        assert said in problem


def test_one_missing_mask_is_missed(contest):
    "Else an image that should count is left out, and nobody is told."
    array(contest, 'seg', 2).unlink()
    problems = find_problems(open_voc(contest, 'train'))
    assert problems[['Id', 'kind']].values.tolist() == [['toy_train_00002', 'missing']]


def test_writing_keeps_shared_ids_apart_and_refuses_unknown_masks(tmp_path):
    "Else one split's images overwrite another's, or a set is written with holes."
    train, test = toy_voc(2), toy_voc(2, split='test')
    same = VocDataset(
        train.ids,
        lambda id: test.read_image(test.ids[train.ids.index(id)]),
        lambda id: test.read_mask(test.ids[train.ids.index(id)]),
    )
    write_voc(tmp_path / 'both', train=train, test=same)
    back = open_voc(tmp_path / 'both', 'test')
    assert back.ids == [f'test_{i}' for i in train.ids] and np.array_equal(
        back[0].image, same[0].image
    )
    half = VocDataset(
        train.ids, train.read_image, lambda id: train.read_mask(id) if id == train.ids[0] else None
    )
    with pytest.raises(ValueError, match='1 of 2 masks are unknown'):
        write_voc(tmp_path / 'half', train=half)
    assert not (tmp_path / 'half').exists()


def test_edited_labels_are_other_data(devkit):
    "Else after labels were corrected a run keeps the results of the old ones."
    before = open_voc(devkit, 'train')
    (before.labels.astype(int) * 0).rename_axis('Id').to_csv(
        devkit / 'ImageSets/Segmentation/train_labels.csv'
    )
    after = open_voc(devkit, 'train')
    assert after.key != before.key and not after.labels.to_numpy().any()


def test_labels_that_the_mask_does_not_bear_out_are_found(contest):
    "Else a slip in the labels is learned, and nobody is told."
    labels = pd.read_csv(table(contest), index_col='Id')
    labels.loc['toy_train_00002', 'sofa'] = 1 - labels.loc['toy_train_00002', 'sofa']
    labels.to_csv(table(contest))
    problems = find_problems(open_voc(contest, 'train'))
    assert (
        problems[['Id', 'kind']].values.tolist() == [['toy_train_00002', 'labels']]
        and 'sofa' in problems.problem[0]
    )


@pytest.mark.parametrize(
    'spoil, said',
    [
        (lambda t: t.drop(columns='sofa'), 'missing: sofa'),
        (lambda t: t.rename(columns={'cat': 'tiger'}), 'unknown: tiger'),
        (lambda t: pd.concat([t, t.iloc[:1]]), 'more than once: toy_train_00000'),
        (lambda t: t.assign(dog=2), 'labels must be 0 or 1'),
        (lambda t: t.assign(dog=[-1] + [0] * 5), 'labels must be 0 or 1'),
        (lambda t: t.assign(dog=''), 'labels must be 0 or 1'),
        (lambda t: t.iloc[:0], 'is empty'),
    ],
)
def test_label_tables_with_mistakes_are_refused(contest, spoil, said):
    "Else labels with missing, doubled or unreadable entries are trained on."
    spoil(pd.read_csv(table(contest), index_col='Id')).to_csv(table(contest))
    with pytest.raises(ValueError, match=said):
        open_voc(contest, 'train')


def test_columns_in_another_order_are_the_same(contest):
    "Else cats are learned as cows because a spreadsheet has sorted the columns."
    before = open_voc(contest, 'train').labels
    pd.read_csv(table(contest), index_col='Id')[list(reversed(VOC_CLASSES))].to_csv(table(contest))
    pd.testing.assert_frame_equal(open_voc(contest, 'train').labels, before)


def test_masks_of_minus_one_are_unknown(contest):
    "Else a truth that is hidden is taken for a class."
    for i in range(6):
        np.save(
            array(contest, 'seg', i), np.full(np.load(array(contest, 'seg', i)).shape, -1, np.int8)
        )
    labels = pd.read_csv(table(contest), index_col='Id')
    (labels * 0 - 1).to_csv(table(contest))
    data = open_voc(contest, 'train')
    assert data[0].mask is None and data[0].labels is None and data.labels is None


def test_a_folder_that_is_no_data_set_is_refused_with_what_was_expected(tmp_path):
    "Else a wrong path ends in an error that does not say what was wanted."
    (tmp_path / 'readme.txt').touch()
    with pytest.raises(ValueError, match='is no data set. Expected JPEGImages'):
        open_voc(tmp_path)
    with pytest.raises(FileNotFoundError, match='no such folder'):
        open_voc(tmp_path / 'nowhere')


def test_repeated_images_and_unknown_splits_are_refused(devkit):
    "Else an image counts twice, or a mistyped split gets no hint of those that there are."
    lists = devkit / 'ImageSets/Segmentation'
    (lists / 'twice.txt').write_text('toy_train_00000\ntoy_train_00000\n')
    with pytest.raises(ValueError, match='more than once'):
        open_voc(devkit, 'twice')
    with pytest.raises(FileNotFoundError, match='there are train, twice'):
        open_voc(devkit, 'val')


def test_ids_cannot_leave_the_folder(devkit):
    "Else a data set from elsewhere reads files that are none of its business."
    (devkit / 'ImageSets/Segmentation/escape.txt').write_text('../../secret\n')
    with pytest.raises(ValueError, match='must be a plain file name'):
        open_voc(devkit, 'escape')


def test_a_huge_picture_is_refused_before_it_is_unfolded(tmp_path):
    "Else one picture of a download takes all the memory there is."
    Image.new('L', (30_000, 30_000)).save(tmp_path / 'bomb.png')
    start = time.time()
    for read in (read_image, read_mask):
        with pytest.raises(ValueError, match='more than the limit'):
            read(tmp_path / 'bomb.png')
    assert time.time() - start < 2


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\x93NUMPY',
        b'\x93NUMPY\x01\x00\xff\xff{',
        b'GIF89a',
        b'\x93NUMPY\x01\x00\x10\x00{"descr": "oops"',
    ],
)
def test_files_that_are_no_arrays_are_refused_by_name(tmp_path, content):
    "Else nobody says which of ten thousand files is damaged."
    (tmp_path / 'x.npy').write_bytes(content)
    with pytest.raises(ValueError, match='x.npy'):
        read_npy(tmp_path / 'x.npy', 'u', 3)
