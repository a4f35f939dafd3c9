"""The form of the notebooks: what DESIGN asks of a cell and of a public function, so that a gap
fails here and not at a reader."""

import ast
import json
import re
import shutil
import sys

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
def test_exported_cells_are_short(path):
    "Else a student meets a page of code where one thought was promised."
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
    "Else whoever calls a function has to guess shapes and ranges."
    found = [
        f'{id}: {gap}' for id, source, public in exported(path) for gap in gaps(source, public)
    ]
    assert not found, f'{path.name}\n' + '\n'.join(found)


@pytest.mark.parametrize('path', NOTEBOOKS, ids=NAMES.get)
def test_code_is_not_packed(path):
    "Else a line has to be read three times to be understood."
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
    "Else a lesson has to be scrolled sideways to be read."
    wide = [
        f'{id}: {len(line)}'
        for id, _, source in code_cells(path)
        for line in source.splitlines()
        if len(line) > 100
    ]
    assert not wide, f'{path.name}: lines of over 100 characters in {wide}'


def test_ruff_finds_no_trap():
    "Else traps and dead names stand in what newcomers learn from."
    done = run('ruff', 'check', '--no-cache', 'nbs', 'voc_cv', 'tests', 'bench', 'setup.py')
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_finds_no_wrong_type():
    "Else an editor shows types that are not so, and mistakes reach the user."
    done = run('mypy', '--no-error-summary')
    assert done.returncode == 0, done.stdout + done.stderr


TESTS = sorted(ROOT.glob('tests/test_*.py'))


@pytest.mark.parametrize('path', TESTS, ids=lambda p: p.stem)
def test_a_test_is_named_by_its_promise_and_says_what_a_user_would_lose(path):
    "Else whoever sees a test fail has to find out why anybody should care."
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith('test'):
            where = f'{path.name}, line {node.lineno}: {node.name}'
            assert len(node.name.split('_')) > 2, f'{where}: a promise has a verb'
            first = (ast.get_docstring(node) or '').partition('\n\n')[0]
            assert re.fullmatch(r'Else \S.{15,}\.', first, re.S), f'{where}: "Else ..." is missing'


def test_a_failed_test_says_what_a_user_would_lose(tmp_path, monkeypatch):
    "Else a failure is a line of code and a value, and nobody knows whom it hurts."
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)  # the inner run is nobody's worker
    shutil.copy(ROOT / 'tests/conftest.py', tmp_path)
    doc = '"""Else nobody\n    can count.\n\n    Why."""'
    bad = f'def test_one_is_two():\n    {doc}\n    assert 1 == 2\n'
    (tmp_path / 'test_bad.py').write_text(bad + bad.replace('two', 'one').replace('2', '1'))
    plain = {'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1'}
    done = run(sys.executable, '-m', 'pytest', '-q', cwd=tmp_path, **plain)
    assert done.stdout.count('What a user would lose') == 1, done.stdout
    assert 'As it is now, nobody can count.\n' in done.stdout
    assert done.stdout.splitlines()[-1] == '1 passed, 1 failed'
