# syntax=docker/dockerfile:1
# The server in a container. Building needs the package index; running needs no network but that of its clients.
#
#   docker build -t mien .
#   openssl rand -hex 32 > keys.txt
#   docker run --rm -p 8000:8000 --read-only --tmpfs /tmp -v "$PWD/keys.txt:/run/secrets/mien-keys:ro" mien

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /opt/mien && /opt/mien/bin/pip install --no-cache-dir '.[serve]'

FROM python:3.12-slim
RUN useradd --system --no-create-home --uid 10001 mien
COPY --from=build /opt/mien /opt/mien
ENV PATH=/opt/mien/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MIEN_CACHE=/tmp/mien
USER 10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["mien", "serve", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/mien-keys"]
