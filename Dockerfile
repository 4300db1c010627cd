# One image for the four services and the command. Built in one stage, run from a slim one without a compiler.
FROM debian:12-slim AS build
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      gcc libc6-dev make pkg-config ca-certificates python3 \
      libzmq3-dev libczmq-dev libsqlite3-dev libmsgpack-dev libcurl4-openssl-dev libmicrohttpd-dev \
      libzstd-dev libjansson-dev libyajl-dev zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make -j"$(nproc)" all && make install prefix=/usr/local DESTDIR=/out

FROM debian:12-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates tzdata libzmq5 libczmq4 libsqlite3-0 libmsgpackc2 libcurl4 libmicrohttpd12 \
      libzstd1 libjansson4 libyajl2 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/stint --shell /usr/sbin/nologin stint \
 && install -d -o stint -g stint -m 700 /var/lib/stint
COPY --from=build /out/usr/local /usr/local
USER stint
WORKDIR /var/lib/stint
VOLUME /var/lib/stint
# The services stop on SIGTERM; a worker may drain for a minute (stop_grace_period in compose.yml).
STOPSIGNAL SIGTERM
CMD ["stint", "help"]
