"The metrics of labels and masks against an independent implementation."
import numpy as np
import pytest
import torch
from voc_cv.classify import average_precision, label_metrics
from voc_cv.segment import class_scores, mask_metrics

torchmetrics = pytest.importorskip('torchmetrics.functional.classification')


@pytest.mark.parametrize('seed', range(5))
def test_label_metrics_agree_with_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    y = rng.random((80, 20)) < rng.uniform(.03, .4, 20)
    y[0] = True  # each class has a positive: torchmetrics counts classes without one otherwise
    scores = (rng.random((80, 20)) + y * rng.uniform(0, 1, 20)).round(2) / 2  # with ties
    said = scores > .4
    ours, p, s, t = label_metrics(y, scores, said), *map(torch.from_numpy, (said.astype(int), scores, y.astype(int)))
    assert ours['mAP sklearn'] == pytest.approx(torchmetrics.multilabel_average_precision(s, t, 20, average='macro').item(), abs=1e-5)
    for k in range(20): assert average_precision(y[:, k], scores[:, k], 'sklearn') == pytest.approx(torchmetrics.binary_average_precision(s[:, k], t[:, k]).item(), abs=1e-5)
    for name, average in (('micro F1', 'micro'), ('macro F1', 'macro')):
        assert ours[name] == pytest.approx(torchmetrics.multilabel_f1_score(p, t, 20, average=average).item(), abs=1e-5)
    assert ours['label accuracy'] == pytest.approx(torchmetrics.multilabel_accuracy(p, t, 20, average='micro').item(), abs=1e-5)
    assert ours['exact match'] == pytest.approx(torchmetrics.multilabel_exact_match(p, t, 20).item(), abs=1e-5)


@pytest.mark.parametrize('seed', range(3))
def test_mask_metrics_agree_with_torchmetrics(seed):
    rng = np.random.default_rng(seed)
    truth = [rng.choice(np.array([0, 0, 0, *range(21), 255], np.uint8), shape) for shape in ((20, 30), (15, 9), (31, 8))]
    pred = [np.where(rng.random(t.shape) < .6, np.where(t == 255, 3, t), rng.integers(0, 21, t.shape)).astype(np.uint8) for t in truth]
    figures, confusion, _ = mask_metrics(zip(truth, pred))
    p, t = (torch.from_numpy(np.concatenate([a.ravel() for a in part])).long() for part in (pred, truth))
    how = {'num_classes': 21, 'ignore_index': 255}
    np.testing.assert_array_equal(confusion, torchmetrics.multiclass_confusion_matrix(p, t, **how).numpy())
    assert figures['mIoU'] == pytest.approx(torchmetrics.multiclass_jaccard_index(p, t, average='macro', **how).item(), abs=1e-6)
    assert figures['F-score'] == pytest.approx(torchmetrics.multiclass_f1_score(p, t, average='macro', **how).item(), abs=1e-6)
    assert figures['pixel accuracy'] == pytest.approx(torchmetrics.multiclass_accuracy(p, t, average='micro', **how).item(), abs=1e-6)
    np.testing.assert_allclose(class_scores(confusion).Dice, torchmetrics.multiclass_f1_score(p, t, average='none', **how).numpy(), atol=1e-6)
