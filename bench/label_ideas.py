"""Ideas for better labels of pretrained witnesses, one by one.

    python bench/label_ideas.py path/to/VOC2012 --segmenter path/to/deeplabv3_mobilenet_v2_voc \\
        --detector path/to/deimv2_hgnetv2_femto_coco.onnx --out results/ideas.csv

Weights, calibrations and thresholds are found on the training images, which neither model was
trained on by us (the segmenter has seen some of VOC's, the detector those of COCO); calibrations
and stackings are compared there by five folds, and judged once on val. A table is printed, and its
rows replace those of this script in --out."""

from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import pandas as pd
import torch
from ideas import about, parser, show_and_keep
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from voc_cv.classify import ask, combine, evidence, log_odds, pool_weights
from voc_cv.data import VOC_CLASSES, open_voc, progress
from voc_cv.measure import F1S, bootstrap, choose_labels, interval, label_metrics, tune_thresholds
from voc_cv.nets import label_table, load_pixel_scores

LEAST = 30  # positives that a class must have for a calibration of its own
FOLDS = 5


def shared(x, y):
    "One logistic regression of log odds for all classes: x (N,20,M), y (N,20) -> a function."
    fit = LogisticRegression(C=100.0).fit(x.reshape(-1, x.shape[-1]), y.ravel())
    return lambda x: fit.predict_proba(x.reshape(-1, x.shape[-1]))[:, 1].reshape(x.shape[:2])


def of_each(x, y, make):
    "A calibration of each class that has positives enough, else the shared one."
    common = shared(x, y)
    own = {k: make(x[:, k], y[:, k]) for k in np.flatnonzero(y.sum(0) >= LEAST)}

    def answer(x):
        p = common(x)
        for k, calibrated in own.items():
            p[:, k] = calibrated(x[:, k])
        return p

    return answer


def logistic(x, y):
    fit = LogisticRegression(C=1.0).fit(x, y)
    return lambda x: fit.predict_proba(x)[:, 1]


def isotonic(x, y):
    fit = IsotonicRegression(out_of_bounds='clip').fit(x.mean(-1), y)
    # among images with the same step the order of the scores stays
    return lambda x: 0.99 * fit.predict(x.mean(-1)) + 0.01 / (1 + np.exp(-x.mean(-1)))


def by_folds(x, y, make):
    "What a calibration says of images that it has not seen."
    fold, told = np.random.default_rng(0).permutation(len(x)) % FOLDS, np.zeros(y.shape)
    for k in range(FOLDS):
        told[fold == k] = make(x[fold != k], y[fold != k])(x[fold == k])
    return told


def log_loss(y, p):
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return -np.where(y, np.log(p), np.log(1 - p)).mean()


def area(logits, table, height, width):
    "The share of an image that a segmenter gives to each class, as `surest_pixel` its surest."
    share = logits[:, :height, :width].softmax(0).mean((1, 2)).cpu().numpy()
    row = np.zeros(len(VOC_CLASSES) + 1)
    np.add.at(row, table[: len(share)], share)
    return row[1:]


def areas(data, name, scale):
    "The `area` of each class in each image, float (N,20)."
    scores, size, config = load_pixel_scores(name)
    table = label_table(config.id2label)
    rows = [
        evidence([data.read_image(id)], scores, table, size, scale, area)
        for id in progress(data.ids, f'Areas in {data.name}')
    ]
    return pd.DataFrame(np.concatenate(rows), data.ids, [*VOC_CLASSES])


def looked(root, args):
    "What each witness says of the images of both parts, and the labels."
    found = {}
    for part in ('train', 'val'):
        data = open_voc(root, part)
        if args.limit:
            data = data.subset(data.ids[: args.limit])
        segmenter = {'kind': 'segmenter', 'name': args.segmenter}
        found[part] = data, {
            'detector': ask(data, args.detector),
            'detector, five parts, too': ask(data, args.detector, tiles=0.6),
            'segmenter at 1.25': ask(data, **segmenter, scales=(1.25,)),
            'area in the segmenter at 1.25': areas(data, args.segmenter, 1.25),
        }
    return found


