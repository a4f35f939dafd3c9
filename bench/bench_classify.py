"""Frozen features computed once, against training the same head through the frozen base; and
detection in batches, against one image at a time.

    python bench/bench_classify.py [--root FOLDER] [--images 200] [--detector MODEL.onnx]

Both ways of training see the same images in the same order for 3 epochs with the same seed. Ours
also scores each epoch and keeps the best one. The mAP of both on images held back is printed
beside the times. Without a root the images are toys; without a detector the second part is left
out."""

import argparse
import os
import tempfile
import time

import numpy as np
import torch
from torch.nn import functional as F

from voc_cv.classify import Head, detect, extract_features, fit_head, head_scores, load_detector
from voc_cv.data import open_voc
from voc_cv.measure import mean_ap
from voc_cv.nets import descend, load_backbone, to_batch


def through_the_base(net, fit, tune, epochs, batch=128, lr=2e-3, seed=0):
    """The same head, the same steps, but every batch goes through the frozen network each time;
    the statistics of the features, too."""
    y = torch.from_numpy(fit.labels.to_numpy()).float()

    @torch.inference_mode()
    def features(data, rows):
        parts = [
            net.features(
                to_batch([data.read_image(data.ids[int(i)]) for i in rows[k : k + 4]], net.size)
            )
            for k in range(0, len(rows), 4)
        ]
        return torch.cat(parts)

    torch.manual_seed(seed)
    head = Head(net.width)
    x = features(fit, range(len(fit)))
    head.mean, head.std = x.mean(0).clone(), x.std(0) + 1e-6
    optimizer = torch.optim.AdamW(head.parameters(), lr, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * -(-len(y) // batch)
    )
    for epoch in range(epochs):
        for i in torch.randperm(len(y)).split(batch):
            torch.randint(1, i.shape)  # fit_head draws a view here
            descend(
                optimizer,
                F.binary_cross_entropy_with_logits(head.train()(features(fit, i).clone()), y[i]),
            )
            schedule.step()
    return mean_ap(tune.labels, head_scores(head, features(tune, range(len(tune))).numpy()[None]))


def seconds(f):
    start = time.perf_counter()
    return f(), time.perf_counter() - start


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--root', default='')
parser.add_argument('--images', type=int, default=200)
parser.add_argument('--detector')
args = parser.parse_args()
with tempfile.TemporaryDirectory() as tmp:
    os.environ['VOC_CV_CACHE'] = tmp
    fit, tune = open_voc(args.root, 'train', args.images).split(0.25)
    fit.labels, tune.labels
    net = load_backbone()
    extract_features(tune[:8], net, device='cpu')  # warm

    def cached():
        x = {d: extract_features(d, net, device='cpu')[None] for d in (fit, tune)}
        head, _ = fit_head(
            (x[fit], fit.labels.to_numpy()), (x[tune], tune.labels.to_numpy()), epochs=3
        )
        return mean_ap(tune.labels, head_scores(head, x[tune]))

    (first, slow), (again, fast) = seconds(cached), seconds(cached)
    (plain, through) = seconds(lambda: through_the_base(net, fit, tune, 3))
    print(
        f'{len(fit)} images, 3 epochs: features once {slow:.1f} s (mAP {first:.3f}), '
        f'from the cache {fast:.2f} s (mAP {again:.3f}), '
        f'through the base {through:.1f} s (mAP {plain:.3f}); '
        f'{through / slow:.1f} and {through / fast:.0f} times as long'
    )
    start = time.perf_counter()
    extract_features(fit[:150], net, device='cpu')
    print(
        f'features: {min(150, len(fit)) / (time.perf_counter() - start):.0f} images/s, '
        'decoding and scaling included'
    )
    if args.detector:
        few, model = fit[:48], load_detector(args.detector)
        detect(few[:8], model)
        times = {}
        for round in range(3):
            for batch in (1, 2, 4, 8, 16):
                times.setdefault(batch, []).append(
                    seconds(lambda: detect(few, model, batch=batch))[1]
                )
        rates = {b: len(few) / np.median(t) for b, t in times.items()}
        print(
            'detection, images/s by batch: '
            + ', '.join(f'{b}: {r:.1f} (x {r / rates[1]:.2f})' for b, r in rates.items())
        )
