# Everything lives in .venv; the stamp says that it is complete and newer than pyproject.toml.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
PARITY := $(VENV)/.parity
DOCS := $(VENV)/.docs
# Packages of LVIS, Cityscapes, TIDE and SAHI, without what they bring (such as an opencv-python that
# wants a display).
EVALUATION := lvis==0.5.3 cityscapesscripts==2.3.0 pyquaternion==0.9.9 tidecv==1.0.1 sahi==0.12.8
MMDETECTION := mmdet==3.3.0 mmcv-lite==2.1.0 mmengine==0.10.7
DETECTRON2 ?=
ARGS ?=

.PHONY: help setup quickstart test compare matrix fuzz soak docs lint format doctor clean

help: ## list the targets
	@echo 'make TARGET [PYTHON=python3.12] [ARGS="options for the command"], where TARGET is'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## create .venv with all that is needed; DETECTRON2=SPEC: with that Detectron2

quickstart: $(STAMP) ## train Mask R-CNN on generated images, on a CPU or a GPU
	$(VENV)/bin/python train_net.py --config-file quickstart/mask_rcnn.yaml $(ARGS)

test: $(PARITY) ## run all tests, with mmdetection to compare with where it can be installed
	$(VENV)/bin/python -m pytest -n auto --dist loadfile $(ARGS)

compare: $(STAMP) ## train HRNetV2p and ResNet-FPN on the same images, three seeds each
	$(VENV)/bin/python -m tools.compare $(ARGS)

matrix: $(STAMP) ## train every kind of detector on the quickstart's images: about an hour
	$(VENV)/bin/python -m tools.matrix $(ARGS)

fuzz: $(STAMP) ## read damaged jsons, weights, images and configs for three minutes
	$(VENV)/bin/python -m tools.fuzz $(ARGS)

soak: $(STAMP) ## train 2,000 tiny iterations and read a json of 100,000 images: memory, open files
	$(VENV)/bin/python -m tools.soak $(ARGS)
	$(VENV)/bin/python -m tools.soak --json 100000 --workers 2

docs: $(DOCS) ## build the documentation into output/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict $(ARGS)

lint: $(STAMP) ## check the formatting and the code
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(STAMP) ## format the code and fix what can be fixed
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

doctor: $(STAMP) ## say what is installed, what is missing, and how to get it
	$(VENV)/bin/hrnet-det doctor

clean: ## remove caches and built packages; .venv, datasets/ and output/ stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Asked for another Detectron2, it is installed whether or not the stamp is there.
ifneq ($(strip $(DETECTRON2)),)
.PHONY: $(STAMP)
FROM = --from='$(strip $(DETECTRON2))'
endif

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
	  echo "Python 3.10 or newer is needed; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || true). Next step: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. Next step: install it (Debian and Ubuntu:" \
	    "apt install python3-venv), or name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -e '.[dev]'
	$(VENV)/bin/python -m pip install --no-deps $(EVALUATION)
	$(VENV)/bin/hrnet-det install-detectron2 $(FROM)
	@touch $@

# Where CI is set, nothing may be left uncompared.
$(PARITY): $(STAMP)
	@{ $(VENV)/bin/python -m pip install -q -e '.[parity]' && \
	  $(VENV)/bin/python -m pip install -q --no-deps $(MMDETECTION); } || { \
	  echo "mmdetection cannot be installed here: the tests that compare with it are skipped" >&2; \
	  test -z "$$CI"; }
	@touch $@

$(DOCS): $(STAMP)
	$(VENV)/bin/python -m pip install -q -e '.[docs]'
	@touch $@
