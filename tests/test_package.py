"""What others install: complete metadata, the files that a run needs and no others, and no
dependency too few or too many. `.ci/package` runs the wheel in an empty environment."""

import ast
import configparser
import email
import json
import re
import shutil
import sys
import tarfile
import zipfile
from importlib.metadata import packages_distributions

import pytest
import yaml
from conftest import ROOT, run

import voc_cv
from voc_cv.run import STAGES

SETTINGS = configparser.ConfigParser(delimiters=['='])
SETTINGS.read(ROOT / 'settings.ini')
CFG = SETTINGS['DEFAULT']
NOTEBOOKS = sorted(ROOT.glob('nbs/*.ipynb'))


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    "sdist and wheel, made of a copy that also holds what a working clone holds."
    home = tmp_path_factory.mktemp('built')
    left_out = shutil.ignore_patterns('.git', '.venv', 'runs', '*.egg-info', 'build', 'dist')
    shutil.copytree(ROOT, home / 'clone', ignore=left_out)
    for junk in ('runs/smoke/scores.json', 'voc_cv/__pycache__/x.pyc', 'nbs/.ipynb_checkpoints/x'):
        (home / 'clone' / junk).parent.mkdir(parents=True, exist_ok=True)
        (home / 'clone' / junk).write_text('')
    done = run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', home / 'dist',
               cwd=home / 'clone')
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return home / 'dist'


@pytest.fixture(scope='module')
def wheel(built):
    "The wheel's files, name -> bytes."
    path, = built.glob('*.whl')
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture(scope='module')
def sdist(built):
    "The names of the sdist's files, without its own folder."
    path, = built.glob('*.tar.gz')
    with tarfile.open(path) as file:
        return {m.name.partition('/')[2] for m in file.getmembers() if m.isfile()}


@pytest.fixture(scope='module')
def metadata(wheel):
    name, = (n for n in wheel if n.endswith('.dist-info/METADATA'))
    return email.message_from_bytes(wheel[name])


def test_the_version_is_the_same_everywhere():
    "Else a bug report and a citation name versions that mean two things."
    newest = re.search(r'^## (\d\S*)', (ROOT / 'CHANGELOG.md').read_text(), re.M)[1]
    cited = yaml.safe_load((ROOT / 'CITATION.cff').read_text())['version']
    assert CFG['version'] == voc_cv.__version__ == newest == str(cited)


def test_a_run_finds_its_files_in_the_wheel(wheel):
    "Else `pip install` gives a command that has no notebooks to run."
    share = f'voc_cv-{CFG["version"]}.data/data/share/voc_cv/'
    for stage in STAGES:
        name = f'nbs/{stage}.ipynb'
        assert wheel[share + name] == (ROOT / name).read_bytes()
    params = {p.relative_to(ROOT).as_posix() for p in ROOT.glob('params/**/*.yaml')}
    assert {n for n in wheel if n.startswith(f'{share}params')} == {share + p for p in params}
    ours = {p for p in ROOT.glob('voc_cv/**/*') if p.is_file() and '__pycache__' not in p.parts}
    made = {n for n in wheel if n.startswith('voc_cv/')}
    assert made == {p.relative_to(ROOT).as_posix() for p in ours}, 'modules and what they read'
    entry = wheel[f'voc_cv-{CFG["version"]}.dist-info/entry_points.txt']
    assert b'voc_cv = voc_cv.run:main' in entry


def test_the_wheel_holds_nothing_else(wheel):
    "Else who installs it gets caches and somebody's runs as well."
    part = f'voc_cv-{CFG["version"]}'
    ours = 'voc_cv/', f'{part}.dist-info/', f'{part}.data/data/share/'
    assert all(name.startswith(ours) for name in wheel)
    assert not [n for n in wheel if re.search(r'__pycache__|checkpoints|\.pyc$|scores\.json', n)]
    assert sum(map(len, wheel.values())) < 8e6


