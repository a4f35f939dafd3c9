"""The report in a browser: what a person sees, clicks and hears, at two widths, light and dark.
The page is made of a small run folder that is written here; no stage is run."""

import json
import os
import shutil

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from voc_cv.data import VOC_CLASSES, mask_image, open_voc, write_labels
from voc_cv.files import add_scores
from voc_cv.measure import foreground_dice
from voc_cv.report import best_median_worst, looked_at, read_left, write_report

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
in_browser = pytest.mark.skipif(
    CHROMIUM is None, reason='chromium is not installed (Debian: apt-get install chromium)'
)
DATA = {'root': '', 'split': 'val', 'limit': 9, 'seed': 0}
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 100"><path d="M0 0 300 99"/></svg>'


def write_notebook(out, stage, defaults):
    "An executed stage whose section Run printed something and drew something."
    shown = [
        new_output('stream', text=f'{stage} said so\n'),
        new_output('display_data', {'image/svg+xml': SVG}),
    ]
    lines = '\n'.join(f'{name} = {value!r}' for name, value in defaults.items())
    cells = [
        new_code_cell(lines, id='parameters', metadata={'tags': ['parameters']}),
        new_markdown_cell('## Run\n\nWhat *it* does.', id='run-why'),
        new_code_cell('pass', id='run-curves', outputs=shown),
    ]
    nbformat.write(new_notebook(cells=cells), out / f'{stage}.ipynb')


