"Labels, masks and scores of every kind that people have: the right number, or a refusal with cure."

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from voc_cv.data import VOC_CLASSES, VocDataset
from voc_cv.files import zeros_and_ones
from voc_cv.measure import (
    average_precision,
    bootstrap,
    choose_labels,
    class_scores,
    confusion_matrix,
    detection_counts,
    dice,
    foreground_dice,
    iou,
    label_confusion,
    label_metrics,
    mask_metrics,
    mean_ap,
    mean_interval,
    relative_threshold,
    show_confusion,
    tune_thresholds,
)
from voc_cv.postprocess import (
    apply_policy,
    correct_mask,
    load_probabilities,
    restrict_mask,
    restrict_scores,
)
from voc_cv.submit import encode_labels, encode_mask, rle_encode, score_submission, write_submission

rng = np.random.default_rng(0)
Y = rng.random((12, 20)) < 0.2
Y[0] = True
SCORES = rng.random((12, 20))
SAID = SCORES > 0.6
TAKERS = {  # what takes labels, by what it calls them
    'average_precision': lambda y: average_precision(y[:, 0], SCORES[:, 0]),
    'mean_ap': lambda y: mean_ap(y, SCORES),
    'label_metrics': lambda y: label_metrics(y, SCORES, SAID),
    'label_metrics, predicted': lambda y: label_metrics(Y, SCORES, y),
    'tune_thresholds': lambda y: tune_thresholds(y, SCORES),
    'bootstrap': lambda y: bootstrap(y, SCORES, SAID, 3),
    'bootstrap, predicted': lambda y: bootstrap(Y, SCORES, y, 3),
    'detection_counts': lambda y: detection_counts(y, SAID),
    'detection_counts, predicted': lambda y: detection_counts(Y, y),
    'label_confusion': lambda y: label_confusion(y, SAID),
    'label_confusion, predicted': lambda y: label_confusion(Y, y),
    'rle_encode': rle_encode,
    'encode_labels': lambda y: encode_labels(y[1]),
}


def equal(a, b):
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    return a == b or isinstance(a, float) and np.isnan(a) and np.isnan(b)


@pytest.mark.parametrize('taker', TAKERS)
def test_bool_and_zeros_and_ones_are_the_same_labels(taker):
    "Else scores depend on how a table writes yes and no."
    right = TAKERS[taker](Y)
    for same in (Y.astype(int), Y.astype(np.uint8), Y.astype(float), Y.astype(object)):
        assert equal(TAKERS[taker](same), right)


@pytest.mark.parametrize(
    'wrong, cure',
    [
        (np.where(Y, 1, -1), '-1 means unknown'),
        (np.where(Y, 0.97, 0.03), 'by a threshold'),
        (np.where(Y, np.nan, 0), 'NaN is unknown'),
        (Y * 2, 'got 2'),
        (Y.astype(str), 'True and False, or 0 and 1'),
        (np.where(Y, None, False), 'True and False, or 0 and 1'),
    ],
    ids=['-1', 'probabilities', 'NaN', 'counts', 'text', 'None'],
)
@pytest.mark.parametrize('taker', TAKERS)
def test_other_labels_are_refused_with_the_cure(taker, wrong, cure):
    "Else -1, NaN or probabilities are scored as if they were yes and no."
    with pytest.raises(ValueError, match=cure):
        TAKERS[taker](wrong)


def test_a_label_is_true_or_false_one_or_zero():
    "Else a label that is off by 1e-9, or unknown, counts as one."
    for values in ([1, 0], [True, False], [1.0, 0.0], (np.True_, 0), torch.tensor([1, 0])):
        assert zeros_and_ones(values, 'y').tolist() == [True, False]
    assert zeros_and_ones([], 'y').shape == (0,)
    mixed = pd.DataFrame({'a': [True, False], 'b': [0, 1]})
    assert zeros_and_ones(mixed, 'y').tolist() == [[True, False], [False, True]]
    with pytest.raises(ValueError, match='^y: '):
        zeros_and_ones([1, 1 + 1e-9], 'y')
    with pytest.raises(ValueError, match='NaN|NA'):
        zeros_and_ones(pd.DataFrame({'a': pd.array([True, None], 'boolean')}), 'y')


