# make demo   install, find spots in an example image, say where the result is
# make test   install and run all tests
# make check  lint, types, known vulnerabilities of the dependencies
# make fuzz    damaged files through every reader, a minute each, at random and (where atheris
#             installs) guided by the code that they reach; SECONDS=600 for longer
# make fuzz-core   odd arrays through the C++ functions by libFuzzer (clang++), a million; RUNS=10000000 for more
# make docs   build the documentation site into build/docs; a warning is an error
# make mutants  change the code in thousands of small ways; count which no test notices (hours)
# make wheel  build source and wheel; use the wheel in an empty environment without a compiler
# make release VERSION=0.2.0   set the version, run all checks, commit and tag
# make sanitize   the extension's tests under address and undefined-behaviour sanitizers
# make threads    its functions in several threads under ThreadSanitizer
PYTHON ?= python3
WERROR ?= OFF
BIN := .venv/bin
SOURCES := pyproject.toml CMakeLists.txt $(wildcard csrc/*)

.PHONY: demo test check fuzz fuzz-core mutants sanitize threads docs wheel release clean

demo: .venv/installed
	$(BIN)/blinkcore predict examples/cells.tif -o demo --overlay demo
	@echo "Spots:   demo/cells.csv"
	@echo "Picture: demo/cells.overlay.png"

# One process a core, each with one thread of PyTorch.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror csrc/*.cpp csrc/*.hpp tests/*.cpp
	$(BIN)/mypy
	! command -v cppcheck >/dev/null || cppcheck -q --error-exitcode=1 --std=c++17 \
	  --enable=warning,performance,portability --suppress=missingIncludeSystem -I csrc csrc/*.cpp
	$(BIN)/pip install -q --group audit
	$(BIN)/python packaging/audit.py

SECONDS ?= 60
fuzz: .venv/dev
	$(BIN)/python tests/fuzz.py --seconds $(SECONDS)
	-$(BIN)/pip install -q --group fuzz
	! $(BIN)/python -c "import atheris" 2>/dev/null || \
	  $(BIN)/python tests/fuzz_guided.py --seconds $(SECONDS)

CORE := $(filter-out csrc/module.cpp,$(wildcard csrc/*.cpp)) tests/fuzz_core.cpp
CORE_FLAGS := -std=c++17 -g -O1 -pthread -I csrc
RUNS ?= 1000000
fuzz-core:
	mkdir -p build/corpus
	clang++ $(CORE_FLAGS) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
	  $(CORE) -o build/fuzz_core
	build/fuzz_core build/corpus -runs=$(RUNS) -max_len=600 -artifact_prefix=build/ -verbosity=0

# On some kernels ThreadSanitizer cannot place its memory; that says nothing about the code.
MAPPING := FATAL: ThreadSanitizer: unexpected memory mapping
threads:
	mkdir -p build
	$(CXX) $(CORE_FLAGS) -fsanitize=thread -DBLINKCORE_THREADS $(CORE) -o build/threads
	build/threads 2> build/threads.log || { cat build/threads.log; grep -q "$(MAPPING)" build/threads.log; }

# In a copy, because mutmut works in the folder that it is started in. MUTANTS="blinkcore.batch*"
# looks at a part. `results` lists the survivors, `show NAME` one of them.
MUTMUT = cd build/mutants && OMP_NUM_THREADS=1 \
  PYTHONPATH="$$(../../$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
  ../../$(BIN)/python -S -m mutmut
mutants: .venv/dev
	$(BIN)/pip install -q --group mutants
	rm -rf build/mutants && mkdir -p build/mutants
	cp -r tests examples pyproject.toml build/mutants
	$(BIN)/pip install -q --no-deps --target build/mutants/src .
	$(MUTMUT) run $(MUTANTS)
	$(MUTMUT) results --all true | sed 's/.*: //' | sort | uniq -c

# Without -S the editable install would be found before the sanitized one.
sanitize: .venv/dev
	$(BIN)/pip install -q --no-deps --upgrade --target build/sanitized \
	  -C build-dir=build/sanitize -C cmake.define.BLINKCORE_SANITIZE=ON .
	ASAN_OPTIONS=detect_leaks=0 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	PYTHONPATH="build/sanitized:$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
	$(BIN)/python -S -m pytest -p no:cacheprovider -m "not slow" \
	  tests/test_grid.py tests/test_scores.py tests/test_refine.py tests/test_fit.py

docs: .venv/installed
	$(BIN)/pip install -q --group docs
	$(BIN)/python -m sphinx -W --keep-going -q docs build/docs
	@echo "Site: build/docs/index.html"

wheel: .venv/dev
	rm -rf dist && $(BIN)/python -m build
	$(BIN)/python packaging/check_wheel.py dist/*.whl

release: .venv/dev
	git diff --quiet HEAD  # nothing else may go into the commit
	$(BIN)/python packaging/release.py $(VERSION)
	$(MAKE) check test wheel  # if one fails: git checkout . and again
	git commit -am "Version $(VERSION)" && git tag v$(VERSION)
	@echo "Now: git push && git push origin v$(VERSION)"

clean:
	rm -rf .venv build dist demo

.venv/installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade "pip>=25.1"
	$(BIN)/pip install -q -C cmake.define.BLINKCORE_WERROR=$(WERROR) -e .
	$(BIN)/python -m compileall -q src/blinkcore  # or each start compiles, where Python may not cache
	touch $@

.venv/dev: .venv/installed
	$(BIN)/pip install -q --group dev
	touch $@
