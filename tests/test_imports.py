"What a module loads, in a fresh process: who draws a toy does not wait for a framework."

import ast
import importlib
import sys

import pytest
from conftest import ROOT, run

FRAMEWORKS = ('tensorflow', 'keras', 'torch', 'transformers')
PLOTS = ('matplotlib.pyplot', 'seaborn', 'skimage', 'sklearn')
LIGHT = ('files', 'toy', 'data', 'augment', 'measure', 'postprocess', 'submit', 'run', 'scale',
         'photographs', 'report')
ROOMS = {  # module -> our modules that it may import; LATER: those that it may in a function, too
    'files': (),
    'toy': (),
    'data': ('files', 'toy'),
    'augment': ('data', 'files'),
    'measure': ('data', 'files'),
    'nets': ('augment', 'data', 'files'),
    'classify': ('nets', 'measure', 'augment', 'data', 'files'),
    'segment': ('nets', 'measure', 'augment', 'data', 'files'),
    'postprocess': ('measure', 'data', 'files'),
    'attack': ('nets', 'measure', 'augment', 'data', 'files'),
    'submit': ('data', 'measure', 'files'),
    'photographs': ('run', 'postprocess', 'measure', 'data', 'files'),
    'run': ('data', 'files', 'submit'),
    'report': ('photographs', 'run', 'measure', 'data', 'files'),
    'scale': ('run', 'data', 'files'),
}
LATER = {'attack': {'classify'}, 'run': {'scale', 'photographs', 'report'},  # it hands over
         'photographs': {'nets', 'classify', 'segment'},
         'scale': {'photographs', 'segment', 'augment'}}
PROMISED = {
    'data': 'VOC_CLASSES VOID Sample VocDataset open_voc toy_voc write_kaggle write_voc '
    'show_samples show_mask',
    'augment': 'gaussian_noise random_erasing hflip brightness_contrast resize pad_to '
    'random_crop compose augment_dataset',
    'classify': 'build_cnn build_vit Patches PatchEncoder detect detector_labels '
    'extract_features fit_head relative_threshold tune_thresholds average_precision '
    'label_metrics detection_counts show_counts',
    'segment': 'build_unet build_segmenter class_weights weighted_cross_entropy dice_loss '
    'focal_loss focal_tversky_loss load_segmenter panoptic_to_voc predict_masks '
    'confusion_matrix foreground_dice iou show_confusion',
    'postprocess': 'correct_mask restrict_scores drop_islands',
    'attack': 'fgsm pgd Target top5 attack_report',
    'submit': 'rle_encode rle_decode encode_labels encode_mask write_submission '
    'read_submission check_submission score_submission',
    'run': 'run_pipeline main',
    'scale': 'run_sweep show_sweep compare_runs predict fine_tune',
    'photographs': 'find_photographs Predictor predict',
    'report': 'write_report',
}


@pytest.fixture(scope='module')
def heavy_after():
    "The heavy packages that one fresh process holds after each import, module -> names, in order."
    code = 'import importlib, sys\nfor name in sys.argv[1:]:\n'
    code += '    importlib.import_module(f"voc_cv.{name}")\n    print(name, *sys.modules)'
    done = run(sys.executable, '-c', code, *LIGHT, 'nets', 'attack')
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: {*modules} & {*FRAMEWORKS, *PLOTS} for name, *modules in lines}


@pytest.mark.parametrize('module', LIGHT)
def test_light_modules_load_no_framework_and_no_plots(module, heavy_after):
    "Else who draws a toy or reads a mask waits seconds for frameworks."
    assert not heavy_after[module], 'or one that was imported before it'


def test_nets_and_attack_load_torch_but_not_keras(heavy_after):
    "Else attacks and backbones need tensorflow to be installed."
    for module in ('nets', 'attack'):
        assert heavy_after[module] & {*FRAMEWORKS} == {'torch'}


def test_every_module_has_its_row():
    "Else a new module's imports are watched by nobody."
    assert {p.stem for p in ROOT.glob('voc_cv/[a-z]*.py')} == {*ROOMS}


@pytest.mark.parametrize('module', ROOMS)
def test_imports_run_downward_only(module):
    "Else rooms import each other in a ring, and none can be read alone."
    tree = ast.parse((ROOT / f'voc_cv/{module}.py').read_text())
    top = {n.module for n in tree.body if isinstance(n, ast.ImportFrom) and n.level == 1}
    anywhere = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level == 1}
    assert top <= {*ROOMS[module]}
    assert anywhere <= {*ROOMS[module]} | LATER.get(module, set())


@pytest.mark.parametrize('module', PROMISED)
def test_promised_names_are_importable(module):
    "Else code that others have written against the library breaks."
    there = importlib.import_module(f'voc_cv.{module}')
    assert not [name for name in PROMISED[module].split() if not hasattr(there, name)]
