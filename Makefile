# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3
CORE := .venv
FULL := .venv-test
LOWEST := .venv-lowest
PIP := --disable-pip-version-check --quiet
comma := ,
EXTRAS := train,explain,search,serve,tensorboard,data,dlib,report
# What `make test-lowest` runs: every part of the package, and one run from training to the exported file.
SHORT := tests/assets tests/datasets tests/expression tests/faces tests/media tests/models tests/output \
  tests/test_analyzer.py tests/test_emotions.py tests/test_errors.py tests/test_public.py tests/test_result_types.py \
  tests/test_whole_way.py tests/training/test_quantize.py

.PHONY: demo test test-long test-lowest check soak clean help

help:
	@echo "make demo         install the light core and analyze a photograph"
	@echo "make test         install everything and run all tests but the long ones"
	@echo "make test-long    the tests that take minutes each"
	@echo "make test-lowest  a selection of the tests on the lowest declared versions of every dependency"
	@echo "make check        ruff, mypy, import-linter, the structure of the source and its names"
	@echo "make soak         the server under load for a minute; then the long measurements (needs ../shared/data)"
	@echo "make clean        remove the files that these commands create"

# The core alone, from the wheel that users would get.
$(CORE)/.ready: pyproject.toml $(shell find src -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/pip install $(PIP) --force-reinstall --no-deps .
	$(CORE)/bin/pip install $(PIP) .
	@touch $@

# Everything, editable; OpenCV 4 in a folder of its own, for the detectors that OpenCV 5 has dropped; and a browser. Tests of the page in
# the browser alone fetch its runtime with npm, once, or take it from MIEN_WEB_RUNTIME.
$(FULL)/.ready: pyproject.toml constraints.txt scripts/install_chromium.sh
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/pip install $(PIP) -c constraints.txt -e '.[$(EXTRAS),test,check]'
	$(FULL)/bin/pip install $(PIP) --no-deps --upgrade --target $(FULL)/opencv4 'opencv-python-headless<5'
	scripts/install_chromium.sh $(FULL)/bin/python
	@touch $@

# The lowest versions: uv makes the list, pip installs it (uv would fetch PyTorch's builds for graphics cards).
$(LOWEST)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install $(PIP) uv
	$(LOWEST)/bin/uv pip compile --quiet --native-tls --resolution lowest-direct --python $(LOWEST)/bin/python \
	  $(patsubst %,--extra %,$(subst $(comma), ,$(EXTRAS))) --no-header --no-annotate -c constraints.txt pyproject.toml -o $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install $(PIP) -c $(LOWEST)/lowest.txt -e '.[$(EXTRAS),test]'
	@touch $@

demo: $(CORE)/.ready
	@mkdir -p demo
	$(CORE)/bin/mien analyze examples/astronaut.jpg --annotate demo --table demo/astronaut.csv
	@echo "look at demo/astronaut.annotated.jpg"

test: $(CORE)/.ready $(FULL)/.ready
	OMP_NUM_THREADS=1 MIEN_CORE_PYTHON=$(CURDIR)/$(CORE)/bin/python MIEN_OPENCV4=$(CURDIR)/$(FULL)/opencv4 \
	  $(FULL)/bin/python -m pytest -n 2 --dist worksteal -m 'not long'

test-long: $(CORE)/.ready $(FULL)/.ready
	OMP_NUM_THREADS=1 MIEN_CORE_PYTHON=$(CURDIR)/$(CORE)/bin/python MIEN_OPENCV4=$(CURDIR)/$(FULL)/opencv4 \
	  $(FULL)/bin/python -m pytest -n 2 --dist worksteal -m long

test-lowest: $(LOWEST)/.ready
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -n 2 --dist worksteal -m 'not long' $(SHORT)

check: $(FULL)/.ready
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy
	$(FULL)/bin/lint-imports
	$(FULL)/bin/python -m pytest --quiet tests/test_structure.py tests/test_names.py

soak: $(CORE)/.ready $(FULL)/.ready
	$(FULL)/bin/python -m benchmarks.server --soak
	$(FULL)/bin/python -m benchmarks.soak

clean:
	rm -rf $(CORE) $(FULL) $(LOWEST) demo build dist
