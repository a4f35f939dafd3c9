"""Ideas for better masks of a pretrained segmenter, one by one: what each brings over plain masks.

    python bench/mask_ideas.py path/to/VOC2012 --segmenter path/to/deeplabv3_mobilenet_v2_voc \\
        --detector path/to/deimv2_hgnetv2_femto_coco.onnx --out results/ideas.csv

Two parts: the training images whose names match --judges (which the segmenter has not learned
from: these choose), and the images of val. All at half the images' size, which changes a Dice in
the third digit. The labels are those that stage 02 would combine of detector and segmenter. A table
is printed, and its rows replace those of this script in --out."""

from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from ideas import about, parser, show_and_keep

from voc_cv.classify import ask, combine, detect, pool_weights
from voc_cv.data import VOC_CLASSES, open_voc
from voc_cv.files import progress
from voc_cv.measure import confusion_matrix, foreground_dice, mean_interval, overlap
from voc_cv.segment import load_segmenter, voc_classes

SCALES, TILES, LABEL_SCALES = (1.0, 1.25), 0.6, (1.25,)
FLOOR = 1e-6  # of a probability whose logarithm is taken


def guided(guide, p, radius, eps):
    """A guided filter (He et al. 2013) with a grey guide: guide float (h,w) in 0..1, p float
    (C,h,w); every window of 2 radius + 1 pixels explains p by a line in the guide."""

    def mean(x):
        return cv2.blur(x, (2 * radius + 1,) * 2)

    m = mean(guide)
    variance = mean(guide * guide) - m * m
    filtered = []
    for one in p:
        slope = (mean(guide * one) - m * mean(one)) / (variance + eps)
        filtered.append(mean(slope) * guide + mean(mean(one) - slope * m))
    return np.stack(filtered)


def mean_field(guide, p, steps=3, weight=2.0):
    "Mean-field steps of a CRF whose pairwise kernel is a guided filter: neighbours alike agree."
    logs = np.log(p.clip(FLOOR))
    q = p
    for _ in range(steps):
        q = logs + weight * guided(guide, q, 8, 1e-3)
        q = np.exp(q - q.max(0))
        q /= q.sum(0)
    return q


def log_odds(p):
    return np.log(np.clip(p, 1e-3, 0.999) / (1 - np.clip(p, 1e-3, 0.999)))


def objects_first(p, weights=0.0):
    "Background where it has more than half; elsewhere the best class of ln p + weights."
    return np.where(p[0] > 0.5, 0, 1 + (np.log(p[1:].clip(FLOOR)) + weights).argmax(0))


def box_map(boxes, shape):
    "The score of the surest box of each class over each pixel, float (20,h,w), at half size."
    over = np.zeros((len(VOC_CLASSES), *shape), np.float32)
    for name, score, *corners in boxes.sort_values('score').itertuples(index=False):
        left, top, right, bottom = (max(0, int(v / 2)) for v in corners)
        part = over[VOC_CLASSES.index(name), top : bottom + 1, left : right + 1]
        np.maximum(part, score, out=part)
    return over


def ideas(looks, q, truth, boxes, guide):
    """Masks by name. looks: float (4,1+C,h,w), of each scale plain and mirrored, background first;
    q: float (C,), the labels predicted; truth: bool (C,), the true ones; boxes: float (C,h,w)."""
    p, logs = looks.mean(0), np.log(looks.mean(0).clip(FLOOR))
    prior = np.log(q.clip(1e-3))[:, None, None]
    yield 'one look', looks[0].argmax(0)
    yield 'one look and its mirror image', looks[:2].mean(0).argmax(0)
    yield 'plain: two sizes, mirrored', p.argmax(0)
    yield 'mean of logarithms', np.log(looks.clip(FLOOR)).mean(0).argmax(0)
    for radius, eps in ((4, 1e-4), (8, 1e-3)):
        filtered = guided(guide, p, radius, eps)
        yield f'guided filter, radius {radius}, eps {eps:g}', filtered.argmax(0)
    yield 'CRF, three steps with a guided filter', mean_field(guide, p).argmax(0)
    for least in (0.3, 0.5, 0.7):
        keep = np.append(True, q >= least)[:, None, None]
        yield f'restrict from {least}', np.where(keep | ~keep[1:].any(), logs, -99).argmax(0)
    for most in (0.0, 1.0):
        moved = np.minimum(log_odds(q) + 1, most)[:, None, None]
        name = 'downwards only' if not most else 'in both directions'
        weighed = np.concatenate([logs[:1], logs[1:] + moved])
        yield f'prior on all classes, {name}', weighed.argmax(0)
    yield 'objects first', objects_first(p)
    for k in (0.5, 1.0, 2.0):
        yield f'objects first, prior of strength {k:g}', objects_first(p, k * prior)
    place = np.log(boxes + 0.02)
    yield 'objects first, boxes as a prior of place', objects_first(p, 0.5 * place)
    yield 'objects first, boxes and prior of strength 1', objects_first(p, 0.5 * place + prior)
    odds = np.log((1 - p[0]).clip(1e-4) / p[0].clip(1e-4))
    odds += 0.5 * np.log((boxes.max(0) + 0.15) / 0.4)
    best = 1 + (np.log(p[1:].clip(FLOOR)) + prior).argmax(0)
    yield 'boxes say, too, where objects are', np.where(odds > 0, best, 0)
    absent = np.where(truth, 0, -99.0)[:, None, None]
    yield 'true labels: restrict', np.concatenate([logs[:1], logs[1:] + absent]).argmax(0)
    yield 'true labels: objects first', objects_first(p, absent)


