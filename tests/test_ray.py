"""Many machines: two Ray nodes on this one, of one core each. A worker is killed, a node stopped,
the driver killed; nothing that is finished is lost or done twice, and the files are the same as
without Ray."""

import itertools
import json
import os
import shutil
import signal
import subprocess

import pandas as pd
import psutil
import pytest
import test_predict
from conftest import BIN, notebook
from test_sweep import alive, wait_for

from voc_cv.files import this_host
from voc_cv.photographs import predict
from voc_cv.scale import run_sweep

pytest.importorskip('ray')

STAGES = {'common': (), 'add': ('common',)}
COMMON = """
from pathlib import Path
from voc_cv.files import add_scores
with open(Path(out).parent.parent / 'journal', 'a') as file: print('common', file=file)
(Path(out) / 'common.txt').write_text('7')
add_scores(out, 'common', {'it': {'value': 7}})
"""
ADD = """
import os, time, psutil
from pathlib import Path
from voc_cv.files import add_scores
out = Path(out)
def tell(word):
    me = psutil.Process()
    child = me.parent()
    pids = me.pid, child.pid, child.parent().pid, child.parent().parent().pid
    with open(out.parent.parent / 'journal', 'a') as file: print(word, number, *pids, file=file)
tell('begin')
while str(number) in waits and not (out.parent.parent / 'go').exists(): time.sleep(.05)
(out / 'sum.txt').write_text(str(number + int((out / 'common.txt').read_text())))
add_scores(out, 'add', {'sum': {'value': number + 7}})
tell('end')
"""
VARY = 'base: none.yaml\nscore: add/*/value\nvary: {add.number: [1, 2, 3]}\n'


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    "Two nodes of one core each: the head, on which drivers are started, and another."
    os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
    from ray.cluster_utils import Cluster

    how = {'num_cpus': 1, 'include_dashboard': False, 'temp_dir': '/tmp/ray'}
    cluster = Cluster(initialize_head=True, head_node_args=how)
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def write_sweep(folder):
    "The two notebooks and the sweep's file."
    notebook(folder / 'common.ipynb', 'out = ""', COMMON)
    notebook(folder / 'add.ipynb', 'number = 0\nwaits = ""\nout = ""', ADD)
    (folder / 'none.yaml').write_text('')
    (folder / 'vary.yaml').write_text(VARY)
    return folder


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path)


@pytest.fixture(scope='module')
def local(tmp_path_factory):
    "What the same sweep makes without Ray."
    folder = write_sweep(tmp_path_factory.mktemp('local'))
    (folder / 'go').touch()
    how = {'nbs': folder, 'stages': STAGES, 'overrides': ['waits=1 2'], 'quiet': True}
    table = run_sweep(folder / 'vary.yaml', out=folder / 'runs', jobs=2, **how)
    assert [*table['add/sum/value']] == [8, 9, 10] and table.failure.eq('').all()
    assert [*map(len, journal(folder).values())] == [1, 3, 3]
    return results(folder / 'runs')


