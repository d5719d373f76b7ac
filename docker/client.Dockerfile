# crosslens as a client, for `crosslens sync` and every other command, from a checkout of this repository:
#   docker build -f docker/client.Dockerfile -t crosslens .
#   docker run --rm -e ELASTICSEARCH_URL -e ELASTICSEARCH_API_KEY \
#       -v "$PWD/sync.toml:/etc/crosslens/sync.toml:ro" -v "$PWD/models:/models:ro" crosslens
# It encodes on the processor, runs as a user without rights, and needs nothing writable but its cache.

# To build from a base image that can't change, name it by digest:
#   docker build ... --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:DIGEST .
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY plugin plugin
COPY ingest ingest
COPY queries queries
# The environment is all that the image takes from here.
RUN python -m venv /opt/crosslens \
    && /opt/crosslens/bin/pip install --no-cache-dir --disable-pip-version-check '.[sync]' \
    && rm -rf /opt/crosslens/lib/python3*/site-packages/pip

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --home-dir /var/lib/crosslens --create-home crosslens
COPY --from=build /opt/crosslens /opt/crosslens
ENV PATH=/opt/crosslens/bin:$PATH \
    CROSSLENS_CACHE=/var/lib/crosslens/cache \
    CROSSLENS_DATA=/var/lib/crosslens/data \
    CROSSLENS_LOG_FORMAT=json \
    CROSSLENS_SYNC=/etc/crosslens/sync.toml \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/crosslens
EXPOSE 9464
# Wherever the file says to listen, it is reached from here by the loopback address.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
# The command is the first process, so SIGTERM and SIGHUP reach it.
ENTRYPOINT ["crosslens"]
CMD ["sync"]
