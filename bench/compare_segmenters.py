"""Networks for masks under one budget: the same images, size, epochs, augmentation and loss,
each in a fresh process.

    python bench/compare_segmenters.py path/to/VOC2012 \\
        --encoder-weights path/to/mobilenet_v2_imagenet

Prints a table (million weights, seconds per epoch, the process's peak memory, and Dice and mIoU
on val at the images' own size) and writes it to --out."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

import pandas as pd

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument('root', help="the data, for example a VOCdevkit folder; '' for toy images")
parser.add_argument(
    '--kinds',
    nargs='+',
    default=['Unet/mobilenetv2', 'FPN/mobilenetv2', 'Linknet/mobilenetv2', 'PSPNet/mobilenetv2'],
    help="'unet', or architecture/backbone",
)
parser.add_argument(
    '--encoder-weights', default='', help="'imagenet', a file or a folder; empty: from scratch"
)
parser.add_argument(
    '--size', type=int, default=192, help='of the square input; a multiple of 32 and 48 fits all'
)
parser.add_argument('--epochs', type=int, default=8)
parser.add_argument('--loss', default='weighted')
parser.add_argument('--balance', type=float, default=0.25, help='power of the class weights')
parser.add_argument(
    '--background', type=float, default=1.0, help="multiplies the background's weight"
)
parser.add_argument('--width', type=int, default=16, help="channels of 'unet' in its first block")
parser.add_argument('--limit', type=int, default=0, help='at most so many images of each split')
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--out', default='', help='a CSV for the table')
parser.add_argument('--one', default='', help=argparse.SUPPRESS)


def measure(kind, args):
    "Train, predict and score one network in this process."
    from voc_cv import segment
    from voc_cv.data import open_voc
    from voc_cv.segment import (
        class_pixels,
        class_weights,
        load_trained,
        predict_masks,
        score_folder,
        train_keras,
    )

    train, val = (open_voc(args.root, split, args.limit, args.seed) for split in ('train', 'val'))
    fit, tune = train.split(0.15, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        encoder = '' if kind == 'unet' else args.encoder_weights
        weights = class_weights(class_pixels(fit), args.balance, background=args.background)
        history = train_keras(
            fit,
            tune,
            f'{folder}/model',
            kind,
            args.size,
            args.width,
            0.0,
            encoder,
            args.loss,
            args.epochs,
            weights,
            args.seed,
        )
        seconds, memory = (
            time.time() - start,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        )
        with open(f'{folder}/model/segmenter.json') as file:
            about = json.load(file)
        weights = getattr(segment, about['build'])(**about['arguments']).count_params()
        predict_masks(val, load_trained(f'{folder}/model'), f'{folder}/val')
        figures = score_folder(val, f'{folder}/val')[0]
    return {
        'million weights': weights / 1e6,
        's per epoch': seconds / len(history),
        'peak GiB': memory,
        'epochs': len(history),
        'best epoch': int(history['tune mIoU'].idxmax()) + 1,
        **{k: figures[k] for k in ('Dice', 'mIoU', 'pixel accuracy')},
    }


if __name__ == '__main__':
    args, table = parser.parse_args(), {}
    if args.one:
        print(json.dumps(measure(args.one, args)))
        sys.exit()
    for kind in args.kinds:
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], '--one', kind],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        table[kind] = json.loads(done.stdout.splitlines()[-1])
        print(pd.DataFrame(table).T.round(3).to_string(), '\n', flush=True)
        if args.out:
            pd.DataFrame(table).T.rename_axis('network').to_csv(args.out)