@torch.inference_mode()
def looks_of(segmenter, image, cache):
    "Probabilities of each look, float32 (4,21,h,w) at half size."
    if cache and cache.is_file():
        return np.load(cache).astype(np.float32)
    looks = []
    for view in segmenter.views:
        (scores,) = segmenter.look([image], *view)
        half = voc_classes(scores.float().softmax(0), segmenter.table)[:, ::2, ::2]
        looks.append(half.numpy())
    if cache:
        np.save(cache, np.stack(looks).astype(np.float16))
    return np.stack(looks)


def judge(data, segmenter, labels, found, cache):
    "Dice of each image by each idea, a table, and the confusion matrix of each."
    dices, counts = {}, {}
    for id in progress(data.ids, f'Ideas on {data.name}'):
        image, mask = data.read_image(id), data.read_mask(id)[::2, ::2]
        looks = looks_of(segmenter, image, cache and cache / f'{id}.npy')
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[::2, ::2] / np.float32(255)
        boxes = box_map(found[found.Id == id].drop(columns='Id'), mask.shape)
        q, truth = labels.loc[id].to_numpy(), np.isin(np.arange(1, 21), mask)
        # classes that nobody thinks of are left out, for time
        some = np.flatnonzero(truth | (q > 0.02) | (looks.mean(0)[1:].max((1, 2)) > 0.01))
        kept = np.append(0, some + 1).astype(np.uint8)
        if len(some) == 0:
            some, kept = np.array([0]), np.array([0, 1], np.uint8)
        for name, said in ideas(looks[:, kept], q[some], truth[some], boxes[some], grey):
            said = kept[said]
            dices.setdefault(name, []).append(foreground_dice(mask, said))
            counts[name] = counts.get(name, 0) + confusion_matrix(mask, said)
    return pd.DataFrame(dices), counts


def rows_of(part, dices, counts, where):
    "The rows of results/: Dice and its gain over plain masks, with intervals, and mIoU."
    rows = []
    for name in dices:
        gains = dices[name] - dices['plain: two sizes, mirrored']
        scores = {'Dice': dices[name], 'Dice over plain': gains}
        for score, values in scores.items():
            ends = mean_interval(values, score)[f'{score} 95 %'].split(' to ')
            rows.append({'line': name, 'score': score, 'value': round(np.nanmean(values), 5),
                         'low': float(ends[0]), 'high': float(ends[1]), 'n': len(values)})
        miou = round(overlap(counts[name])['mIoU'], 5)
        rows.append({'line': name, 'score': 'mIoU', 'value': miou, 'n': len(dices)})
    return [{'run': f'masks, {part}', **row, **where} for row in rows]


def main():
    more = parser(__doc__)
    more.add_argument('--judges', default='coco_*', help='names of training images that choose')
    more.add_argument('--cache', default='', help='a folder that keeps what the segmenter says')
    args = more.parse_args()
    torch.set_num_threads(1)
    train, val = (open_voc(args.root, part) for part in ('train', 'val'))
    said = {}
    for data in (train, val):
        witnesses = [
            ask(data, args.detector, tiles=TILES),
            ask(data, args.segmenter, kind='segmenter', scales=LABEL_SCALES),
        ]
        if data is train:
            weights = pool_weights(witnesses, train.labels)
        said[data.name] = pd.DataFrame(combine(witnesses, weights), data.ids)
    segmenter = load_segmenter(args.segmenter, flip=True, scales=SCALES, device='cpu')
    chosen = [id for id in train.ids if fnmatchcase(id, args.judges)]
    last = args.limit or None
    parts = {args.judges: train.subset(chosen[:last]), 'val': val.subset(val.ids[:last])}
    data = '224 COCO photographs of train, and 243 of val'
    where = about('mask_ideas.py', args, data)
    rows = []
    for part, data in parts.items():
        labels = said[(val if part == 'val' else train).name]
        cache = Path(args.cache) if args.cache else None
        if cache:
            cache.mkdir(exist_ok=True)
        dices, counts = judge(data, segmenter, labels, detect(data, args.detector), cache)
        rows += rows_of(part, dices, counts, where)
    show_and_keep(rows, args.out, 'masks')


if __name__ == '__main__':
    main()
