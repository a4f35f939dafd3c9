"""Notebooks and the repository's Markdown as pages of the site: outputs as they were committed,
nothing is executed."""

import base64
import html
import json
import os
import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = 'https://github.com/voc-cv/voc_cv/blob/main'
FOLD = '<details class="imports"><summary>Imports</summary>\n\n'
END = '\n\n</details>'
BLOCK = r'(?P<block>^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)[^\n]*$)'
TICKS = r'(?P<code>(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))'
TARGET = (r'(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(\s*'
          r'(?P<to>[^()\s]+(?:\([^()]*\))?)(?P<title>(?:\s+"[^"]*")?)\)')
CODE = re.compile(f'{BLOCK}|{TICKS}', re.S | re.M)
LINK = re.compile(rf'{BLOCK}|(?<!\\){TARGET}|{TICKS}', re.S | re.M)
NAMED = r'(?=<mi>[a-z]{2,}</mi>)'  # what has a name of several letters: ln, log, sin
FACTOR = r'</m(?:i|n|row|frac|sub|sup|sqrt)>|<mo[^>]*>&#x0(?:0029|2202);</mo>'  # ... ), the round d
MATH = re.compile(r'\$\$(.+?)\$\$|(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<![\s\\])\$(?![\d\w])', re.S)


def outside_code(text, change):
    "The text with what is neither a fence nor in backticks changed."
    parts, last = [], 0
    for found in CODE.finditer(text):
        parts += [change(text[last:found.start()]), found[0]]
        last = found.end()
    return ''.join([*parts, change(text[last:])])


def each_link(text, change):
    "The text with `change(text, target, title)` in the place of each link; code stays as it is."
    def found(one):
        if not one['to']: return one[0]
        inner = each_link(one['text'][1:-1], change) if one['text'].startswith('[!') else ''
        return change(f'[{inner}]' if inner else one['text'], one['to'], one['title'])
    return LINK.sub(found, text)


def links(text):
    "The targets of all links and pictures of a Markdown text."
    found: list = []
    def note(text, target, title):
        found.append(target)
        return ''
    rest = each_link(text, note)
    outside_code(rest, lambda part: found.extend(
        re.findall(r'<(?:img|a)\b[^>]*?(?:src|href)="([^"]+)"', part)) or '')
    return found


def is_remote(target):
    return bool(re.match(r'[a-z]+:', target)) and not target.startswith('attachment:')


def dead_links(text, file, attachments=()):
    "The relative links of a text in a file of the repository that lead nowhere."
    dead = []
    for target in links(text):
        if is_remote(target): continue
        name, _, anchor = target.partition('#')
        if name.startswith('attachment:'):
            if name.removeprefix('attachment:') not in attachments: dead.append(target)
        elif name:
            place = (ROOT / file).parent / name
            if not place.resolve().is_relative_to(ROOT) or not place.exists(): dead.append(target)
        elif anchor not in anchors(text): dead.append(target)
    return dead


