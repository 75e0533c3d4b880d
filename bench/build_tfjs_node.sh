#!/usr/bin/env bash
# Builds @tensorflow/tfjs-node against the TensorFlow library in pip's tensorflow_cpu wheel, for where its prebuilt
# binding cannot be had: `npm i @tensorflow/tfjs-node` is simpler where it works.
#
#     bash bench/build_tfjs_node.sh FOLDER
#
# Linux on x86-64 with glibc 2.27 or later, a C++17 compiler, make, npm and Python 3 with pip. Downloads 300 MB, leaves
# 1.1 GB in FOLDER. Nothing is installed outside of it. Keep npm out of FOLDER afterwards: it may undo the build.
set -euo pipefail

folder=${1:?usage: bash bench/build_tfjs_node.sh FOLDER}
tfjs=4.22.0        # that of @tensorflow/tfjs-core here: they share one engine
tensorflow=2.21.0  # much later than tfjs-node was written for; it builds and computes all the same

mkdir -p "$folder"
cd "$folder"
[ -f package.json ] || echo '{ "private": true }' > package.json
# Its install script would download the prebuilt binding.
npm install --ignore-scripts --no-audit --no-fund "@tensorflow/tfjs-node@$tfjs"
python3 -m pip download --no-deps --only-binary=:all: --dest wheel \
  --python-version 3.11 --platform manylinux_2_27_x86_64 "tensorflow_cpu==$tensorflow"

package=$PWD/node_modules/@tensorflow/tfjs-node
python3 - wheel/tensorflow_cpu-*.whl "$package/deps" <<'PYTHON'
import pathlib, shutil, sys, zipfile

wheel, deps = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
include = "tensorflow/include/"
headers = ("tensorflow/c/", "tensorflow/core/platform/ctstring", "tsl/platform/ctstring", "xla/tsl/c/")
libraries = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
for member in wheel.namelist():
    if member in libraries:
        target = deps / "lib" / pathlib.Path(member).name
    elif member.endswith(".h") and member.startswith(tuple(include + header for header in headers)):
        target = deps / "include" / member.removeprefix(include)
    else:
        continue
    target.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(member) as source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy)
PYTHON
# The linker asks for the short names, the loader for those inside the libraries.
ln -sf libtensorflow_cc.so.2 "$package/deps/lib/libtensorflow.so"
ln -sf libtensorflow_framework.so.2 "$package/deps/lib/libtensorflow_framework.so"

# Node's own headers where they came with it; else node-gyp downloads them.
prefix=$(node -p 'require("node:path").resolve(process.execPath, "../..")')
if [ -f "$prefix/include/node/node_api.h" ]; then export npm_config_nodedir=$prefix; fi
binaries=$PWD/node_modules/.bin
(cd "$package" && PATH=$binaries:$PATH node-pre-gyp install --build-from-source)
rm -rf wheel "$package"/build-tmp-* "$package/build"

TF_CPP_MIN_LOG_LEVEL=2 node -e '
  const tf = require("@tensorflow/tfjs-node");
  const [six] = tf.matMul([[1, 2]], [[2], [2]]).dataSync();
  if (tf.getBackend() !== "tensorflow" || six !== 6) throw new Error("The build does not compute.");
  console.log(`Built tfjs-node ${tf.version["tfjs-node"]} on TensorFlow ${tf.backend().binding.TF_Version}.`);
'
