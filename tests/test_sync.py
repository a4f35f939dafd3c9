"The modules and the README are what the notebooks make of them, and the notebooks are clean."

import ast
import json
import re
import shutil

import pytest
from conftest import ROOT, run

NOTEBOOKS = sorted(ROOT.glob('nbs/*.ipynb'))


MADE = ['nbs/*.ipynb', 'voc_cv/*.py', 'README.md', 'docs/*.jpg']  # by `make export`


def contents(root):
    "Of each of these files its bytes."
    return {
        str(path.relative_to(root)): path.read_bytes()
        for pattern in MADE
        for path in root.glob(pattern)
    }


def test_modules_and_readme_are_what_the_notebooks_make(tmp_path):
    "Else what one installs is not what the notebooks show."
    copy = tmp_path / 'copy'  # other tests read the modules while this one makes them
    left_out = ('.*', 'runs', 'bench', 'results', '*.egg-info', '__pycache__')
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left_out))
    venv = ROOT / '.venv'  # is ready: it must not be made anew, which would install the copy
    done = run('make', 'export', f'VENV={venv}', '-o', venv / 'ready', cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = contents(ROOT), contents(copy)
    assert sorted(before) == sorted(after), 'make export makes other files than there are'
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f'make export changes {changed}; run it and commit what it makes'


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_small_clean_and_of_no_machine(path):
    "Else a notebook takes a minute to open, or shows an error or somebody's folders."
    text = path.read_text()
    cells = json.loads(text)['cells']
    if path.stem[0].isdigit():
        assert sum('parameters' in c['metadata'].get('tags', []) for c in cells) == 1
    assert len(text.encode()) <= 600 * 1024, "outputs should be small"
    assert not re.search(r'/(work|root|home/\w+|tmp)/', text), 'holds a path of somebody\'s machine'
    assert not any(o['output_type'] == 'error' for c in cells for o in c.get('outputs', []))
    exported = [
        c['source']
        for c in cells
        if c['cell_type'] == 'code' and ''.join(c['source']).startswith('#| export')
    ]
    assert all(len(''.join(s).splitlines()) <= 75 for s in exported), 'exported cells are short'


@pytest.mark.parametrize(
    'path', [p for p in NOTEBOOKS if p.stem[0].isdigit()], ids=lambda p: p.stem
)
def test_no_function_takes_a_parameter_s_name(path):
    "Else a run computes with a function where a parameter was given."
    cells = [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == 'code']
    given = {
        n
        for c in cells
        if 'parameters' in c['metadata'].get('tags', [])
        for n in re.findall(r'^(\w+) =', ''.join(c['source']), re.M)
    }
    made = {
        n
        for c in cells
        for n in re.findall(r'^(?:def|class) (\w+)\b(?!\(self)', ''.join(c['source']), re.M)
    }
    assert given and not given & made, 'the function would take the place of what the run was given'


def bound(source):
    "The names that a cell binds at its top level, also in loops and `with`."
    outer = ast.parse(source)
    inner = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp)
    names, todo = set(), [outer]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            if not isinstance(node, (*inner, ast.GeneratorExp)):
                todo.append(node)
    return names


@pytest.mark.parametrize(
    'path', [p for p in NOTEBOOKS if p.stem[0].isdigit()], ids=lambda p: p.stem
)
def test_no_cell_takes_a_parameter_for_itself(path):
    """Else a run computes with what a lesson left where a parameter was given.

    Else Run, in a notebook that is run from top to bottom, would get what a lesson left."""
    found = json.loads(path.read_text())['cells']
    cells = {c['id']: ''.join(c['source']) for c in found if c['cell_type'] == 'code'}
    parameters = bound(cells.pop('parameters'))
    assert parameters & {'out', 'results'}
    taken = {id: bound(source) & parameters for id, source in cells.items()}
    assert not {id: names for id, names in taken.items() if names}
