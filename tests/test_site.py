"""The site: no name without an entry, no parameter without a meaning, no link into nothing. All of
it is built by the workflow site.yml and by `make site`, whose Sphinx tests do not need."""

import importlib
import inspect
import json
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / 'docs' / 'site'))
api = importlib.import_module('api')
pages = importlib.import_module('pages')
build = importlib.import_module('build')

LIGHT = ('data', 'augment', 'measure', 'files', 'postprocess', 'submit')  # load no framework
TEXTS = sorted(
    p.relative_to(ROOT).as_posix()
    for pattern in ('*.md', 'docs/*.md', 'results/*.md', '.github/**/*.md')
    for p in ROOT.glob(pattern)
)
NOTEBOOKS = sorted(f'nbs/{p.name}' for p in ROOT.glob('nbs/*.ipynb'))


def gaps(entry):
    "What an entry does not say of itself."
    if entry.what == 'value': return
    if not entry.doc: yield f'{entry.name}: has no docstring'
    for p in entry.parameters:
        if not p.meaning: yield f'{entry.name}: does not say what {p.name} is'
    for method in entry.methods:
        if not method.doc: yield f'{entry.name}.{method.name}: has no docstring'


@pytest.mark.parametrize('module', api.modules())
def test_every_name_is_described_with_every_parameter(module):
    "Else the API's page of a function lacks it, or says nothing of a parameter."
    entries, outside = api.read_module(module)
    text = (ROOT / 'voc_cv' / f'{module}.py').read_text(encoding='utf-8')
    offered = api.offered(api.ast.parse(text))
    assert offered and sorted(offered) == sorted([*(e.name for e in entries), *outside])
    assert not [gap for entry in entries for gap in gaps(entry)]
    for name, home in outside.items():
        assert name in {e.name for e in api.read_module(home)[0]}, f'{name} is nowhere described'
    page = build.api_page(module)
    for entry in entries:
        assert f'}} {entry.name}' in page, f'{entry.name} is missing on the page'


@pytest.mark.parametrize('module', LIGHT)
def test_the_entries_are_those_of_the_modules(module):
    """Else the API's page describes other parameters than the function has.

    Read from the source they must be what Python and fastcore read from the module."""
    from fastcore.docments import docments

    loaded = importlib.import_module(f'voc_cv.{module}')
    entries, outside = api.read_module(module)
    assert {*loaded.__all__} == {*(e.name for e in entries), *outside}
    for entry in entries:
        if entry.what != 'function': continue
        function = getattr(loaded, entry.name)
        names = [p.name.lstrip('*') for p in entry.parameters]
        assert names == list(inspect.signature(function).parameters)
        told = docments(function, returns=False)
        for p in entry.parameters:
            if p.name[0] == '*': continue
            assert ' '.join((told[p.name] or '').split()) == ' '.join(p.meaning.split()), entry.name


@pytest.mark.parametrize('file', TEXTS)
def test_links_of_a_text_lead_somewhere(file):
    "Else a reader clicks into nothing."
    dead = pages.dead_links((ROOT / file).read_text(encoding='utf-8'), file)
    assert not dead, f'{file} links to {dead}, which is not there'


@pytest.mark.parametrize('file', NOTEBOOKS)
def test_links_of_a_notebook_lead_somewhere(file):
    "Else a reader clicks into nothing."
    cells = json.loads((ROOT / file).read_text(encoding='utf-8'))['cells']
    prose = [cell for cell in cells if cell['cell_type'] == 'markdown']
    attachments = {name: it for cell in prose for name, it in cell.get('attachments', {}).items()}
    text = '\n\n'.join(''.join(cell['source']) for cell in prose)  # a link may lead to another cell
    there = 'README.md' if file.endswith('index.ipynb') else file  # it becomes the README
    dead = pages.dead_links(text, there, attachments)
    assert not dead, f'{file} links to {dead}, which is not there'


