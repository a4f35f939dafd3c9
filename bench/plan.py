"""Put a plan for many photographs into docs/planning.md, from what bench_scale.py has measured.

python bench/plan.py                          # with the measured figures
python bench/plan.py --rate 55 --price 1.20   # images a second and machine; money an hour
"""

import argparse
import csv
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / 'docs/planning.md'
BEGIN, END = '<!-- numbers: made by bench/plan.py -->', '<!-- end of the numbers -->'
COUNTS = (1_000_000, 100_000_000)
MACHINES = (1, 10, 100)


def measured(path):
    "(what, n) -> value, of the parts that a plan needs; and the machine."
    with open(path, newline='') as file:
        rows = [*csv.DictReader(file)]
    found = {(row['what'], int(row['n'])): float(row['value']) for row in rows}
    return found, rows[0]['machine'] if rows else 'unknown', rows[0]['commit'] if rows else ''


def value(found, what):
    "The one measurement of this name."
    values = [v for (name, _), v in found.items() if name == what]
    if not values:
        raise SystemExit(f'{what}: not measured; run bench_scale.py first')
    return values[-1]


def duration(hours):
    return f'{hours:,.1f} hours' if hours < 72 else f'{hours / 24:,.1f} days'


def plan(found, rate, price):
    "The lines of the table."
    photo = value(found, 'a photograph on the disk')
    result = value(found, 'results on the disk')
    head = ['photographs', 'machines', 'time', 'photographs on the disk', 'results']
    head += ['read from the disk']
    head += ['cost'] if price else []
    yield '| ' + ' | '.join(head) + ' |'
    yield '|' + '---:|' * len(head)
    for count in COUNTS:
        for machines in MACHINES:
            hours = count / rate / machines / 3600
            row = [f'{count:,}', str(machines), duration(hours), f'{count * photo / 1e9:,.2f} TB']
            row += [f'{count * result / 1e9:,.2f} TB', f'{machines * rate * photo / 1e3:,.1f} MB/s']
            row += [f'{hours * machines * price:,.0f}'] if price else []
            yield '| ' + ' | '.join(row) + ' |'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--results', type=Path, default=HERE / 'results/scale.csv')
    parser.add_argument('--rate', type=float, help='images a second of one machine')
    parser.add_argument('--price', type=float, default=0, help='of a machine, an hour')
    args = parser.parse_args()
    found, machine, commit = measured(args.results)
    rate = args.rate or value(found, 'predict')
    costs = {n: v for (what, n), v in found.items() if what == 'time of an image'}
    peaks = {n: v for (what, n), v in found.items() if what == 'peak memory'}
    many = '; '.join(f'{n:,}: {costs[n]:.3g} ms each, {peaks[n]:,.0f} MiB' for n in sorted(costs))
    lines = [
        f'Measured at commit {commit} on {machine}: {value(found, "predict"):.3g} images a second '
        f'(a plain loop {value(found, "plain loop"):.3g}, transformers\' pipeline '
        f'{value(found, "transformers pipeline"):.3g}). With a tiny network, so that all else '
        f'shows: {many}.',
        '',
        f'The plan counts with {rate:.3g} images a second and machine.',
        '',
        *plan(found, rate, args.price),
    ]
    text = PAGE.read_text()
    new = f'{BEGIN}\n' + '\n'.join(lines) + f'\n{END}'
    marked = f'{re.escape(BEGIN)}.*{re.escape(END)}'
    PAGE.write_text(re.sub(marked, lambda _: new, text, flags=re.S))
    print('\n'.join(lines))
