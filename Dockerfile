# syntax=docker/dockerfile:1
#
#   docker build -t nextround .                                    torch from the default index: CUDA
#   docker build -t nextround --build-arg TORCH_INDEX=ADDRESS .    from PyTorch's index of CPU builds,
#                                                                  about 3 GB less (see the README)
#
# torch comes first, from the index that has the right build of it. Everything else is what
# requirements.lock says, to the byte.

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/nextround
ENV PATH=/opt/nextround/bin:$PATH
WORKDIR /build
COPY requirements.lock .
RUN pip install "$(grep '^torch==' requirements.lock)" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"}
RUN grep -v '^torch==' requirements.lock > rest.txt \
    && pip install --require-hashes --no-deps -r rest.txt
COPY pyproject.toml README.md ./
COPY service service
COPY models models
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim
RUN useradd --system --uid 10001 --create-home nextround \
    && mkdir /data /artifacts \
    && chown nextround: /data /artifacts
COPY --from=build /opt/nextround /opt/nextround
ENV PATH=/opt/nextround/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEXTROUND_HOST=0.0.0.0 \
    NEXTROUND_DATA_DIR=/data
USER nextround
WORKDIR /data
VOLUME ["/data", "/artifacts"]
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["nextround"]
CMD ["serve"]