def test_dead_links_are_found():
    "Else the check of links passes whatever they lead to."
    text = '''# A title
[good](README.md) [bad](REDAME.md) ![bad](docs/nothing.jpg) `[code](nowhere.md)` [far](https://a.b/c)
<img src="docs/none.png"> [here](#a-title) [there](#another) [out](../../etc/passwd)

```sh
[fence](nowhere.md)
```
'''
    wanted = ['REDAME.md', 'docs/nothing.jpg', '#another', '../../etc/passwd', 'docs/none.png']
    assert sorted(pages.dead_links(text, 'CONTRIBUTING.md')) == sorted(wanted)


def test_links_are_led_to_pages_of_the_site_or_to_the_source():
    "Else links that work in the repository are dead on the site."
    found = {'README.md': 'index.md', 'nbs/a.ipynb': 'nbs/a.md', 'docs/b.md': 'docs/b.md'}
    text = '[n](nbs/a.ipynb#x) [d](docs/b.md) [t](tests/conftest.py) [w](https://a.b) '
    text += '`[c](nbs/a.ipynb)` [`c`](docs/b.md)'
    wanted = (
        f'[n](nbs/a.md#x) [d](docs/b.md) [t]({pages.SOURCE}/tests/conftest.py) [w](https://a.b) '
        '`[c](nbs/a.ipynb)` [`c`](docs/b.md)'
    )
    assert pages.prose(text, 'README.md', found) == wanted
    assert pages.prose('[r](../README.md)', 'docs/b.md', found) == '[r](../index.md)'
    badge = '[![tests](https://a.b/badge.svg)](https://a.b) Text'
    assert pages.prose(badge, 'README.md', found) == 'Text'


def test_a_code_cell_has_no_directives_and_imports_are_folded():
    "Else a reader of the site meets nbdev's own words and pages of imports."
    cell = {'id': 'f', 'source': ['#| export\n', 'def f(x): return x  # `y`\n']}
    text = pages.code(cell, 'a-f')
    assert '#|' not in text and ':class: exported' in text and 'def f(x): return x  # `y`' in text
    assert pages.code({'id': 'e', 'source': '#| default_exp a'}, 'a-e') == ''
    assert pages.code({'id': 'imports', 'source': 'import os'}, 'a-i').startswith('<details')
    folds = [pages.code({'id': f'{i}-imports', 'source': f'import m{i}'}, f'a-{i}') for i in '12']
    one, text, three = pages.folded([*folds, 'Text', folds[0]])
    assert text == 'Text' and three == folds[0]
    assert one.count('<details') == one.count('</details>') == 1 == one.count('(a-2)=')
    assert one.index('import m1') < one.index('import m2')


def test_a_property_is_not_shown_as_a_call():
    "Else a reader of the API writes `data.labels()` and is told that a table cannot be called."
    page = build.api_page('data')
    assert '{py:property} stats\n' in page and '{py:property} labels\n' in page
    assert '{py:method} split(' in page and 'labels()' not in page


def test_a_long_constant_is_shown_in_lines():
    "Else a reader of the API sees the first eight of VOC's twenty classes."
    entry = next(e for e in api.read_module('data')[0] if e.name == 'VOC_CLASSES')
    shown = build.in_lines(entry.value)
    assert api.ast.literal_eval(shown) == api.ast.literal_eval(entry.value)
    assert len(entry.value) > 100 >= max(map(len, shown.split('\n')))
    made = ' + '.join(['f(x)'] * 50)  # by calls, of which nothing is known here
    assert build.in_lines('255') == '255' and build.in_lines(made) == made


def test_a_branch_is_not_led_to_a_function_of_its_name():
    "Else `main`, said of a repository, leads to the command line."
    assert 'main' in api.offered(api.ast.parse((ROOT / 'voc_cv/run.py').read_text()))
    assert 'main' not in build.places()


def test_groups_of_columns_are_marked_and_empty_rows_of_a_head_are_left_out():
    "Else a reader sees which columns belong together only by counting."
    head = '<tr><th></th><th colspan="2" halign="left">a</th><th halign="left">b</th></tr>'
    empty = '<tr>\n <th></th>\n <th></th>\n</tr>'
    shown = pages.table(f'<table><thead>{head}{empty}</thead></table>')
    spans = ''.join(f'<colgroup span="{n}"></colgroup>' for n in (1, 2, 1))
    assert f'<table>{spans}\n<thead>{head}</thead>' in shown
    plain = '<table><thead><tr><th></th><th>a</th></tr></thead></table>'
    assert plain in pages.table(plain)