def test_vocs_own_lists_rank_as_by_hand():
    """Else VOC's own -1 and 1 give another average precision than elsewhere.

    One dog at rank three: 1/3, which scikit-learn gives for -1 and 1, too."""
    said = np.array([-1, -1, 1, -1])
    scores = np.array([0.9, 0.8, 0.7, 0.1])
    right = metrics.average_precision_score(said, scores)
    assert average_precision(said == 1, scores) == pytest.approx(1 / 3) == right


def test_rows_in_another_order_are_refused():
    "Else answers to other images are scored as answers to these."
    y, s = pd.DataFrame(Y), pd.DataFrame(SCORES)
    assert mean_ap(y, s) == mean_ap(Y, SCORES) == mean_ap(y, SCORES)
    for turned in (s[::-1], s[s.columns[::-1]], s.rename(index=str)):
        for f in (mean_ap, tune_thresholds):
            with pytest.raises(ValueError, match='must equal the (index|columns) of y_true'):
                f(y, turned)
    with pytest.raises(ValueError, match='of one shape'):
        detection_counts(Y, SAID[:1])  # numpy would have used the one row for all
    for f in (lambda: label_metrics(Y[:0], SCORES[:0], SAID[:0]), lambda: tune_thresholds([], [])):
        with pytest.raises(ValueError, match='there is no image|of one shape'):
            f()


def test_nothing_found_is_no_class():
    "Else an image on which nothing was found gets a class by chance."
    nothing = np.zeros((2, 20))
    nothing[1, 4] = 0.2
    for rule in (relative_threshold, lambda s: choose_labels(s, 0.5)):
        assert rule(nothing).sum(1).tolist() == [0, 1]
    assert not choose_labels(np.full((1, 20), 0.3), 0.5).any()  # all alike: none is the likeliest
    assert choose_labels([[0.2]], 0.5).tolist() == [[True]]  # the only class there is
    assert relative_threshold(np.array([[0.5, 0.25, 0.249]])).tolist() == [[True, True, False]]
    for wrong in ([[np.nan, 0.9, 0.1]], [[np.inf, 0.9, 0.1]], [['a', 'b']], [0.5, 0.2]):
        for rule in (relative_threshold, lambda s: choose_labels(s, 0.5)):
            with pytest.raises(ValueError, match='scores: expected'):
                rule(np.array(wrong))
    with pytest.raises(ValueError, match='sigmoid'):
        relative_threshold(np.array([[-1.0, -2.0]]))
    with pytest.raises(ValueError, match='sigmoid'):
        tune_thresholds(Y, SCORES * 3)
    for threshold in (0, -1, np.nan, [0.5] * 19 + [0]):
        with pytest.raises(ValueError, match='threshold: expected numbers above 0'):
            choose_labels(nothing, threshold)


