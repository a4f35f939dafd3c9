"Every notebook's cells, in a fresh process."

import pytest
from conftest import BIN, ROOT, run


@pytest.mark.parametrize('path', sorted(ROOT.glob('nbs/*.ipynb')), ids=lambda p: p.stem)
def test_the_cells_of_a_notebook_hold_what_they_say(path, tmp_path):
    "Else a reader's lesson fails, or a function no longer does what its lesson shows."
    done = run(BIN / 'nbdev_test', '--path', path, '--n_workers', '0', VOC_CV_CACHE=str(tmp_path))
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