def test_lines_of_a_message_are_broken_and_those_of_a_table_are_not():
    "Else the end of an error message, which says what to do, lies beyond the edge of the page."
    rows = 'head      0.7426   0.7184\ndecoder   0.7938   0.6399'
    assert ':class: output aligned\n' in pages.worded(rows)
    long = 'labels: expected True and False, got -1; ' * 4
    assert ':class: output\n' in pages.worded(long)
    assert ':class: output\n' in pages.worded(f"'1 2'  expected\n'3'  {long}")


def test_functions_in_formulas_stand_apart():
    "Else n ln n reads as the word nlnn."
    n, ln, thin = '<mi>n</mi>', '<mi>ln</mi>', '<mspace width="0.167em"/>'
    assert pages.spaced(n + ln + n) == n + thin + ln + thin + n
    bracket = '<mo stretchy="false">&#x00028;</mo>'
    assert pages.spaced(f'<mo>+</mo>{ln}{bracket}') == f'<mo>+</mo>{ln}{bracket}'
    assert pages.spaced(f'<mo>&#x02202;</mo>{ln}{n}') == f'<mo>&#x02202;</mo>{thin}{ln}{thin}{n}'
    assert pages.spaced(n + n) == n + n


def test_headings_that_a_cell_displays_are_no_headings_of_the_page():
    "Else a model card that a lesson shows stands in the site's menu as a page of its own."
    card = '# decoder\n\n## Scores\n\n```python\n# how to load it\n```\n\n# end'
    shown = pages.shown(card)
    assert [line for line in shown.split('\n') if line[:1] == '#'] == ['# how to load it']
    assert all(f'{{rubric}} {title}\n' in shown for title in ('decoder', 'Scores', 'end'))


@pytest.mark.parametrize('file', [f for f in NOTEBOOKS if not f.endswith('index.ipynb')])
def test_a_page_shows_every_output(file, tmp_path, monkeypatch):
    "Else figures and values that a lesson speaks of are missing on the site."
    monkeypatch.setattr(pages, 'as_mathml', lambda found: '')  # not installed here
    target = tmp_path / 'page.md'
    pages.notebook_page(file, build.site_files(), {}, target)
    cells = json.loads((ROOT / file).read_text(encoding='utf-8'))['cells']
    outputs = [o for c in cells for o in c.get('outputs', []) if o.get('name') != 'stderr']
    kinds = ('image/svg+xml', 'image/jpeg', 'image/png')
    figures = sum(any(k in o.get('data', {}) for k in kinds) for o in outputs)
    attached = sum(len(c.get('attachments', {})) for c in cells)
    assert len([*tmp_path.rglob('*-pictures/*')]) == figures + attached
    text = target.read_text(encoding='utf-8')
    assert text.count('Figure of the cell') == figures
    shown = text.count(':class: output') + text.count('class="output wide"')
    words = sum('text/markdown' in o.get('data', {}) for o in outputs)  # which are shown as text
    assert shown == len(outputs) - figures - words
    assert not pages.re.search(r'^#\|', text, pages.re.M)


def test_dead_ends_and_remote_parts_of_the_finished_site_are_found(tmp_path):
    "Else the site is published with dead links, or asks strangers' servers."
    text = '<h1 id="a">A</h1><a href="#a"></a><a href="b.html#b"></a><a href="sub/"></a>'
    bad = '<a href="#c"></a><a href="c.html"></a><a href="b.html#c"></a>'
    far = '<script src="https://a.b/c.js"></script><img src="//a.b/c.png"><a href="https://a.b"></a>'
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'index.html').write_text('')
    (tmp_path / 'b.html').write_text('<p id="b">')
    (tmp_path / 'a.html').write_text(text)
    assert build.dead_ends(tmp_path) == build.remote_parts(tmp_path) == []
    (tmp_path / 'a.html').write_text(text + bad)
    assert build.dead_ends(tmp_path) == ['a.html: #c', 'a.html: c.html', 'a.html: b.html#c']
    (tmp_path / 'a.html').write_text(far)
    assert build.remote_parts(tmp_path) == ['a.html: https://a.b/c.js', 'a.html: //a.b/c.png']
