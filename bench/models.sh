# make_models: the model files that bench/peers and bench/machine measure, into build/models. Needs cmake/setup.sh.
# shellcheck shell=bash
make_models() {
  local models=$root/build/models smollm2 type
  smollm2=$("$root/cmake/fetch_model.sh" smollm2)
  for type in q4_0 q8_0 f16 bf16; do
    [ -f "$models/smollm2.$type.gguf" ] || "$root/build/bench/bin/quantize" "$smollm2" "$models/smollm2.$type.gguf" --type $type
  done
  for type in q4_0 q8_0 q4_k q6_k; do  # anew where an older checkout wrote them: their context has grown
    [ "$models/llama-1b.$type.gguf" -nt "$root/bench/random_model.cpp" ] ||
      "$root/build/bench/bench/random_model" llama-1b $type "$models/llama-1b.$type.gguf"
  done
}
# make_other_models: random ones in the shapes of other architectures, for bench/peers.
make_other_models() {
  local models=$root/build/models file
  for file in qwen3-0.6b.q4_0 qwen3-30b-a3b.q4_0 deepseek-v2-lite.q4_0 gpt-oss-20b.mxfp4; do
    [ "$models/$file.gguf" -nt "$root/bench/random_model.cpp" ] ||
      "$root/build/bench/bench/random_model" "${file%.*}" "${file##*.}" "$models/$file.gguf"
  done
}
# plot: the plots of bench/results, with the Python that has matplotlib.
plot() {
  local plotter=python3
  "$plotter" -c 'import matplotlib' 2>/dev/null || plotter=/usr/bin/python3  # where the system's package put it
  "$plotter" "$root/bench/plot.py" "$root/bench/results"
}
