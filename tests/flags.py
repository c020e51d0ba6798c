"""How programs are compiled in tests: without the slowest passes of the compiler, which are most of
the time that the tests take. The programs are a little slower and compute the same."""

import importlib.metadata

# Each asks of every loop how often it runs, for which it copies the loop.
OF_LOOPS = (
    "simplify-while-loops",
    "while-loop-trip-count-annotator",
    "while-loop-invariant-code-motion",
    "while-loop-constant-sinking",
)
QUICK_TO_COMPILE = (
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
    f" --xla_disable_hlo_passes={','.join(OF_LOOPS)}"
)
# XLA stops at a flag it does not know: later versions have no such flag.
if importlib.metadata.version("jax").startswith("0.10."):
    QUICK_TO_COMPILE += " --xla_cpu_use_fusion_emitters=false"
