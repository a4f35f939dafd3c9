"""Opening and walking through a data set, against plain loops.

    python bench/bench_data.py [--root FOLDER]

Without a root, 300 toy images are written as a VOCdevkit first. Then 11,000 links to its files
make a data set as large as SBD's."""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from common import compare
from PIL import Image

from voc_cv.data import open_voc, toy_voc, write_voc


def plain_loop(root, ids):
    "What one writes by hand: open, convert, and find the classes of each mask."
    for id in ids:
        image = (
            next((root / 'JPEGImages').glob(f'{id}.*'))
            if not (root / f'JPEGImages/{id}.jpg').exists()
            else root / f'JPEGImages/{id}.jpg'
        )
        yield (
            np.array(Image.open(image).convert('RGB')),
            np.array(Image.open(root / f'SegmentationClass/{id}.png')),
        )


def eager(root, ids):
    return list(plain_loop(root, ids))


def walk(items):
    for _ in items:
        pass


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--root', type=Path)
args = parser.parse_args()
with tempfile.TemporaryDirectory() as tmp:
    os.environ['VOC_CV_CACHE'] = f'{tmp}/cache'
    start = time.perf_counter()
    walk(toy_voc(100))
    print(f'toy_voc: {100 / (time.perf_counter() - start):.0f} images a second')
    root = args.root or Path(tmp) / 'toys'
    if not args.root:
        write_voc(root, train=toy_voc(300))
    data, eager_images = open_voc(root, 'train'), 100
    assert all(
        np.array_equal(s.image, i) and np.array_equal(s.mask, m)
        for s, (i, m) in zip(data[:20], plain_loop(root, data.ids), strict=False)
    )
    print(f'\n{root.name}: {len(data)} images; walking through {eager_images}')
    compare(
        rounds=7,
        **{
            'VocDataset, checked samples': lambda: walk(data[:eager_images]),
            'plain loop, no checks': lambda: walk(plain_loop(root, data.ids[:eager_images])),
        },
    )
    print('\nopening')
    compare(
        rounds=7,
        **{
            'open_voc': lambda: open_voc(root, 'train'),
            f'plain list of the first {eager_images}': lambda: eager(root, data.ids[:eager_images]),
        },
    )

    many = Path(tmp) / 'many'
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (many / folder).mkdir(parents=True)
    ids = [f'{i:05d}' for i in range(11_000)]
    for i, id in enumerate(ids):
        source = data.ids[i % len(data)]
        image = next((root / 'JPEGImages').glob(f'{source}.*'))
        os.symlink(image.resolve(), many / f'JPEGImages/{id}{image.suffix}')
        os.symlink(
            (root / f'SegmentationClass/{source}.png').resolve(),
            many / f'SegmentationClass/{id}.png',
        )
    (many / 'ImageSets/Segmentation/train.txt').write_text('\n'.join(ids))
    start = time.perf_counter()
    large = open_voc(many, 'train')
    print(f'\n11,000 images: opened in {time.perf_counter() - start:.2f} s')
    for what in ('indexed', 'indexed again, from the cache'):
        start = time.perf_counter()
        open_voc(many, 'train').labels
        print(f'  {what} in {time.perf_counter() - start:.2f} s')
    walk(large[:500])
    before = peak()
    start = time.perf_counter()
    walk(large[500:3000])
    print(
        f'  2,500 walked through at {2500 / (time.perf_counter() - start):.0f} images a second; '
        f'peak memory {before:.0f} MiB after 500, {peak():.0f} MiB after 3,000'
    )
