"What the two scripts that try ideas share: their arguments, and how rows get into a table."

import argparse
import subprocess
from pathlib import Path

import pandas as pd


def parser(description):
    "The arguments that both take."
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('root', help='the data, a VOCdevkit folder')
    parser.add_argument('--segmenter', required=True, help='a hub id or a folder of transformers')
    parser.add_argument('--detector', required=True, help='a hub id, a folder or an .onnx file')
    parser.add_argument('--limit', type=int, default=0, help='at most so many images of each part')
    parser.add_argument('--out', default='', help='a CSV whose rows of this script are replaced')
    return parser


def about(script, args, data):
    "The columns of a row that say where it is from."
    head = ['git', 'rev-parse', '--short', 'HEAD']
    return {
        'command': f'python bench/{script} VOC --segmenter path/to/{Path(args.segmenter).name} '
                   f'--detector path/to/{Path(args.detector).name}',
        'data': data, 'seed': 0,
        'commit': subprocess.check_output(head, text=True).strip(),
        'machine': '2 cores, no GPU'}  # fmt: skip


def show_and_keep(rows, out, kind):
    "Print rows as a table; in the file `out` they replace those whose run begins with `kind`."
    table = pd.DataFrame(rows)
    print(table.pivot_table('value', ['run', 'line'], 'score', sort=False).round(4).to_string())
    if not out:
        return
    if Path(out).is_file():
        old = pd.read_csv(out)
        table = pd.concat([old[~old.run.str.startswith(f'{kind}, ')], table])
    table.to_csv(out, index=False)
