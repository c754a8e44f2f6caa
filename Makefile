# make demo and make test do everything on a fresh machine: the virtual environment, the packages, then their job.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

DATA ?= test_img/sample

TESTS ?= tests
SETTINGS ?= OMP_NUM_THREADS=1 OMP_NUM_THREADS=4 ONEDNN_MAX_CPU_ISA=AVX2 ONEDNN_MAX_CPU_ISA=AVX512_CORE \
	ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=generic

.PHONY: help demo train-demo test test-all test-settings test-gpu bench samples web app clean

help:
	@echo "make demo      fuse the sample pairs with every method and compare (results/demo/index.html)"
	@echo "make app       a page in the browser: drop two pictures on it, compare methods"
	@echo "make train-demo [DATA=folder]  train a network on the folder's ir/ and vi/ (three minutes), fuse them, compare"
	@echo "make test      style and tests, a few minutes"
	@echo "make test-all  the slow tests too"
	@echo "make test-settings [TESTS=folders]  the tests as on other processors, one line a setting (an hour)"
	@echo "make test-gpu  the tests that need an NVIDIA GPU"
	@echo "make bench     every benchmark"
	@echo "make web       a page that fuses in the browser (web/index.html); needs npm"
	@echo "make samples   render the sample pairs again"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Setting up $(VENV) (once; PyTorch is large: some minutes)"
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -e '.[test,onnx,bench]'
	@touch $@

demo: $(READY)
	$(BIN)/python test.py -opt configs/demo.yml

train-demo: $(READY)
	$(BIN)/python scripts/make_patches.py $(DATA) -o data/train_demo.h5 --stride 100 --force
	rm -rf runs/train_demo
	$(BIN)/python train.py -opt configs/train_demo.yml
	$(BIN)/python test.py -opt configs/demo.yml out=results/train_demo 'datasets=[{name: own, root: $(DATA)}]' \
		'models=[{name: swift, weights: models/train_demo.safetensors}, {name: cpfusion}, {name: average}, {name: maximum}]'

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not cuda"

test-all: $(READY)
	$(BIN)/python -m pytest

# A line a setting: the setting, what passed, failed and was skipped, seconds. Whole logs: results/settings/.
test-settings: $(READY)
	@mkdir -p results/settings; worst=0; \
	for setting in $(SETTINGS); do \
		log=results/settings/$$setting.log; \
		env OMP_NUM_THREADS=1 $$setting $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not cuda" $(TESTS) \
			>$$log 2>&1 || worst=1; \
		printf '%-32s %s\n' $$setting "$$(tail -n 1 $$log)"; \
	done; exit $$worst

test-gpu: $(READY)
	@$(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || \
		{ echo "PyTorch sees no GPU here"; exit 1; }
	$(BIN)/python -m pytest -m cuda

bench: $(READY)
	$(BIN)/python scripts/benchmark.py loader
	$(BIN)/python scripts/benchmark.py metrics
	$(BIN)/python scripts/benchmark.py infer
	$(BIN)/python scripts/benchmark.py train

web: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[onnx]'
	$(BIN)/python scripts/export_page.py -o web

app: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[app]'
	$(BIN)/python scripts/app.py

samples: $(READY)
	$(BIN)/python scripts/make_samples.py

clean:
	rm -rf $(VENV) results
