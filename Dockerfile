# One image with the three daemons and seckillctl; the command says which one runs.
#
#   docker build -t seckill --build-arg VERSION="$(git describe --always)" .
#   docker run --rm seckill seckill-matcher --help
#
# Runs as a number and not as a name, so that Kubernetes can check that it is not root, and writes
# nothing, so the root file system may be read-only.  Settings come from SECKILL_ variables and
# from a file (SECKILL_CONFIG), secrets from files (SECKILL_TOKEN_SECRET_FILE and so on).
ARG BASE=debian:bookworm-slim

FROM $BASE AS build
WORKDIR /src
# The list of what a build needs is the script's; only a change of it repeats this layer.
COPY tools/deps.sh tools/
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && tools/deps.sh build \
    && rm -rf /var/lib/apt/lists/*
COPY . .
ARG VERSION=unknown
RUN make -j"$(nproc)" DEPS=0 VERSION="$VERSION" DESTDIR=/out PREFIX=/usr/local install

FROM $BASE
# libmariadb3 brings the plugins of caching_sha2_password, MySQL's default way to log in;
# ca-certificates is for brokers behind TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libevent-2.1-7 libhiredis0.14 \
        libjansson4 libmariadb3 librdkafka1 libssl3 libxxhash0 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/usr/local/bin/seckill* /usr/local/bin/
# A library that is missing fails the build and not the first start.
RUN for program in seckill-producer seckill-matcher seckill-guardian seckillctl; do \
        "$program" --version || exit 1; \
    done
ARG VERSION=unknown
LABEL org.opencontainers.image.title="seckill" \
      org.opencontainers.image.description="Flash-sale order pipeline on Kafka, Redis and MySQL" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"
USER 10001:10001
WORKDIR /
STOPSIGNAL SIGTERM
# 8080: the producer's door; 9100: /metrics of each, where SECKILL_METRICS_LISTEN says so.
EXPOSE 8080 9100
CMD ["seckill-producer"]
