"Every figure that README, parameter files and the discussion quote is in a table of results."

import json
import re

import pandas as pd
import pytest
from conftest import ROOT

COLUMNS = ['run', 'line', 'score', 'value', 'low', 'high', 'n', 'command', 'data', 'seed', 'commit',
           'machine']
TABLES = sorted(ROOT.glob('results/*.csv'))


def quoted(text: str) -> list:
    "Numbers with two or more decimals, and percentages, that are not in code or in a command."
    text = re.sub(r'```.*?```', '', text, flags=re.S)
    text = re.sub(r'`[^`]*`|^#   .*$|\$[^$]*\$|\]\([^)]*\)', '', text, flags=re.M)
    return re.findall(r'(?<![\w.])(\d*\.\d{2,}(?:\s?%)?|\d+(?:\.\d)?\s?%)(?![\w])', text)


def known_values() -> list:
    "Every number in a table of results."
    values = []
    for path in [*TABLES, *ROOT.glob('bench/results/*.csv')]:
        numbers = pd.read_csv(path).select_dtypes('number')
        values += numbers.stack().tolist()
    return values


def is_known(number: str, values: list) -> bool:
    "Is this one of the values, rounded to as many digits as it has?"
    plain = number.rstrip('% ')
    half = .5 * 10. ** -len(plain.partition('.')[2]) * (1 + 1e-6)
    factor = 100 if number.endswith('%') else 1
    return any(abs(value * factor - float(plain)) <= half for value in values)


def texts() -> dict:
    "name -> a text that quotes what was measured."
    found = {'README': (ROOT / 'README.md').read_text().partition('## What it scores')[2]}
    for path in sorted(ROOT.glob('params/**/*.yaml')):
        lines = path.read_text().splitlines()
        found[path.name] = '\n'.join(line for line in lines if line.startswith('#'))
    for path in ROOT.glob('nbs/07*.ipynb'):
        cells = json.loads(path.read_text())['cells']
        prose = [''.join(c['source']) for c in cells if c['cell_type'] == 'markdown']
        found[path.stem] = '\n\n'.join(prose)
    return found


def test_numbers_are_found_and_looked_up():
    "Else the check of quoted figures finds none, and any figure may be quoted."
    text = 'Dice 0.794 and 98.36 %, see `x = .25`;\n#   voc_cv run -p a=.33\n93 % of 749, $1.25$'
    assert quoted(text) == ['0.794', '98.36 %', '93 %']
    assert is_known('0.794', [.79382]) and not is_known('0.795', [.79382])
    assert is_known('98.36 %', [.98361]) and not is_known('98.37 %', [.98361])


@pytest.mark.parametrize('name', texts())
def test_what_is_quoted_was_measured(name):
    "Else a reader is promised a figure that nobody has measured."
    values = known_values()
    numbers = quoted(texts()[name])
    assert [n for n in numbers if not is_known(n, values)] == []


@pytest.mark.parametrize('path', TABLES, ids=lambda p: p.stem)
def test_a_row_says_where_its_figure_is_from(path):
    "Else a figure cannot be measured again."
    table = pd.read_csv(path)
    assert [*table] == COLUMNS
    needed = ['run', 'line', 'score', 'value', 'command', 'data', 'commit']
    assert table[needed].notna().all(axis=None)
    assert not table.duplicated(['run', 'line', 'score']).any()
    assert not table.command.str.contains(r'(?:^|[\s=])/').any(), 'a folder of this machine'
