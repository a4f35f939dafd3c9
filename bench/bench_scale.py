"""What scale costs: photographs a second, memory and time of many of them, a sweep, and Ray.

    python bench/bench_scale.py            # all of it, about a quarter of an hour on two cores
    python bench/bench_scale.py --quick    # small numbers, to see that it works
    python bench/bench_scale.py --model FOLDER --photographs FOLDER    # your network and pictures

Peers, interleaved in one process on the same photographs and weights: a plain loop (read, look,
write, one after the other), and transformers' own pipeline, which writes nothing. A sweep's peer is
papermill executing the same notebooks one by one. Rows go to bench/results/scale.csv, from which
plan.py makes the table in docs/planning.md.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
FIELDS = ['part', 'what', 'n', 'value', 'unit', 'low', 'high', 'commit', 'machine', 'date']


def options():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--quick', action='store_true', help='small numbers')
    parser.add_argument('--model', help='a segmenter of transformers (default: SegFormer-B0 with '
                        'random weights, which is as fast as a trained one)')
    parser.add_argument('--photographs', help='a folder (default: toys of 500 x 375 pixels)')
    parser.add_argument('--parts', default='rate many sweep ray', help='which parts to measure')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=60, help='of a run in the sweep')
    parser.add_argument('--out', default=HERE / 'results/scale.csv', type=Path)
    parser.add_argument('--count', type=int, help=argparse.SUPPRESS)  # the child of `many`
    parser.add_argument('--work', type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the material


def make_model(folder, hidden, size):
    "A SegFormer of random weights."
    import torch
    import transformers

    from voc_cv.data import VOC_CLASSES

    torch.manual_seed(0)
    names = dict(enumerate(['background', *VOC_CLASSES]))
    config = transformers.SegformerConfig(
        hidden_sizes=hidden,
        decoder_hidden_size=hidden[-1],
        id2label=names,
        label2id={name: i for i, name in names.items()},
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    square = {'height': size, 'width': size}
    transformers.SegformerImageProcessorPil(size=square).save_pretrained(folder)
    return folder


def make_photographs(folder, count, shape=(500, 375)):
    "Drawn toys as JPEGs of one size; beyond forty the same ones again under other names."
    from PIL import Image

    from voc_cv.data import toy_voc

    folder.mkdir(parents=True)
    for i, sample in enumerate(toy_voc(min(count, 40))):
        Image.fromarray(sample.image).resize(shape).save(folder / f'{i:06}.jpg', quality=90)
    for i in range(40, count):
        os.link(folder / f'{i % 40:06}.jpg', folder / f'{i:06}.jpg')
    return folder


class Table:
    "Rows of the CSV; those of a part that is measured again are replaced."

    def __init__(self, path):
        def git(*args):
            return subprocess.run(['git', *args], cwd=HERE, capture_output=True, text=True).stdout

        lines = Path('/proc/cpuinfo').read_text().split('\n')
        cpu = [line for line in lines if line.startswith('model name')]
        self.same = {
            'commit': git('rev-parse', '--short', 'HEAD').strip(),
            'machine': f'{os.cpu_count()} cores ({cpu[0].partition(": ")[2] if cpu else "?"})',
            'date': time.strftime('%Y-%m-%d'),
        }
        self.path, self.rows = path, []

    def add(self, part, what, n, values, unit):
        values = values if isinstance(values, list) else [values]
        row = {'part': part, 'what': what, 'n': n, 'unit': unit}
        row |= {'value': f'{statistics.median(values):.4g}', 'low': f'{min(values):.4g}'}
        self.rows.append(row | {'high': f'{max(values):.4g}'} | self.same)
        print(f'  {what:44} {n:>6} {statistics.median(values):10.4g} {unit:12}'
              f' ({min(values):.4g} to {max(values):.4g})', flush=True)
        return statistics.median(values)

    def write(self):
        old = []
        if self.path.is_file():
            measured = {row['part'] for row in self.rows}
            with open(self.path, newline='') as file:
                old = [row for row in csv.DictReader(file) if row['part'] not in measured]
        self.path.parent.mkdir(exist_ok=True)
        with open(self.path, 'w', newline='') as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(old + self.rows)


# --- photographs a second


def measure_rate(table, args, work):
    "predict, stage by stage, against a plain loop and transformers' pipeline."
    import torch
    import transformers

    from voc_cv import photographs as p

    model = args.model or make_model(work / 'b0', [32, 64, 160, 256], 64 if args.quick else 512)
    count = 12 if args.quick else 40
    folder = args.photographs or make_photographs(work / 'photographs', count)
    found = p.find_photographs(folder)[:count]
    settings = p.with_digests(p.choose_settings(segmenter=str(model), say=lambda text: None))
    predictor = p.Predictor(settings)
    predictor.load()
    opened = [p.open_photograph(photo) for photo in found]
    answers = predictor(opened)
    pipe = transformers.pipeline('image-segmentation', str(model))
    fresh, threads = (work / f'out{i}' for i in range(10**6)), min(8, os.cpu_count())

    def begun():
        out = next(fresh)
        p.begin(out, settings)
        return out

    def plain_loop():
        out = begun()
        for photo in found:
            (answer,) = predictor([p.open_photograph(photo)])
            p.write_result(out, answer)

    def ours():
        assert len([*p.stream(found, predictor, begun(), 8, threads)]) == len(found)

    def by_pipeline():
        for photo in found:
            pipe(photo.path)

    def network():
        predictor(opened)

    def read():
        for photo in found:
            p.open_photograph(photo)

    def write():
        out = begun()
        for answer in answers:
            p.write_result(out, answer)

    parts = {'read': read, 'network': network, 'write': write, 'plain loop': plain_loop}
    parts |= {'transformers pipeline': by_pipeline, 'predict': ours}
    seconds = {name: [] for name in parts}
    for function in parts.values():
        function()  # once to warm up
    for _ in range(1 if args.quick else args.rounds):
        for name, function in parts.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    name = Path(model).name
    print(f'\nPhotographs a second: {name}, {torch.get_num_threads()} threads of torch')
    rates = {
        what: table.add('rate', what, count, [count / s for s in times], 'images/s')
        for what, times in seconds.items()
    }
    for peer in ('plain loop', 'transformers pipeline', 'network'):
        ratio = rates['predict'] / rates[peer]
        table.add('rate', f'predict : {peer}', count, ratio, 'ratio')
    files = [f for f in next(work.glob('out0')).rglob('*') if f.is_file()]
    size = sum(f.stat().st_size for f in files) / count
    table.add('rate', 'results on the disk', count, size / 1e3, 'kB/image')
    table.add('rate', 'a photograph on the disk', count,
              sum(os.stat(f.path).st_size for f in found) / count / 1e3, 'kB/image')


# --- many


def count_child(args):
    "In a process of its own: predict so many, and say how long it took and how much memory."
    from voc_cv.photographs import predict

    start = time.perf_counter()
    how = {'out': args.work / 'out', 'segmenter': args.model, 'quiet': True}
    done = predict(args.work / 'photographs', **how)
    seconds = time.perf_counter() - start
    assert done.photographs == args.count and not done.broken
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({'seconds': seconds, 'looked': done.seconds, 'peak': peak}))


def measure_many(table, args, work):
    "Does an image cost the same among ten thousand as among a hundred, in time and memory?"
    print('\nMany photographs, a tiny network')
    model = make_model(work / 'tiny', [8, 16, 20, 32], 64)
    for count in (10, 40, 160) if args.quick else (100, 1000, 10_000):
        place = work / f'many{count}'
        make_photographs(place / 'photographs', count, (160, 120))
        command = [sys.executable, __file__, '--count', count, '--work', place, '--model', model]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        table.add('many', 'time of an image', count, said['looked'] / count * 1000, 'ms/image')
        table.add('many', 'peak memory', count, said['peak'], 'MiB')
        shutil.rmtree(place)


# --- sweep and Ray


def notebooks(folder, seconds):
    "A stage that takes so long, and a sweep of two runs."
    from nbformat import write
    from nbformat.v4 import new_code_cell, new_notebook

    work = (
        'import time\nfrom pathlib import Path\n'
        f'time.sleep({seconds})\n(Path(out) / "x.txt").write_text(str(x))'
    )
    tagged = new_code_cell('x = 0\nout = ""', metadata={'tags': ['parameters']})
    kernel = {'name': 'python3', 'language': 'python', 'display_name': 'python3'}
    folder.mkdir()
    write(new_notebook(cells=[tagged, new_code_cell(work)], metadata={'kernelspec': kernel}),
          folder / 'stage.ipynb')
    (folder / 'none.yaml').write_text('')
    (folder / 'sweep.yaml').write_text('base: none.yaml\nvary: {stage.x: [1, 2]}\n')


def sweep(folder, out, **how):
    "Seconds of a sweep of two runs, one at a time."
    from voc_cv.scale import run_sweep

    start = time.perf_counter()
    how = {'out': out, 'nbs': folder, 'stages': {'stage': ()}, 'quiet': True} | how
    table = run_sweep(folder / 'sweep.yaml', **how)
    assert table.failure.eq('').all(), table
    return time.perf_counter() - start


def measure_sweep(table, args, work):
    "A sweep against papermill alone."
    import papermill

    seconds = 3 if args.quick else args.seconds
    folder = work / 'notebooks'
    notebooks(folder, seconds)
    start = time.perf_counter()
    for x in (1, 2):
        (work / f'papermill{x}').mkdir()
        papermill.execute_notebook(
            folder / 'stage.ipynb', work / f'papermill{x}/stage.ipynb',
            {'x': x, 'out': str(work / f'papermill{x}')}, progress_bar=False,
        )
    plain = time.perf_counter() - start
    ours = sweep(folder, work / 'sweep', jobs=1)
    print(f'\nA sweep of two runs of {seconds:g} s, one at a time')
    table.add('sweep', 'papermill', 2, plain / 2, 's/run')
    table.add('sweep', 'voc_cv sweep', 2, ours / 2, 's/run')
    table.add('sweep', 'overhead of the sweep', 2, 100 * (ours / plain - 1), '%')


def nothing():
    "A task that does nothing."


def measure_ray(table, args, work):
    "What Ray adds: its start, and the same sweep and prediction by it."
    from voc_cv.scale import connected, predict

    print('\nRay on this machine')
    start = time.perf_counter()
    with connected('local', 200 * 2**20) as ray:
        table.add('ray', 'start', 1, time.perf_counter() - start, 's')
        remote = ray.remote(num_cpus=1)(nothing)
        ray.get(remote.remote())
        start = time.perf_counter()
        for _ in range(100):
            ray.get(remote.remote())
        table.add('ray', 'a task', 100, (time.perf_counter() - start) * 10, 'ms')
        seconds = 3 if args.quick else min(args.seconds, 20)
        folder = work / 'for ray'
        notebooks(folder, seconds)
        here = sweep(folder, work / 'here', jobs=1)
        there = sweep(folder, work / 'there', ray='local', cpus=ray.cluster_resources()['CPU'])
        table.add('ray', f'a run of {seconds:g} s: Ray beside without', 2, (there - here) / 2, 's')
        model = make_model(work / 'for ray tiny', [8, 16, 20, 32], 64)
        count = 40 if args.quick else 1000
        make_photographs(work / 'ray photographs', count, (160, 120))
        how = {'segmenter': str(model), 'quiet': True}
        for name, more in (('without Ray', {}), ('by Ray, an actor a core', {'ray': 'local'})):
            start = time.perf_counter()
            predict(work / 'ray photographs', out=work / f'seen {name}', **how, **more)
            rate = count / (time.perf_counter() - start)
            table.add('ray', f'predict {name}, loading included', count, rate, 'images/s')


if __name__ == '__main__':
    args = options()
    if args.count:
        count_child(args)
        sys.exit()
    table = Table(args.out)
    with tempfile.TemporaryDirectory() as work:
        for part in args.parts.split():
            {'rate': measure_rate, 'many': measure_many, 'sweep': measure_sweep,
             'ray': measure_ray}[part](table, args, Path(work))
            table.write()