def ideas(told, y):
    "(name, of train by folds, of val): probabilities float (N,20), of all that is tried."
    train, val = told

    def pooled(*names):
        return shared, *(np.stack([log_odds(t[n]) for n in names], -1) for t in (train, val))

    for name in train:
        make, x, xv = pooled(name)
        yield name, by_folds(x, y, make), make(x, y)(xv)
    segmenter, area = 'segmenter at 1.25', 'area in the segmenter at 1.25'
    tried = {
        'both': ('detector', segmenter),
        'both, five parts, too': ('detector, five parts, too', segmenter),
        'segmenter, surest pixel and area': (segmenter, area),
        'both, the area, too': ('detector', segmenter, area),
        'both, five parts and the area, too': ('detector, five parts, too', segmenter, area),
        'both, whole and parts each alone': ('detector', 'detector, five parts, too', segmenter),
    }
    for name, names in tried.items():
        make, x, xv = pooled(*names)
        yield name, by_folds(x, y, make), make(x, y)(xv)
    names = 'detector', segmenter
    weights = pool_weights([train[n] for n in names], y)
    plain = [combine([t[n] for n in names], weights) for t in (train, val)]
    yield 'both, not calibrated', *plain
    make, x, xv = pooled(*names)
    ways = {'a regression for each class': logistic, 'isotonic of each class': isotonic}
    for name, make_one in ways.items():
        if make_one is isotonic:
            x, xv = (log_odds(p)[..., None] for p in plain)
        make = partial(of_each, make=make_one)
        yield f'both, {name}', by_folds(x, y, make), make(x, y)(xv)


def scored(y, p, threshold, names=('mAP', 'micro F1'), times=200):
    "Figures at a threshold and the log loss, with intervals."
    labels = choose_labels(p, threshold)
    figures = label_metrics(y, p, labels)
    ends = interval(bootstrap(y, p, labels, times, 0))
    return {name: (figures[name], ends.get(f'{name} 95 %', '')) for name in names} | {
        'log loss': (log_loss(y, p), '')}


def main():
    args = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    found = looked(args.root, args)
    (train, said), (val, said_of_val) = found['train'], found['val']
    y, y_val = train.labels.to_numpy(bool), val.labels.to_numpy(bool)
    coco = np.array([fnmatchcase(id, 'coco_*') for id in train.ids])
    where = about('label_ideas.py', args, '749 training and 243 validation photographs')
    rows = []
    tables = [{n: t.to_numpy() for n, t in told.items()} for told in (said, said_of_val)]
    for name, folds, reported in ideas(tables, y):
        threshold = tune_thresholds(y, folds)
        parts = {'train, by folds': (y, folds, threshold), 'val': (y_val, reported, threshold),
                 'val, from .5': (y_val, reported, 0.5)}
        if coco.any():
            parts['coco_*, by folds'] = y[coco], folds[coco], threshold
            parts['VOC of train, by folds'] = y[~coco], folds[~coco], threshold
        if name == 'both, five parts, too':  # three F1, each with the threshold that suits it
            names = [f'{f1} F1' for f1 in F1S]
            for f1 in F1S:
                best = tune_thresholds(y, folds, average=f1)
                parts[f'val, for {f1} F1'] = y_val, reported, best, names
        for part, given in parts.items():
            for score, (value, ends) in scored(*given).items():
                low, _, high = ends.partition(' to ')
                rows.append({'run': f'labels, {part}', 'line': name, 'score': score,
                             'value': round(value, 5), 'low': float(low) if low else None,
                             'high': float(high) if high else None, 'n': len(given[0]), **where})
    show_and_keep(rows, args.out, 'labels')


if __name__ == '__main__':
    main()
