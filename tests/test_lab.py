"""The notebooks in JupyterLab, as a reader has them: they open without a word of complaint, their
figures are shown, and all cells run in the order of the page. VOC_CV_SLOW=1 runs them all."""

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.request
import uuid

import nbformat
import pytest
import websocket
from conftest import BIN, ROOT, run

NOTEBOOKS = sorted(p.name for p in ROOT.glob('nbs/*.ipynb'))


def free_port():
    "A port that nobody listens on."
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Lab:
    "JupyterLab's server on this machine, with places of its own for what it writes."

    def __init__(self, folder):
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.places = {f'JUPYTER_{k}_DIR': str(folder / k.lower()) for k in ('DATA', 'RUNTIME')}
        self.places |= {'JUPYTER_CONFIG_DIR': str(folder / 'config')}
        self.places |= {'IPYTHONDIR': str(folder / 'ipython'), 'JUPYTER_PREFER_ENV_PATH': '1'}
        self.log = folder / 'lab.log'
        self.process = None

    def start(self):
        "Start it and wait until it answers."
        command = [BIN / 'jupyter-lab', '--no-browser', '--allow-root', '--ServerApp.ip=127.0.0.1']
        command += [f'--ServerApp.port={self.port}', '--ServerApp.port_retries=0']
        command += [f'--IdentityProvider.token={self.token}']
        command += [f'--ServerApp.root_dir={ROOT / "nbs"}']
        path = f'{BIN}{os.pathsep}{os.environ["PATH"]}'
        env = os.environ | self.places | {'PATH': path, 'TF_CPP_MIN_LOG_LEVEL': '3'}
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen(
                [*map(str, command)], stdout=log, stderr=log, env=env, cwd=ROOT
            )
        until = time.monotonic() + 120
        while time.monotonic() < until and self.process.poll() is None:
            try:
                return self.ask('status')
            except OSError:
                time.sleep(0.3)
        self.stop()
        raise RuntimeError(f'the server did not come up:\n{self.log.read_text()[-3000:]}')

    def stop(self):
        "End it; the kernels end with it."
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path, method='GET', body=None):
        "What its REST API answers."
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}/api/{path}',
            json.dumps(body).encode() if body else None,
            {'Authorization': f'token {self.token}', 'Content-Type': 'application/json'},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def socket(self, kernel):
        "The channels of a kernel."
        url = f'ws://127.0.0.1:{self.port}/api/kernels/{kernel}/channels?token={self.token}'
        return websocket.create_connection(url, timeout=600)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp('lab'))
    try:
        lab.start()
        yield lab
    finally:
        lab.stop()


def execute(channels, code):
    "Run a cell in a kernel; the error, or an empty text."
    id = uuid.uuid4().hex
    header = {'msg_id': id, 'msg_type': 'execute_request', 'username': '', 'session': id}
    content = {'code': code, 'silent': False, 'store_history': True, 'user_expressions': {}}
    content |= {'allow_stdin': False, 'stop_on_error': True}
    message = {'header': header | {'version': '5.3'}, 'parent_header': {}, 'metadata': {}}
    channels.send(json.dumps(message | {'content': content, 'channel': 'shell', 'buffers': []}))
    error, replied, idle = '', False, False
    while not (replied and idle):
        answer = json.loads(channels.recv())
        if answer['parent_header'].get('msg_id') != id: continue
        kind, told = answer['header']['msg_type'], answer['content']
        if kind == 'error': error = f'{told["ename"]}: {told["evalue"]}'
        replied = replied or kind == 'execute_reply'
        idle = idle or kind == 'status' and told['execution_state'] == 'idle'
    return error


def open_session(lab, name):
    "A kernel for a notebook, started in its folder."
    wanted = {'path': name, 'name': name, 'type': 'notebook', 'kernel': {'name': 'python3'}}
    return lab.ask('sessions', 'POST', wanted)


def run_all(lab, name):
    "Run all cells of a notebook as the button does; the id of the cell that failed and its error."
    session = open_session(lab, name)
    channels = lab.socket(session['kernel']['id'])
    try:
        for cell in lab.ask(f'contents/{name}')['content']['cells']:
            if cell['cell_type'] != 'code': continue
            if error := execute(channels, cell['source']): return f'{name} {cell["id"]}: {error}'
    finally:
        channels.close()
        lab.ask(f'sessions/{session["id"]}', 'DELETE')
    return ''


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_opens_without_a_message(lab, name):
    "Else JupyterLab asks for a kernel, or warns, before a reader sees the first line."
    told = lab.ask(f'contents/{name}')
    assert not told.get('message'), f'{name}: the server warns: {told["message"]}'
    whole = told['content']
    nbformat.validate(nbformat.from_dict(whole))
    assert whole['metadata']['kernelspec']['name'] in lab.ask('kernelspecs')['kernelspecs']
    assert whole['metadata']['kernelspec']['name'] == 'python3', 'the name that every Jupyter has'
    assert (whole['nbformat'], whole['nbformat_minor']) >= (4, 5), 'cells have ids since 4.5'
    written = json.loads((ROOT / 'nbs' / name).read_text(encoding='utf-8'))['cells']
    ids = [cell.get('id') for cell in written]
    assert all(ids) and len({*ids}) == len(ids), f'{name}: a cell has no id, or another one\'s'


def test_figures_are_shown_once_notebooks_are_trusted(lab):
    """Else a reader of `make lab` sees no figures.

    JupyterLab shows no SVG of a notebook that it does not trust; `make lab` says that it may, and
    nothing in the files stands against it."""
    target = (ROOT / 'Makefile').read_text().partition('\nlab:')[2].partition('\n\n')[0]
    assert '$(BIN)/jupyter trust nbs/*.ipynb' in target
    done = run(BIN / 'jupyter', 'trust', *(ROOT / 'nbs' / n for n in NOTEBOOKS), **lab.places)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in NOTEBOOKS:
        for cell in lab.ask(f'contents/{name}')['content']['cells']:
            if cell['cell_type'] != 'code': continue
            assert cell['metadata'].get('trusted'), f'{name} {cell["id"]}: is not trusted'


def test_a_notebook_runs_in_the_lab(lab):
    'Else "Run all cells" ends in an error where the command line does not.'
    failed = run_all(lab, 'files.ipynb')
    assert not failed, f'in JupyterLab a cell fails: {failed}'


def test_the_cell_that_fails_is_named(lab):
    "Else the check of notebooks in the lab passes whatever happens."
    session = open_session(lab, 'none.ipynb')
    channels = lab.socket(session['kernel']['id'])
    assert execute(channels, 'a = 1') == ''
    assert execute(channels, 'a / 0') == 'ZeroDivisionError: division by zero'
    channels.close()
    lab.ask(f'sessions/{session["id"]}', 'DELETE')


@pytest.mark.slow
@pytest.mark.parametrize('name', NOTEBOOKS)
def test_every_notebook_runs_in_the_lab(lab, name):
    'Else "Run all cells" ends in an error where the command line does not.'
    failed = run_all(lab, name)
    assert not failed, f'in JupyterLab a cell fails: {failed}'
