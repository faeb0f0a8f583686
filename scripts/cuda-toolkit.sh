#!/usr/bin/env bash
# NVIDIA's compiler and libraries as published on PyPI, unpacked into a folder, so that a CUDA build can be made where no
# CUDA toolkit is installed and no GPU is present. A stub stands in for the driver: it answers "no device" to every call,
# so that what was built also starts there and says that its device tests were skipped.
#
#   scripts/cuda-toolkit.sh ~/cuda && source ~/cuda/env.sh
#   cargo build --release --features cuda
#
# Takes 2.5 GB, needs python3 with pip, unzip and gcc. CUDA_COMPUTE_CAP (90: H100 and H200) is that of the GPU the program
# will run on; there too `source env.sh`, in a folder of the same path, gives the libraries, and the driver is its own.
set -euo pipefail

root="${1:?usage: scripts/cuda-toolkit.sh FOLDER}"
mkdir -p "$root"
root="$(cd "$root" && pwd)"
cd "$(dirname "$0")/.."

wheels=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-nvrtc==13.0.88
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  nvidia-cublas==13.0.2.14 nvidia-curand==10.4.0.35 nvidia-nccl-cu13==2.30.7
)
python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$root/wheels" "${wheels[@]}"
for wheel in "$root"/wheels/*.whl; do
  unzip -qo "$wheel" -d "$root"
done

cuda="$root/nvidia/cu13"
nccl="$root/nvidia/nccl"
chmod +x "$cuda"/bin/* "$cuda"/nvvm/bin/*
ln -sfn lib "$cuda/lib64"
# The linker asks for lib<name>.so; a wheel holds lib<name>.so.<version> only.
for versioned in "$cuda"/lib/lib{cudart,cublas,cublasLt,nvrtc,curand}.so.[0-9]* "$nccl"/lib/libnccl.so.[0-9]*; do
  name="$(basename "$versioned")"
  ln -sfn "$versioned" "$cuda/lib/${name%%.so.*}.so"
done

# The driver's functions are those that cudarc declares; 100 is CUDA_ERROR_NO_DEVICE.
cargo fetch --locked
declarations="$(cargo metadata --format-version 1 --locked --all-features |
  python3 -c 'import json, sys
crate = next(p for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc")
print(crate["manifest_path"].removesuffix("Cargo.toml") + "src/driver/sys/mod.rs")')"
mkdir -p "$cuda/lib/stubs"
grep -oE 'fn cu[A-Z][A-Za-z0-9_]*' "$declarations" | sed 's/.* //' | sort -u |
  sed 's/.*/int &(void) { return 100; }/' > "$root/libcuda.c"
gcc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$cuda/lib/stubs/libcuda.so" "$root/libcuda.c"
ln -sfn libcuda.so "$cuda/lib/stubs/libcuda.so.1"

# The stub is for machines without a driver only: what LD_LIBRARY_PATH names comes before what is installed.
cat > "$root/env.sh" <<ENV
export CUDA_HOME="$cuda" CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-90}" PATH="$cuda/bin:\$PATH"
export LD_LIBRARY_PATH="$cuda/lib:$nccl/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
if [ ! -e /dev/nvidiactl ] && [ -z "\$(PATH="\$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null | grep -F libcuda.so.1)" ]; then
  export LD_LIBRARY_PATH="\$LD_LIBRARY_PATH:$cuda/lib/stubs"
fi
ENV
echo "source $root/env.sh"
