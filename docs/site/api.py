"""What the modules offer, read from their source: names, signatures, what each parameter means.

Nothing is imported, so no framework is loaded. The meaning of a parameter is the comment on its
line (fastcore's docments), and that of a result the comment on the line of the arrow."""

import ast
import io
import re
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDER = ('data', 'augment', 'classify', 'segment', 'postprocess', 'attack', 'submit', 'files',
         'toy', 'measure', 'nets', 'run', 'photographs', 'scale')


def modules():
    "The names of our modules: the story, the tools, and what is new."
    found = {path.stem for path in (ROOT / 'voc_cv').glob('[a-z]*.py')}
    return [*(m for m in ORDER if m in found), *sorted(found - {*ORDER})]


@dataclass
class Parameter:
    "A parameter of a function, a field of a class."
    name: str
    kind: str = ''  # its annotation
    default: str = ''
    meaning: str = ''


@dataclass
class Entry:
    "A name that a module offers."
    name: str
    module: str  # 'data', ...
    what: str  # 'function', 'class', 'value' or, of a class, 'property'
    doc: str = ''
    parameters: list = field(default_factory=list)
    kind: str = ''  # the annotation of what it returns
    gives: str = ''  # what that is
    methods: list = field(default_factory=list)  # Entry
    value: str = ''  # of a constant
    cell: str = ''  # id of the cell that it stands in
    notebook: str = ''  # '00_data', ...


def comments(source):
    "Of each line its comment, without the mark."
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip('# ') for t in tokens if t.type == tokenize.COMMENT}


def cells(source):
    "(first line, notebook, cell id) of each cell of a module, in order."
    mark = re.compile(r'^# %% (?:\.\./nbs/)?(\S+)\.ipynb #(\S+)', re.M)
    return [(source[:m.start()].count('\n') + 1, m[1], m[2]) for m in mark.finditer(source)]


def offered(tree):
    "The names in `__all__`."
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == '__all__' for t in targets):
            return ast.literal_eval(node.value)
    return []


def parameters(function, notes):
    "The parameters of a function but for `self`."
    a = function.args
    plain = [*a.posonlyargs, *a.args]
    known = [*[None] * (len(plain) - len(a.defaults)), *a.defaults]
    pairs = [(arg, '', default) for arg, default in zip(plain, known, strict=True)]
    if a.vararg: pairs.append((a.vararg, '*', None))
    pairs += [(arg, '', default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    if a.kwarg: pairs.append((a.kwarg, '**', None))
    found = []
    for arg, stars, default in pairs:
        if arg.arg in ('self', 'cls'): continue
        last = default.end_lineno if default is not None else arg.end_lineno
        kind = ast.unparse(arg.annotation) if arg.annotation else ''
        given = ast.unparse(default) if default is not None else ''
        found.append(Parameter(stars + arg.arg, kind, given, notes.get(last, '')))
    return found


def fields(node, notes):
    "The annotated fields of a class, such as a dataclass has."
    found = []
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            given = ast.unparse(part.value) if part.value else ''
            kind = ast.unparse(part.annotation)
            found.append(Parameter(part.target.id, kind, given, notes.get(part.end_lineno, '')))
    return found


def function_entry(node, module, notes):
    "What a function says of itself."
    head = node.body[0].lineno - 1  # the last line above its body
    inputs = {arg.end_lineno for arg in ast.walk(node.args) if hasattr(arg, 'end_lineno')}
    gives = notes.get(head, '') if head not in inputs or node.lineno == head else ''
    kind = ast.unparse(node.returns) if node.returns else ''
    doc = ast.get_docstring(node) or ''
    made = [part.attr if isinstance(part, ast.Attribute) else getattr(part, 'id', '')
            for part in node.decorator_list]
    what = 'property' if {*made} & {'property', 'cached_property'} else 'function'
    return Entry(node.name, module, what, doc, parameters(node, notes), kind, gives)


def class_entry(node, module, notes):
    "What a class says of itself, of its making and of its public methods."
    entry = Entry(node.name, module, 'class', ast.get_docstring(node) or '')
    entry.parameters = fields(node, notes)
    for part in node.body:
        if not isinstance(part, ast.FunctionDef): continue
        if part.name == '__init__': entry.parameters = parameters(part, notes)
        elif not part.name.startswith('_') and ast.get_docstring(part):
            entry.methods.append(function_entry(part, module, notes))
    return entry


def value_entry(node, module, notes):
    "A constant."
    value = ast.unparse(node.value)
    return Entry(node.targets[0].id, module, 'value', notes.get(node.end_lineno, ''), value=value)


def homes(tree):
    "The names that a module has from another one of ours: name -> that module."
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or '')[:6] == 'voc_cv'):
            module = (node.module or '').removeprefix('voc_cv.')
            found |= {a.asname or a.name: module for a in node.names}
    return found


def read_module(module):
    "A module's entries as in its notebook, and the names from others: name -> module."
    source = (ROOT / 'voc_cv' / f'{module}.py').read_text(encoding='utf-8')
    tree, notes, places = ast.parse(source), comments(source), cells(source)
    wanted, entries, outside = offered(tree), [], {}
    makers = {ast.FunctionDef: function_entry, ast.ClassDef: class_entry, ast.Assign: value_entry}
    for node in tree.body:
        plain = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        name = node.targets[0].id if plain else getattr(node, 'name', '')
        if name not in wanted: continue
        entry = makers[type(node)](node, module, notes)
        entry.notebook, entry.cell = [place[1:] for place in places if place[0] <= node.lineno][-1]
        entries.append(entry)
    home, there = homes(tree), {e.name for e in entries}
    outside = {name: home[name] for name in wanted if name not in there}
    return entries, outside


def module_doc(module):
    "What a module says of itself."
    source = (ROOT / 'voc_cv' / f'{module}.py').read_text(encoding='utf-8')
    return ast.get_docstring(ast.parse(source)) or ''