def test_the_sdist_is_the_source(sdist):
    "Else it cannot be built from its source, or carries a working clone's rubbish."
    tops = {name.split('/')[0] for name in sdist}
    assert not tops & {'tests', 'runs', 'results', 'bench', '.venv', '.git', 'build', 'dist'}
    assert {p.relative_to(ROOT).as_posix() for p in NOTEBOOKS} <= sdist
    assert {p.relative_to(ROOT).as_posix() for p in ROOT.glob('params/**/*.yaml')} <= sdist
    assert {'settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE', 'CHANGELOG.md',
            'requirements.lock', 'CITATION.cff'} <= sdist
    assert not [n for n in sdist if re.search(r'__pycache__|checkpoints|\.pyc$', n)]


def test_metadata_say_what_a_reader_asks(metadata):
    "Else pip installs it where it cannot run, and a package index shows no links."
    assert metadata['Name'] == 'voc_cv' and metadata['Version'] == CFG['version']
    assert metadata['License-Expression'] == 'Apache-2.0' and metadata['License-File'] == 'LICENSE'
    assert metadata['Requires-Python'] == '>=3.11'
    links = dict(line.split(', ', 1) for line in metadata.get_all('Project-URL'))
    assert {'Source', 'Documentation', 'Changelog', 'Issues'} <= {*links}
    assert all(link.startswith('https://') for link in links.values())
    classifiers = metadata.get_all('Classifier')
    tried = re.findall(r"'(3\.\d+)'", re.search(
        r'python: (\[.*\])', (ROOT / '.github/workflows/test.yml').read_text())[1])
    said = [c.split(' :: ')[-1] for c in classifiers if re.search(r'Python :: 3\.', c)]
    assert said == tried == ['3.11', '3.12', '3.13'], 'we claim the Pythons that CI tries'
    assert not [c for c in classifiers if c.startswith('License')], 'SPDX stands for it'
    assert {*metadata.get_all('Provides-Extra')} == {
        'tensorflow', 'cpu', 'torch', 'onnx', 'lite2', 'cluster', 'dev', 'all'}


def test_links_of_the_long_description_lead_somewhere(metadata):
    """Else a visitor of a package index clicks into nothing.

    On a package index there is no docs/ beside the README."""
    text = metadata.get_payload()
    code = re.sub(r'```.*?```|`[^`\n]*`', '', text, flags=re.S)
    links = re.findall(r'\]\(([^)\s]+)\)', code) + re.findall(r'\b(?:src|href)="([^"]+)"', code)
    assert links
    home = 'https://github.com/voc-cv/voc_cv/blob/main/', \
        'https://raw.githubusercontent.com/voc-cv/voc_cv/main/'
    for link in links:
        assert link.startswith(('https://', '#')), f'{link}: not an address'
        if link.startswith(home):
            path = re.sub(r'https://[^/]+/voc-cv/voc_cv/(?:blob/)?main/', '', link).split('#')[0]
            assert (ROOT / path).exists(), f'{link}: there is no {path}'


def imported(source):
    "The packages that a text of Python imports, at its top or in a function."
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (a.name.split('.')[0] for a in node.names)
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or '').split('.')[0]


