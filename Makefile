# make run                          the whole pipeline on built-in toy images
# make run DATA=folder              the same on a VOCdevkit or contest folder
# make run DATA=folder segmenter=M detector=D  with pretrained models: hub ids or local folders (a detector also as .onnx)
# make test                         everything that CI checks
# make soak                         kills, full disks, hostile and random files, a quarter of an hour
# make setup                        .venv with everything in it, 80 seconds to three minutes
# make lint                         its quick part: form, lint and types, half a minute
# make lab                          the notebooks in JupyterLab
# make site                         the site of all notebooks, guides and modules, in build/site/html

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

# values reach the shell as variables of its own, never as text of the command
run: export RUN_DATA = $(value DATA)
run: export RUN_PARAMS = $(value PARAMS)
run: export RUN_OUT = $(value OUT)
run: export RUN_SEGMENTER = $(value segmenter)
run: export RUN_DETECTOR = $(value detector)
run: $(VENV)/ready
	$(BIN)/voc_cv run $${RUN_DATA:+--root "$$RUN_DATA"} $${RUN_PARAMS:+--params "$$RUN_PARAMS"} $${RUN_OUT:+--out "$$RUN_OUT"} $${RUN_SEGMENTER:+-p "segmenter=$$RUN_SEGMENTER"} $${RUN_DETECTOR:+-p "detector=$$RUN_DETECTOR"} $(ARGS)

test: $(VENV)/ready
	$(BIN)/python -m pytest tests -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(VENV)/ready

lint: $(VENV)/ready
	$(BIN)/python -m pytest tests/test_form.py -q $(ARGS)

soak: $(VENV)/ready
	$(BIN)/python tests/soak.py $(ARGS)

lab: $(VENV)/ready
	$(BIN)/jupyter trust nbs/*.ipynb  # else the lab shows none of their SVG figures
	mkdir -p $(VENV)/share/jupyter/lab/settings
	cp docs/lab/overrides.json $(VENV)/share/jupyter/lab/settings/  # no question about news
	$(BIN)/jupyter lab nbs

site: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -r docs/requirements.txt -c requirements.lock
	$(BIN)/python docs/site/build.py $(ARGS)

# what a commit needs: modules, clean notebooks and README made from the notebooks
export: $(VENV)/ready
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/jupyter nbconvert --log-level=ERROR --to markdown nbs/index.ipynb --output-dir . --output README --NbConvertApp.output_files_dir=docs
	awk '/^```/ { if (++fences % 2 && $$0 == "```") $$0 = "```python" } 1' README.md > README.md.part && mv README.md.part README.md

bench: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --no-deps -r bench/requirements.txt
	for b in bench/bench_*.py; do $(BIN)/python $$b || exit 1; done

$(VENV)/ready: requirements.lock settings.ini setup.py
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and 'voc_cv needs Python 3.11 to 3.13, $(PYTHON) is ' + sys.version.split()[0] + '; name another one: make PYTHON=python3.12')"
	@echo 'Setting up $(VENV) from requirements.lock: about 180 packages, a few minutes ...'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile -r requirements.lock  # what is imported is compiled then
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps -e .  # setuptools warns of every editable one
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info

.PHONY: run test setup soak lint lab site export bench clean
