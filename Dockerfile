# Any image with glibc and Python >= 3.11 with venv, where the default cannot be had.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
ENV UV_PROJECT_ENVIRONMENT=/opt/hubquota UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY hub_hook/pyproject.toml hub_hook/
# What changes seldom first, so that a change of the code builds in seconds.
RUN /opt/uv/bin/uv sync --locked --no-dev --extra operator --no-install-workspace
COPY README.md LICENSE ./
COPY operator operator
RUN /opt/uv/bin/uv sync --locked --no-dev --extra operator --no-editable

FROM ${PYTHON_IMAGE}
ARG VERSION=unknown
LABEL org.opencontainers.image.title="hubquota" \
      org.opencontainers.image.description="Quotas over time for JupyterHub on Kubernetes" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/hubquota /opt/hubquota
# The bytecode is there, and the root filesystem may be read-only.
ENV PATH=/opt/hubquota/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN install -d -o 65532 -g 65532 /var/lib/hubquota
WORKDIR /var/lib/hubquota
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
ENTRYPOINT ["hubquota"]
