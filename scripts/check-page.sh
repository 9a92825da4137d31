#!/usr/bin/env bash
# Checks the types of the console's page, by TypeScript: its own and those of
# what the API answers, made from docs/openapi.json. Also gets axe-core, with
# which the browser tests look at the page.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
into=${CARGO_TARGET_DIR:-$root/target}/tmp/page
mkdir -p "$into"
cd "$into"

cp "$root"/tests/page/{package.json,package-lock.json,tsconfig.json,.npmrc} .
if ! cmp -s package-lock.json node_modules/.installed; then
  printf 'check-page: installing TypeScript and axe-core\n'
  npm ci --silent --ignore-scripts
  cp package-lock.json node_modules/.installed
fi
rm -rf page
cp -r "$root/src/console/page" page
npx --no-install openapi-typescript "$root/docs/openapi.json" --output api.d.ts >/dev/null
npx --no-install tsc --project tsconfig.json
printf 'check-page: %s modules are well typed\n' "$(ls page/*.js | wc -l)"
