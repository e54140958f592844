#!/usr/bin/env bash
# Makes a release in dist/release: the module, its checksum, its list of parts, its symbols, an image and the manifests.
# The working tree must be committed. The module is built twice, in two folders, and both must be equal.
# Docs: docs/release.md

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out=dist/release
# Envoy compiles the whole module when it starts.
MAX_MODULE_KIB=1800
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || die "Cargo.toml has no workspace.package.version"
if [ -n "$(git status --porcelain)" ]; then
    die "there are changes that are not committed" "A release is made of one commit, so that others can build it again."
fi
commit=$(git rev-parse HEAD)
epoch=$(git log -1 --format=%ct)
name=llm_failsafe-$version

load_wasm_toolchain
have node && [ -f "$WASM_OPT_HOME/bin/wasm-opt" ] || die "wasm-opt is missing" "Run: make setup. It needs Node and npm."

# build FOLDER: builds a copy of the commit there, from nothing.
build() {
    mkdir -p "$1"
    git archive "$commit" | tar -x -C "$1"
    ln -s "$TOOLS" "$1/.tools"
    (cd "$1" && env -u CARGO_TARGET_DIR LLM_FAILSAFE_COMMIT="$commit" scripts/build.sh)
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say "release: building $version from $commit twice"
build "$work/first"
build "$work/again/in-a-longer-path"
cmp "$work/first/dist/llm_failsafe.wasm" "$work/again/in-a-longer-path/dist/llm_failsafe.wasm" ||
    die "two builds of one commit differ"
module=$work/first/dist/llm_failsafe.wasm
size=$(wc -c <"$module")
[ "$size" -le $((MAX_MODULE_KIB * 1024)) ] ||
    die "the module has $((size / 1024)) KiB, more than $MAX_MODULE_KIB" "Each KiB makes Envoy's start longer (docs/release.md)."

rm -rf "$out"
mkdir -p "$out"
cp "$module" "$out/$name.wasm"
cp "${module%.wasm}.symbols" "$out/$name.symbols"
rustc=rustc
[ "$WASM_TOOLCHAIN" = debian ] && rustc=/usr/bin/rustc
cargo metadata --format-version 1 --locked --filter-platform "$WASM_TARGET" |
    "$TOOLS/release/bin/python" scripts/release/parts.py "$module" "$version" "$commit" "$epoch" \
        "rustc=$($rustc --version)" "wasm-opt=$WASM_OPT_VERSION" >"$out/$name.cdx.json"
python3 scripts/release/image.py "$module" "$version" "$commit" "$out/$name.oci.tar"

# A second tool reads the image as a container engine does, and gives the same module back.
for processor in amd64 arm64; do
    rm -rf "$work/image" && mkdir "$work/image"
    skopeo copy -q --override-arch "$processor" "oci-archive:$out/$name.oci.tar:$version" "dir:$work/image" ||
        die "skopeo cannot read the image for $processor"
    layer=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["layers"][0]["digest"].split(":")[1])' \
        "$work/image/manifest.json")
    tar -xzOf "$work/image/$layer" plugin.wasm | cmp - "$module" || die "the image for $processor has another module"
done
# The manifests of this version. Their images are to be replaced by those of the user's registry.
if grep -rhoE 'llm-failsafe:[0-9][0-9A-Za-z.+-]*' deploy | grep -qvFx "llm-failsafe:$version"; then
    die "the manifests in deploy are of another version" "UPDATE_SHIPPED=1 cargo test -p llm-failsafe-cli writes them."
fi
git archive --format=tar --prefix="llm-failsafe-$version/" "$commit" deploy | gzip -n >"$out/$name-manifests.tar.gz"

(cd "$out" && sha256sum -- * >"../$name.sha256" && mv "../$name.sha256" .)

say "" "release: $out"
(cd "$out" && wc -c -- * | sed '$d')