def write_labels_stage(out, data):
    "Probabilities and labels that are right about the first half of the images."
    truth = data.labels
    p = truth * 0.8 + 0.1
    p.iloc[len(p) // 2 :] = 0.3
    (out / 'classify').mkdir(parents=True)
    for name in ('head', 'probabilities'):
        p.rename_axis('Id').to_csv(out / 'classify' / f'{name}_val.csv')
    write_labels(out / 'classify/labels_val.csv', data.ids, (p > 0.5).to_numpy())
    lines = {
        'head': {'mAP': 0.743, 'mAP 95 %': '0.709 to 0.782', 'micro F1': 0.7, 'threshold': 0.5},
        'vit <b>': {'mAP': 0.134, 'mAP 95 %': '0.100 to 0.173', 'micro F1': 0.3},
        'class frequencies': {'mAP': 0.082, 'micro F1': 0.328},
    }
    add_scores(out, '02_classify', lines)


def write_masks(folder, data, shares):
    "Of each mask a share of the rows; the rest is background."
    folder.mkdir(parents=True)
    for id, share in zip(data.ids, shares, strict=True):
        mask = data.read_mask(id).copy()
        mask[round(share * len(mask)) :] = 0
        mask_image(mask).save(folder / f'{id}.png')


def write_masks_stages(out, data):
    "Masks, their training, and their correction, which is better for one image, worse for another."
    shares = np.linspace(0.4, 1, len(data))
    write_masks(out / 'segment/decoder/val', data, shares)
    corrected = shares.copy()
    corrected[[0, 5]] = 1, 0.3
    write_masks(out / 'postprocess/val', data, corrected)
    model = out / 'models/decoder'
    model.mkdir(parents=True)
    (model / 'segmenter.json').write_text('{}')
    epochs = {'loss': [2, 1, 0.5], 'tune loss': [2, 1.2, 1], 'mIoU': [0.1, 0.2, 0.4]}
    pd.DataFrame(epochs).rename_axis('epoch').to_csv(model / 'history.csv')
    figures = {'Dice': 0.79, 'Dice 95 %': '0.766 to 0.811', 'mIoU': 0.632, 'images': len(data)}
    nothing = {'Dice': 0.0, 'mIoU': 0.039}
    add_scores(out, '03_segment', {'decoder': figures, 'all background': nothing})
    after = {'Dice': 0.792, 'policy': 'restrict', 'threshold': 0.01}
    add_scores(out, '04_postprocess', {'before': {'Dice': 0.79, 'policy': 'none'}, 'after': after})


def write_attack(out):
    lines = {
        'net: sure images': {'images': 12, 'keeps its answer, PGD-10 at 2/255': 0.0},
        'net: clean': {'clean': 1.0, 'images': 12},
        'net: FGSM': {'1/255': 0.5, '2/255': 0.25, '8/255': 0.0, 'images': 12},
        'net: PGD-10': {'1/255': 0.25, '2/255': 0.0, '8/255': 0.0, 'images': 12},
        'net behind blur, 2/255': {'clean': 0.75, 'unaware': 0.5, 'aware': 0.0, 'images': 8},
    }
    add_scores(out, '05_attack', lines)


def write_notes(out, stages):
    (out / '.stages').mkdir()
    for i, stage in enumerate(stages):
        note = {'key': 'k', 'seconds': 12.5 * (i + 1), 'parameters': DATA, 'files': {}}
        (out / '.stages' / f'{stage}.json').write_text(json.dumps(note | {'scores': None}))


STAGES = ('00_data', '01_augment', '02_classify', '03_segment', '04_postprocess', '05_attack')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    "A run's folder with all stages but the last, and its report."
    out = tmp_path_factory.mktemp('runs') / 'a run'
    out.mkdir()
    data = open_voc(**DATA)
    write_labels_stage(out, data)
    write_masks_stages(out, data)
    write_attack(out)
    add_scores(out, '00_data', {'val': {'images': 9, 'labels known': True, 'megapixels': 1.5}})
    for stage in STAGES:
        write_notebook(out, stage, DATA | {'limit': 240})
    write_notes(out, STAGES)
    record = {
        'finished': '2030-01-01 12:00',
        'commit': 'abc',
        'data': {'name': 'toy', 'val': {'images': 9}},
        'stages': {'00_data': 'kept', '02_classify': 'computed'},
        'parameters': dict.fromkeys(STAGES, DATA),
    }
    (out / 'params.yaml').write_text(json.dumps(record))
    write_report(out)
    return out


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        options = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
        window = engine.chromium.launch(executable_path=CHROMIUM, args=options)
        yield window
        window.close()


@pytest.fixture
def visit(browser, run):
    "(width, scheme) -> the report in a window of its own; at the end nothing may have gone wrong."
    contexts, wrong = [], []

    def open_page(width=1280, scheme='light'):
        context = browser.new_context(
            viewport={'width': width, 'height': 844}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        address = (run / 'report.html').as_uri()
        page.on('console', lambda m: wrong.append(f'console: {m.text}'))
        page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
        page.on(
            'request',
            lambda r: r.url.startswith(('data:', address)) or wrong.append(f'request: {r.url}'),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def column(page, table, number):
    "The texts of a column as they stand."
    rows = page.locator(f'table:has(#{table}) tbody tr')
    return rows.locator(f':nth-child({number})').evaluate_all(
        'cells => cells.filter(c => c.matches("td, th")).map(c => c.dataset.sort)'
    )


@in_browser
@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_the_page_fits_and_its_text_can_be_read(visit, width, scheme):
    "Else on a telephone or in the dark the report cannot be read."
    page = visit(width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate('document.documentElement.scrollWidth') == width
    over = "[...document.querySelectorAll('td')].filter(c => c.scrollWidth > c.clientWidth + 1)"
    assert page.evaluate(f'{over}.map(c => c.textContent)') == [], 'cells lie over each other'
    faint = page.evaluate(CONTRAST)
    assert faint['seen'] > 100
    assert not faint['low'], faint['low'][:5]


CONTRAST = """() => {
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return [...n, 1].slice(0, 4) };
  const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] + b[i] * (1 - a[3]));
  const light = rgb => rgb.map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((below, c) => over(c, below), [255, 255, 255]);
  };
  const low = [];
  let seen = 0;
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || e.closest('.unseen, dialog, script, style')) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(e), below = ground(e);
    const colour = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(over(parse(colour), below)), light(below)].sort((x, y) => y - x);
    seen += 1;
    if ((a + .05) / (b + .05) < 4.5) low.push([e.tagName, e.textContent.slice(0, 40), colour]);
  }
  return {seen, low};
}"""


@in_browser
def test_a_table_sorts_by_click_and_by_keyboard(visit):
    "Else the worst class has to be searched by eye, or cannot be found without a mouse."
    page = visit()
    before = column(page, 'label-scores', 2)
    button = page.locator('table:has(#label-scores) th button', has_text='mAP')
    button.click()
    head = page.locator('table:has(#label-scores) th[aria-sort]')
    assert head.get_attribute('aria-sort') == 'descending'
    assert [*map(float, column(page, 'label-scores', 2))] == [0.743, 0.134, 0.082]
    button.press('Enter')
    assert head.get_attribute('aria-sort') == 'ascending'
    assert column(page, 'label-scores', 2) == sorted(before)
    assert 'mAP, ascending' in page.locator('#said').text_content()
    page.locator('table:has(#label-scores) th button', has_text='threshold').press('Space')
    assert column(page, 'label-scores', 4)[-2:] == ['', '']  # what is missing comes last
    assert head.count() == 1
    name = page.locator('table:has(#class-counts) th button').first
    name.press('Enter')
    assert column(page, 'class-counts', 1) == sorted(VOC_CLASSES)


@in_browser
@pytest.mark.parametrize('width', [390, 1280])
def test_the_larger_view_opens_and_closes_by_keyboard(visit, width):
    "Else a mask cannot be looked at closely, or a keyboard is caught in the view."
    page = visit(width)
    first = page.locator('#\\30 3_segment .shots .enlarge').first
    small = first.locator('img').nth(1).bounding_box()['width']
    first.focus()
    page.keyboard.press('Enter')
    view = page.locator('dialog#view')
    assert view.is_visible()
    assert view.locator('img').count() == 3
    assert all(view.locator('img').evaluate_all('all => all.map(i => i.alt)'))
    assert view.locator('img').nth(1).bounding_box()['width'] > 1.1 * small
    assert page.evaluate('document.activeElement.id') == 'close'
    assert page.evaluate('document.documentElement.scrollWidth') == width
    title = view.locator('h2').text_content()
    page.keyboard.press('ArrowRight')
    assert view.locator('h2').text_content() != title
    page.keyboard.press('ArrowLeft')
    page.keyboard.press('Escape')
    assert not view.is_visible()
    assert first.evaluate('button => button === document.activeElement')
    first.click()
    view.locator('#close').click()
    assert not view.is_visible()


@in_browser
def test_the_page_is_in_order_for_a_screen_reader(visit):
    "Else who hears the report cannot find their way in it."
    page = visit()
    assert page.locator('h1').count() == 1
    for landmark in ('header', 'nav', 'main', 'footer'):
        assert page.locator(landmark).count() == 1
    levels = page.locator('h1, h2, h3').evaluate_all('all => all.map(h => +h.tagName[1])')
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False))
    ids = page.locator('[id]').evaluate_all('all => all.map(e => e.id)')
    assert len(ids) == len({*ids})
    named = page.locator('[aria-labelledby]').evaluate_all(
        "all => all.map(e => document.getElementById(e.getAttribute('aria-labelledby')) !== null)"
    )
    assert named and all(named)
    assert page.locator('main img').count() > 30
    assert page.locator('img:not([alt]), img[alt=""]').count() == 0
    assert page.locator('main table:not(:has(caption))').count() == 0
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.className') == 'skip'


@in_browser
def test_the_page_prints_with_all_that_is_folded(visit):
    "Else a printed report lacks what was folded."
    page = visit()
    closed = page.locator('details:not([open])').count()
    assert closed > 5
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator('details:not([open])').count() == 0
    page.emulate_media(media='print')
    assert not page.locator('nav').is_visible()
    page.emulate_media(media='screen')
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator('details:not([open])').count() == closed


def test_the_page_is_small_whole_and_escaped(run):
    "Else a report cannot be sent, lacks its figures, or runs a name as code."
    text = (run / 'report.html').read_text()
    assert len(text.encode()) < 5e6
    assert 'vit <b>' not in text and 'vit &lt;b&gt;' in text
    for words in ('0.709 to 0.782', 'baseline 0.082', 'Stage 06_submit was not run', 'said so',
                  '>kept<', '12.5 s', 'href="03_segment.ipynb"', 'gained', 'lost'):
        assert words in text, words
    assert 'There is no part' not in text


def test_the_gallery_shows_the_images_that_the_scores_say(run):
    "Else best and worst are shown of other images."
    data, dices = open_voc(**DATA), looked_at(read_left(run)).dices
    for id in data.ids:
        truth = data.read_mask(id)
        mask = truth.copy()
        share = np.linspace(0.4, 1, len(data))[data.ids.index(id)]
        mask[round(share * len(mask)) :] = 0
        assert dices.before[id] == foreground_dice(truth, mask)
    chosen = best_median_worst(dices.before)
    assert [*chosen.values()] == ['best'] * 3 + ['median'] * 3 + ['worst'] * 3
    assert [*chosen] == [*dices.before.sort_values(ascending=False, kind='stable').index]
    text = (run / 'report.html').read_text()
    assert all(f'<b>{kind}</b> {id}, Dice {dices.before[id]:.3f}' in text
               for id, kind in chosen.items())


def test_a_report_without_truth_shows_answers_and_no_scores(run, tmp_path):
    """Else who predicts their own photographs gets no report, or invented scores.

    Photographs of which nobody knows anything: answers and masks are shown, and no scores."""
    from PIL import Image

    out, photos = tmp_path / 'run', tmp_path / 'photos'
    shutil.copytree(run, out)
    photos.mkdir()
    for id in open_voc(**DATA).ids:
        Image.new('RGB', (500, 375), 'teal').save(photos / f'{id}.png')
    hidden = {'root': str(photos), 'split': 'all', 'limit': 0, 'seed': 0}
    record = json.loads((out / 'params.yaml').read_text())
    (out / 'params.yaml').write_text(
        json.dumps(record | {'parameters': dict.fromkeys(STAGES, hidden)})
    )
    for old in ('segment/decoder', 'postprocess'):
        os.rename(out / old / 'val', out / old / 'all')
    for old in (out / 'classify').glob('*_val.csv'):
        old.rename(str(old).replace('_val', '_all'))
    (out / 'scores.json').write_text('{}')
    text = write_report(out).read_text()
    assert 'There is no part' not in text
    assert 'the labels have no score' in text and 'What was predicted' in text
    assert text.count('<b>prediction</b>') == 6 and text.count('<b>answer</b>') == 6
    assert text.count('<b>changed</b>') == 2


@pytest.mark.parametrize('stage', ['02_classify', '05_attack'])
def test_a_report_of_one_stage_says_what_was_not_run(run, tmp_path, stage):
    "Else a run of one stage has no report."
    out = tmp_path / 'run'
    out.mkdir()
    shutil.copy(run / f'{stage}.ipynb', out)
    if stage == '02_classify':
        shutil.copytree(run / 'classify', out / 'classify')
    scores = json.loads((run / 'scores.json').read_text())
    (out / 'scores.json').write_text(json.dumps({stage: scores[stage]}))
    (out / 'params.yaml').write_text(json.dumps({'parameters': {stage: DATA}}))
    text = write_report(out).read_text()
    assert text.count('was not run in this folder') == 6
    assert 'There is no part' not in text


@pytest.mark.parametrize('damage', [b'', b'\xff\x00{"', b'[1, 2]', b'{"a": {"b": [3]}}'])
def test_damaged_files_cost_their_part_only(run, tmp_path, damage):
    "Else one damaged file costs the whole report."
    out = tmp_path / 'run'
    shutil.copytree(run, out)
    for file in out.rglob('*'):
        if file.is_file():
            file.write_bytes(damage)
    text = write_report(out).read_text()
    assert 'At a glance' in text and 'How it was made' in text


def test_a_stage_that_did_not_end_says_so(run, tmp_path):
    "Else what half a stage has left is shown as its result."
    out = tmp_path / 'run'
    shutil.copytree(run, out)
    (out / '.stages/03_segment.json').write_text(json.dumps({'key': '', 'files': {}}))
    text = write_report(out).read_text()
    assert 'Stage 03_segment was begun and did not end.' in text
    assert 'label-scores' in text


def test_stages_of_a_pipeline_of_ones_own_have_their_sections(tmp_path):
    "Else a stage of one's own is missing in the report."
    add_scores(tmp_path, 'my stage', {'mine': {'score': 0.25, 'images': 3}})
    (tmp_path / 'params.yaml').write_text('{parameters: {my stage: {size: 5}}}')
    text = write_report(tmp_path).read_text()
    assert '<section id="my-stage"' in text and '0.250' in text
    assert 'my stage: 1 parameters' in text
