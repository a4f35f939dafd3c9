"The metrics of labels and masks against an independent implementation, and the charts of them."

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from voc_cv.data import VOC_CLASSES
from voc_cv.measure import (
    average_precision,
    class_scores,
    detection_counts,
    label_metrics,
    mask_metrics,
    show_confusion,
    show_counts,
)

torchmetrics = pytest.importorskip('torchmetrics.functional.classification')


@pytest.mark.parametrize('seed', range(5))
def test_label_metrics_agree_with_torchmetrics(seed):
    "Else mAP and F1 compare with nobody else's."
    rng = np.random.default_rng(seed)
    y = rng.random((80, 20)) < rng.uniform(0.03, 0.4, 20)
    y[0] = True  # torchmetrics counts classes without a positive; here each class has one
    scores = (rng.random((80, 20)) + y * rng.uniform(0, 1, 20)).round(2) / 2  # with ties
    said = scores > 0.4
    ours = label_metrics(y, scores, said)
    p, s, t = (torch.from_numpy(a) for a in (said.astype(int), scores, y.astype(int)))
    theirs = {
        'mAP sklearn': torchmetrics.multilabel_average_precision(s, t, 20, average='macro'),
        'micro F1': torchmetrics.multilabel_f1_score(p, t, 20, average='micro'),
        'macro F1': torchmetrics.multilabel_f1_score(p, t, 20, average='macro'),
        'label accuracy': torchmetrics.multilabel_accuracy(p, t, 20, average='micro'),
        'exact match': torchmetrics.multilabel_exact_match(p, t, 20),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value.item(), abs=1e-5), name
    for k in range(20):
        value = torchmetrics.binary_average_precision(s[:, k], t[:, k]).item()
        assert average_precision(y[:, k], scores[:, k], 'sklearn') == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize('seed', range(3))
def test_mask_metrics_agree_with_torchmetrics(seed):
    "Else mIoU and F-score compare with nobody else's."
    rng = np.random.default_rng(seed)
    values = np.array([0, 0, 0, *range(21), 255], np.uint8)
    truth = [rng.choice(values, shape) for shape in ((20, 30), (15, 9), (31, 8))]
    pred = []
    for t in truth:
        right = np.where(t == 255, 3, t)
        guess = rng.integers(0, 21, t.shape)
        pred.append(np.where(rng.random(t.shape) < 0.6, right, guess).astype(np.uint8))
    figures, confusion, _ = mask_metrics(zip(truth, pred, strict=True))
    p, t = (
        torch.from_numpy(np.concatenate([a.ravel() for a in part])).long() for part in (pred, truth)
    )
    how = {'num_classes': 21, 'ignore_index': 255}
    table = torchmetrics.multiclass_confusion_matrix(p, t, **how)
    np.testing.assert_array_equal(confusion, table.numpy())
    theirs = {
        'mIoU': torchmetrics.multiclass_jaccard_index(p, t, average='macro', **how),
        'F-score': torchmetrics.multiclass_f1_score(p, t, average='macro', **how),
        'pixel accuracy': torchmetrics.multiclass_accuracy(p, t, average='micro', **how),
    }
    for name, value in theirs.items():
        assert figures[name] == pytest.approx(value.item(), abs=1e-6), name
    each = torchmetrics.multiclass_f1_score(p, t, average='none', **how)
    np.testing.assert_allclose(class_scores(confusion).Dice, each.numpy(), atol=1e-6)


def font_sizes(ax):
    return [t.get_fontsize() for t in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels()]]


@pytest.mark.parametrize('classes', [None, ['background', 'cat', 'dog']])
def test_a_confusion_matrix_is_legible(classes):
    "Else twenty-one classes are drawn as a smear of digits."
    confusion = np.random.default_rng(0).integers(0, 100, (21, 21))
    ax = show_confusion(confusion, classes=classes)
    shown = classes or ['background', *VOC_CLASSES]
    assert [t.get_text() for t in ax.get_yticklabels()] == shown
    assert bool(ax.texts) == (len(shown) <= 10)  # digits only where there is room for them
    assert min(font_sizes(ax)) >= 9
    plt.close('all')


def test_counts_show_the_classes_that_occur():
    "Else empty bars hide those that say something."
    y = np.zeros((4, 20), bool)
    y[:3, 11] = y[3, 14] = True
    counts = detection_counts(y, np.roll(y, 1, axis=0))
    ax = show_counts(counts)
    assert [t.get_text() for t in ax.get_yticklabels()] == ['dog', 'person']
    assert ax.get_xlabel() == 'images' and len(ax.get_legend().texts) == 3
    plt.close('all')
