"Run lengths and scores against pycocotools, texts that nobody meant to write, and a hidden truth."

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from pycocotools import mask as coco

from voc_cv.data import VOID, VocDataset, mask_image, open_voc, toy_voc, write_kaggle, write_labels
from voc_cv.submit import (
    check_submission,
    encode_mask,
    expected_rows,
    rle_decode,
    rle_encode,
    score_submission,
)


def to_coco(text, size):
    "Contest runs as COCO's: lengths of zeros and ones in turn, over a column of `size` pixels."
    numbers = list(map(int, text.split()))
    counts, at = [], 1
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        counts += [start - at, length]
        at = start + length
    return coco.frPyObjects({'counts': [*counts, size + 1 - at], 'size': [size, 1]}, size, 1)


def column(binary):
    "An array of zeros and ones as COCO's encoder wants it: one column of pixels."
    return np.asfortranarray(binary.reshape(-1, 1).astype(np.uint8))


def test_pycocotools_reads_what_we_write():
    "Else the contest reads other pixels than were predicted."
    rng = np.random.default_rng(0)
    for _ in range(200):
        binary = rng.random(rng.integers(1, 20, 2)) < rng.random()
        read = coco.decode(to_coco(rle_encode(binary), binary.size)).reshape(binary.shape)
        np.testing.assert_array_equal(read.astype(bool), binary)


def test_pycocotools_and_we_agree_on_real_masks():
    "Else the contest reads other pixels than were predicted."
    for s in toy_voc(5):
        planes = s.mask == np.arange(1, 21)[:, None, None]
        ours = to_coco(encode_mask(s.mask), planes.size)
        assert ours == coco.encode(column(planes))  # their C encoder, on the planes themselves
        np.testing.assert_array_equal(rle_decode(encode_mask(s.mask), planes.shape), planes)


def test_the_score_is_that_of_pycocotools_areas():
    """Else the contest gives another score than `voc_cv score`.

    Dice from COCO's runs alone: areas of what was submitted, of the truth, and of both."""
    toys, rng = toy_voc(4), np.random.default_rng(0)
    masks = {s.id: np.where(rng.random(s.mask.shape) < 0.7, np.roll(s.mask, 9, 1), 0) for s in toys}
    texts = []
    for id in toys.ids:
        texts += ['', encode_mask(masks[id].astype(np.uint8))]
    table = pd.DataFrame({'Predicted': texts}, expected_rows(toys.ids))
    scores = score_submission(table, toys)
    for s in toys:
        known = column(np.broadcast_to(s.mask != VOID, (20, *s.mask.shape)))
        truth = coco.encode(column(s.mask == np.arange(1, 21)[:, None, None]))
        said = to_coco(table.Predicted[f'{s.id}_segmentation'], 20 * s.mask.size)
        said = coco.merge([said, coco.encode(known)], intersect=True)
        both = coco.area(coco.merge([said, truth], intersect=True))
        dice = 2 * both / (coco.area(said) + coco.area(truth))
        assert 0 < dice < 1
        assert scores.segmentation[s.id] == pytest.approx(dice)
        assert scores.classification[s.id] == 0  # nothing said, though something is there


WORDS = ['0', '1', '2', '3', '5', '9', '12', '-1', '1.5', 'nan', '٣']


def test_a_text_is_refused_or_means_one_array():
    """Else a slip in a submission is read as other pixels.

    Whatever is not refused is the encoding of what it decodes to, but for runs that touch."""
    rng, refused = np.random.default_rng(0), 0
    for _ in range(3000):
        words = rng.choice(WORDS, rng.integers(0, 6))
        text = ' '.join(words)
        try:
            array = rle_decode(text, (3, 4))
        except ValueError:
            refused += 1
            continue
        assert array.sum() == sum(map(int, words[1::2]))
        np.testing.assert_array_equal(rle_decode(rle_encode(array), (3, 4)), array)
    assert 1000 < refused < 2990


def test_a_submission_of_nothing_is_sound():
    """Else images without objects cannot be answered.

    Images without objects, predicted so: two empty rows each, and full marks."""
    black, nothing = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    empty = VocDataset(['a', 'b'], lambda id: black, lambda id: nothing)
    table = pd.DataFrame({'Predicted': [''] * 4}, expected_rows(empty.ids))
    assert not len(check_submission(table, empty))
    assert (score_submission(table, empty) == 1).all(axis=None)


def test_a_table_of_another_kind_is_refused():
    "Else another table is taken for a submission."
    with pytest.raises(ValueError, match='column Predicted'):
        check_submission(pd.DataFrame({'Text': ['']}), toy_voc(1))


@pytest.mark.parametrize('hidden', [True, False])
def test_stage_06_shows_what_is_submitted_with_and_without_truth(tmp_path, hidden, monkeypatch):
    """Else the last look before sending shows other answers than the file has.

    The section Run on the contest's layout: titles from the file, scores only where they are."""
    import matplotlib.pyplot as plt

    toys, root, out = toy_voc(14), tmp_path / 'contest', tmp_path / 'run'
    write_kaggle(root, toy_voc(1), toys, hide_test=hidden)
    data = open_voc(str(root), 'test')
    masks = out / 'postprocess' / 'test'
    masks.mkdir(parents=True)
    (out / 'classify').mkdir()
    labels = np.zeros((14, 20), bool)
    labels[:, [2, 14]] = True  # bird and person, whatever is there
    write_labels(out / 'classify' / 'labels_test.csv', data.ids, labels)
    for id, toy in zip(data.ids, toys, strict=True):
        mask_image(np.roll(toy.mask, 9, 1)).save(masks / f'{id}.png')
    cells = json.loads((ROOT / 'nbs' / '06_submit.ipynb').read_text())['cells']
    source = {c['id']: ''.join(c['source']) for c in cells}
    scope = {}
    exec(source['lesson-imports'] + '\nfrom voc_cv import submit', scope)
    values = {'root': str(root), 'split': 'test', 'limit': 0, 'seed': 0, 'out': str(out)}
    scope |= vars(scope['submit']) | values
    plt.close('all')
    monkeypatch.setattr(plt, 'show', lambda: None)
    for id in [id for id in source if id.startswith('run-') and 'if out' in source[id]]:
        exec(source[id], scope)
    figures = [plt.figure(n) for n in plt.get_fignums()]
    titles = [ax.get_title() for ax in figures[0].axes]
    assert len(titles) == 12 and all('bird, person' in t for t in titles)
    assert len({t.splitlines()[0] for t in titles}) == 12
    if hidden:
        assert len(figures) == 1 and not (out / 'scores.json').exists()
        assert not any('labels' in t for t in titles)
        return
    scores = score_submission(out / 'submission.csv', data)
    line = json.loads((out / 'scores.json').read_text())['06_submit']['submission']
    assert line['mean'] == pytest.approx(scores.to_numpy().mean())
    for title in titles:
        id, _, said = title.splitlines()
        assert said == 'labels {:.2f}, mask {:.2f}'.format(*scores.loc[id])
