# The gateway under one user, for a lab or a container platform.
FROM debian:12-slim

RUN apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3 python3-venv softhsm2 \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/smime-gateway
COPY requirements.lock ./
COPY deploy/setup ./deploy/setup
RUN deploy/setup runtime
COPY gateway ./gateway

RUN useradd --system --home-dir /var/lib/smime-gateway --create-home smime-gateway \
 && install -d -o smime-gateway -m 0750 /run/smime-gateway
USER smime-gateway
VOLUME ["/etc/smime-gateway", "/var/lib/smime-gateway"]
EXPOSE 25 465 9464
ENTRYPOINT ["/opt/smime-gateway/.venv/bin/smime-gateway"]
CMD ["run"]
