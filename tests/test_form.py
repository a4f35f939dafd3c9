"""The form of the notebooks: what DESIGN asks of a cell and of a public function, so that a gap
fails here and not at a reader."""

import ast
import json
import re

import pytest
from conftest import ROOT, run

NOTEBOOKS = sorted(ROOT.glob('nbs/*.ipynb'))
NAMES = {p: p.stem for p in NOTEBOOKS}
LONGEST = 40  # lines of an exported cell; a class in one place may have more
LONGEST_CLASS = 75
PLAIN = {'None', 'bool', 'str', 'int', 'float', 'Path', 'nn.Module', 'keras.Model', 'Sample'}


def code_cells(path):
    "(id, tags, source) of each code cell."
    for c in json.loads(path.read_text())['cells']:
        if c['cell_type'] == 'code':
            yield c['id'], c['metadata'].get('tags', []), ''.join(c['source'])


def exported(path):
    "(id, source, is it public) of each exported cell."
    for id, _, source in code_cells(path):
        if source.startswith('#| export'):
            yield id, source, not source.startswith('#| exporti')


def functions(source):
    "(function, name, is it public) of a cell, methods included."
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield node, node.name, not node.name.startswith('_')
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == '__init__':
                    yield part, f'{node.name}.__init__', not node.name.startswith('_')


def gaps(source, face):
    "What a cell's functions do not say of themselves that are public or that others call."
    lines = source.splitlines()
    for node, name, public in functions(source):
        if not public or not face and name.split('.')[0] not in CALLED:
            continue
        if not name.endswith('__init__') and not ast.get_docstring(node):
            yield f'{name}: has no docstring'
        for arg in [*node.args.args, *node.args.kwonlyargs]:
            if arg.arg not in ('self', 'cls') and '#' not in lines[arg.lineno - 1]:
                yield f'{name}: does not say what {arg.arg} is'
        last = max([a.end_lineno for a in node.args.args + node.args.kwonlyargs] + [node.lineno])
        head = lines[last - 1 : node.body[0].lineno - 1] or [lines[node.lineno - 1]]
        returns = ast.unparse(node.returns) if node.returns else ''
        gives = any(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(node))
        if gives and not name.endswith('__init__') and returns not in PLAIN and '#' not in head[-1]:
            yield f'{name}: does not say what it returns'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES.get)
def test_cells_are_short(path):
    for id, source, _ in exported(path):
        most = LONGEST_CLASS if re.search(r'^class ', source, re.M) else LONGEST
        assert len(source.splitlines()) <= most, (
            f'{path.name} {id}: has {len(source.splitlines())} lines'
        )


def called_by_others():
    "The names that a notebook imports from another one's module."
    for path in NOTEBOOKS:
        for _, _, source in code_cells(path):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('voc_cv'):
                    yield from (a.name for a in node.names)


CALLED = {*called_by_others()}


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES.get)
def test_public_functions_say_what_they_take_and_give(path):
    found = [
        f'{id}: {gap}' for id, source, public in exported(path) for gap in gaps(source, public)
    ]
    assert not found, f'{path.name}\n' + '\n'.join(found)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES.get)
def test_code_is_not_packed(path):
    for id, _, source in code_cells(path):
        source = '\n'.join(
            '' if line.startswith(('%', '!')) else line for line in source.splitlines()
        )
        for node in ast.walk(ast.parse(source)):
            where = f'{path.name} {id}, line {getattr(node, "lineno", "?")}'
            if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
                assert len(node.generators) == 1, f'{where}: a comprehension with two fors'
            if isinstance(node, ast.Call):
                assert not any(
                    isinstance(a, ast.NamedExpr)
                    for a in [*node.args, *(k.value for k in node.keywords)]
                ), f'{where}: a walrus inside a call'
                called = node.func.id if isinstance(node.func, ast.Name) else ''
                assert called not in ('exec', 'eval', '__import__'), f'{where}: {called}'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES.get)
def test_lines_fit_the_page(path):
    wide = [
        f'{id}: {len(line)}'
        for id, _, source in code_cells(path)
        for line in source.splitlines()
        if len(line) > 100
    ]
    assert not wide, f'{path.name}: lines of over 100 characters in {wide}'


def test_ruff():
    done = run('ruff', 'check', '--no-cache', 'nbs', 'voc_cv', 'tests', 'bench', 'setup.py')
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy():
    done = run('mypy', '--no-error-summary')
    assert done.returncode == 0, done.stdout + done.stderr
