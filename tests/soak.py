"""Hours of what `make test` does in minutes: kills, full disks, two at once, damaged files.

    make soak                                  a quarter of an hour
    make soak ARGS='--kills 50 --smoke --fuzz 3600'

It prints a table in Markdown, and ends with 1 if anything went wrong. pytest does not collect it;
test_trust_runs takes `run_kills`, `fuzz` and the others from here, for the small share that runs
each time."""

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from conftest import ROOT, notebook

COMMAND = [sys.executable, '-c', 'import sys; from voc_cv.run import main; sys.exit(main())']
STAGES = {'1_write': [], '2_train': ['1_write'], '3_sum': ['1_write', '2_train']}
WRITE = """
import time
import zipfile
from pathlib import Path
from voc_cv.files import add_scores, replacing
for i in range(n):
    with replacing(Path(out) / 'masks' / f'{n}-{i}.txt') as part:
        part.write_text(f'{n} {i}\\n' * 2000)
    time.sleep(.02)
with replacing(Path(out) / 'models' / f'net-{n}') as part:
    part.mkdir()
    (part / 'weights.bin').write_bytes(bytes([n]) * 10**5)
(Path(out) / 'models' / f'net-{n}' / 'history.csv').write_text('not through replacing')
add_scores(out, '1_write', {'net': {'files': n}})
"""
TRAIN = """
import time
import zipfile
from pathlib import Path
from voc_cv.files import add_scores, digest, replacing
file = Path(out) / 'training/2_train' / f'net-{digest(n)}.pt'
weights, epoch = (1, 0) if not file.exists() else map(int, file.read_text().split())
for epoch in range(epoch, 12):
    weights = weights * (7 + n) % 1000003
    with replacing(file) as part:
        part.write_text(f'{weights} {epoch + 1}')
    time.sleep(.02)
with replacing(Path(out) / 'trained.txt') as part:
    part.write_text(str(weights))
add_scores(out, '2_train', {'net': {'weights': weights}})
"""
SUM = """
from pathlib import Path
names = sorted(p.name for p in (Path(out) / 'masks').glob('[!.]*'))
total = sum(len((Path(out) / 'masks' / name).read_text()) for name in names)
(Path(out) / 'sum.txt').write_text(f"{names} {total} {(Path(out) / 'trained.txt').read_text()}")
"""


def three_stages(folder, write=WRITE):
    "The command of three small stages, of which the second is a training; without its --out."
    folder.mkdir(parents=True, exist_ok=True)
    for name, work in zip(STAGES, (write, TRAIN, SUM), strict=True):
        notebook(folder / f'{name}.ipynb', 'n = 3\nout = ""', work)
    (folder / 'p.yaml').write_text('all: {}\n')
    given = '--nbs', folder, '--stages', json.dumps(STAGES), '--params', folder / 'p.yaml'
    return [*COMMAND, 'run', *map(str, given)]


def content(path):
    "A file's bytes; of a network of Keras what counts, for it writes date and addresses into it."
    if path.suffix != '.keras':
        return path.read_bytes()
    with zipfile.ZipFile(path) as file:
        config = re.sub(rb'"shared_object_id": \d+', b'', file.read('config.json'))
        return config + file.read('model.weights.h5')


def results(out):
    "name -> content of what a run has made, without what holds the time of day."
    found = {}
    for path in sorted(Path(out).rglob('*')):
        name = path.relative_to(out)
        hidden = any(part.startswith('.') for part in name.parts)
        mine = hidden or name.parts[0] == 'mine' or path.suffix in ('.ipynb', '.html', '.log')
        if path.is_file() and not mine and path.name != 'params.yaml':
            found[str(name)] = content(path)
    return found


def children(pid):
    "The numbers of the processes below one, on Linux."
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(stat.read_text().rpartition(')')[2].split()[1]) == pid:
                found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


def lives(pid):
    "Is a process at work? One that is only waiting to be buried is not."
    with contextlib.suppress(OSError):
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    return False


