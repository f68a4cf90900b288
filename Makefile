# Everything starts here: `make help`. The first target that needs it makes .venv (lmlib/bootstrap.py); later it is there at once.

PYTHON ?= python3
UV ?= uv
PROFILE ?= quick
NOTEBOOKS ?=
BENCH ?=
RUN = .venv/bin/python

# What is tested, recorded or timed must not depend on the number of cores.
test soak reproduce vectors classifiers language-models bench: export LMLIB_REPRODUCIBLE = 1

.PHONY: help setup reproduce test soak lab vectors classifiers language-models bench peers kenlm lock lint clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo '  make reproduce PROFILE=quick|real|paper NOTEBOOKS="02 03" RECORD=1   (RECORD=1 replaces what is committed)'
	@echo '  make bench BENCH=word2vec              make setup PYTHON=python3.12'

setup:  ## make .venv from requirements.lock (once)
	@$(PYTHON) -I lmlib/bootstrap.py

reproduce: setup  ## run the notebooks and compare their tables with results/
	@$(RUN) -m lmlib.record.reproduce --profile $(PROFILE) $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)") $(if $(filter 1,$(RECORD)),--record)

test: setup  ## run the tests (real corpora too, if LMLIB_DATA names their folder)
	@$(RUN) -m pytest -q

soak: setup  ## run the long tests
	@$(RUN) -m pytest -q --soak -m soak

lab: setup  ## open JupyterLab on notebooks/
	@$(RUN) -m jupyterlab notebooks --ContentsManager.allow_hidden=True  # the twins lie in .src, and are read with their notebooks

# method:preset of arguments, dimension and seed of each run; a finished run is left as it is, an unfinished one goes on.
VECTORS = word2vec:sgns cbow:cbow hierarchical:hs glove:glove fasttext:fasttext ppmi:ppmi
vectors: setup  ## train the word vectors that results/ compares: three seeds of each method, 100 and 300 dimensions (an hour)
	@for seed in 1 2 3; do for dimension in 100 300; do for named in $(VECTORS); do \
	  method=$${named%%:*} name=$${named#*:}_$$dimension; \
	  if [ $$method = ppmi ] && [ $$seed != 1 ]; then continue; fi; \
	  $(RUN) -m lmlib train $$method --corpus enwiki-2018-slice --dimension $$dimension --seed $$seed --format word2vec-binary \
	    --claim enwiki_$$name --out results/real/word_vectors/$$name-$$seed || exit; \
	done; done; done
	@for seed in 1 2 3; do \
	  $(RUN) -m lmlib train word2vec --corpus online-shopping-10-cats --normalisation lower --segmentation cjk --phrases 10 30 --epochs 15 \
	    --seed $$seed --format word2vec-binary --claim shopping_sgns_100 --out results/real/word_vectors/shopping_sgns_100-$$seed || exit; \
	done

# corpus and what else is given
LABELLED = ag-news-test rotten-tomatoes-mr sms-spam trec-qc "imdb --only logistic" "chnsenticorp-htl --only logistic --segmentation cjk"
classifiers: setup  ## fastText's classifier beside logistic regression, and nets on IMDb, into results/ (hours)
	@for given in $(LABELLED); do set -- $$given; \
	  $(RUN) -m lmlib classify --corpus $$given --claim $$1 --out results/real/text_classifiers/$$1 || exit; \
	done
	@for net in lstm_100 lstm cnn; do \
	  $(RUN) -m lmlib classify --corpus imdb --net $$net --claim imdb_$$net --out results/real/text_classifiers/imdb_$$net || exit; \
	done

# corpus preset claim seed
LANGUAGE_MODELS = "tiny-shakespeare shakespeare_chars shakespeare_lstm 1" "ptb ptb_small ptb_lstm_small 1" \
	"ptb ptb_small ptb_lstm_small 2" "ptb ptb_small ptb_lstm_small 3" "wikitext-2 wikitext2_small wikitext2_lstm 1"
language-models: setup  ## train the language models of published recipes, into results/ (hours)
	@for run in $(LANGUAGE_MODELS); do set -- $$run; \
	  $(RUN) -m lmlib train lm --corpus $$1 --preset $$2 --claim $$3 --seed $$4 --out results/real/language_models/$$2-$$4 || exit; \
	done

bench: setup peers  ## time lmlib and its peers in turn, into results/benchmarks/
	@$(RUN) -m tests.benchmarks $(BENCH)

peers:  ## make .venv-peers, what the benchmarks compare with
	@$(PYTHON) -I lmlib/bootstrap.py --venv .venv-peers --lock tests/benchmarks/peers.lock --bare

kenlm: peers  ## add KenLM to .venv-peers for BENCH=ngram: there is only source, so it needs a C++ compiler and cmake
	@.venv-peers/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/benchmarks/kenlm.lock

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

lock:  ## resolve both locks after a change of ranges (needs uv; remove a lock first to move to the newest versions)
	echo 'jax==0.10.2' | $(COMPILE) --extra dev --constraint /dev/stdin pyproject.toml -o requirements.lock
	$(COMPILE) tests/benchmarks/peers.in -o tests/benchmarks/peers.lock
	echo 'kenlm==0.3.0' | $(COMPILE) - -o tests/benchmarks/kenlm.lock

lint: setup  ## ruff over code and notebooks
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

clean:  ## remove environments and caches; runs/ and results/ stay
	rm -rf .venv .venv-peers .venv.lock .venv-peers.lock build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
