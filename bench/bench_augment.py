"""Transforms of a 375 x 500 photograph, against albumentations 2.0.8 and plain numpy, in one
thread.

    pip install --no-deps -r bench/requirements.txt
    python bench/bench_augment.py

The same work for the same result: uint8 in, uint8 out (float32 for normalize), no array changed
in place, whatever is random drawn anew in each call. albumentations is called twice, as users do,
through Compose, and bare, one transform's own __call__: we are compared with the faster of the
two. Our time includes making the Sample. Where both are deterministic, equal results are asserted
before anything is timed."""

from functools import partial

import cv2
import numpy as np
from common import compare

from voc_cv.augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    brightness_contrast,
    gaussian_noise,
    hflip,
    normalize,
    random_erasing,
)
from voc_cv.data import Sample, toy_voc

try:
    import albumentations as A
except ImportError as e:
    raise SystemExit(
        'albumentations is not installed: pip install --no-deps -r bench/requirements.txt'
    ) from e


def numpy_noise(image, std=12.0):
    return np.clip(np.rint(image + rng.normal(0, std, image.shape)), 0, 255).astype(np.uint8)


def numpy_light(image):
    b, c = 51 * rng.uniform(-1, 1), 1 + 0.2 * rng.uniform(-1, 1)
    return np.clip(
        np.rint((image - np.float32(127.5)) * np.float32(c) + np.float32(127.5 + b)), 0, 255
    ).astype(np.uint8)


def numpy_erasing(image):
    H, W = image.shape[:2]
    while True:
        area, ratio = H * W * rng.uniform(0.02, 0.4), np.exp(rng.uniform(*np.log((0.3, 1 / 0.3))))
        h, w = int(np.sqrt(area * ratio)), int(np.sqrt(area / ratio))
        if 0 < h <= H and 0 < w <= W:
            break
    y, x = rng.integers(0, H - h + 1), rng.integers(0, W - w + 1)
    image = image.copy()
    image[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
    return image


def numpy_normalize(image):
    return (
        (image / np.float32(255) - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    ).astype(np.float32)


cv2.setNumThreads(1)
rng = np.random.default_rng(0)
sample = next(s for s in toy_voc(20) if s.image.shape == (375, 500, 3))
image, mask = sample.image, sample.mask
alone = Sample('photo', image)
cases = {  # title -> ours, albumentations' transform, numpy, with the mask?
    'horizontal flip': (hflip, A.HorizontalFlip(p=1), lambda: image[:, ::-1].copy(), False),
    'horizontal flip of image and mask': (
        hflip,
        A.HorizontalFlip(p=1),
        lambda: (image[:, ::-1].copy(), mask[:, ::-1].copy()),
        True,
    ),
    'Gaussian noise, std 12': (
        partial(gaussian_noise, std=12),
        A.GaussNoise(std_range=(12 / 255, 12 / 255), per_channel=True, p=1),
        lambda: numpy_noise(image),
        False,
    ),
    'random erasing, random pixels': (
        random_erasing,
        A.Erasing(scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), fill='random', p=1),
        lambda: numpy_erasing(image),
        False,
    ),
    'random erasing, grey 0': (
        partial(random_erasing, fill=0),
        A.Erasing(scale=(0.02, 0.4), ratio=(0.3, 1 / 0.3), fill=0, p=1),
        None,
        False,
    ),
    'brightness and contrast': (
        brightness_contrast,
        A.RandomBrightnessContrast(0.2, 0.2, p=1),
        lambda: numpy_light(image),
        False,
    ),
    'normalize': (
        lambda s, rng: normalize(s.image),
        A.Normalize(IMAGENET_MEAN, IMAGENET_STD, p=1),
        lambda: numpy_normalize(image),
        False,
    ),
}
assert np.array_equal(
    hflip(sample).image, A.HorizontalFlip(p=1)(image=image)['image']
) and np.array_equal(hflip(sample).mask, A.HorizontalFlip(p=1)(image=image, mask=mask)['mask'])
np.testing.assert_allclose(
    normalize(image), A.Normalize(IMAGENET_MEAN, IMAGENET_STD, p=1)(image=image)['image'], atol=1e-4
)
np.testing.assert_allclose(normalize(image), numpy_normalize(image), atol=1e-4)
for other in (
    gaussian_noise(alone, rng).image,
    A.GaussNoise(std_range=(12 / 255, 12 / 255), per_channel=True, p=1)(image=image)['image'],
    numpy_noise(image),
):
    inner = (image > 60) & (image < 195)
    assert (
        abs((other.astype(int) - image)[inner].std() - 12) < 0.5
    )  # albumentations truncates, and stays 0.4 below
worst = {}
for title, (ours, theirs, plain, joint) in cases.items():
    given = {'image': image, 'mask': mask} if joint else {'image': image}
    chain, own = A.Compose([theirs]), sample if joint else alone
    functions = {
        'voc_cv': lambda: ours(own, rng),
        'albumentations, Compose': lambda: chain(**given),
        'albumentations, bare': lambda: theirs(**given),
    }
    print(f'\n{title}')
    medians = compare(**functions, **({'numpy': plain} if plain else {}))
    worst[title] = medians['voc_cv'] / min(
        v for k, v in medians.items() if k.startswith('albumentations')
    )
print('\nour time in terms of the faster albumentations (1.05 or less is the aim)')
for title, ratio in worst.items():
    print(f'  {title:36} {ratio:.2f}{"" if ratio <= 1.05 else "   TOO SLOW"}')
