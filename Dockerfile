# The app and all programs.
#   docker build -t ir-vis-fusion .
#   docker run --rm -p 127.0.0.1:7860:7860 ir-vis-fusion                            the app: http://127.0.0.1:7860
#   docker run --rm -v "$PWD:/work" ir-vis-fusion fuse ir/ vis/ -o fused/           any program (`irvis`)
#   docker build --target test -t ir-vis-fusion-test . && docker run --rm ir-vis-fusion-test
# For NVIDIA GPUs: docker build --build-arg TORCH="torch torchvision" ..., and docker run --gpus all ...

FROM debian:bookworm-slim AS base

# libgl1 and libglib2.0-0: opencv-python wants a desktop's libraries
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/numba

# PyTorch for CPUs alone; both packages from one index, for torchvision fits one torch only
ARG TORCH="torch torchvision --index-url https://download.pytorch.org/whl/cpu"
RUN pip install --no-cache-dir $TORCH

WORKDIR /opt/fusion
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY pyproject.toml setup.py README.md LICENSE train.py test.py ./
COPY fusion fusion
COPY configs configs
COPY scripts scripts
COPY models models
COPY test_img test_img
RUN pip install --no-cache-dir -e '.[app,medical,onnx]'

FROM base AS test
COPY . .
RUN pip install --no-cache-dir -e '.[test]'
CMD ["python", "-m", "pytest", "-m", "not slow and not cuda", "-p", "no:cacheprovider"]

FROM base
RUN useradd --create-home fusion && mkdir /work && chown fusion /work
USER fusion
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["irvis"]
CMD ["app", "--host", "0.0.0.0", "--port", "7860"]