def start(folder, cluster, out='runs'):
    "The driver: `voc_cv sweep` by Ray, with its output in a file."
    args = 'sweep', 'vary.yaml', '--out', out, '--nbs', '.', '--stages', json.dumps(STAGES)
    more = '-p', 'waits=1 2', '--ray', cluster.address
    with open(folder / 'said', 'w') as file:
        return subprocess.Popen(
            [BIN / 'voc_cv', *args, *more],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def journal(folder):
    "word -> what follows it, a list a line."
    told = {'common': [], 'begin': [], 'end': []}
    path = folder / 'journal'
    for line in path.read_text().splitlines() if path.exists() else ():
        word, *rest = line.split()
        told[word].append([*map(int, rest)])
    return told


def results(out):
    "What lies in the runs' folders, without logs and times."
    found = {}
    for path in sorted(p for p in out.rglob('*') if p.is_file()):
        name = str(path.relative_to(out))
        if path.name in ('run.log', 'lock') or path.suffix in ('.ipynb', '.png', '.svg', '.html'):
            continue
        if path.suffix == '.json' and '.stages' in path.parts:
            note = json.loads(path.read_text())
            digests = {n: d for n, d in note['files'].items() if not n.endswith('.ipynb')}
            found[name] = [note['key'], note['parameters'], note['scores'], digests]
        elif path.suffix != '.csv':
            found[name] = path.read_bytes()
    return found


def check(folder, process, local):
    "The sweep has ended well, and its results are those that this machine makes."
    assert process.wait(120) == 0, (folder / 'said').read_text()
    assert results(folder / 'runs') == local and len(local) == 3 * 5
    table = pd.read_csv(folder / 'runs/sweep.csv')
    assert [*table['add/sum/value']] == [8, 9, 10] and table.failure.isna().all()


def test_a_sweep_whose_driver_was_killed_goes_on(sweep, cluster, local):
    "Else a laptop that falls asleep costs a cluster's night."
    process = start(sweep, cluster)
    wait_for(lambda: len(journal(sweep)['begin']) == 2, 120)  # 1 and 2 wait, a node each
    nodes = {pids[-1] for pids in journal(sweep)['begin']}
    assert len(nodes) == 2, 'both nodes are at work'
    process.kill()
    process.wait()
    lost = [pid for _, *pids in journal(sweep)['begin'] for pid in pids[:3]]
    wait_for(lambda: not any(map(alive, lost)), 60)
    assert not journal(sweep)['end']

    (sweep / 'go').touch()
    check(sweep, start(sweep, cluster), local)
    told = journal(sweep)
    assert [*map(len, told.values())] == [1, 5, 3], 'what they share was made once, and is kept'


tiny, album = test_predict.tiny, test_predict.album  # fixtures


def answers(out):
    "What is said of the photographs: name -> bytes."
    return {k: v for k, v in test_predict.everything(out).items() if k != 'predict.json'}


def actors(cluster):
    "The pids of the actors that look at photographs on our nodes."
    nodes = [cluster.head_node, *cluster.worker_nodes]
    raylets = [psutil.Process(n.all_processes['raylet'][0].process.pid) for n in nodes]
    workers = itertools.chain.from_iterable(raylet.children() for raylet in raylets)
    return [w.pid for w in workers if 'Looker' in ' '.join(w.cmdline())]


def test_predict_by_ray_writes_the_same_bytes(cluster, tiny, album, tmp_path):
    "Else a cluster's answers differ from one's own, or a killed actor leaves holes."
    copies = tmp_path / 'album'
    shutil.copytree(album, copies)
    for i in range(250):
        shutil.copy(album / 'g.bmp', copies / f'{i:03}.bmp')
    how = {'segmenter': tiny, 'threshold': 0.2, 'quiet': True}
    here = predict(copies, out=tmp_path / 'here', **how)
    args = 'predict', copies, '--segmenter', tiny, '--threshold', 0.2, '--out', 'there'
    command = [BIN / 'voc_cv', *map(str, args), '--ray', cluster.address, '--batch', '2']
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: actors(cluster), 120)
    pids = actors(cluster)
    wait_for(lambda: len([*tmp_path.glob('there/labels/*')]) > 5, 120)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert len([*tmp_path.glob('there/labels/*')]) < 257, 'killed in the middle'
    half = tmp_path / f'there/masks/.voc_cv-{this_host()}-{pids[0]}-0-a.png'
    half.touch()  # what an actor leaves that is killed in the middle of writing
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 1, 'one is damaged\n' + said
    assert answers(tmp_path / 'there') == answers(tmp_path / 'here') and len(here.broken) == 1


def test_a_lost_worker_and_a_lost_node_cost_only_what_they_were_at(sweep, cluster, local):
    "Else one machine that fails costs the sweep, or makes what is finished again."
    process = start(sweep, cluster)
    wait_for(lambda: len(journal(sweep)['begin']) == 2, 120)
    head = cluster.head_node.all_processes['raylet'][0].process.pid
    raylets = {pids[-1]: pids for pids in journal(sweep)['begin']}
    (other,) = {*raylets} - {head}
    os.kill(raylets[head][3], signal.SIGKILL)  # the worker on the head
    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    for _, *pids, _ in raylets.values():
        wait_for(lambda: not any(map(alive, pids)), 60)  # noqa: B023
    wait_for(lambda: len(journal(sweep)['begin']) > 2, 60)  # on the core that is left
    (sweep / 'go').touch()
    check(sweep, process, local)
    told = journal(sweep)
    assert [*map(len, told.values())] == [1, 5, 3]
    assert {pids[-1] for pids in told['end']} == {head} and other != head
    again = sorted(number for number, *_ in told['begin'])
    assert again == [1, 1, 2, 2, 3], 'only what was lost'
