# Two commands are all a newcomer needs: `make demo` and `make test`. Each sets up what it needs, once.
PYTHON ?= python3
CORE := .venv
FULL := .venv-test
PIP := --disable-pip-version-check --quiet

.PHONY: demo test check soak clean help

help:
	@echo "make demo   install the light core and read the emotions of an astronaut"
	@echo "make test   install everything and run all tests"
	@echo "make check  ruff, mypy, import-linter"
	@echo "make soak   the long measurements (needs ../shared/data)"
	@echo "make clean  remove what the above made"

# The reading flow alone, from the wheel that users would get.
$(CORE)/.ready: pyproject.toml $(shell find src -type f -not -name '*.pyc')
	$(PYTHON) -m venv $(CORE)
	$(CORE)/bin/pip install $(PIP) --force-reinstall --no-deps .
	$(CORE)/bin/pip install $(PIP) .
	@touch $@

# Everything, editable; and OpenCV 4 aside, for the detectors that OpenCV 5 has dropped.
$(FULL)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/pip install $(PIP) -c constraints.txt -e '.[train,search,tensorboard,data,dlib,report,test,check]'
	$(FULL)/bin/pip install $(PIP) --no-deps --upgrade --target $(FULL)/opencv4 'opencv-python-headless<5'
	@touch $@

demo: $(CORE)/.ready
	@mkdir -p demo
	$(CORE)/bin/mien analyze examples/astronaut.jpg --annotate demo --table demo/astronaut.csv
	@echo "look at demo/astronaut.annotated.jpg"

test: $(CORE)/.ready $(FULL)/.ready
	OMP_NUM_THREADS=1 MIEN_CORE_PYTHON=$(CURDIR)/$(CORE)/bin/python MIEN_OPENCV4=$(CURDIR)/$(FULL)/opencv4 \
	  $(FULL)/bin/python -m pytest -n 2

check: $(FULL)/.ready
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy
	$(FULL)/bin/lint-imports

soak: $(CORE)/.ready $(FULL)/.ready
	$(FULL)/bin/python -m benchmarks.soak

clean:
	rm -rf $(CORE) $(FULL) demo build dist
