FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile image --locked --bin tessera

FROM debian:bookworm-slim
# The server for the embedded database; its package shall not make a cluster of its own.
RUN apt-get update \
    && apt-get install -y --no-install-recommends postgresql-common \
    && echo 'create_main_cluster = false' >> /etc/postgresql-common/createcluster.conf \
    && apt-get install -y --no-install-recommends postgresql-15 \
    && rm -rf /var/lib/apt/lists/*
# PostgreSQL needs a user with a name, and refuses root.
RUN useradd --system --uid 10001 --user-group --no-create-home tessera \
    && install -d -o tessera -g tessera -m 0750 /data
COPY --from=build /src/target/image/tessera /usr/local/bin/tessera
COPY creatives /srv/tessera/creatives
WORKDIR /srv/tessera
USER tessera
ENV TESSERA_BIND=0.0.0.0:8080 \
    TESSERA_DATA=/data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["tessera", "healthcheck"]
# Say where browsers reach it (TESSERA_PUBLIC_URL), else beacons are addressed to 0.0.0.0.
# The orderly stop of the embedded database may take half a minute: `docker stop --time 40`.
ENTRYPOINT ["tessera"]