def kill_once(command, how, moment):
    "Start a command, end it after so many seconds; was it at work, and who lives on after 10 s?"
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    below = children(process.pid)
    working = process.poll() is None
    if working:
        process.send_signal(how)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return working, [process.pid]
    end = time.time() + 10
    while any(map(lives, below)) and time.time() < end:
        time.sleep(0.05)
    orphans = [pid for pid in below if lives(pid)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    return working, orphans


def plant(folder, out):
    "Files of somebody else in and beside a run's folder; what they are afterwards says `planted`."
    (folder / 'precious.txt').write_text('precious')
    (out / 'masks' / '.old-mine').mkdir(parents=True)
    (out / 'masks' / '.old-mine' / 'data.txt').write_text('mine')
    (out / 'mine').mkdir()
    (out / 'mine' / 'notes.txt').write_text('mine')
    (out / 'mine' / '.voc_cv-host-1-1-link').symlink_to(folder)


def planted(folder, out):
    "Is everything there that was planted?"
    texts = [folder / 'precious.txt', out / 'masks/.old-mine/data.txt', out / 'mine/notes.txt']
    said = [p.read_text() if p.is_file() else '' for p in texts]
    return (
        said == ['precious', 'mine', 'mine'] and (out / 'mine/.voc_cv-host-1-1-link').is_symlink()
    )


def run_kills(folder, kills, seed=0, command=None, args=(), other=(), longest=None):
    """Kill runs at random moments by random signals, one to three times before each that may end,
    by turns with two sets of parameters; (kills that hit, unequal results, orphans, lost files)."""
    luck, hit, orphans, unequal, lost = random.Random(seed), 0, 0, 0, 0
    command = command or three_stages(folder / 'nbs')
    environment = os.environ | {'PYTHONPATH': str(ROOT)}

    def whole(out, given):
        full = [*command, '--out', str(out), *given]
        done = subprocess.run(full, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    expected, variants = [], (tuple(args), (*args, *(other or ('-p', 'n=4'))))
    start = time.time()
    for i, given in enumerate(variants):
        whole(folder / f'unbroken-{i}', given)
        expected.append(results(folder / f'unbroken-{i}'))
    longest = longest or (time.time() - start) / 2
    out = folder / 'run'
    plant(folder, out)
    ends = 0
    while hit < kills:
        given = variants[ends % 2]
        for _ in range(luck.randint(1, 3)):
            how = luck.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            full = [*command, '--out', str(out), *given]
            working, left = kill_once(full, how, luck.uniform(0.1, longest))
            hit += working
            orphans += len(left)
        whole(out, given)
        ends += 1
        unequal += results(out) != expected[(ends - 1) % 2]
        lost += not planted(folder, out)
    return hit, unequal, orphans, lost


def two_at_once(folder):
    "Is the second run in a folder told who is there, and does the first one end well?"
    command = [*three_stages(folder / 'nbs'), '--out', str(folder / 'run')]
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    end = time.time() + 60
    while not (folder / 'run/.stages/owner.json').exists() and time.time() < end:
        time.sleep(0.02)
    second = subprocess.run(command, capture_output=True, text=True, env=environment)
    first.communicate()
    told = f'process {first.pid} on ' in second.stderr and second.returncode == 2
    return told and first.returncode == 0


@contextlib.contextmanager
def small_disk(size):
    "The folder of a disk of so many bytes; None where we may not make one."
    with tempfile.TemporaryDirectory() as folder:
        mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder]
        if not shutil.which('mount') or subprocess.run(mount, capture_output=True).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(['umount', '-l', folder], check=True)


def full_disk(folder, sizes=('8k', '20k', '60k', '120k', '150k', '170k')):
    """Disks that fill up at different moments: None where it can't be tried, else does each error
    name a file, and does the same command go on when there is space again?"""
    environment = os.environ | {'PYTHONPATH': str(ROOT)}
    for size in sizes:
        with small_disk(size) as disk:
            if disk is None:
                return None
            command = [*three_stages(folder / 'nbs'), '--out', str(disk / 'run')]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            named = str(disk) in done.stderr and 'Traceback' not in done.stderr
            full = done.returncode in (1, 2) and 'No space left' in done.stderr and named
            subprocess.run(['mount', '-o', 'remount,size=50m', str(disk)], check=True)
            again = subprocess.run(command, capture_output=True, text=True, env=environment)
            if not full or again.returncode or [*(disk / 'run').rglob('.voc_cv-*')]:
                return False
    return True


def read_only(folder):
    "A disk that nothing can be written to: None where it can't be tried, else is that said?"
    with small_disk('10m') as disk:
        if disk is None:
            return None
        subprocess.run(['mount', '-o', 'remount,ro', str(disk)], check=True)
        command = [*three_stages(folder / 'nbs'), '--out', str(disk / 'run')]
        environment = os.environ | {'PYTHONPATH': str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        said = str(disk) in done.stderr and 'Read-only' in done.stderr
        return done.returncode == 2 and said and 'Traceback' not in done.stderr


def samples(folder):
    "reader -> (the file it reads, its bytes when all is well, a call that reads it)."
    import numpy as np
    from PIL import Image

    from voc_cv import data, files, run, submit

    toys = data.toy_voc(2, split='val')
    data.write_voc(folder / 'set', val=toys)
    submit.write_submission(folder / 'submission.csv', toys.labels, lambda id: toys[id].mask)
    np.save(folder / 'a.npy', toys[toys.ids[0]].image)
    Image.fromarray(toys[toys.ids[0]].image).resize((20, 20)).save(folder / 'a.png')
    Image.fromarray(toys[toys.ids[0]].image).resize((20, 20)).save(folder / 'a.jpg')
    notebook(folder / '1.ipynb', 'n = 3\nout = ""', 'pass')
    (folder / 'p.yaml').write_text('all: {seed: 3, lr: 1e-3}\n03_segment: {epochs: 20}\n')
    note = {'key': 'abc', 'files': {'a.png': 'x'}, 'scores': {'a': {'b': 1}}, 'parameters': {}}
    files.add_scores(folder, '03_segment', {'unet': {'Dice': 0.4}})
    run.write_note(folder, '1', note)
    lists = folder / 'set/ImageSets/Segmentation'
    known = {'03_segment': {'epochs': 8, 'lr': 0.1, 'size': 64, 'flip': False, 'seed': 0}}

    def params():
        return run.resolve(
            {**known, 'x': {'seed': 0, 'lr': 1.0}}, run.read_params(folder / 'p.yaml')
        )

    readers = {
        'parameters': (folder / 'p.yaml', params),
        'notes': (run.note_path(folder, '1'), lambda: run.read_note(folder, '1')),
        'scores': (folder / 'scores.json', lambda: files.read_scores(folder)),
        'notebooks': (folder / '1.ipynb', lambda: run.stage_parameters(folder / '1.ipynb')),
        'npy': (folder / 'a.npy', lambda: data.read_npy(folder / 'a.npy', 'u', 3)),
        'png': (folder / 'a.png', lambda: data.read_image(folder / 'a.png')),
        'jpg': (folder / 'a.jpg', lambda: data.read_image(folder / 'a.jpg')),
        'masks': (
            folder / f'set/SegmentationClass/{toys.ids[0]}.png',
            lambda: data.read_mask(folder / f'set/SegmentationClass/{toys.ids[0]}.png'),
        ),
        'lists': (lists / 'val.txt', lambda: data.open_voc(folder / 'set', 'val')),
        'labels': (lists / 'val_labels.csv', lambda: data.open_voc(folder / 'set', 'val')),
        'submissions': (
            folder / 'submission.csv',
            lambda: submit.check_submission(folder / 'submission.csv', toys),
        ),
        'check': (
            folder / 'submission.csv',
            lambda: run.main(
                ['check', str(folder / 'submission.csv'), '--root', str(folder / 'set')]
            ),
        ),
    }
    there = {name: pair for name, pair in readers.items() if pair[0].is_file()}
    return {name: (file, file.read_bytes(), call) for name, (file, call) in there.items()}


def damaged(whole):
    "A strategy: this file with pieces cut, doubled, overwritten, or another one altogether."
    from hypothesis import strategies as st

    words = b'\x00 \xff\xfe [ { : & * - # \n\n " \' 1e999 -1 0x 010 nan NaN 99999999999999999999'
    words += b' ../ \x93NUMPY'
    piece = st.one_of(st.binary(max_size=20), st.sampled_from(words.split(b' ')))
    place = st.integers(0, len(whole))

    def splice(start, length, pieces, repeat):
        return whole[:start] + b''.join(pieces) * repeat + whole[start + length :]

    several = st.lists(piece, max_size=4)
    cut = st.builds(lambda n: whole[:n], place)
    return st.one_of(
        st.builds(splice, place, st.integers(0, 30), several, st.integers(1, 3)),
        st.builds(splice, place, st.integers(0, 30), several, st.sampled_from([1, 300])),
        cut,
        st.binary(max_size=300),
        st.text(max_size=200).map(lambda t: t.encode('utf-8', 'surrogatepass')),
    )


def fuzz(name, file, whole, call, examples, seed=0, slowest=10.0):
    """Damage a file at random and read it: (tries, faults). A reader may give something, or refuse
    with ValueError or OSError in at most 3000 characters; anything else is a fault, and so is one
    that takes longer than so many seconds."""
    import hypothesis

    tries, faults = [0], {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(damaged(whole))
    def go(content):
        file.write_bytes(content)
        tries[0] += 1
        start, said = time.time(), io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                code = call()
            if name == 'check' and code not in (0, 1, 2):
                faults.setdefault(f'exit code {code}: {said.getvalue()[-300:]}', content)
        except (ValueError, OSError) as e:
            if len(str(e)) > 3000:
                faults.setdefault(f'{type(e).__name__} of {len(str(e))} characters', content)
        except Exception as e:
            faults.setdefault(f'{type(e).__name__}: {str(e)[:200]}', content)
        if time.time() - start > slowest:
            faults.setdefault(f'took {time.time() - start:.0f} s', content)

    try:
        go()
    finally:
        file.write_bytes(whole)
    return tries[0], faults


def fuzz_all(folder, seconds, seed=0):
    "Go round the readers until the time is over: reader -> [tries, faults]."
    found, end = {}, time.time() + seconds
    readers = samples(folder)
    while time.time() < end:
        seed += 1
        for name, (file, whole, call) in readers.items():
            if time.time() > end:
                break
            tries, faults = fuzz(name, file, whole, call, 200, seed)
            have = found.setdefault(name, [0, {}])
            have[0] += tries
            have[1] |= faults
    return found


SMALL = (  # the real stages, as short as they can be
    'limit=24 02_classify.epochs=5 cnn_epochs=1 vit_epochs=1 03_segment.epochs=2 size=64 '
    'images=1 steps=2 queries=3'
).split()


def smoke_kills(folder, kills, seed):
    "The same as `run_kills` with the project's own stages on toys."
    small = [word for setting in SMALL for word in ('-p', setting)]
    other = ('-p', '02_classify.epochs=4', '-p', '03_segment.balance=.5')  # both train again
    return run_kills(folder, kills, seed, [*COMMAND, 'run'], small, other)


def hostile():
    "The corpus of damaged files: (tests, failures)."
    tests = [str(ROOT / f'tests/test_{name}.py') for name in ('hostile', 'trust_runs')]
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', *tests], capture_output=True, text=True, cwd=ROOT
    )
    passed, failed = done.stdout.strip().splitlines()[-1].replace(',', '').split()[::2]
    return int(passed) + int(failed), int(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=50, help='of three small stages')
    parser.add_argument('--smoke', type=int, nargs='?', const=10, default=0, metavar='N',
                        help='and so many kills of the real stages on toys (10)')  # fmt: skip
    parser.add_argument('--fuzz', type=float, default=120, help='seconds of random files')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    rows, wrong, start = [], 0, time.time()

    def tell(what, often, result, bad):
        nonlocal wrong
        wrong += bool(bad)
        rows.append(f'| {what} | {often} | {result} |')
        print(rows[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix='soak {with} "quotes" ') as tmp:
        folder = Path(tmp)
        runs = [('three small stages', args.kills, run_kills)]
        if args.smoke:
            runs.append(('the real stages, toys', args.smoke, smoke_kills))
        for i, (what, kills, kill) in enumerate(runs):
            (folder / f'kills-{i}').mkdir()
            hit, unequal, orphans, lost = kill(folder / f'kills-{i}', kills, args.seed)
            said = f'{unequal} results unequal to the unbroken run, {orphans} processes left, '
            said += f'{lost} times a file of somebody else lost'
            tell(
                f'SIGKILL, SIGTERM, SIGINT: {what}', f'{hit} kills', said, unequal + orphans + lost
            )
        fine = [two_at_once(folder / f'two-{i}') for i in range(3)]
        told = 'the second is told who is there' if all(fine) else 'WRONG'
        tell('two runs in a folder', len(fine), told, not all(fine))
        disks = ('full disk', 6, full_disk), ('read-only disk', 1, read_only)
        for what, often, attempt in disks:
            fine = attempt(folder / what)
            words = {None: 'skipped: no disk can be made here', True: 'said, with the file'}
            tell(what, often, words.get(fine, 'WRONG'), fine is False)
        tests, failed = hostile()
        tell('damaged files, tests/test_hostile.py and test_trust_runs.py', f'{tests} tests',
             f'{failed} failed', failed)  # fmt: skip
        (folder / 'fuzz').mkdir()
        for name, (tries, faults) in fuzz_all(folder / 'fuzz', args.fuzz, args.seed).items():
            result = (
                'none but ValueError or OSError' if not faults else f'FAULTS: {[*faults]}'[:400]
            )
            tell(f'random files: {name}', f'{tries} files', result.replace('|', '/'), faults)
    minutes = (time.time() - start) / 60
    print(f'\nSoak of {time.strftime("%Y-%m-%d")}, commit {commit}, seed {args.seed}: ', end='')
    print(f'{minutes:.0f} minutes, {args.fuzz / 60:.0f} of them random files.\n')
    print('| what | how often | result |\n|---|---|---|', *rows, sep='\n')
    return int(wrong > 0)


if __name__ == '__main__':
    sys.exit(main())