def by_hand(truth, pred):
    "Dice of objects, counted pixel by pixel: void truth is skipped, void predicted is nothing."
    right = there = said = 0
    for t, p in zip(truth.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if t == 255:
            continue
        there += t > 0
        said += 0 < p < 255
        right += t == p and t > 0
    return Fraction(2 * right, there + said) if there + said else 1


def test_predicted_void_has_one_rule():
    """Else the same mask has another Dice in the table than in the submission.

    A pixel of 3 right, 1 void where a dog is, 1 void on the ground, void under void: 2 / (2 + 1).
    """
    truth = np.array([[12, 12, 0, 255]], np.uint8)
    pred = np.array([[12, 255, 255, 255]], np.uint8)
    assert foreground_dice(truth, pred) == pytest.approx(2 / 3) == float(by_hand(truth, pred))
    table = confusion_matrix(truth, pred)
    assert (table[12, 12], table[12, 0], table[0, 0], table.sum()) == (1, 1, 1, 3)
    one = VocDataset(['x'], lambda id: np.zeros((1, 4, 3), np.uint8), lambda id: truth)
    labels = encode_labels(one.labels.loc['x'])
    rows = {'x_classification': labels, 'x_segmentation': encode_mask(pred)}
    table = pd.DataFrame({'Predicted': rows}).rename_axis('Id')
    assert score_submission(table, one).loc['x'].tolist() == [1, pytest.approx(2 / 3)]


def test_three_ways_to_a_dice_agree():
    """Else the same mask has another Dice in the table than in the submission.

    From masks, from the confusion matrix, from the runs of a submission, and pixel by pixel."""
    values = np.array([0, 0, 0, 1, 2, 20, 255], np.uint8)
    draws = np.random.default_rng(1)
    pairs = {f'i{k}': draws.choice(values, (2, 1 + k % 5, 7)) for k in range(60)}
    black = {id: np.zeros((*a.shape, 3), np.uint8) for id, (a, _) in pairs.items()}
    data = VocDataset([*pairs], black.get, lambda id: pairs[id][0])
    rows = {}
    for id, (_, b) in pairs.items():
        rows |= {f'{id}_segmentation': encode_mask(b), f'{id}_classification': ''}
    scores = score_submission(pd.DataFrame({'Predicted': rows}), data)
    for id, (a, b) in pairs.items():
        table = confusion_matrix(a, b)
        right = np.diag(table)[1:].sum()
        from_table = dice(right, table[1:].sum(), table[:, 1:].sum())
        assert foreground_dice(a, b) == from_table == scores.segmentation[id]
        assert from_table == float(by_hand(a, b))


@pytest.mark.parametrize('kind', [np.uint8, np.int16, np.int64, np.uint64])
@pytest.mark.parametrize('n', [2, 21, 200, 255, 256, 300, 1000])
def test_matrices_of_any_size_and_kind_are_right(n, kind):
    """Else masks of bytes or of many classes are miscounted.

    Bytes times classes overflow bytes, and 256 classes overflow two of them."""
    if n - 1 > np.iinfo(kind).max:
        pytest.skip('these numbers do not fit')
    ignore = 255 if n <= 255 else n + 7
    draws = np.random.default_rng(n)
    truth, pred = draws.integers(0, n, (2, 40, 30)).astype(kind)
    if ignore <= np.iinfo(kind).max:
        truth[:3] = ignore
        pred[2:5] = ignore
    known = truth != ignore
    said = np.where(pred == ignore, 0, pred)[known].astype(int)
    wanted = metrics.confusion_matrix(truth[known].astype(int), said, labels=range(n))
    np.testing.assert_array_equal(confusion_matrix(truth, pred, n, ignore), wanted)


def test_odd_masks_are_counted_or_refused():
    "Else masks with strange values are miscounted."
    assert confusion_matrix([True, False], [True, True], 2).tolist() == [[0, 1], [0, 1]]
    assert confusion_matrix([0, 1, -1], [0, 0, 1], 2, ignore=-1).tolist() == [[1, 0], [1, 0]]
    without_0 = confusion_matrix([0, 1, 2], [0, 1, 1], 3, ignore=0)
    assert without_0.tolist() == [[0, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert confusion_matrix(np.zeros((0, 5), int), np.zeros((0, 5), int)).sum() == 0
    assert confusion_matrix([255, 255], [999, -3]).sum() == 0  # void: say what you like
    big = 2**40
    for truth, pred in (([big], [0]), ([0], [big]), ([0], [-1]), ([-1], [0]), ([21], [0])):
        for f in (confusion_matrix, foreground_dice):
            with pytest.raises(ValueError, match='expected classes 0 to 20'):
                f(np.array(truth), np.array(pred))
    for truth, pred in (([0.5], [0]), ([0], [np.nan]), (['0'], [0])):
        for f in (confusion_matrix, foreground_dice):
            with pytest.raises(ValueError, match='expected integers'):
                f(np.array(truth), np.array(pred))
    with pytest.raises(ValueError, match='n_classes'):
        confusion_matrix([0], [0], 0)
    with pytest.raises(ValueError, match=r'a matrix \(n,n\)'):
        iou(np.zeros((3, 4)))
    for f in (class_scores, show_confusion):
        with pytest.raises(ValueError, match='background and the 20 classes'):
            f(np.eye(5))


def test_bytes_do_not_overflow():
    "Else scores of masks of bytes are wrong above 255 pixels."
    assert dice(*np.array([150, 200, 200], np.uint8)) == 0.75
    assert iou(np.array([[200, 100], [100, 200]], np.uint8)).tolist() == [0.5, 0.5]
    assert mask_metrics([(np.full((20, 20), 7, np.uint8),) * 2])[0]['pixel accuracy'] == 1


def test_a_mean_leaves_out_what_has_no_score():
    "Else one image without a score makes the interval NaN."
    assert mean_interval([0.7, np.nan], 'Dice') == {'Dice 95 %': '0.700 to 0.700'}
    with pytest.raises(ValueError, match='no image with a score'):
        mean_interval([np.nan], 'Dice')


def test_certain_maps_win():
    """Else a corrected mask takes the least likely class.

    Maps are -20 ln p as bytes; 0 is certain, and minus a byte is no negative number."""
    maps = np.full((21, 1, 4), 255, np.uint8)
    maps[7] = 0  # the forbidden class
    maps[12], maps[0] = [[0, 5, 9, 60]], [[5, 0, 60, 9]]
    mask = np.full((1, 4), 7, np.uint8)
    assert restrict_mask(mask, maps, [12]).tolist() == [[12, 0, 12, 0]]


@pytest.mark.parametrize(
    'allowed',
    [[0], [21], [1.5], [-1], [np.nan], np.eye(20)[3] > 0, np.eye(20)[3], np.ones(20, int)],
)
def test_classes_that_may_stay_must_be_numbers(allowed):
    "Else a row of yes and no is read as class numbers, and the mask is emptied."
    mask, scores = np.full((2, 2), 4, np.uint8), np.zeros((21, 2, 2))
    for f, thing in ((correct_mask, mask), (restrict_scores, scores)):
        with pytest.raises(ValueError, match='allowed: expected class numbers'):
            f(thing, allowed)
        for same in ([4.0, 4], {4}, np.array([4], np.uint8), ()):
            f(thing, same)


def test_probabilities_must_be_probabilities(tmp_path):
    "Else masks are corrected by NaN or by the columns of other classes."
    mask = np.full((2, 2), 4, np.uint8)
    for wrong in (np.full(20, np.nan), np.full(20, 1.2), np.full(20, -0.1), np.zeros(21)):
        with pytest.raises(ValueError, match='probabilities: expected 20 numbers'):
            apply_policy(mask, wrong, 'nearest')
    (tmp_path / 'classify').mkdir()
    file = tmp_path / 'classify' / 'probabilities_val.csv'
    table = pd.DataFrame(SCORES, [f'{k:03d}' for k in range(12)], VOC_CLASSES).rename_axis('Id')
    turned = table[table.columns[::-1]]
    turned.to_csv(file, encoding='utf-8-sig')
    pd.testing.assert_frame_equal(load_probabilities(tmp_path, 'val'), table)
    gap, twice = table.copy(), pd.concat([table, table[:1]])
    gap.iloc[3, 4] = np.nan
    for wrong in (gap, twice, table + 1, table.iloc[:, 1:]):
        wrong.to_csv(file)
        with pytest.raises(ValueError, match='run stage 02 again'):
            load_probabilities(tmp_path, 'val')


def test_labels_to_submit_must_be_labels(tmp_path):
    "Else probabilities or unknowns are sent to the contest as yes."
    data = VocDataset(['a', 'b'], lambda id: np.zeros((2, 3, 3), np.uint8))
    good = pd.DataFrame(False, ['a', 'b'], VOC_CLASSES)

    def blank(id):
        return np.zeros((2, 3), np.uint8)

    write_submission(tmp_path / 'good.csv', good.astype(int), blank, data)
    for wrong, says in (
        (good * 1.0 + 0.3, 'by a threshold'),
        (good.astype(int) - 1, '-1 means unknown'),
        (good.loc[['a', 'a']], 'come again: a'),
        (good.where(good), r'no value \(NaN\) for a, b'),
    ):
        with pytest.raises(ValueError, match=says):
            write_submission(tmp_path / 'bad.csv', wrong, blank, data)
        assert not (tmp_path / 'bad.csv').exists()