def anchors(text):
    "The anchors that GitHub makes of a text's headings, and those that it sets itself."
    found = {*re.findall(r'<a\s+(?:id|name)="([^"]+)"', text)}
    for title in re.findall(r'^#+\s+(.+?)\s*$', text, re.M):
        found.add(re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-'))
    return found


def spaced(text):
    "MathML with the thin space around ln, log and their like that TeX sets, and MathML does not."
    thin = '<mspace width="0.167em"/>'
    text = re.sub(f'({FACTOR}){NAMED}', rf'\1{thin}', text)
    return re.sub(r'(<mi>[a-z]{2,}</mi>)(?=<m(?!o\b))', rf'\1{thin}', text)


def as_mathml(found):
    "A formula of TeX as MathML, which browsers show by themselves."
    from latex2mathml.converter import convert
    block = found[1] is not None
    text = spaced(convert(found[1] or found[2], display='block' if block else 'inline'))
    for mark in '*_`$[]': text = text.replace(mark, f'&#{ord(mark)};')
    return f'\n\n<div class="formula">{text}</div>\n\n' if block else text


def moved_link(file, pages):
    "Of a link in a repository's file the link that the site needs."
    def move(text, target, title):
        whole = f'{text}({target}{title})'
        if is_remote(target) or target.startswith(('#', 'attachment:')): return whole
        name, sharp, anchor = target.partition('#')
        place = posixpath.normpath(posixpath.join(posixpath.dirname(file), name))
        if place in pages:
            there = os.path.relpath(pages[place], posixpath.dirname(pages[file]) or '.')
            return f'{text}({there.replace(os.sep, "/")}{sharp}{anchor}{title})'
        if text.startswith('!'): return whole
        return f'{text}({SOURCE}/{place}{sharp}{anchor}{title})'
    return move


def badge_free(text):
    "The text without pictures that lie on other machines."
    text = re.sub(r'\[!\[[^\]]*\]\(https?://[^)]*\)\]\([^)]*\)[ \t]*', '', text)
    return re.sub(r'!\[[^\]]*\]\(https?://[^)]*\)[ \t]*', '', text)


def named(text, known):
    "The text with names of ours in backticks led to where they are described."
    def lead(found):
        place = known.get(found[1], '')
        kind = 'doc' if place.startswith('/') else 'py:obj'
        return f'{{{kind}}}`{found[1]} <{place}>`' if place else found[0]
    return re.sub(r'(?<![`\[}])`([A-Za-z0-9][\w.]+)`(?![`\]])', lead, text)


def prose(text, file, pages, known=None):
    "A Markdown text of the repository as the site takes it."
    move = moved_link(file, pages)
    if file.endswith('.ipynb'): text = outside_code(text, lambda part: MATH.sub(as_mathml, part))
    text = badge_free(text)
    text = each_link(text, move)
    return outside_fences(text, lambda part: named(part, known)) if known else text


def outside_fences(text, change):
    "The text with all but fences changed."
    parts = re.split(r'(^```.*?^```[^\n]*$)', text, flags=re.S | re.M)
    return ''.join(part if i % 2 else change(part) for i, part in enumerate(parts))


def fence(text, language, *options):
    "A block of code, with as many marks as it needs."
    marks = '`' * max(3, 1 + max(map(len, re.findall(r'`+', text)), default=0))
    return '\n'.join([f'{marks}{language}', *options, text.rstrip('\n'), marks])


def joined(lines):
    return lines if isinstance(lines, str) else ''.join(lines)


def grouped(text):
    "A table with its groups of columns marked, where the first line of its head names some."
    first = re.search(r'<thead>\s*<tr[^>]*>(.*?)</tr>', text, re.S)
    heads = re.findall(r'<th\b([^>]*)>', first[1]) if first else []
    if not any('halign' in head for head in heads): return text
    spans = [re.search(r'colspan="(\d+)"', head) for head in heads]
    columns = [f'<colgroup span="{span[1] if span else 1}"></colgroup>' for span in spans]
    return text.replace('<thead>', ''.join(columns) + '\n<thead>', 1)


def table(text):
    "A table of pandas without its own look; a styled one keeps its colours."
    text = re.sub(r'<style scoped>.*?</style>', '', text, flags=re.S)
    text = text.replace(' border="1"', '')
    text = re.sub(r'<tr>\s*(?:<th></th>\s*)+</tr>', '', text)  # a row of names that are empty
    text = re.sub(r'\n\s*\n', '\n', text)
    return f'<div class="output wide">\n{grouped(text).strip()}\n</div>'


def picture(data, kind, name, folder):
    "A figure as a file; the HTML that shows it."
    suffix = {'image/svg+xml': 'svg', 'image/jpeg': 'jpg', 'image/png': 'png'}[kind]
    body = joined(data)
    raw = body.encode() if suffix == 'svg' else base64.b64decode(body)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{name}.{suffix}').write_bytes(raw)
    return f'{name}.{suffix}'


def shown(text):
    "Markdown that a cell displays, in a box; its headings are none of the page, nor in its menu."
    parts = re.split(r'(^```.*?^```$)', text, flags=re.M | re.S)
    for i in range(0, len(parts), 2):  # between them: code, where # begins a comment
        parts[i] = re.sub(r'^#+ (.+)$', r':::{rubric} \1\n:::', parts[i], flags=re.M)
    return '::::{container} shown\n' + ''.join(parts) + '\n::::'


def aligned(text):
    "Whether a text is a table that fits on a page, whose lines must not be broken."
    lines = text.strip('\n').split('\n')
    gaps = sum(bool(re.search(r'\S {2,}\S', line)) for line in lines)
    return len(lines) > 1 and 2 * gaps >= len(lines) and max(map(len, lines)) <= 100


def worded(text):
    "A text that a cell gives; its lines are broken where they are longer than the page is wide."
    look = ':class: output aligned' if aligned(text) else ':class: output'
    return fence(text, '{code-block} none', look)


def output(one, name, folder, base):
    "An output of a cell as Markdown; its pictures go to a folder, `base` beside the page."
    if one['output_type'] == 'stream': return worded(joined(one['text']))
    if one['output_type'] == 'error': raise ValueError(f'{name}: the notebook holds an error')
    data = one['data']
    for kind in ('image/svg+xml', 'image/jpeg', 'image/png'):
        if kind in data:
            file = picture(data[kind], kind, name, folder)
            return f'![Figure of the cell {name}]({base}/{file})'
    if 'text/html' in data: return table(joined(data['text/html']))
    if 'text/markdown' in data: return shown(joined(data['text/markdown']))
    return worded(joined(data.get('text/plain', '')))


def code(cell, anchor):
    "A code cell without its directives; imports are folded away."
    source = joined(cell['source'])
    public = bool(re.match(r'#\|\s*export', source))
    text = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
    if not text or re.search(r'^#\|\s*(hide|default_exp)', source, re.M): return ''
    look = ':class: exported' if public else ':class: lesson'
    block = f'({anchor})=\n' + fence(text, '{code-block} python', look, '')
    if not cell['id'].endswith('imports') or cell['id'].startswith('elsewhere'): return block
    return f'{FOLD}{block}{END}'


def folded(parts):
    "The parts of a page with imports that follow each other folded into one."
    found: list = []
    for part in parts:
        if found and part.startswith(FOLD) and found[-1].endswith(END):
            found[-1] = found[-1].removesuffix(END) + '\n\n' + part.removeprefix(FOLD)
        else: found.append(part)
    return found


def attached(cell, text, folder, base):
    "The text with its attachments written as files."
    for name, data in cell.get('attachments', {}).items():
        kind, body = next(iter(data.items()))
        file = picture(body, kind, Path(name).stem, folder)
        text = text.replace(f'attachment:{name}', f'{base}/{file}')
    return text


def with_source(text, file):
    "The text with a line under its title that says which notebook this is."
    title, _, rest = text.partition('\n')
    note = (f'<p class="source">This page is the notebook <a href="{SOURCE}/{file}">'
            f'{html.escape(file)}</a> with the outputs that are committed in it.</p>')
    return f'{title}\n\n{note}\n{rest}'


def notebook_page(file, pages, known, target):
    "A notebook as a Markdown file of the site; its pictures go into a folder beside it."
    cells = json.loads((ROOT / file).read_text(encoding='utf-8'))['cells']
    stem = Path(file).stem
    base = f'{stem}-pictures'
    folder, parts, titled = target.parent / base, [], False
    for cell in cells:
        if cell['cell_type'] == 'markdown':
            text = attached(cell, joined(cell['source']), folder, base)
            text = prose(text, file, pages, known)
            parts.append(text if titled else with_source(text, file))
            titled = True
        elif cell['cell_type'] == 'code':
            parts.append(code(cell, f'{stem}-{cell["id"]}'.lower()))
            many = [o for o in cell['outputs'] if o.get('name') != 'stderr']
            for i, one in enumerate(many):
                parts.append(output(one, cell['id'] + (f'-{i}' if i else ''), folder, base))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text('\n\n'.join(folded(filter(None, parts))) + '\n', encoding='utf-8')
