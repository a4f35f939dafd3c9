"""Put the scores of a run into a table of results: a row a figure.

    python results/add_run.py runs/NAME results/photographs.csv --name NAME --data 'what it is'

Rows that the table has of a run of this name are replaced. The command that made the run is read
from its params.yaml, without the folders of this machine; so are the seed and the commit."""

import argparse
import json
import os
import re
import shlex
from pathlib import Path

import pandas as pd
import yaml

COLUMNS = ['run', 'line', 'score', 'value', 'low', 'high', 'n', 'command', 'data', 'seed', 'commit',
           'machine']


def public(command: str) -> str:
    "A command without folders that exist only here, and without where its results went."
    words = iter(shlex.split(command))
    kept = []
    for word in words:
        if word in ('--out', '--only', '--from'):
            next(words)
            continue
        if kept and kept[-1] == '--root':
            word = 'VOC'
        name, equals, path = word.partition('=')
        if '/' in (path or word) and os.path.isabs(path or word):
            word = f'{name}{equals}' * bool(equals) + f'path/to/{Path(path or word).name}'
        kept.append(Path(word).name if word.endswith('.yaml') else word)
    return ' '.join(kept)


def figures(scores: dict) -> list:
    "The numbers of a scores.json, with intervals beside the scores that they are of."
    rows = []
    for stage, lines in scores.items():
        for line, columns in lines.items():
            for score, value in columns.items():
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                if not number or score == 'images':
                    continue
                ends = re.fullmatch(r'(\S+) to (\S+)', str(columns.get(f'{score} 95 %', '')))
                low, high = map(float, ends.groups()) if ends else (None, None)
                n = columns.get('images')
                rows.append({'line': f'{stage[:2]} {line}', 'score': score, 'value': value,
                             'low': low, 'high': high, 'n': n})
    return rows


def seconds(run: Path) -> list:
    "How long each stage took."
    rows = []
    for note in sorted((run / '.stages').glob('*.json')):
        took = json.loads(note.read_text()).get('seconds')
        if took:
            rows.append({'line': note.stem, 'score': 'seconds', 'value': took})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('run', type=Path, help="the run's folder")
    parser.add_argument('table', type=Path, help='a CSV, made or added to')
    parser.add_argument('--name', help='of the run (default: the name of its folder)')
    parser.add_argument('--data', required=True, help='what the run was on, in words')
    parser.add_argument('--machine', default=f'{os.cpu_count()} cores, no GPU')
    parser.add_argument('--command', help='default: as params.yaml says')
    parser.add_argument('--commit', help='default: as params.yaml says')
    parser.add_argument('--no-seconds', action='store_true', help='the machine was busy')
    args = parser.parse_args()
    name = args.name or args.run.name
    record = yaml.safe_load((args.run / 'params.yaml').read_text())
    first = next(v for v in record['parameters'].values() if 'seed' in v)
    rows = figures(json.loads((args.run / 'scores.json').read_text()))
    if not args.no_seconds:
        rows += seconds(args.run)
    about = {
        'command': args.command or public(record['command']), 'data': args.data,
        'seed': first['seed'], 'commit': args.commit or record['commit'], 'machine': args.machine}
    table = pd.DataFrame([{'run': name, **row, **about} for row in rows])[COLUMNS]
    if args.table.is_file():
        old = pd.read_csv(args.table, dtype={'commit': str})
        table = pd.concat([old[old.run != name], table], ignore_index=True)
    table.to_csv(args.table, index=False)
    print(f'{len(rows)} figures of {name} in {args.table}')


if __name__ == '__main__':
    main()
