"""The site: the notebooks with their committed outputs, the guides, and a page for each module.

    python docs/site/build.py          # needs docs/requirements.txt; writes build/site/html

Nothing is executed, imported or downloaded, and a link that leads nowhere ends it with an error."""

import argparse
import ast
import html
import pprint
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).parent))
import api  # noqa: E402
import pages  # noqa: E402

ROOT = api.ROOT
BUILD = ROOT / 'build' / 'site'
GUIDES = ('docs/*.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'SECURITY.md', 'results/README.md')


def site_files():
    "The repository's files that become pages: file -> page."
    found = {'README.md': 'index.md', 'nbs/index.ipynb': 'index.md'}
    for path in sorted(ROOT.glob('nbs/*.ipynb')):
        found.setdefault(f'nbs/{path.name}', f'nbs/{path.stem}.md')
    for pattern in GUIDES:
        for path in sorted(ROOT.glob(pattern)):
            file = path.relative_to(ROOT).as_posix()
            found[file] = file
    return found


def title_of(file):
    "The first heading of a page."
    return re.search(r'^# (.+)$', (BUILD / 'pages' / file).read_text(encoding='utf-8'), re.M)[1]


def places():
    "Names that only one module offers, modules and stages -> where they are described."
    found, taken = {}, {}
    for module in api.modules():
        for entry in api.read_module(module)[0]:
            taken[entry.name] = taken.get(entry.name, 0) + 1
            found[entry.name] = f'voc_cv.{module}.{entry.name}'
    known = {name: place for name, place in found.items() if taken[name] == 1 and len(name) > 3}
    known.pop('main', '')  # in backticks it is a branch of a repository
    known |= {f'voc_cv.{module}': f'/api/{module}' for module in api.modules()}
    stages = [path.stem for path in ROOT.glob('nbs/[0-9]*.ipynb')]
    return known | {stage: f'/nbs/{stage}' for stage in stages}


def meaning(text):
    "A comment as HTML: backticks are code."
    return re.sub(r'`([^`]+)`', r'<code>\1</code>', html.escape(text, quote=False))


def rows(parameters):
    "A table of parameters in HTML, which holds whatever characters a default has."
    heads = ''.join(f'<th>{word}</th>' for word in ('parameter', 'type', 'default', 'meaning'))
    lines = ['<div class="wide"><table class="parameters">',
             f'<thead><tr>{heads}</tr></thead><tbody>']
    for p in parameters:
        cells = [f'<code>{html.escape(t)}</code>' if t else '' for t in (p.name, p.kind, p.default)]
        cells.append(meaning(p.meaning))
        lines.append('<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
    return '\n'.join([*lines, '</tbody></table></div>'])


def signature(entry):
    "A call in words that Sphinx reads; the table has the rest."
    words = [p.name + (f'={p.default}' if p.default else '') for p in entry.parameters]
    return f'{entry.name}({", ".join(words)})'


def in_lines(value):
    "The source of a constant, in lines that fit on a page if it is made of plain values."
    if len(value) <= 96: return value
    try: return pprint.pformat(ast.literal_eval(value), width=96, compact=True, sort_dicts=False)
    except ValueError: return value


def described(entry, parent=''):
    "An entry as a directive of Sphinx."
    kind = {'function': 'py:function', 'class': 'py:class', 'value': 'py:data',
            'property': 'py:property'}[entry.what]
    if parent and entry.what == 'function': kind = 'py:method'
    head = entry.name if entry.what in ('value', 'property') else signature(entry)
    inner = [plain(entry.doc)]
    if entry.value:
        value = in_lines(entry.value)
        inner.append(pages.fence(value, '{code-block} python', ':class: lesson', ''))
    if any(p.meaning for p in entry.parameters): inner.append(rows(entry.parameters))
    type_of = '' if entry.kind in ('', 'None') else f'<code>{html.escape(entry.kind)}</code>'
    if type_of or entry.gives:
        words = ': '.join(filter(None, [type_of, meaning(entry.gives)]))
        inner.append(f'<p class="gives">Gives {words}</p>')
    inner += [described(m, entry.name) for m in entry.methods]
    if entry.cell:
        label = f'{entry.notebook}-{entry.cell}'.lower()
        inner.append(f'[Its cell in the notebook](#{label})')
    body = '\n\n'.join(filter(None, inner))
    marks = ':' * (4 if not parent else 3)
    return f'{marks}{{{kind}}} {head}\n:module: voc_cv.{entry.module}\n\n{body}\n{marks}'


def plain(text):
    "A docstring as Markdown."
    return re.sub(r'([*_<])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)', r'\\\1', text)


def api_page(module):
    "The page of a module."
    entries, outside = api.read_module(module)
    notebook = entries[0].notebook if entries else ''
    parts = [f'# voc_cv.{module}', plain(api.module_doc(module))]
    if notebook: parts.append(f'Explained and tested in [{notebook}](../nbs/{notebook}.md).')
    parts.append(f'```{{py:module}} voc_cv.{module}\n```')
    parts += [described(entry) for entry in entries]
    if outside:
        names = [f'{{py:obj}}`{name} <voc_cv.{m}.{name}>`' for name, m in outside.items()]
        parts.append(f'## From other modules\n\nAlso to be had from here: {", ".join(names)}.')
    return '\n\n'.join(parts) + '\n'


def tree(title, names, depth=1):
    "A part of the table of contents, which the page does not show."
    options = [':hidden:', f':maxdepth: {depth}', f':caption: {title}', '']
    return '\n'.join(['```{toctree}', *options, *names, '```'])


def front_page(text, found):
    "The README, with the table of contents of the whole site."
    story = [p.removesuffix('.md') for p in found.values() if re.match(r'nbs/\d', p)]
    tools = [f'nbs/{n}' for n in ('files', 'toy', 'measure', 'nets', 'run', 'photographs', 'scale')]
    others = [p.removesuffix('.md') for p in found.values() if p[:4] == 'nbs/']
    tools += [p for p in dict.fromkeys(others) if p not in (*story, *tools, 'nbs/swap_in')]
    guides = [p.removesuffix('.md') for p in found.values() if p[:4] != 'nbs/' and p != 'index.md']
    parts = [tree('The story', story), tree('Tools', tools), tree('Your own', ['nbs/swap_in']),
             tree('Guides', guides), tree('Library', ['api/index'])]
    return '\n\n'.join([text, *parts]) + '\n'


def write_pages():
    "All pages of the site as Markdown."
    target, found, known = BUILD / 'pages', site_files(), places()
    shutil.rmtree(BUILD, ignore_errors=True)
    for file, page in found.items():
        if file == 'nbs/index.ipynb': continue
        place = target / page
        if file.endswith('.ipynb'):
            pages.notebook_page(file, found, known, place)
            continue
        text = pages.prose((ROOT / file).read_text(encoding='utf-8'), file, found, known)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(front_page(text, found) if page == 'index.md' else text, encoding='utf-8')
    (target / 'api').mkdir()
    for module in api.modules():
        (target / 'api' / f'{module}.md').write_text(api_page(module), encoding='utf-8')
    lines = [f'- [voc_cv.{m}]({m}.md): {plain(api.module_doc(m))}' for m in api.modules()]
    intro = 'Every name that a module offers, each parameter and what it means.'
    whole = '\n\n'.join(['# The library', intro, '\n'.join(lines), tree('Modules', api.modules())])
    (target / 'api' / 'index.md').write_text(whole + '\n', encoding='utf-8')
    (target / 'docs').mkdir(exist_ok=True)
    for picture in [*ROOT.glob('docs/*.jpg'), *ROOT.glob('docs/*.png'), *ROOT.glob('docs/*.svg')]:
        shutil.copy(picture, target / 'docs')
    shutil.copy(Path(__file__).parent / 'conf.py', target)
    (target / '_templates').mkdir()
    shutil.copy(Path(__file__).parent / 'search.html', target / '_templates')
    (target / '_static').mkdir()
    for name in ('site.css', 'favicon.svg'):
        shutil.copy(Path(__file__).parent / name, target / '_static')


def remote_parts(folder):
    "What pages fetch from other machines: there must be nothing."
    tags = r'<(?:script|img|link|iframe|source)\b'
    fetched = re.compile(tags + r'[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    found = []
    for page in sorted(folder.rglob('*.html')):
        for target in fetched.findall(page.read_text(encoding='utf-8')):
            found.append(f'{page.relative_to(folder)}: {target}')
    for sheet in sorted(folder.rglob('*.css')):
        text = sheet.read_text(encoding='utf-8', errors='replace')
        fetches = re.findall(r'url\(["\']?((?:https?:)?//[^)"\']+)', text)
        found += [f'{sheet.name}: {target}' for target in fetches]
    return found


def dead_ends(folder):
    "The links of the finished pages into files or anchors that are not there."
    texts = {p: p.read_text(encoding='utf-8') for p in sorted(folder.rglob('*.html'))}
    ids = {p: {*re.findall(r'\bid="([^"]+)"', text)} for p, text in texts.items()}
    found = []
    for page, text in texts.items():
        for link in re.findall(r'<(?:a|img|link|script)\b[^>]*?(?:href|src)="([^"]*)"', text):
            target = html.unescape(link)
            if re.match(r'[a-z]+:', target): continue
            name, _, anchor = target.partition('#')
            place = (page.parent / unquote(name.partition('?')[0])).resolve() if name else page
            if place.is_dir(): place /= 'index.html'
            if not place.exists() or anchor and unquote(anchor) not in ids.get(place, {anchor}):
                found.append(f'{page.relative_to(folder)}: {target}')
    return found


def main():
    "Write the pages, have Sphinx make HTML of them, and look for parts that lie elsewhere."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--pages-only', action='store_true', help='write the Markdown and stop')
    given = parser.parse_args()
    write_pages()
    if given.pages_only: return
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-b', 'html',
               '-d', str(BUILD / 'doctrees'), str(BUILD / 'pages'), str(BUILD / 'html')]
    done = subprocess.run(command, check=False).returncode
    if done: sys.exit(done)
    (BUILD / 'html' / '.nojekyll').touch()
    if remote := remote_parts(BUILD / 'html'):
        sys.exit('The site would fetch from other machines:\n' + '\n'.join(remote[:20]))
    if dead := dead_ends(BUILD / 'html'):
        sys.exit('Links that lead nowhere:\n' + '\n'.join(dead[:20]))
    print(f'{len([*(BUILD / "html").rglob("*.html")])} pages in {BUILD.relative_to(ROOT)}/html')


if __name__ == '__main__': main()
