#!/usr/bin/env bash
# Gets what judges sinks and API in the tests, into cargo's folder for them: the
# OCSF schema, OpenTelemetry's protobufs, parsers of CEF and OpenMetrics and
# schemathesis from PyPI,
# and syslog-ng, whose package excludes rsyslog's, unpacked aside.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
into=${CARGO_TARGET_DIR:-$root/target}/tmp
mkdir -p "$into"
into=$(cd "$into" && pwd)

say() { printf 'fetch-judges: %s\n' "$*"; }

packages=(ocsf-json-schema==1.2.0 jsonschema==4.26.0 opentelemetry-proto==1.45.2 prometheus-client==0.26.0 pycef==1.11)
if [ "$(cat "$into/python/.judges" 2>/dev/null)" != "${packages[*]}" ]; then
  say "installing ${packages[*]}"
  rm -rf "$into/python"
  python3 -m pip install --quiet --disable-pip-version-check --target "$into/python" "${packages[@]}"
  printf '%s' "${packages[*]}" >"$into/python/.judges"
fi

# Apart from those above: it has a jsonschema of its own.
api=schemathesis==4.32.5
if [ "$(cat "$into/schemathesis/.judges" 2>/dev/null)" != "$api" ]; then
  say "installing $api"
  rm -rf "$into/schemathesis"
  python3 -m pip install --quiet --disable-pip-version-check --target "$into/schemathesis" "$api"
  printf '%s' "$api" >"$into/schemathesis/.judges"
fi

if [ ! -x "$into/syslog-ng/usr/sbin/syslog-ng" ]; then
  say 'unpacking syslog-ng'
  debs=$(mktemp -d)
  trap 'rm -rf "$debs"' EXIT
  # With what it needs and is not here: by other names on other releases.
  needed=$(apt-get install --simulate --no-install-recommends syslog-ng-core | awk '$1 == "Inst" { print $2 }')
  # shellcheck disable=SC2086 # one word a package
  (cd "$debs" && apt-get download -qq -o APT::Sandbox::User=root $needed)
  for deb in "$debs"/*.deb; do dpkg -x "$deb" "$into/syslog-ng"; done
fi
