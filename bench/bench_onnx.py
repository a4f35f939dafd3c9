"""One segmenter in torch and through ONNX Runtime, in floats and in bytes, in one thread.

    python bench/bench_onnx.py                               # a SegFormer of random weights, toys
    python bench/bench_onnx.py --model MODEL --root VOC      # time; masks of train
    python bench/bench_onnx.py --model MODEL --root VOC --split val --parts masks

Needs the package onnx. The peers are transformers as it comes (its processor, its network, its
`post_process_semantic_segmentation`) and onnxruntime alone (the same file, what it takes made
before, the same enlargement and the likeliest class). All take turns; what counts is the CPU's
time, for a machine may be shared, and ratios are those within a round. Bytes see the ranges of 32
`coco_*` photographs of `train`, masks are compared on the others of them, which no DeepLab of VOC
has learned from, or with `--split val` on all of `val`. With a model rows go to
bench/results/onnx.csv.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from bench_scale import HERE, Table, make_model
from torch.nn import functional as F

from voc_cv.data import open_voc
from voc_cv.measure import foreground_dice, mask_metrics
from voc_cv.nets import coloured, export_onnx, load_pixel_scores, open_onnx, to_squares
from voc_cv.segment import load_segmenter

NAMES = 'torch', 'onnx', 'int8'


def options():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--model', help='a segmenter of transformers')
    parser.add_argument('--root', default='', help="a folder in VOC's layout (default: toys)")
    parser.add_argument('--split', default='train', help='whose masks are compared')
    parser.add_argument('--parts', default='network prediction masks')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--out', default=HERE / 'results/onnx.csv', type=Path)
    return parser.parse_args()


def take_turns(table, part, rounds, **functions):
    "Milliseconds of the CPU of each, and ratios to plain transformers and to onnxruntime alone."
    times = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, f in functions.items():
            start = time.process_time()
            f()
            if number:  # the first call makes ready
                times[name].append((time.process_time() - start) * 1000)
    for name, seen in times.items():
        table.add(part, name, rounds, seen, 'ms')
    for name, other in (
        *((n, 'transformers') for n in NAMES),
        ('onnx', 'onnxruntime alone'),
        ('int8', 'onnx'),
    ):
        pairs = zip(times[name], times[other], strict=True)
        table.add(part, f'{name} : {other}', rounds, [a / b for a, b in pairs], 'ratio')


def measure_network(table, models, image, rounds):
    "From a square of bytes to logits."
    model, processor = plain(models['torch'])
    square = to_squares([image], load_pixel_scores(models['onnx'])[1], enlarge=False)[0]
    pixels = coloured(processor, square)
    session = open_onnx(Path(models['onnx']) / 'model.onnx', 'cpu')

    @torch.inference_mode()
    def by_transformers():
        return model(coloured(processor, square)).logits

    ours = {name: load_pixel_scores(folder, device='cpu')[0] for name, folder in models.items()}
    take_turns(
        table, 'network', rounds,
        transformers=by_transformers,
        **{name: lambda f=f: f(square) for name, f in ours.items()},
        **{'onnxruntime alone': lambda: session.run(None, {'pixel_values': pixels.numpy()})},
    )  # fmt: skip


def plain(name):
    "A model and its processor as transformers gives them."
    model = transformers.AutoModelForSemanticSegmentation.from_pretrained(name).eval()
    return model, transformers.AutoImageProcessor.from_pretrained(name)


def measure_prediction(table, models, image, rounds):
    "From a photograph to its mask."
    model, processor = plain(models['torch'])
    session = open_onnx(Path(models['onnx']) / 'model.onnx', 'cpu')
    ours = {name: load_segmenter(folder, device='cpu') for name, folder in models.items()}
    size, shape, corners = ours['onnx'].size, image.shape[:2], ours['onnx'].align_corners

    @torch.inference_mode()
    def by_transformers():
        answer = model(**processor(image, return_tensors='pt'))
        return processor.post_process_semantic_segmentation(answer, [shape])[0]

    def by_onnxruntime():
        square, inside = to_squares([image], size, enlarge=False)
        pixels = coloured(processor, square).numpy()
        logits = torch.from_numpy(session.run(None, {'pixel_values': pixels})[0])
        whole = F.interpolate(logits, (size, size), mode='bilinear', align_corners=corners)
        height, width = inside[0]
        return whole[0, :, :height, :width].argmax(0)

    np.testing.assert_array_equal(by_onnxruntime(), ours['onnx']([image])[0])
    take_turns(
        table, 'prediction', rounds,
        transformers=by_transformers,
        **{name: lambda f=f: f([image]) for name, f in ours.items()},
        **{'onnxruntime alone': by_onnxruntime},
    )  # fmt: skip


def interval(differences, tries=2000):
    "The middle 95 % of means of images drawn again."
    drawn = np.random.default_rng(0).integers(0, len(differences), (tries, len(differences)))
    return np.percentile(differences[drawn].mean(1), [2.5, 97.5])


def measure_masks(table, models, data, split):
    "Masks against those of torch: pixels, Dice, mIoU."
    ours = {name: load_segmenter(folder, device='cpu') for name, folder in models.items()}
    masks = {name: [] for name in ours}
    for sample in data:
        for name, segment in ours.items():
            masks[name].append(segment([sample.image])[0])
    truth = [sample.mask for sample in data]
    part, dice = f'masks of {split}', {}
    for name, said in masks.items():
        figures = mask_metrics(zip(truth, said, strict=True))[0]
        for score in ('Dice', 'mIoU'):
            table.add(part, f'{name}: {score}', len(data), figures[score], score)
        dice[name] = np.array([foreground_dice(*pair) for pair in zip(truth, said, strict=True)])
        if name == 'torch':
            continue
        ends = interval(dice[name] - dice['torch'])
        table.add(part, f'{name} - torch: Dice', len(data),
                  [ends[0], (dice[name] - dice['torch']).mean(), ends[1]], 'Dice')
        pairs = zip(said, masks['torch'], strict=True)
        other = sum((a != b).sum() for a, b in pairs) / sum(m.size for m in said)
        table.add(part, f'{name}: pixels of another class', len(data), other, 'share')


if __name__ == '__main__':
    args = options()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    train, data = (open_voc(args.root, split, 0 if args.root else 40)
                   for split in ('train', args.split))  # fmt: skip
    ids = [i for i in train.ids if 'coco' in i] or train.ids
    unseen = np.random.default_rng(0).permutation(ids).tolist()
    if args.split == 'train':
        data = data.subset(sorted(unseen[32:]))
    table = Table(args.out)
    with tempfile.TemporaryDirectory() as work:
        model = args.model or str(make_model(f'{work}/model', [32, 64, 160, 256], 512))
        models = {'torch': model, 'onnx': f'{work}/onnx', 'int8': f'{work}/int8'}
        export_onnx(model, models['onnx'])
        photographs = [train.read_image(i) for i in unseen[:32]]
        print(export_onnx(model, models['int8'], int8=photographs))
        image = train.read_image(train.ids[0])
        for part in args.parts.split():
            if part == 'masks':
                measure_masks(table, models, data, args.split)
            if part == 'network':
                measure_network(table, models, image, args.rounds)
            if part == 'prediction':
                measure_prediction(table, models, image, args.rounds)
            if args.model:
                table.write()