def test_what_is_imported_is_required_and_what_is_required_is_used():
    """Else a module is missing at the user's, or a download is for nothing.

    A module without its requirement fails at the user's; one that nobody uses costs a download."""
    needs = {*imported('import sys')}
    for path in ROOT.glob('voc_cv/*.py'):
        needs |= {*imported(path.read_text())}
    for stage in STAGES:
        for cell in json.loads((ROOT / f'nbs/{stage}.ipynb').read_text())['cells']:
            if cell['cell_type'] == 'code' and not cell['source'][0].startswith('#|'):
                needs |= {*imported(''.join(cell['source']))}
    owners = packages_distributions()
    def plain(name): return name.lower().replace('_', '-')
    needs -= {*sys.stdlib_module_names, 'voc_cv', '__future__'}
    used = {plain(owner) for name in needs for owner in owners.get(name, [name])}
    def named(extra):
        return {plain(re.split(r'[\[=<>!~]', word)[0]) for word in CFG[extra].split()}
    asked = named('requirements')
    names = ('tensorflow', 'cpu', 'torch', 'onnx', 'lite2', 'cluster')
    extras = [named(f'{extra}_requirements') for extra in names]
    brought = {'huggingface-hub': 'transformers', 'ipython': 'ipykernel', 'nbclient': 'papermill',
               'cycler': 'matplotlib', 'markupsafe': 'jinja2', 'matplotlib-inline': 'ipykernel'}
    allowed = asked.union(*extras, {n for n, by in brought.items() if by in asked.union(*extras)})
    allowed |= {'pillow-heif'}  # reads one more format where somebody has it
    assert used <= allowed, f'imported, not required: {used - allowed}'
    quiet = {'ipykernel', 'jinja2'}  # papermill starts the one, the reports are made by the other
    assert asked - quiet <= used, f'required, not used: {asked - quiet - used}'


def test_the_lock_meets_the_requirements():
    "Else `make` sets up versions that the package itself does not allow."
    locked = dict(line.split('==') for line in (ROOT / 'requirements.lock').read_text().splitlines()
                  if '==' in line)
    locked = {name.lower().replace('_', '-'): version for name, version in locked.items()}
    from packaging.requirements import Requirement
    words = [w for name in ('requirements', 'cpu_requirements', 'torch_requirements',
                            'onnx_requirements', 'cluster_requirements', 'dev_requirements')
             for w in CFG[name].split()]
    for need in map(Requirement, words):
        version = locked.get(need.name.lower().replace('_', '-'))
        assert version and need.specifier.contains(version), f'{need}: the lock has {version}'


def test_workflows_may_only_read_and_name_versions():
    "Else a pull request can write to the repository, or a job runs without an end."
    for path in ROOT.glob('.github/workflows/*.yml'):
        flow = yaml.safe_load(path.read_text())
        jobs = flow['jobs'].values()
        allowed = [flow.get('permissions'), *(job.get('permissions', {}) for job in jobs)]
        assert all(isinstance(a, dict) and a.get('contents') != 'write' for a in allowed), path.name
        for step in (step for job in jobs for step in job['steps']):
            assert re.fullmatch(r'[\w./-]+@v\d+', step.get('uses', 'a@v1')), f'{path.name}: {step}'
        assert all('timeout-minutes' in job for job in jobs), f'{path.name}: a job without an end'


def test_slow_tests_run_each_week():
    "Else what is not tested for each change is tested by nobody."
    flow = yaml.safe_load((ROOT / '.github/workflows/test.yml').read_text())
    assert 'cron' in flow[True]['schedule'][0]  # YAML reads the key `on` as yes
    given = flow['jobs']['test']['env']['VOC_CV_SLOW']
    assert given == "${{ github.event_name == 'schedule' && '1' || '' }}"
    assert flow['jobs']['test']['steps'][-1]['run'] == 'bash .ci/run'
    assert 'VOC_CV_SLOW' in (ROOT / 'tests/conftest.py').read_text()
    assert '\nmake test' in (ROOT / '.ci/run').read_text(), 'which hands its environment on'


def test_what_contributing_names_is_there():
    "Else a newcomer's first command fails."
    text = (ROOT / 'CONTRIBUTING.md').read_text()
    targets = {*re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), re.M)}
    assert {*re.findall(r'(?:^|`)make (\w+)', text, re.M)} <= targets
    for path in re.findall(r'`((?:nbs|tests|docs|results|bench|\.ci)/[\w./]+\w)`', text):
        if 'NN_' not in path:
            assert (ROOT / path).exists(), f'CONTRIBUTING.md names {path}, which is not there'
    cells = {c['id'] for p in NOTEBOOKS for c in json.loads(p.read_text())['cells']}
    named = {*re.findall(r'(?:cell|cells) `([\w-]+)`', text)} - {'parameters', 'imports'}
    assert named <= cells, named - cells
